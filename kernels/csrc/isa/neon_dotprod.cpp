#define LLMRT_ISA neon_dotprod
#include "simd/neon.h"

#include "isa/ops.inc"
