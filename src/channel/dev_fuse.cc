// SPDX-License-Identifier: Apache-2.0
#include "channel/dev_fuse.h"

#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <ctime>
#include <mutex>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "channel/file_pipe.h"
#include "channel/pages.h"
#include "channel/sendable_errno.h"
#include "wire/opcode.h"

namespace passthroughfs {
namespace {

constexpr unsigned long kBackingOpen = _IOW(229, 1, wire::BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, std::uint32_t);

// What precedes the data of a WRITE.
constexpr std::size_t kWritePrefix = sizeof(wire::InHeader) + sizeof(wire::WriteIn);
static_assert(kWritePrefix % 16 == 0);

// SETXATTR carries up to 64 KiB whatever max_write is; the kernel answers it E2BIG by itself when
// the reader's buffer is too small.
constexpr std::size_t kSmallestData = std::size_t{80} * 1024;

// Bytes, see open_queue().
constexpr std::size_t kPresentRoom = std::size_t{160} * 1024;

// So many reads in a row, see DevFuseQueue::read_message().
constexpr int kMostAborted = 64;

// Of 1 ms each. All but the first one or two are for a thread that a debugger has stopped, say.
constexpr int kWakeAttempts = 10'000;

// One message: the header, then the parts. A positive `error` field is a notification code.
Result<void> write_message(BorrowedFd device, wire::OutHeader header,
                           std::span<const ByteSpan> parts) noexcept {
  std::array<iovec, wire::ReplySink::kMaxParts + 1> iov;
  if (parts.size() >= iov.size()) return Err(EINVAL);
  std::size_t total = sizeof header;
  int count = 1;
  for (const ByteSpan part : parts) {
    total += part.size();
    // The kernel only reads from here; iovec serves both directions.
    iov[static_cast<std::size_t>(count++)] = {const_cast<std::byte*>(part.data()), part.size()};
  }
  if (total > UINT32_MAX) return Err(EINVAL);
  header.len = static_cast<std::uint32_t>(total);
  iov[0] = {&header, sizeof header};
  for (;;) {
    if (::writev(device.get(), iov.data(), count) >= 0) return ok();
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET) return Err(ENODEV);  // the far end of a socket
    return Errno::last();
  }
}

bool has_no_answer(std::uint32_t opcode) noexcept {
  const auto op = static_cast<wire::Opcode>(opcode);
  return op == wire::Opcode::forget || op == wire::Opcode::batch_forget;
}

class DevFuseQueue;

class DevFuseChannel final : public Channel {
 public:
  DevFuseChannel(UniqueFd device, std::size_t max_write)
      : device_(std::move(device)), max_write_(max_write) {
    struct stat st {};
    splices_ = ::fstat(device_.get(), &st) == 0 && S_ISCHR(st.st_mode);
  }

  using Channel::open_queue;
  Result<std::unique_ptr<Queue>> open_queue(int cpu, MutableByteSpan room) override;
  Result<void> notify(wire::Notify code, std::span<const ByteSpan> parts) override;
  Result<std::int32_t> open_backing(BorrowedFd fd) override;
  Result<void> close_backing(std::int32_t id) override;
  void wake_all() noexcept override;
  [[nodiscard]] bool has_waiting() noexcept override {
    pollfd wanted{.fd = device_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&wanted, 1, 0) == 1 && (wanted.revents & POLLIN) != 0;
  }
  [[nodiscard]] int descriptor() const noexcept override { return device_.get(); }
  [[nodiscard]] const char* name() const noexcept override { return "dev"; }

 private:
  friend class DevFuseQueue;

  const UniqueFd device_;
  const std::size_t max_write_;
  bool splices_;  // what is spliced in one call is one message: not so on a socket
  std::atomic<bool> stop_{false};
  LogRateLimit malformed_log_{2};

  // Held while threads are signalled, see DevFuseQueue::leave_read().
  Mutex mutex_;
  std::vector<DevFuseQueue*> queues_ PFS_GUARDED_BY(mutex_);
};

class DevFuseQueue final : public Queue, public wire::ReplySink {
 public:
  // `room`: as request_room() says; empty: the first so many bytes of `pages`. `splices`: whether
  // it may have a pipe.
  DevFuseQueue(DevFuseChannel& channel, Pages pages, MutableByteSpan room, std::size_t room_size,
               bool splices)
      : channel_(channel),
        pages_(std::move(pages)),
        request_((room.empty() ? pages_.bytes() : room)
                     .first(room_size)
                     .subspan(page_size() - kWritePrefix)),
        reply_(room.empty() ? pages_.bytes().subspan(room_size) : pages_.bytes()) {
    if (splices) pipe_.emplace(sizeof(wire::OutHeader) + channel.max_write_);
    const MutexLock lock(channel_.mutex_);
    channel_.queues_.push_back(this);
  }
  ~DevFuseQueue() override {
    const MutexLock lock(channel_.mutex_);
    std::erase(channel_.queues_, this);
  }
  DevFuseQueue(const DevFuseQueue&) = delete;
  DevFuseQueue& operator=(const DevFuseQueue&) = delete;

  Result<std::optional<Incoming>> next() override;
  Result<void> send(std::uint64_t unique, int error, std::span<const ByteSpan> parts) override;
  Result<void> send_file(std::uint64_t unique, BorrowedFd file, std::uint64_t offset,
                         std::size_t size) override;
  [[nodiscard]] bool sends_files() const noexcept override { return pipe_.has_value(); }

  // For wake_all(), with the channel's mutex held.
  [[nodiscard]] bool reading() const noexcept { return reading_.load(); }
  void interrupt() const noexcept { (void)::pthread_kill(reader_.load(), wake_signal()); }

 private:
  [[nodiscard]] bool enter_read() noexcept;
  void leave_read() noexcept;
  Result<ByteSpan> read_message() noexcept;
  void refuse(ByteSpan bytes, Errno error);

  DevFuseChannel& channel_;
  const Pages pages_;
  const MutableByteSpan request_;
  const MutableByteSpan reply_;
  std::optional<FilePipe> pipe_;
  std::atomic<pthread_t> reader_{};  // valid while reading_
  std::atomic<bool> reading_{false};
};

// ---- waking ------------------------------------------------------------------------------------
//
// reading_ and stop_ are each written by one side and then read by the other, all sequentially
// consistent: either the reader sees stop_ and does not read, or wake_all() sees reading_ and
// signals. A signal that arrives between that check and read(2) is lost, so wake_all() repeats it
// until reading_ is false.

// False when the channel is stopping; then nothing was entered.
bool DevFuseQueue::enter_read() noexcept {
  // Sessions block signals in their workers; this one must come through.
  thread_local bool unblocked = false;
  if (!unblocked) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, wake_signal());
    (void)pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    unblocked = true;
  }
  reader_.store(pthread_self(), std::memory_order_relaxed);
  reading_.store(true);
  if (!channel_.stop_.load()) return true;
  leave_read();
  return false;
}

// Returns only when wake_all() is done with this thread's id: a thread that ended meanwhile must
// not be signalled.
void DevFuseQueue::leave_read() noexcept {
  reading_.store(false);
  if (channel_.stop_.load()) {
    const MutexLock wait_for_waker(channel_.mutex_);
  }
}

void DevFuseChannel::wake_all() noexcept {
  stop_.store(true);
  const MutexLock lock(mutex_);
  for (int attempt = 0; attempt < kWakeAttempts; ++attempt) {
    bool all_left = true;
    for (const DevFuseQueue* queue : queues_) {
      if (!queue->reading()) continue;
      all_left = false;
      queue->interrupt();
    }
    if (all_left) return;
    const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
    (void)nanosleep(&pause, nullptr);
  }
}

// ---- requests and answers ----------------------------------------------------------------------

// EINTR: stopping. ENODEV: unmounted. ECONNABORTED: aborted.
//
// The kernel says ECONNABORTED as well for a request that was being taken (a RELEASE that nobody
// waits for) when an unmount ended the connection. What is said once nothing is left to take tells
// the two apart.
Result<ByteSpan> DevFuseQueue::read_message() noexcept {
  const int device = channel_.device_.get();
  int aborted = 0;
  for (;;) {
    std::memset(request_.data(), 0, sizeof(wire::InHeader));  // see last_request()
    if (!enter_read()) return Err(EINTR);
    ssize_t got = ::read(device, request_.data(), request_.size());
    if (got < 0 && errno == EAGAIN) {  // somebody made the device non-blocking
      pollfd wanted{.fd = device, .events = POLLIN, .revents = 0};
      (void)::poll(&wanted, 1, -1);
      errno = EAGAIN;
    }
    const int error = errno;
    leave_read();
    if (got > 0) return ByteSpan(request_).first(static_cast<std::size_t>(got));
    if (got == 0) return Err(ENODEV);  // the far end of a socket was closed
    switch (error) {
      case EINTR:   // stopping, or a signal of somebody else's
      case EAGAIN:  // see above
      case ENOENT:  // the request was given up while it was copied
        continue;
      case ECONNABORTED:
        if (++aborted < kMostAborted) continue;
        return Err(error);
      case ECONNRESET:  // a socket's far end was closed with answers unread
        return Err(ENODEV);
      default: return Err(error);
    }
  }
}

Result<std::optional<Incoming>> DevFuseQueue::next() {
  for (;;) {
    const Result<ByteSpan> bytes = read_message();
    if (!bytes) {
      if (bytes.error() == EINTR) return std::optional<Incoming>();
      return bytes.error();
    }
    const Result<wire::Request> request = wire::parse_request(*bytes);
    if (!request) {
      refuse(*bytes, request.error());
      continue;
    }
    const wire::InHeader& header = request->header;
    return std::optional<Incoming>(
        Incoming{.request = *request,
                 .reply = wire::Reply(*this, header.unique, header.opcode),
                 .buffer = reply_});
  }
}

// Answers what parse_request() did not like, if it shows whom to answer.
void DevFuseQueue::refuse(ByteSpan bytes, Errno error) {
  wire::InHeader header{};
  std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof header));
  if (channel_.malformed_log_.allow()) {
    log_warning("malformed request of {} bytes: {} len={} unique={} extlen={}", bytes.size(),
                wire::opcode_name(static_cast<wire::Opcode>(header.opcode)), header.len,
                header.unique, header.total_extlen);
  }
  if (bytes.size() < sizeof header || header.unique == 0 || has_no_answer(header.opcode)) return;
  (void)send(header.unique, error.value(), {});  // who asked is gone, or hears it
}

Result<void> DevFuseQueue::send(std::uint64_t unique, int error, std::span<const ByteSpan> parts) {
  return write_message(channel_.device_.borrow(),
                       {.len = 0, .error = -sendable_errno(error), .unique = unique}, parts);
}

Result<void> DevFuseQueue::send_file(std::uint64_t unique, BorrowedFd file, std::uint64_t offset,
                                     std::size_t size) {
  if (!pipe_) return Err(EOPNOTSUPP);
  const wire::OutHeader header{
      .len = static_cast<std::uint32_t>(sizeof header + size), .error = 0, .unique = unique};
  return pipe_->send(channel_.device_.borrow(), bytes_of(header), file, offset, size);
}

// ---- the channel -------------------------------------------------------------------------------

Result<std::unique_ptr<Queue>> DevFuseChannel::open_queue(int cpu, MutableByteSpan room) {
  const std::size_t room_size = request_room(max_write_);
  if (!room.empty() && room.size() < room_size) return Err(EINVAL);
  // While a process is being killed the kernel cannot bring in a page that it lacks, and then ends
  // the request that it was about to copy there with EIO. So they are brought in beforehand: all
  // for the threads that always read, for others what all but the longest writes need.
  if (!room.empty()) {
    const std::size_t wanted = cpu >= 0 ? room_size : std::min(room_size, kPresentRoom);
    (void)::madvise(room.data(), wanted, MADV_POPULATE_WRITE);
  }
  const std::size_t reply = align_up(max_write_, page_size()) + page_size();
  Pages pages = TRY(Pages::map((room.empty() ? room_size : 0) + reply));
  // Those that only stand in for others are many, and pipes cost descriptors.
  const bool splices = splices_ && cpu >= 0;
  return std::unique_ptr<Queue>(
      std::make_unique<DevFuseQueue>(*this, std::move(pages), room, room_size, splices));
}

Result<void> DevFuseChannel::notify(wire::Notify code, std::span<const ByteSpan> parts) {
  return write_message(device_.borrow(),
                       {.len = 0, .error = static_cast<std::int32_t>(code), .unique = 0}, parts);
}

Result<std::int32_t> DevFuseChannel::open_backing(BorrowedFd fd) {
  wire::BackingMap map{.fd = fd.get(), .flags = 0, .padding = 0};
  return check(::ioctl(device_.get(), kBackingOpen, &map));
}

Result<void> DevFuseChannel::close_backing(std::int32_t id) {
  auto unsigned_id = static_cast<std::uint32_t>(id);
  return check_void(::ioctl(device_.get(), kBackingClose, &unsigned_id));
}

void install_wake_handler() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // without SA_RESTART: the point is that read(2) ends
  (void)sigaction(wake_signal(), &action, nullptr);
}

}  // namespace

std::size_t request_room(std::size_t max_write) noexcept {
  return page_size() + align_up(std::max(max_write, kSmallestData), page_size());
}

ByteSpan last_request(ByteSpan room) noexcept {
  const ByteSpan from = room.subspan(page_size() - kWritePrefix);
  wire::InHeader header;
  std::memcpy(&header, from.data(), sizeof header);
  if (header.len < sizeof header || header.len > from.size()) return {};
  return from.first(header.len);
}

int wake_signal() noexcept { return SIGRTMIN + 1; }

std::unique_ptr<Channel> make_dev_fuse_channel(UniqueFd device, std::size_t max_write) {
  static std::once_flag once;
  std::call_once(once, install_wake_handler);
  return std::make_unique<DevFuseChannel>(std::move(device), max_write);
}

}  // namespace passthroughfs
