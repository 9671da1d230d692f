// A pool whose threads run one list of calls together. A tape, whose calls are short, is begun with the threads that are
// there, and run by the caller alone while the threads together get less done than one would: when another process has
// the cores, the threads of this one are seldom there at the same time, and most of it is waiting.
#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "llmrt_cpu.h"
#include "team.h"

namespace llmrt {

// What a kernel sees of the pool: it is thread `thread` of the `threads` that run this call.
class Context {
 public:
  Context(Team& team, int32_t thread, int32_t threads) : thread(thread), threads(threads), team_(team) {}

  // Every thread must call it, for everything before it to be visible to all after it.
  void barrier() { team_.meet(); }

  // Work that costs the same everywhere: each thread has a part of [0, total), so that it reads one stretch of memory.
  // Seven eighths are its own; the rest it takes `grain` at a time, as others do who are done before.
  template <class Body>
  void share(int64_t total, int64_t grain, Body body) {
    const int64_t grains = (total + grain - 1) / grain, part = (grains + threads - 1) / threads * grain;
    const int64_t own = std::max(grain, part * 7 / 8 / grain * grain);
    if (thread * part < total) body(thread * part, std::min(total, thread * part + own));
    for (int32_t i = 0; i < threads; ++i) {
      const int32_t whose = (thread + i) % threads;
      const int64_t rest = whose * part + own, end = std::min(total, (whose + 1) * part);
      for (int64_t at = rest + team_.take(whose, grain); at < end; at = rest + team_.take(whose, grain))
        body(at, std::min(end, at + grain));
    }
  }

  // Work whose parts differ: calls body(i) for each i below `total`, in order, whoever is free.
  template <class Body>
  void deal(int64_t total, Body body) {
    for (int64_t i = team_.take(0, 1); i < total; i = team_.take(0, 1)) body(i);
  }

  const int32_t thread;
  const int32_t threads;

 private:
  Team& team_;
};

class ThreadPool {
 public:
  static ThreadPool& instance();
  void resize(int32_t threads);
  void run(const llmrt_call* calls, int64_t count);
  ~ThreadPool();

 private:
  void work(int32_t thread);
  void run_tape(const llmrt_call* calls, int64_t count);
  void run_together(const llmrt_call* calls, int64_t count, Admit whom);
  void run_alone(const llmrt_call* calls, int64_t count);
  void execute(int32_t thread);
  void stop();

  Team team_{1};
  std::vector<std::thread> workers_;
  const llmrt_call* calls_ = nullptr;
  int64_t count_ = 0;
  int64_t alone_ = 0;    // tapes that the caller is to run alone
  int64_t penalty_ = 0;  // how many it was the last time
};

}  // namespace llmrt
