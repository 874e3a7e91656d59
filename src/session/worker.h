// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "channel/channel.h"
#include "ops/context.h"
#include "session/following.h"
#include "session/request_in_hand.h"
#include "session/scheduling.h"
#include "session/statistics.h"
#include "table/ledger.h"

namespace passthroughfs {

class WorkerPool;

// Who serves what, see WorkerPool.
enum class Role : std::uint8_t {
  reader,  // of a queue that any thread can read
  bound,   // of a CPU's own queue; must not wait
  helper,  // of no queue: serves what bound workers may not
};

// One serving thread with its queue. Lives until the pool ends. Other threads read the atomics.
class alignas(64) Worker final : public ServingThread, public wire::AnswerObserver {
 public:
  enum class State : int {  // waited for, so that it is what a futex is
    parked,                 // without work
    reading,                // waits for a request
    serving,
    blocked,  // serving, and has announced that it may wait long
    ended,    // will never serve again
  };

  // `queue`: nullptr for a helper.
  // `ledger`: what it has in hand is noted there; nullptr: nowhere.
  Worker(WorkerPool& pool, Role role, std::unique_ptr<Queue> queue, int cpu,
         Ledger* ledger) noexcept
      : pool_(pool), role_(role), queue_(std::move(queue)), cpu_(cpu), ledger_(ledger) {}

  [[nodiscard]] bool begin_blocking() noexcept override;
  void end_blocking() noexcept override;
  [[nodiscard]] bool interrupted() const noexcept override;
  void move_elsewhere(wire::Reply reply) noexcept override { moved_ = std::move(reply); }

  void answered(std::uint64_t unique, int error, std::size_t bytes,
                std::span<const ByteSpan> parts) noexcept override;

  // Serves one request: finds its operation, measures, and answers what nobody else does. `begin`:
  // when a bound worker took it up that had to pass it on; 0: now.
  void serve(Incoming& incoming, std::uint64_t begin = 0) noexcept;

  // INTERRUPT, from another thread: true if this worker is serving that request now.
  bool mark_interrupted(std::uint64_t unique) noexcept;

  // From another thread: the number of the request that has been in hand since before
  // `begun_before` (monotonic_ns()); 0: there is none.
  [[nodiscard]] std::uint64_t has_long_in_hand(std::uint64_t begun_before) const noexcept;
  // A copy of that request; false: it is done. std::bad_alloc.
  bool copy_request(std::uint64_t unique, RequestInHand& copy);

  [[nodiscard]] State state() const noexcept { return state_.load(); }
  void set_state(State state) noexcept { state_.store(state); }
  // Makes a parked worker read; true for one caller only.
  bool claim() noexcept {
    State expected = State::parked;
    if (!state_.compare_exchange_strong(expected, State::reading)) return false;
    state_.notify_one();
    return true;
  }
  // Called by its thread.
  void wait_while_parked() const noexcept { state_.wait(State::parked); }
  [[nodiscard]] const ThreadStatistics& statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::uint64_t served() const noexcept {
    return served_.load(std::memory_order_relaxed);
  }
  // Serves, and waits in a call: not for a CPU, which another thread would not get sooner.
  [[nodiscard]] bool stuck() const noexcept {
    const State now = state();
    return now == State::blocked || (now == State::serving && !is_runnable(tid_.load()));
  }
  // Called by its thread.
  void begin_thread() noexcept { tid_.store(::gettid()); }
  [[nodiscard]] pid_t tid() const noexcept { return tid_.load(); }
  [[nodiscard]] Role role() const noexcept { return role_; }
  [[nodiscard]] Queue& queue() noexcept { return *queue_; }
  [[nodiscard]] Ledger* ledger() const noexcept { return ledger_; }
  // Whether its client seems to run elsewhere, see ClientAway. By its thread.
  [[nodiscard]] bool client_away() noexcept { return client_away_.suspects(last_end_); }
  void looked_for_client(bool gone) noexcept { client_away_.found(gone, last_end_); }
  [[nodiscard]] RecentClients& recent_clients() noexcept { return recent_clients_; }
  // Where it is pinned while every reader is at home; -1: nowhere.
  [[nodiscard]] int cpu() const noexcept { return cpu_; }

  std::thread thread;
  std::uint64_t served_at_last_look = 0;    // the monitor's
  std::uint64_t served_when_scheduled = 0;  // the scheduler's
  static constexpr int kUnknown = -2;
  std::atomic<int> placed_at{-1};       // where it was pinned last; -1: nowhere
  std::optional<GivingWay> giving_way;  // of a bound worker; constant once it runs

 private:
  void dispatch(const wire::Request& request, wire::Reply reply, MutableByteSpan buffer);
  bool open_ledger(Incoming& incoming) noexcept;
  bool take_over(Incoming& incoming, std::uint64_t unique) noexcept;
  void note_answer(int error, std::size_t bytes, std::span<const ByteSpan> parts) noexcept;

  WorkerPool& pool_;
  const Role role_;
  const std::unique_ptr<Queue> queue_;
  const int cpu_;
  Ledger* const ledger_;
  Repeat repeat_;                       // of the request being served; this thread's
  bool must_note_ = false;              // its answer must not be made twice; this thread's
  Ledger* earlier_ = nullptr;           // which it goes on from
  std::unique_lock<std::mutex> alone_;  // see Recovery::suspects()
  std::atomic<State> state_{State::parked};
  std::atomic<pid_t> tid_{0};
  std::atomic<std::uint64_t> current_{0};      // unique of the request being served
  RequestRecord record_;                       // of that request
  pid_t client_ = 0;                           // who sent it; this thread's
  std::atomic<std::uint64_t> interrupted_{1};  // uniques are even, so 1 matches none
  std::atomic<int> error_{0};                  // answered to the current request
  std::atomic<std::uint64_t> served_{0};
  wire::Reply moved_;  // of a request that goes elsewhere
  ThreadStatistics statistics_;
  RecentClients recent_clients_;
  ClientAway client_away_;
  std::uint64_t last_end_ = 0;  // when it was done with a request
};

}  // namespace passthroughfs
