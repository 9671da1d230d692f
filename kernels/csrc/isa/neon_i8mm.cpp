#define LLMRT_ISA neon_i8mm
#include "simd/neon.h"

#include "isa/ops.inc"
