// How threads wait for each other: they spin for a bounded time, then sleep, so that an oversubscribed machine goes on
// at its own pace instead of burning the core that another thread needs.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace llmrt {

// Long enough to meet the next call of a decode step without a system call, short enough to be cheap when another
// process has the core: the longest wait between two calls of a 135M model is some tens of microseconds.
constexpr auto kSpin = std::chrono::microseconds(60);

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether `done()` comes true before a clock is worth being looked at.
template <class Done>
bool spin_briefly(Done done) {
  for (int i = 0; i < 32; ++i) {
    if (done()) return true;
    relax();
  }
  return false;
}

// Whether `done()` comes true within kSpin.
template <class Done>
bool spin(Done done) {
  if (spin_briefly(done)) return true;
  const auto end = std::chrono::steady_clock::now() + kSpin;
  while (std::chrono::steady_clock::now() < end)
    if (spin_briefly(done)) return true;
  return false;
}

// A counter that threads wait on.
class Signal {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }
  void advance();
  // Returns the nanoseconds that it took, 0 for a short time.
  int64_t wait_past(uint32_t old);
  void sleep_past(uint32_t old);

 private:
  // Both are read and written in one total order, so either the waiter sees the new value or the other sees the sleeper.
  alignas(64) std::atomic<uint32_t> value_{0};
  std::atomic<int32_t> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace llmrt
