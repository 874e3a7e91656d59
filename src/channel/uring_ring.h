// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "channel/uring_seat.h"

namespace passthroughfs {

// One io_uring that carries FUSE commands. Made by any thread, disabled; enable() binds it to the
// thread that calls it, which alone uses it from then on (IORING_SETUP_SINGLE_ISSUER) and which
// alone runs what the kernel has for it, inside submit_and_wait() (IORING_SETUP_DEFER_TASKRUN: no
// signal, no interrupt to another CPU).
//
// It must be closed by that thread, too: as long as the file of a ring is open whose thread has
// ended, requests that were on the way to it are neither served nor cancelled.
class Ring {
 public:
  // Errors: EPERM (forbidden by sysctl or a sandbox), ENOSYS (none in this kernel), EINVAL (too
  // old), ENOMEM, EMFILE.
  static Result<std::unique_ptr<Ring>> make();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // `device` is /dev/fuse; the ring keeps a reference to its file. Other errors than above: none.
  Result<void> enable(BorrowedFd device);

  // Each of these puts one submission in the queue, which is flushed when full. The next
  // submit() or submit_and_wait() sends it.
  Result<void> register_seat(Seat& seat, int qid);
  Result<void> commit_and_fetch(Seat& seat, int qid);
  // Completes when an eventfd(2) becomes readable, and has read it then.
  Result<void> read_event(BorrowedFd event);

  [[nodiscard]] bool has_submissions() const noexcept;
  Result<void> submit();
  // Sends what is queued and waits until there is a completion. EINTR is success.
  Result<void> submit_and_wait();

  struct Completion {
    Seat* seat;  // nullptr: of read_event()
    int result;  // negative: -errno
  };
  // Takes the next completion, if any.
  [[nodiscard]] bool take(Completion& out) noexcept;

 private:
  Ring() = default;
  Result<io_uring_sqe*> submission();
  Result<void> command(wire::UringCmd what, Seat& seat, int qid);

  int submit_and_wait_idle() noexcept;

  io_uring ring_{};
  bool made_ = false;
  bool registered_ = false;  // the ring's own descriptor
  std::uint64_t event_value_ = 0;
};

}  // namespace passthroughfs
