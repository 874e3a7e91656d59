// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "channel/channel.h"
#include "ops/context.h"
#include "session/statistics.h"

namespace passthroughfs {

class WorkerPool;

// One serving thread with its queue. Lives until the pool ends, because parked replies answer
// through it. Other threads read the atomics, and answer parked requests with send().
class alignas(64) Worker final : public ServingThread, public wire::ReplySink {
 public:
  enum class State : std::uint8_t {
    parked,   // overflow thread without work
    reading,  // waits for a request
    serving,
    blocked,  // serving, and has announced that it may wait long
  };

  Worker(WorkerPool& pool, std::unique_ptr<Queue> queue, int cpu) noexcept
      : pool_(pool), queue_(std::move(queue)), cpu_(cpu) {}

  void begin_blocking() noexcept override;
  void end_blocking() noexcept override;
  [[nodiscard]] bool interrupted() const noexcept override {
    return interrupted_.load() == current_.load();
  }

  Result<void> send(std::uint64_t unique, int error, std::span<const ByteSpan> parts) override;

  // Serves one request: finds its operation, measures, and answers what nobody else does.
  void serve(Incoming& incoming) noexcept;

  // INTERRUPT, from another thread: true if this worker is serving that request now.
  bool mark_interrupted(std::uint64_t unique) noexcept;

  [[nodiscard]] State state() const noexcept { return state_.load(); }
  void set_state(State state) noexcept { state_.store(state); }
  [[nodiscard]] const ThreadStatistics& statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::uint64_t served() const noexcept {
    return served_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] Queue& queue() noexcept { return *queue_; }
  // Where it is pinned; -1: an overflow thread.
  [[nodiscard]] int cpu() const noexcept { return cpu_; }

  std::thread thread;

 private:
  void dispatch(const wire::Request& request, wire::Reply reply);

  WorkerPool& pool_;
  const std::unique_ptr<Queue> queue_;
  const int cpu_;
  std::atomic<State> state_{State::parked};
  std::atomic<std::uint64_t> current_{0};      // unique of the request being served
  std::atomic<std::uint64_t> interrupted_{1};  // uniques are even, so 1 matches none
  std::atomic<int> error_{0};                  // answered to the current request
  std::atomic<std::uint64_t> served_{0};
  ThreadStatistics statistics_;
};

}  // namespace passthroughfs
