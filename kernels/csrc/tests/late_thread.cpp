// A thread that is asleep when a tape begins: the caller begins without it, it joins between two calls, and whoever takes
// part, each share is taken once. Returns 0 if all that is so.
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "thread_pool.h"

namespace {

constexpr int64_t kItems = 37, kCalls = 10000;  // of a millisecond each until the thread is there

struct Work {
  std::vector<int64_t> shared = std::vector<int64_t>(kItems), dealt = std::vector<int64_t>(kItems);
  std::vector<int32_t> members;
};

void take_part(const void* args, llmrt::Context& context) {
  Work& work = **static_cast<Work* const*>(args);
  if (context.thread == 0) work.members.push_back(context.threads);
  if (context.threads == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  context.share(kItems, 2, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) ++work.shared[begin];
  });
  context.barrier();
  context.deal(kItems, [&](int64_t i) { work.dealt[i] += work.shared[kItems - 1 - i]; });
}

}  // namespace

int main() {
  Work work;
  Work* const args = &work;
  const std::vector<llmrt_call> tape(kCalls, {take_part, &args});
  llmrt_set_threads(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // behind which it sleeps
  llmrt_run(tape.data(), kCalls);
  bool is_right = work.members.front() == 1 && work.members.back() == 2;
  for (int64_t i = 0; i < kItems; ++i)
    is_right &= work.shared[i] == kCalls && work.dealt[i] == kCalls * (kCalls + 1) / 2;
  std::printf("%d of 2 threads in the first call, %d in the last\n", work.members.front(), work.members.back());
  return is_right ? 0 : 1;
}
