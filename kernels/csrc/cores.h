// Which core each thread of the pool was last seen on, and how two of them part. The system may wake a thread on the
// core of the one that wakes it although another core is idle; then they take turns there from barrier to barrier.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace llmrt {

class Cores {
 public:
  void resize(int32_t threads);
  // To be called by `thread` where it may have come to another core: it leaves one that another thread is on.
  void settle(int32_t thread);

 private:
  void leave(int32_t thread) const;

  std::vector<std::atomic<int32_t>> seen_;
};

}  // namespace llmrt
