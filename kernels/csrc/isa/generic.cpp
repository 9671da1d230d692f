#define LLMRT_ISA generic
#include "simd/generic.h"

#include "isa/ops.inc"
