// What the processor that we run on has. Each kind of processor, and each system that is asked, has a file.
#pragma once

namespace llmrt {

bool has_avx2();
bool has_avx_vnni();
bool has_avx512_vnni();
bool has_avx512_bf16();
bool has_neon_dotprod();
bool has_neon_i8mm();

}  // namespace llmrt
