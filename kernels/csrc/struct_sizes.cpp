// How large the structs of this build are, how many types it has, and how it cuts attention: whoever fills the
// structs in and makes room must have the same.
#include <cstring>

#include "llmrt_cpu.h"

namespace {

struct Size {
  const char* name;
  int64_t size;
};

#define LLMRT_SIZE(name) {#name, sizeof(name)}

constexpr Size kSizes[] = {
    LLMRT_SIZE(llmrt_activated_linear_args),
    LLMRT_SIZE(llmrt_activations),
    LLMRT_SIZE(llmrt_adapter),
    LLMRT_SIZE(llmrt_add_rows_args),
    LLMRT_SIZE(llmrt_add_scaled_args),
    LLMRT_SIZE(llmrt_argmax_args),
    LLMRT_SIZE(llmrt_cache),
    LLMRT_SIZE(llmrt_embedding_args),
    LLMRT_SIZE(llmrt_expert_gated_linear_args),
    LLMRT_SIZE(llmrt_expert_linear_args),
    LLMRT_SIZE(llmrt_gate_rows_args),
    LLMRT_SIZE(llmrt_gated_linear_args),
    LLMRT_SIZE(llmrt_layer_norm_args),
    LLMRT_SIZE(llmrt_linear_args),
    LLMRT_SIZE(llmrt_lora_args),
    LLMRT_SIZE(llmrt_low_rank),
    LLMRT_SIZE(llmrt_matrix),
    LLMRT_SIZE(llmrt_multiply_args),
    LLMRT_SIZE(llmrt_paged_attention_args),
    LLMRT_SIZE(llmrt_quantize_args),
    LLMRT_SIZE(llmrt_read_memory_args),
    LLMRT_SIZE(llmrt_repack_args),
    LLMRT_SIZE(llmrt_rms_norm_add_args),
    LLMRT_SIZE(llmrt_rms_norm_args),
    LLMRT_SIZE(llmrt_rope_kv_write_args),
    LLMRT_SIZE(llmrt_rotary_linear_args),
    LLMRT_SIZE(llmrt_round_rows_args),
    LLMRT_SIZE(llmrt_route_args),
    LLMRT_SIZE(llmrt_routing),
    LLMRT_SIZE(llmrt_sample_args),
    LLMRT_SIZE(llmrt_scale_args),
    LLMRT_SIZE(llmrt_stream_norm_args),
    LLMRT_SIZE(llmrt_weight),
    {"llmrt_dtype", LLMRT_NUM_DTYPES},
    {"LLMRT_FEW_QUERIES", LLMRT_FEW_QUERIES},
    {"LLMRT_CHUNK_KEYS", LLMRT_CHUNK_KEYS},
    {"LLMRT_MOST_CHUNKS", LLMRT_MOST_CHUNKS},
};

}  // namespace

// The bytes of a struct of llmrt_layouts.h or llmrt_cpu.h, of llmrt_dtype how many there are, of a constant its value,
// or 0 if there is none of that name.
LLMRT_EXPORT int64_t llmrt_size_of(const char* name) {
  for (const Size& known : kSizes)
    if (std::strcmp(known.name, name) == 0) return known.size;
  return 0;
}
