// A pool whose threads run one list of calls together. Waiting spins for a bounded time, then sleeps, so that an
// oversubscribed machine goes on at its own pace instead of burning the core that another thread needs. A tape, whose
// calls are short, is run by the caller alone while the threads together get less done than one would: when another
// process has the cores, the threads of this one are seldom there at the same time, and most of it is waiting.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "llmrt_cpu.h"

namespace llmrt {

// A counter that threads wait on: they spin for a bounded time, then sleep.
class Signal {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }
  void advance();
  // Returns the nanoseconds that it took, 0 for a short time.
  int64_t wait_past(uint32_t old);

 private:
  // Both are read and written in one total order, so either the waiter sees the new value or the other sees the sleeper.
  alignas(64) std::atomic<uint32_t> value_{0};
  std::atomic<int32_t> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
};

// Where threads meet, and the counter from which they take shares of a call; the last to arrive resets it.
class Barrier {
 public:
  void reset(int32_t threads);
  void wait();
  // Nanoseconds that all threads have waited since the last call.
  int64_t take_waited() { return waited_.exchange(0, std::memory_order_relaxed); }
  int64_t take(int64_t count) { return next_.fetch_add(count, std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<int32_t> arrived_{0};
  Signal generation_;
  alignas(64) std::atomic<int64_t> next_{0};
  std::atomic<int64_t> waited_{0};
  int32_t threads_ = 1;
};

// What a kernel sees of the pool.
class Context {
 public:
  Context(Barrier& barrier, int32_t thread, int32_t threads) : thread(thread), threads(threads), barrier_(barrier) {}

  // Every thread must call it, for everything before it to be visible to all after it.
  void barrier() { barrier_.wait(); }

  // Work that costs the same everywhere: each thread has a stretch of [0, total) of its own, so that it reads one
  // stretch of memory, and an eighth is left for whoever is done first, `grain` at a time.
  template <class Body>
  void share(int64_t total, int64_t grain, Body body) {
    const int64_t own = std::max(grain, total * 7 / 8 / threads / grain * grain);
    if (thread * own < total) body(thread * own, std::min(total, (thread + 1) * own));
    for (int64_t begin = threads * own + barrier_.take(grain); begin < total;
         begin = threads * own + barrier_.take(grain))
      body(begin, std::min(total, begin + grain));
  }

  // Work whose parts differ: calls body(i) for each i below `total`, in order, whoever is free.
  template <class Body>
  void deal(int64_t total, Body body) {
    for (int64_t i = barrier_.take(1); i < total; i = barrier_.take(1)) body(i);
  }

  const int32_t thread;
  const int32_t threads;

 private:
  Barrier& barrier_;
};

class ThreadPool {
 public:
  static ThreadPool& instance();
  void resize(int32_t threads);
  void run(const llmrt_call* calls, int64_t count);
  ~ThreadPool();

 private:
  void work(int32_t thread, uint32_t seen);
  void run_all(const llmrt_call* calls, int64_t count);
  void run_alone(const llmrt_call* calls, int64_t count);
  void execute(int32_t thread);
  void stop();

  Barrier barrier_;
  std::vector<std::thread> workers_;
  const llmrt_call* calls_ = nullptr;
  int64_t count_ = 0;
  bool stopping_ = false;
  int64_t alone_ = 0;    // tapes that the caller is to run alone
  int64_t penalty_ = 0;  // how many it was the last time
  Signal epoch_;
};

}  // namespace llmrt
