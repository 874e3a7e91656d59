// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "channel/channel.h"

namespace passthroughfs {

// FUSE over io_uring (Linux 6.14, docs/adr/0005-io-uring.md).
//
// The kernel has a queue per possible CPU. A request goes to that of the CPU on which its client
// runs, takes one of the entries (seats) registered there, and wakes the ring that the seat was
// last committed on. Each CPU's bound queue is one ring of one thread, pinned there: the wake-up
// never crosses CPUs, and commit, fetch and sleep are one system call. INIT, INTERRUPT, FORGET (but
// for one kind, see Seat::no_answer()) and notifications stay on /dev/fuse: open_queue(-1) reads
// it.
//
// What keeps requests from being stranded:
// - A seat whose request is not answered yet (a lock wait, or a request that was moved to another
//   thread) stays with it. When a ring has no other seat left it registers a new one.
// - The kernel hands requests that found no seat free to commits only, not to registrations. So a
//   ring sleeps only after a commit; when there is nothing to commit it makes the kernel send a
//   request that can be: NOTIFY_RETRIEVE of nothing, answered by NOTIFY_REPLY (a kick). The kick
//   has to be sent on the queue's own CPU, which is why the threads must be pinned, and to be about
//   some open regular file (Linux 6.18 refuses others, directories included).
// - A thread that waits in a call holds up its CPU's requests. Who may wait long is asked not to
//   (Channel::bound_cpus); for waits that nobody expects a second queue can be opened for the CPU.

// Everything that can fail before INIT is answered, made beforehand: once INIT says that rings
// come, nothing but a failing registration brings the kernel back to /dev/fuse.
class UringPlan {
 public:
  virtual ~UringPlan() = default;

 protected:
  UringPlan() = default;
};

// Why this process could not use FUSE over io_uring on this machine, in words for the user; empty:
// nothing speaks against it.
[[nodiscard]] std::string uring_obstacle();

// Makes a ring per CPU. nullptr: `why` is the obstacle, one phrase.
std::unique_ptr<UringPlan> plan_uring(std::string& why);

// What a mount with this max_write has to answer as max_pages to INIT (in pages of 4 KiB): room for
// the largest extended attribute in every buffer.
[[nodiscard]] std::uint32_t uring_max_pages(std::size_t max_write) noexcept;

// After INIT has been answered with FUSE_OVER_IO_URING. `device` is a descriptor of the connection
// that `rest` reads. `max_write` is that of the INIT answer.
std::unique_ptr<Channel> make_uring_channel(std::unique_ptr<UringPlan> plan,
                                            std::unique_ptr<Channel> rest, UniqueFd device,
                                            std::size_t max_write);

}  // namespace passthroughfs
