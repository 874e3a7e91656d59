// SPDX-License-Identifier: Apache-2.0
//
// One reader of /dev/fuse, on the CPU of the client that it serves. What it brings is measured in
// docs/performance.md, "Who runs when"; why it is so, docs/adr/0009.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "wire/requests.h"

namespace passthroughfs {

// Whose requests a thread has served since somebody looked. One thread notes, another one takes; a
// request that is counted wrongly while they do so at the same time does no harm.
class RecentClients {
 public:
  struct Counts {
    std::uint64_t all = 0;   // requests that name a client
    pid_t main = 0;          // the client that sent the most, a thread; 0: there is none
    std::uint64_t most = 0;  // how many
    std::uint64_t data = 0;  // READ and WRITE, which are not in `all`
    // Adds what another thread has served.
    void add(const Counts& other) noexcept;
  };

  void note(const wire::InHeader& header) noexcept;
  Counts take() noexcept;

 private:
  // By the number of a client: how often, and who did so last. Who meets another one in a slot
  // starts anew.
  static constexpr std::size_t kSlots = 8;
  struct Slot {
    std::atomic<std::uint32_t> client{0}, count{0};
  };
  std::array<Slot, kSlots> slots_;
  std::atomic<std::uint64_t> all_{0}, data_{0};
  std::uint64_t all_taken_ = 0, data_taken_ = 0;  // of who takes
};

// Whether the client of a thread that gives way to it seems to have left the thread's CPU: the
// kernel's load balancer takes it away every other moment, because there is an idle CPU and this
// one has two to run. An answer to a client on the same CPU lets the client run at once, inside the
// call that answers, and the next request is there when the thread goes on; if it is not, time
// after time, the client runs elsewhere. Costs no system call. Of one thread.
class ClientAway {
 public:
  // For how long the thread waited for a request.
  void waited(std::uint64_t nanoseconds) noexcept {
    // A RELEASE is there at once wherever the client is, so a few do not prove that it is here.
    if (nanoseconds > kSlept) {
      ++times_;
    } else if (times_ > 0) {
      --times_;
    }
  }
  // True: it is time to look where the client is, and to tell found().
  [[nodiscard]] bool suspects(std::uint64_t now) noexcept {
    if (times_ < kTimes || now < not_before_) return false;
    times_ = 0;
    return true;
  }
  // A client that has gone may go again soon. One that was there computes between its requests, and
  // would be looked for in vain time after time.
  void found(bool gone, std::uint64_t now) noexcept {
    pause_ = gone ? kShortestPause : std::min(2 * pause_, kLongestPause);
    not_before_ = now + pause_;
  }

 private:
  // In nanoseconds.
  static constexpr std::uint64_t kSlept = 5'000;
  static constexpr std::uint64_t kShortestPause = 125'000, kLongestPause = 8'000'000;
  static constexpr unsigned kTimes = 3;
  unsigned times_ = 0;
  std::uint64_t pause_ = kShortestPause, not_before_ = 0;
};

// The CPU on which a thread of any process runs, or ran last. nullopt: gone, or not to be seen.
[[nodiscard]] std::optional<int> cpu_of(pid_t thread) noexcept;

// Whether all readers of /dev/fuse wait for requests, each on a CPU of its own, or one of them
// waits on the CPU of its client, and the others are parked.
//
// The kernel wakes the reader that has waited longest, wherever it is: with one per CPU, each
// request of a single client wakes a thread on a CPU that has nothing to do with it, at the price
// of an interrupt to a halted CPU, and half of them (or more) are answered over there. One reader
// beside its client costs what a ring of io_uring costs. But it cannot serve two CPUs at a time, so
// it is for a client that sends nearly all requests, and one at a time: READ and WRITE may be many
// at once (read-ahead, write-back).
//
// For one thread.
class Following {
 public:
  using Clock = std::chrono::steady_clock;

  struct Seen {
    RecentClients::Counts clients;
    std::uint64_t requests = 0;   // all that were served
    bool burst = false;           // thick and fast, see is_burst()
    std::uint64_t handovers = 0;  // how often a thread began to wait, and another one had to read
    // Whether an answer leaves the client where it is: the thread that answers is SCHED_IDLE, or
    // there is no idle CPU for the client to go to. Else the two would chase each other.
    bool stays = false;
  };

  // `cpus`: where readers may be. Never follows if the numbers of clients are not those in /proc.
  explicit Following(std::vector<int> cpus);

  // Thread-safe.
  [[nodiscard]] bool usable(int cpu) const noexcept;

  // Whether one client sent nearly all requests, and many: seen.stays does not matter.
  [[nodiscard]] bool has_one_client(const Seen& seen) const noexcept;

  // One tick. Where the one reader is to be; -1: all of them, each at home.
  int look(const Seen& seen, Clock::time_point now) noexcept;

  // For tests: the same with what look() would have found out about seen.clients.main.
  int decide(const Seen& seen, std::optional<int> cpu, Clock::time_point now) noexcept;

 private:
  const std::vector<int> cpus_;
  const bool enabled_;
  int cpu_ = -1;
  int ticks_ = 0, bad_ticks_ = 0;  // in a row that one client was seen, or was not
  Clock::time_point not_before_{};
};

}  // namespace passthroughfs
