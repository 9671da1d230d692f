#define LLMRT_ISA avx2
#include "simd/avx2.h"

#include "isa/ops.inc"
