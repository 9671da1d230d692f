// Which instruction set's table of ops is in use.
#include <cstring>
#include <string>

#include "llmrt_cpu.h"
#include "op_table.h"
#include "processor.h"

namespace {

using llmrt::OpTable;

struct Isa {
  const char* name;
  bool (*supported)();
  OpTable (*table)();
  bool only_by_name = false;  // there to be tested
};

// Best first.
constexpr Isa kIsas[] = {
#if defined(__x86_64__)
    {"avx512_bf16", llmrt::has_avx512_bf16, llmrt::avx512_bf16_table},
    {"avx512_vnni", llmrt::has_avx512_vnni, llmrt::avx512_vnni_table},
    {"avx_vnni", llmrt::has_avx_vnni, llmrt::avx_vnni_table},
    {"avx_vnni_evex", llmrt::has_avx512_vnni, llmrt::avx_vnni_evex_table, true},
    {"avx2", llmrt::has_avx2, llmrt::avx2_table},
#elif defined(__aarch64__)
    {"neon_i8mm", llmrt::has_neon_i8mm, llmrt::neon_i8mm_table},
    {"neon_dotprod", llmrt::has_neon_dotprod, llmrt::neon_dotprod_table},
#endif
    {"generic", [] { return true; }, llmrt::generic_table},
};

const Isa* chosen = nullptr;

}  // namespace

LLMRT_EXPORT const char* llmrt_choose_isa(const char* name) {
  for (const Isa& isa : kIsas) {
    const bool wanted = name == nullptr ? !isa.only_by_name : std::strcmp(isa.name, name) == 0;
    if (wanted && isa.supported()) {
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
