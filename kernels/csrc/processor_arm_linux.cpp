#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "processor.h"

namespace llmrt {

bool has_neon_dotprod() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }

bool has_neon_i8mm() { return has_neon_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM); }

}  // namespace llmrt
