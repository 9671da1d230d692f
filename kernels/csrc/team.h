// The threads that run a list of calls together. Its members enter every call and meet at its end. There, a thread that
// came late becomes a member too: while another process has its core, nothing is left to it that others must wait for.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "cores.h"
#include "waiting.h"

namespace llmrt {

enum class Admit { kAll, kReady };

class Team {
 public:
  explicit Team(int32_t threads) { resize(threads); }
  // By the caller of lists, thread 0, which is always a member. No other thread may be inside.
  void resize(int32_t threads);

  // By thread 0: a list begins. All threads are members, or those that are ready now, and others as they come.
  void begin(Admit whom);
  // By every member, behind each call.
  void end_call(bool is_last);
  // By every member, within a call, for everything before it to be visible to all after it.
  void meet();
  // The next of the numbers of a member's part that all of them take since they met.
  int64_t take(int32_t part, int64_t count) { return taken_[part].value.fetch_add(count, std::memory_order_relaxed); }

  // By another thread: returns when it is a member, or false when the team is dissolved.
  bool join(int32_t thread);
  void dissolve();

  // Of the call that a member is in.
  int64_t call() const { return call_; }
  int32_t members() const { return members_; }
  int32_t number(int32_t thread) const { return seats_[thread].number; }

  // Nanoseconds that all threads together have waited, or were no members, since the list began.
  int64_t waited() const { return waited_.load(std::memory_order_relaxed); }

 private:
  // A thread that is ready is chosen, and a member once the number of members is known.
  enum class Place : int32_t { kAsleep, kReady, kChosen, kMember };

  struct alignas(64) Seat {
    bool change(Place from, Place to) { return place.compare_exchange_strong(from, to); }

    std::atomic<Place> place{Place::kAsleep};
    int32_t number = 0;  // among the members
  };

  struct alignas(64) Counter {
    std::atomic<int64_t> value{0};
  };

  bool arrives_last(int32_t members);
  void wait_for_others(uint32_t meeting);
  void choose(Admit whom);
  void admit_chosen();
  void dismiss();
  int64_t elapsed() const;

  std::vector<Seat> seats_;
  std::vector<Counter> taken_;
  Cores cores_;
  std::chrono::steady_clock::time_point begin_;
  int64_t call_ = 0;
  int32_t members_ = 1;
  std::atomic<bool> is_running_{false};
  std::atomic<bool> is_dissolved_{false};
  Signal admitted_;
  Signal met_;
  alignas(64) std::atomic<int32_t> arrived_{0};
  alignas(64) std::atomic<int64_t> waited_{0};
};

}  // namespace llmrt
