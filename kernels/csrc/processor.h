// What the processor that we run on has. Each kind of processor, and each system that is asked, has a file.
#pragma once

namespace llmrt {

bool has_avx2();
bool has_avx_vnni();
bool has_avx512_vnni();
bool has_avx512_bf16();
bool has_neon_dotprod();
bool has_neon_i8mm();

// Whether the processor fetches what is read in order as fast as memory gives it once it is led over the ends of pages: AMD's
// with AVX-512 do, Intel's do not.
bool can_be_led();

}  // namespace llmrt
