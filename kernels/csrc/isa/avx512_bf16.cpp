// Ops on activations in bf16, whose products have an instruction here. All else is avx512_vnni's, compiled there.
#define LLMRT_ISA avx512_bf16
#include "simd/avx512_vnni.h"

#include <cstring>
#include <vector>

#include "op_table.h"
#include "ops/activated_linear.h"
#include "ops/expert_linear.h"
#include "ops/gated_linear.h"
#include "ops/linear.h"
#include "ops/measure.h"
#include "ops/rotary_linear.h"

namespace llmrt {
namespace {

template <class Args>
int64_t type_of(const Args& a) {
  return a.x.dtype;
}
int64_t type_of(const llmrt_multiply_args& a) { return a.dtype; }

template <class Args, void (*Op)(const Args&, Context&)>
struct OnBf16 {
  static inline llmrt_function on_others = nullptr;

  static void call(const void* args, Context& context) {
    const Args& a = *static_cast<const Args*>(args);
    type_of(a) == LLMRT_BF16 ? Op(a, context) : on_others(args, context);
  }

  static void enter(const char* name, std::vector<OpEntry>& table) {
    for (OpEntry& entry : table) {
      if (std::strcmp(entry.name, name) != 0) continue;
      on_others = entry.function;
      entry.function = call;
    }
  }
};

}  // namespace

OpTable avx512_bf16_table() {
  using namespace avx512_bf16;
  static const std::vector<OpEntry> table = [] {
    const OpTable others = avx512_vnni_table();
    std::vector<OpEntry> all(others.begin(), others.end());
    OnBf16<llmrt_linear_args, linear>::enter("linear", all);
    OnBf16<llmrt_gated_linear_args, gated_linear>::enter("gated_linear", all);
    OnBf16<llmrt_rotary_linear_args, rotary_linear>::enter("rotary_linear", all);
    OnBf16<llmrt_activated_linear_args, activated_linear>::enter("activated_linear", all);
    OnBf16<llmrt_expert_gated_linear_args, expert_gated_linear>::enter("expert_gated_linear", all);
    OnBf16<llmrt_expert_linear_args, expert_linear>::enter("expert_linear", all);
    OnBf16<llmrt_multiply_args, multiply>::enter("multiply", all);
    return all;
  }();
  return table;
}

}  // namespace llmrt
