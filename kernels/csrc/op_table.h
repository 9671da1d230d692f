// The ops of one instruction set, by name.
#pragma once

#include <array>

#include "llmrt_cpu.h"

namespace llmrt {

struct OpEntry {
  const char* name;
  llmrt_function function;
};

using OpTable = std::array<OpEntry, 12>;

const OpTable& generic_table();
const OpTable& avx2_table();
const OpTable& avx512_vnni_table();

}  // namespace llmrt
