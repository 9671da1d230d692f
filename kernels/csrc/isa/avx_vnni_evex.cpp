#define LLMRT_ISA avx_vnni_evex
#include "simd/avx_vnni.h"

#include "isa/ops.inc"
