// SPDX-License-Identifier: Apache-2.0
#include "channel/file_pipe.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "channel/pages.h"

namespace passthroughfs {
namespace {

// So many descriptors are for those who cannot do without.
constexpr rlim_t kLeftAlone = 16;

}  // namespace

// Of the slots of a pipe the header takes one, and data that begins within a page one more.
Result<void> FilePipe::make() noexcept {
  constexpr std::size_t kExtraSlots = 2;
  std::array<int, 2> ends{};
  TRY(check(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK)));
  out_.reset(ends[0]);
  in_.reset(ends[1]);
  // The lowest free numbers are taken, so these say how many are left.
  rlimit limit{};
  TRY(check(::getrlimit(RLIMIT_NOFILE, &limit)));
  if (static_cast<rlim_t>(std::max(ends[0], ends[1])) + kLeftAlone >= limit.rlim_cur) {
    return Err(EMFILE);
  }
  // More than /proc/sys/fs/pipe-max-size needs CAP_SYS_RESOURCE.
  std::size_t wanted = most_ + kExtraSlots * page_size();
  while (::fcntl(in_.get(), F_SETPIPE_SZ, static_cast<int>(wanted)) < 0 && wanted > page_size()) {
    wanted /= 2;
  }
  const int size = TRY(check(::fcntl(in_.get(), F_GETPIPE_SZ)));
  const auto slots = static_cast<std::size_t>(size) / page_size();
  room_ = slots > kExtraSlots ? (slots - kExtraSlots) * page_size() : 0;
  return ok();
}

void FilePipe::discard() noexcept {
  in_.reset();
  out_.reset();
}

Result<void> FilePipe::fill(ByteSpan header, BorrowedFd file, std::uint64_t offset,
                            std::size_t size) noexcept {
  if (::write(in_.get(), header.data(), header.size()) != static_cast<ssize_t>(header.size())) {
    return Err(EOPNOTSUPP);
  }
  auto from = static_cast<off_t>(offset);
  while (size > 0) {
    const ssize_t got = ::splice(file.get(), &from, in_.get(), nullptr, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Err(EOPNOTSUPP);
    size -= static_cast<std::size_t>(got);
  }
  return ok();
}

Result<void> FilePipe::send(BorrowedFd target, ByteSpan header, BorrowedFd file,
                            std::uint64_t offset, std::size_t size) noexcept {
  if (!in_.valid() && !make()) {
    discard();
    return Err(EOPNOTSUPP);
  }
  if (size > room_) return Err(EOPNOTSUPP);
  if (auto filled = fill(header, file, offset, size); !filled) {
    discard();
    return filled;
  }
  const std::size_t message = header.size() + size;
  for (;;) {
    const ssize_t sent = ::splice(out_.get(), nullptr, target.get(), nullptr, message, 0);
    if (sent == static_cast<ssize_t>(message)) return ok();
    if (sent < 0 && errno == EINTR) continue;
    // Whether the target has taken what it refused, only the kernel knows.
    const Errno error = sent < 0 ? Errno::last() : Errno(EIO);
    discard();
    return error;
  }
}

}  // namespace passthroughfs
