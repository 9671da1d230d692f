// What the processor that we run on has.
#pragma once

namespace llmrt {

bool always();
#if defined(__x86_64__)
bool has_avx2();
bool has_avx_vnni();
bool has_avx512_vnni();
bool has_avx512_bf16();
#elif defined(__aarch64__) && defined(__linux__)
bool has_neon_dotprod();
bool has_neon_i8mm();
#endif

}  // namespace llmrt
