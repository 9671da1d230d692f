// Which instruction set's table of ops is in use.
#include <cstring>
#include <string>

#include "llmrt_cpu.h"
#include "op_table.h"

namespace {

using llmrt::OpTable;

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#else
  return false;
#endif
}

bool has_avx512_vnni() {
#if defined(__x86_64__)
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool always() { return true; }

struct Isa {
  const char* name;
  bool (*supported)();
  const OpTable& (*table)();
};

// Best first.
constexpr Isa kIsas[] = {
#if defined(__x86_64__)
    {"avx512_vnni", has_avx512_vnni, llmrt::avx512_vnni_table},
    {"avx2", has_avx2, llmrt::avx2_table},
#endif
    {"generic", always, llmrt::generic_table},
};

const Isa* chosen = nullptr;

}  // namespace

LLMRT_EXPORT const char* llmrt_choose_isa(const char* name) {
  for (const Isa& isa : kIsas) {
    if ((name == nullptr || std::strcmp(isa.name, name) == 0) && isa.supported()) {
      chosen = &isa;
      return isa.name;
    }
  }
  return nullptr;
}

LLMRT_EXPORT const char* llmrt_available_isas() {
  static const std::string names = [] {
    std::string joined;
    for (const Isa& isa : kIsas)
      if (isa.supported()) joined.append(joined.empty() ? "" : ",").append(isa.name);
    return joined;
  }();
  return names.c_str();
}

LLMRT_EXPORT llmrt_function llmrt_find(const char* op) {
  if (chosen == nullptr) llmrt_choose_isa(nullptr);
  for (const auto& entry : chosen->table())
    if (std::strcmp(entry.name, op) == 0) return entry.function;
  return nullptr;
}
