#include "thread_pool.h"

#include <algorithm>
#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cores.h"

namespace llmrt {
namespace {

// Long enough to meet the next call of a decode step without a system call, short enough to be cheap when another
// process has the core: the longest wait between two calls of a 135M model is some tens of microseconds.
constexpr auto kSpin = std::chrono::microseconds(60);

constexpr int64_t kSleeps = std::chrono::nanoseconds(kSpin).count();  // a longer wait is slept

constexpr int64_t kTapeCalls = 16;   // a list of this many calls is a tape
constexpr int64_t kMostAlone = 256;  // tapes that are run alone before all threads are tried again

Cores cores;                   // of the pool's threads
thread_local int32_t own = 0;  // the number of this thread among them

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void Signal::advance() {
  value_.fetch_add(1);
  if (sleepers_.load() == 0) return;
  { std::lock_guard lock(mutex_); }  // a sleeper that saw the old value is in wait by now
  woken_.notify_all();
}

int64_t Signal::wait_past(uint32_t old) {
  using Clock = std::chrono::steady_clock;
  const auto changed = [&] {
    for (int i = 0; i < 32; ++i) {
      if (value() != old) return true;
      relax();
    }
    return false;
  };
  if (changed()) return 0;
  const auto start = Clock::now();
  const auto waited = [&] { return std::chrono::nanoseconds(Clock::now() - start); };
  while (waited() < kSpin)
    if (changed()) return waited().count();
  sleepers_.fetch_add(1);
  {
    std::unique_lock lock(mutex_);
    woken_.wait(lock, [&] { return value_.load() != old; });
  }
  sleepers_.fetch_sub(1);
  return waited().count();
}

void Barrier::reset(int32_t threads) {
  threads_ = threads;
  arrived_.store(0);
  next_.store(0);
}

void Barrier::wait() {
  if (threads_ == 1) {
    next_.store(0, std::memory_order_relaxed);
    return;
  }
  const uint32_t generation = generation_.value();
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    next_.store(0, std::memory_order_relaxed);
    generation_.advance();
  } else {
    const int64_t waited = generation_.wait_past(generation);
    if (waited > 0) waited_.fetch_add(waited, std::memory_order_relaxed);
    if (waited > kSleeps) cores.settle(own);
  }
}

ThreadPool& ThreadPool::instance() {
  static ThreadPool pool;
  return pool;
}

void ThreadPool::resize(int32_t threads) {
  stop();
  barrier_.reset(threads);
  cores.resize(threads);
  const uint32_t seen = epoch_.value();
  for (int32_t i = 1; i < threads; ++i) workers_.emplace_back([this, i, seen] { work(i, seen); });
}

void ThreadPool::run(const llmrt_call* calls, int64_t count) {
  const bool tape = count >= kTapeCalls;
  if (tape && alone_ > 0) {
    --alone_;
    run_alone(calls, count);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  barrier_.take_waited();
  run_all(calls, count);
  if (!tape) return;
  const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
  const int64_t threads = static_cast<int64_t>(workers_.size()) + 1;
  const int64_t worked = threads * elapsed.count() - barrier_.take_waited();
  penalty_ = worked < elapsed.count() ? std::clamp<int64_t>(2 * penalty_, 8, kMostAlone) : 0;
  alone_ = penalty_;
}

void ThreadPool::run_alone(const llmrt_call* calls, int64_t count) {
  Barrier barrier;
  Context context(barrier, 0, 1);
  for (int64_t i = 0; i < count; ++i) {
    calls[i].function(calls[i].args, context);
    barrier.wait();
  }
}

void ThreadPool::run_all(const llmrt_call* calls, int64_t count) {
  calls_ = calls;
  count_ = count;
  epoch_.advance();
  execute(0);
}

void ThreadPool::work(int32_t thread, uint32_t seen) {
  for (;;) {
    epoch_.wait_past(seen);
    ++seen;
    if (stopping_) return;
    execute(thread);
  }
}

void ThreadPool::execute(int32_t thread) {
  own = thread;
  cores.settle(thread);
  Context context(barrier_, thread, static_cast<int32_t>(workers_.size()) + 1);
  // Copies: once the last barrier is passed the caller may set the next list, while a thread is still on its way out.
  const llmrt_call* calls = calls_;
  const int64_t count = count_;
  for (int64_t i = 0; i < count; ++i) {
    calls[i].function(calls[i].args, context);
    barrier_.wait();
  }
}

void ThreadPool::stop() {
  stopping_ = true;
  epoch_.advance();
  for (auto& worker : workers_) worker.join();
  workers_.clear();
  stopping_ = false;
}

ThreadPool::~ThreadPool() { stop(); }

}  // namespace llmrt

LLMRT_EXPORT void llmrt_run(const llmrt_call* calls, int64_t count) { llmrt::ThreadPool::instance().run(calls, count); }

LLMRT_EXPORT void llmrt_set_threads(int32_t threads) { llmrt::ThreadPool::instance().resize(threads); }
