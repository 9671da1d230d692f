#include "team.h"

namespace llmrt {
namespace {

constexpr int64_t kSleeps = std::chrono::nanoseconds(kSpin).count();  // a longer wait is slept

thread_local int32_t own = 0;  // the number of this thread

}  // namespace

void Team::resize(int32_t threads) {
  seats_ = std::vector<Seat>(threads);
  taken_ = std::vector<Counter>(threads);
  cores_.resize(threads);
  is_dissolved_ = false;
}

void Team::begin(Admit whom) {
  cores_.settle(0);
  begin_ = std::chrono::steady_clock::now();
  waited_.store(0, std::memory_order_relaxed);
  call_ = 0;
  is_running_.store(true);
  choose(whom);
  admit_chosen();
  admitted_.advance();  // those who sleep are to come, though it be later
}

void Team::end_call(bool is_last) {
  const uint32_t meeting = met_.value();
  const int32_t members = members_;
  if (!arrives_last(members)) return wait_for_others(meeting);
  ++call_;
  if (is_last)
    dismiss();
  else
    choose(Admit::kReady);
  const bool has_chosen = members_ > members;
  if (members > 1) met_.advance();  // from here on the next list may have begun, unless it waits for who is chosen
  if (!has_chosen) return;
  admit_chosen();
  admitted_.advance();  // one may have begun to sleep
}

void Team::meet() {
  const uint32_t meeting = met_.value();
  if (!arrives_last(members_))
    wait_for_others(meeting);
  else if (members_ > 1)
    met_.advance();
}

bool Team::arrives_last(int32_t members) {
  if (members > 1 && arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < members) return false;
  arrived_.store(0, std::memory_order_relaxed);
  for (Counter& counter : taken_) counter.value.store(0, std::memory_order_relaxed);
  return true;
}

void Team::wait_for_others(uint32_t meeting) {
  const int64_t waited = met_.wait_past(meeting);
  if (waited > 0) waited_.fetch_add(waited, std::memory_order_relaxed);
  if (waited > kSleeps) cores_.settle(own);
}

void Team::choose(Admit whom) {
  const int32_t before = members_, threads = static_cast<int32_t>(seats_.size());
  if (before == threads) return;
  for (int32_t i = 1; i < threads; ++i) {
    Seat& seat = seats_[i];
    if (whom == Admit::kAll) seat.place.store(Place::kChosen);
    if (whom == Admit::kAll || seat.change(Place::kReady, Place::kChosen)) seat.number = members_++;
  }
  if (members_ > before) waited_.fetch_add((members_ - before) * elapsed(), std::memory_order_relaxed);
}

// They begin at once, so the meeting in which they were chosen has to be over: they would take it for their first.
void Team::admit_chosen() {
  for (Seat& seat : seats_) seat.change(Place::kChosen, Place::kMember);
}

void Team::dismiss() {
  const int32_t threads = static_cast<int32_t>(seats_.size());
  waited_.fetch_add((threads - members_) * elapsed(), std::memory_order_relaxed);
  is_running_.store(false);
  members_ = 1;
  for (int32_t i = 1; i < threads; ++i) seats_[i].change(Place::kMember, Place::kReady);
}

bool Team::join(int32_t thread) {
  own = thread;
  Seat& seat = seats_[thread];
  for (;;) {
    const uint32_t seen = admitted_.value();
    cores_.settle(thread);
    seat.change(Place::kAsleep, Place::kReady);
    if (spin([&] { return seat.place.load(std::memory_order_acquire) == Place::kMember; })) return true;
    if (is_dissolved_) return false;
    if (!is_running_.load()) seat.change(Place::kReady, Place::kAsleep);  // in a list it stays ready, though it sleeps
    admitted_.sleep_past(seen);
  }
}

void Team::dissolve() {
  is_dissolved_ = true;
  admitted_.advance();
}

int64_t Team::elapsed() const {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin_).count();
}

}  // namespace llmrt
