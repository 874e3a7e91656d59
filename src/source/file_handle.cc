// SPDX-License-Identifier: Apache-2.0
#include "source/file_handle.h"

#include <fcntl.h>

#include <cstring>
#include <thread>

namespace passthroughfs {
namespace {

// struct file_handle ends in a flexible array; this is it with room.
struct HandleBuffer {
  unsigned int handle_bytes;
  int handle_type;
  unsigned char handle[FileHandle::kMaxBytes];
};

}  // namespace

Result<FileHandle> FileHandle::of(BorrowedFd fd) noexcept {
  HandleBuffer buffer{};
  buffer.handle_bytes = sizeof buffer.handle;
  int mount_id = 0;
  if (::name_to_handle_at(fd.get(), "", reinterpret_cast<struct file_handle*>(&buffer), &mount_id,
                          AT_EMPTY_PATH) < 0) {
    return Errno::last();
  }
  FileHandle out;
  out.mount_id = mount_id;
  out.type = buffer.handle_type;
  out.bytes = static_cast<std::uint8_t>(buffer.handle_bytes);
  std::memcpy(out.data, buffer.handle, buffer.handle_bytes);
  return out;
}

Result<UniqueFd> FileHandle::open(BorrowedFd mount) const noexcept {
  HandleBuffer buffer{};
  buffer.handle_bytes = bytes;
  buffer.handle_type = type;
  std::memcpy(buffer.handle, data, bytes);
  // ENOMEM is also what file systems say whose number is being given to a new file at this moment;
  // a moment later they know that the old one is gone.
  constexpr int kTries = 100;
  for (int tries = 1;; ++tries) {
    auto fd = own(::open_by_handle_at(mount.get(), reinterpret_cast<struct file_handle*>(&buffer),
                                      O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (fd || fd.error() != ENOMEM || tries == kTries) return fd;
    std::this_thread::yield();
  }
}

bool FileHandle::same_file(const FileHandle& other) const noexcept {
  return type == other.type && bytes == other.bytes && std::memcmp(data, other.data, bytes) == 0;
}

}  // namespace passthroughfs
