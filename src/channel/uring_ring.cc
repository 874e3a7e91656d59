// SPDX-License-Identifier: Apache-2.0
#include "channel/uring_ring.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace passthroughfs {
namespace {

// Submissions are a handful at a time. Completions never outnumber the seats of a ring, and should
// they outgrow this the kernel keeps them until there is room.
constexpr unsigned kSubmissions = 16;
constexpr unsigned kCompletions = 256;

constexpr int kDeviceIndex = 0;  // among the registered files

// Linux 6.15; not in liburing 2.3. A thread that waits with this flag is idle, not "waiting for
// input or output": without it tools show a CPU with an idle mount as 100 % iowait.
constexpr unsigned kFeatureNoIowait = 1U << 17;
constexpr unsigned kEnterNoIowait = 1U << 7;

// No memory just now, or completions that wait to be taken. What is queued stays queued.
constexpr bool is_passing(int error) noexcept { return error == -EAGAIN || error == -EBUSY; }
constexpr int kMostAttempts = 5000;

void nap() noexcept {
  const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
  (void)::nanosleep(&pause, nullptr);
}

}  // namespace

Result<std::unique_ptr<Ring>> Ring::make() {
  auto ring = std::unique_ptr<Ring>(new Ring);
  io_uring_params params{};
  params.flags = IORING_SETUP_SQE128 | IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
                 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
  params.cq_entries = kCompletions;
  const int made = ::io_uring_queue_init_params(kSubmissions, &ring->ring_, &params);
  if (made < 0) return Err(-made);
  ring->made_ = true;
  // What liburing writes there, too; wait_idle() does not go through it.
  for (unsigned i = 0; i < ring->ring_.sq.ring_entries; ++i) ring->ring_.sq.array[i] = i;
  return ring;
}

Ring::~Ring() {
  if (made_) ::io_uring_queue_exit(&ring_);
}

Result<void> Ring::enable(BorrowedFd device) {
  // Before: registering files in a disabled ring is allowed, and afterwards the thread is fixed.
  const int file = device.get();
  int done = ::io_uring_register_files(&ring_, &file, 1);
  if (done < 0) return Err(-done);
  // liburing's own call for this is not in the shared library of Debian 12.
  TRY(check(
      ::syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0)));
  // Saves looking the ring's descriptor up in each call; works without.
  registered_ = ::io_uring_register_ring_fd(&ring_) == 1;
  return ok();
}

Result<io_uring_sqe*> Ring::submission() {
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  if (sqe == nullptr) {
    TRY(submit());
    sqe = ::io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return Err(EBUSY);
  }
  // All 128 bytes.
  std::memset(static_cast<void*>(sqe), 0, 2 * sizeof *sqe);
  return sqe;
}

Result<void> Ring::command(wire::UringCmd what, Seat& seat, int qid) {
  io_uring_sqe* const sqe = TRY(submission());
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = kDeviceIndex;
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->cmd_op = static_cast<std::uint32_t>(what);
  sqe->user_data = reinterpret_cast<std::uintptr_t>(&seat);
  if (what == wire::UringCmd::register_entry) {
    sqe->addr = reinterpret_cast<std::uintptr_t>(seat.buffers().data());
    sqe->len = static_cast<std::uint32_t>(seat.buffers().size());
  }
  wire::UringCmdReq request{};
  request.commit_id = what == wire::UringCmd::commit_and_fetch ? seat.commit_id() : 0;
  request.qid = static_cast<std::uint16_t>(qid);
  std::memcpy(static_cast<void*>(sqe->cmd), &request, sizeof request);
  return ok();
}

Result<void> Ring::register_seat(Seat& seat, int qid) {
  return command(wire::UringCmd::register_entry, seat, qid);
}

Result<void> Ring::commit_and_fetch(Seat& seat, int qid) {
  return command(wire::UringCmd::commit_and_fetch, seat, qid);
}

Result<void> Ring::read_event(BorrowedFd event) {
  io_uring_sqe* const sqe = TRY(submission());
  ::io_uring_prep_read(sqe, event.get(), &event_value_, sizeof event_value_, 0);
  sqe->user_data = 0;
  return ok();
}

bool Ring::has_submissions() const noexcept { return ::io_uring_sq_ready(&ring_) != 0; }

Result<void> Ring::submit() {
  for (int attempt = 0; has_submissions(); ++attempt) {
    const int done = ::io_uring_submit(&ring_);
    if (done >= 0 || done == -EINTR) continue;
    if (!is_passing(done) || attempt >= kMostAttempts) return Err(-done);
    nap();
  }
  return ok();
}

// io_uring_submit_and_wait() with the flag that it cannot be given.
int Ring::submit_and_wait_idle() noexcept {
  io_uring_sq& sq = ring_.sq;
  sq.sqe_head = sq.sqe_tail;
  io_uring_smp_store_release(sq.ktail, sq.sqe_tail);
  const unsigned flags =
      IORING_ENTER_GETEVENTS | kEnterNoIowait | (registered_ ? IORING_ENTER_REGISTERED_RING : 0U);
  const long done =
      ::syscall(SYS_io_uring_enter, ring_.enter_ring_fd,
                sq.sqe_tail - io_uring_smp_load_acquire(sq.khead), 1U, flags, nullptr, 0UL);
  return done < 0 ? -errno : static_cast<int>(done);
}

Result<void> Ring::submit_and_wait() {
  const bool can_be_idle = (ring_.features & kFeatureNoIowait) != 0;
  const int done = can_be_idle ? submit_and_wait_idle() : ::io_uring_submit_and_wait(&ring_, 1);
  if (done >= 0 || done == -EINTR) return ok();
  if (!is_passing(done)) return Err(-done);
  nap();  // the caller comes back
  return ok();
}

bool Ring::take(Completion& out) noexcept {
  io_uring_cqe* cqe = nullptr;
  if (::io_uring_peek_cqe(&ring_, &cqe) != 0 || cqe == nullptr) return false;
  out = {static_cast<Seat*>(::io_uring_cqe_get_data(cqe)), cqe->res};
  ::io_uring_cqe_seen(&ring_, cqe);
  return true;
}

}  // namespace passthroughfs
