// The ops of one instruction set, by name.
#pragma once

#include <span>

#include "llmrt_cpu.h"

namespace llmrt {

struct OpEntry {
  const char* name;
  llmrt_function function;
};

using OpTable = std::span<const OpEntry>;

OpTable generic_table();
OpTable avx2_table();
OpTable avx_vnni_table();
OpTable avx_vnni_evex_table();
OpTable avx512_vnni_table();
OpTable avx512_bf16_table();
OpTable neon_dotprod_table();
OpTable neon_i8mm_table();

}  // namespace llmrt
