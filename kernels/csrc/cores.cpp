#include "cores.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace llmrt {

void Cores::resize(int32_t threads) {
  seen_ = std::vector<std::atomic<int32_t>>(threads);
  for (auto& core : seen_) core.store(-1);
}

#if defined(__linux__)

void Cores::settle(int32_t thread) {
  if (seen_.size() < 2) return;
  const int32_t core = sched_getcpu();
  bool shared = false;
  for (size_t other = 0; other < seen_.size(); ++other)
    shared |= static_cast<int32_t>(other) != thread && seen_[other].load(std::memory_order_relaxed) == core;
  if (shared) leave(thread);
  seen_[thread].store(shared ? sched_getcpu() : core, std::memory_order_relaxed);
}

// A thread moves at once when its core is taken from the set that it may use; the set is its own again behind that.
void Cores::leave(int32_t thread) const {
  cpu_set_t own, free;
  if (sched_getaffinity(0, sizeof own, &own) != 0) return;
  free = own;
  for (size_t other = 0; other < seen_.size(); ++other) {
    const int32_t core = seen_[other].load(std::memory_order_relaxed);
    if (static_cast<int32_t>(other) != thread && core >= 0 && core < CPU_SETSIZE) CPU_CLR(core, &free);
  }
  if (CPU_COUNT(&free) == 0) return;
  if (sched_setaffinity(0, sizeof free, &free) == 0) sched_setaffinity(0, sizeof own, &own);
}

#else

void Cores::settle(int32_t) {}
void Cores::leave(int32_t) const {}

#endif

}  // namespace llmrt
