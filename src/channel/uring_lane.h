// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/eventfd.h>

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "channel/channel.h"
#include "channel/uring_ring.h"
#include "channel/uring_seat.h"

namespace passthroughfs {

class UringQueue;

// One of the kernel's ring queues: what its rings share. Thread-safe.
class Lane final : public SeatOwner {
 public:
  // `rest`: sends notifications. `payload`: bytes per seat.
  Lane(Channel& rest, int cpu, std::size_t payload) noexcept
      : rest_(rest), cpu_(cpu), payload_(payload) {}

  // Of an answer given by the lane's own threads nothing is shared; others are mail, which the next
  // thread of the lane takes along, and for which a sleeping one is woken.
  Result<void> answered(Seat& seat) override;

  // A seat of this lane, owned by it. Errors: ENOMEM.
  Result<Seat*> add_seat();
  // Whether there are other queues of the lane.
  bool add_queue(UringQueue& queue);
  void remove_queue(UringQueue& queue) noexcept;
  void wake_all() noexcept;

  [[nodiscard]] bool has_mail() const noexcept { return has_mail_.load(); }
  void take_mail(std::vector<Seat*>& out);
  // Makes the kernel send a request to this lane, if the calling thread runs on its CPU. It has to
  // be about a regular file, and one that the kernel is not just giving up: it would wait for that,
  // and that may wait for requests of this very lane. `likely`: the node of a request that has not
  // been answered; if that is no file it is any open one. False: there was none.
  bool kick(std::uint64_t likely) noexcept;
  // Before the queues attach.
  void set_file_finder(Channel::FileFinder finder, void* context) noexcept {
    file_finder_ = finder;
    finder_context_ = context;
  }
  [[nodiscard]] int cpu() const noexcept { return cpu_; }
  [[nodiscard]] std::size_t seats() const;

 private:
  Channel& rest_;
  const int cpu_;
  const std::size_t payload_;
  Channel::FileFinder file_finder_ = nullptr;
  void* finder_context_ = nullptr;
  std::atomic<bool> has_mail_{false};
  mutable Mutex mutex_;
  std::vector<Seat*> mail_ PFS_GUARDED_BY(mutex_);
  std::vector<UringQueue*> queues_ PFS_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Seat>> seats_ PFS_GUARDED_BY(mutex_);
};

// The number of the request that a kick makes the kernel send: no request of a client has it, and
// no other kick (two of the same number would be mistaken for each other at the commit).
[[nodiscard]] std::uint64_t next_kick_number() noexcept;
[[nodiscard]] bool is_kick(const wire::InHeader& header) noexcept;

// A lane's ring with its thread.
class UringQueue final : public Queue {
 public:
  // `stop` ends next(); it and `device` outlive the queue.
  UringQueue(Lane& lane, std::unique_ptr<Ring> ring, UniqueFd event, BorrowedFd device,
             const std::atomic<bool>& stop) noexcept
      : lane_(lane),
        stop_(stop),
        device_(device.get()),
        event_(std::move(event)),
        ring_(std::move(ring)) {}
  ~UringQueue() override { detach(); }
  UringQueue(const UringQueue&) = delete;
  UringQueue& operator=(const UringQueue&) = delete;

  Result<void> attach() override;
  Result<std::optional<Incoming>> next() override;
  void detach() noexcept override;

  // The queue of the calling thread, if it has one of that lane.
  static UringQueue* of_this_thread(const Lane& lane) noexcept;
  // Only by the queue's own thread.
  void commit_later(Seat& seat) { to_commit_.push_back(&seat); }
  // By any thread: makes next() look at mail and the stop flag, if it sleeps or is about to.
  bool wake_if_asleep() noexcept;
  void wake() noexcept;

 private:
  Result<void> register_one();
  Result<void> commit_answers();
  Result<void> prepare_to_sleep();
  Result<void> sleep();
  void reap();
  void settle(const Ring::Completion& completion);
  std::optional<Incoming> lend(Seat& seat);

  Lane& lane_;
  const std::atomic<bool>& stop_;
  const int device_;
  const UniqueFd event_;
  std::unique_ptr<Ring> ring_;
  std::vector<Seat*> to_commit_;  // answered
  std::deque<Seat*> ready_;       // with requests
  std::size_t armed_ = 0;         // the kernel's, on this ring
  // Something may wait in the kernel for a commit that is not under way.
  bool unfetched_ = false;
  bool lent_ = false;            // a request since the last commit
  std::uint64_t lent_node_ = 0;  // what it was about
  bool event_armed_ = false;
  bool starved_ = false;  // could not register a seat
  bool ended_ = false;
  bool attached_ = false;
  std::atomic<bool> asleep_{false};
};

}  // namespace passthroughfs
