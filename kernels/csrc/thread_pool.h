// A pool whose threads run one list of calls together. Waiting spins for a bounded time, then sleeps, so that an
// oversubscribed machine goes on at its own pace instead of burning the core that another thread needs.
#pragma once

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
  void wait_past(uint32_t old);

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
  int64_t take(int64_t count) { return next_.fetch_add(count, std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<int32_t> arrived_{0};
  Signal generation_;
  alignas(64) std::atomic<int64_t> next_{0};
  int32_t threads_ = 1;
};

// What a kernel sees of the pool.
class Context {
 public:
  Context(Barrier& barrier, int32_t thread, int32_t threads) : thread(thread), threads(threads), barrier_(barrier) {}

  // Every thread must call it, for everything before it to be visible to all after it.
  void barrier() { barrier_.wait(); }

  // Gives out [0, total) in runs of at most `run` until nothing is left; shares follow the threads' actual speed.
  template <class Body>
  void share(int64_t total, int64_t run, Body body) {
    if (threads == 1) {
      if (total > 0) body(int64_t{0}, total);
      return;
    }
    // The first run is each thread's own, the others go to whoever is free.
    const int64_t own = run * threads;
    for (int64_t begin = run * thread; begin < total; begin = own + barrier_.take(run))
      body(begin, begin + run < total ? begin + run : total);
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
  void execute(int32_t thread);
  void stop();

  Barrier barrier_;
  std::vector<std::thread> workers_;
  const llmrt_call* calls_ = nullptr;
  int64_t count_ = 0;
  bool stopping_ = false;
  Signal epoch_;
};

}  // namespace llmrt
