#define LLMRT_ISA avx512_bf16
#include "simd/avx512_vnni.h"

#include "isa/ops.inc"
