#include "thread_pool.h"

#include <chrono>

namespace llmrt {
namespace {

constexpr int64_t kTapeCalls = 16;   // a list of this many calls is a tape
constexpr int64_t kMostAlone = 256;  // tapes that are run alone before all threads are tried again

}  // namespace

ThreadPool& ThreadPool::instance() {
  static ThreadPool pool;
  return pool;
}

void ThreadPool::resize(int32_t threads) {
  stop();
  team_.resize(threads);
  for (int32_t i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

void ThreadPool::run(const llmrt_call* calls, int64_t count) {
  if (count < kTapeCalls)
    run_together(calls, count, Admit::kAll);
  else
    run_tape(calls, count);
}

void ThreadPool::run_tape(const llmrt_call* calls, int64_t count) {
  if (alone_ > 0) {
    --alone_;
    run_alone(calls, count);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  run_together(calls, count, Admit::kReady);
  const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
  const int64_t threads = static_cast<int64_t>(workers_.size()) + 1;
  const int64_t worked = threads * elapsed.count() - team_.waited();
  penalty_ = worked < elapsed.count() ? std::clamp<int64_t>(2 * penalty_, 8, kMostAlone) : 0;
  alone_ = penalty_;
}

void ThreadPool::run_together(const llmrt_call* calls, int64_t count, Admit whom) {
  if (count == 0) return;
  calls_ = calls;
  count_ = count;
  team_.begin(whom);
  execute(0);
}

void ThreadPool::run_alone(const llmrt_call* calls, int64_t count) {
  Team nobody_else(1);
  Context context(nobody_else, 0, 1);
  for (int64_t i = 0; i < count; ++i) {
    calls[i].function(calls[i].args, context);
    context.barrier();
  }
}

void ThreadPool::work(int32_t thread) {
  while (team_.join(thread)) execute(thread);
}

void ThreadPool::execute(int32_t thread) {
  // Copies: once the last call is over the caller may set the next list, while a thread is still on its way out.
  const llmrt_call* calls = calls_;
  const int64_t count = count_;
  for (int64_t i = team_.call(); i < count; ++i) {
    Context context(team_, team_.number(thread), team_.members());
    calls[i].function(calls[i].args, context);
    team_.end_call(i + 1 == count);
  }
}

void ThreadPool::stop() {
  team_.dissolve();
  for (auto& worker : workers_) worker.join();
  workers_.clear();
}

ThreadPool::~ThreadPool() { stop(); }

}  // namespace llmrt

LLMRT_EXPORT void llmrt_run(const llmrt_call* calls, int64_t count) { llmrt::ThreadPool::instance().run(calls, count); }

LLMRT_EXPORT void llmrt_set_threads(int32_t threads) { llmrt::ThreadPool::instance().resize(threads); }
