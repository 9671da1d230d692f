#include "waiting.h"

namespace llmrt {

void Signal::advance() {
  value_.fetch_add(1);
  if (sleepers_.load() == 0) return;
  { std::lock_guard lock(mutex_); }  // a sleeper that saw the old value is in wait by now
  woken_.notify_all();
}

int64_t Signal::wait_past(uint32_t old) {
  using Clock = std::chrono::steady_clock;
  const auto changed = [&] { return value() != old; };
  if (spin_briefly(changed)) return 0;
  const auto start = Clock::now();
  if (!spin(changed)) sleep_past(old);
  return std::chrono::nanoseconds(Clock::now() - start).count();
}

void Signal::sleep_past(uint32_t old) {
  sleepers_.fetch_add(1);
  {
    std::unique_lock lock(mutex_);
    woken_.wait(lock, [&] { return value_.load() != old; });
  }
  sleepers_.fetch_sub(1);
}

}  // namespace llmrt
