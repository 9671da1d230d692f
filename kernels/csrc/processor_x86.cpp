#include <cpuid.h>

#include "processor.h"

namespace llmrt {

bool has_avx2() {
  unsigned eax, ebx, ecx = 0, edx;
  const bool has_f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);  // Clang has had no name for it
  return has_f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// A bit of EAX of leaf 7, subleaf 1: a compiler older than an extension has no name for it.
static bool has_bit(int bit) {
  unsigned eax = 0, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> bit & 1);
}

bool has_avx_vnni() { return has_avx2() && has_bit(4); }

bool has_avx512_vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

bool has_avx512_bf16() { return has_avx512_vnni() && has_bit(5); }

bool can_be_led() {
  static const bool is_amd = __builtin_cpu_is("amd");
  return is_amd;
}

}  // namespace llmrt
