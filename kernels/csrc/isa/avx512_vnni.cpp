#define LLMRT_ISA avx512_vnni
#include "simd/avx512_vnni.h"

#include "isa/ops.inc"
