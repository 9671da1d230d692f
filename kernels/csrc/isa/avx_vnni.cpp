#define LLMRT_ISA avx_vnni
#include "simd/avx_vnni.h"

#include "isa/ops.inc"
