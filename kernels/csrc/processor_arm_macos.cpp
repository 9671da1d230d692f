#include <sys/sysctl.h>

#include "processor.h"

namespace llmrt {

static bool has(const char* feature) {  // false for one that the system does not know
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value != 0;
}

bool has_neon_dotprod() { return has("hw.optional.arm.FEAT_DotProd"); }

bool has_neon_i8mm() { return has_neon_dotprod() && has("hw.optional.arm.FEAT_I8MM"); }

}  // namespace llmrt
