// SPDX-License-Identifier: Apache-2.0
#include "source/change_events.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fanotify.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "source/sys.h"

namespace passthroughfs {
namespace {

constexpr std::uint64_t kNames = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;
// CLOSE_WRITE: what was stored through a mapping is told by nothing else.
constexpr std::uint64_t kData = FAN_MODIFY | FAN_CLOSE_WRITE;

// A copy of what lies at the beginning, which may be badly aligned.
template <typename Struct>
std::optional<Struct> front(ByteSpan bytes) noexcept {
  Struct out;
  if (bytes.size() < sizeof out) return std::nullopt;
  std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}

// An inode in an event: the file system's number, then struct file_handle, then perhaps a name.
struct Subject {
  std::optional<FileHandle> handle;
  ByteSpan after;
};

std::optional<Subject> subject_of(ByteSpan record) noexcept {
  constexpr std::size_t kFsid = sizeof(__kernel_fsid_t);
  struct Head {
    unsigned bytes;
    int type;
  };
  if (record.size() < kFsid) return std::nullopt;
  record = record.subspan(kFsid);
  const auto head = front<Head>(record);
  if (!head || head->bytes > record.size() - sizeof(Head)) return std::nullopt;
  const ByteSpan data = record.subspan(sizeof(Head), head->bytes);
  Subject out;
  out.after = record.subspan(sizeof(Head) + head->bytes);
  if (data.empty()) return out;  // the object is not there any more
  if (data.size() > FileHandle::kMaxBytes) return std::nullopt;
  FileHandle& handle = out.handle.emplace();
  handle.type = head->type;
  handle.bytes = static_cast<std::uint8_t>(data.size());
  std::memcpy(handle.data, data.data(), data.size());
  return out;
}

bool add_record(ChangeEvent& event, std::uint8_t type, ByteSpan record) noexcept {
  if (type != FAN_EVENT_INFO_TYPE_FID && type != FAN_EVENT_INFO_TYPE_DFID &&
      type != FAN_EVENT_INFO_TYPE_DFID_NAME) {
    return true;  // a newer kernel says more
  }
  auto subject = subject_of(record);
  if (!subject) return false;
  if (type == FAN_EVENT_INFO_TYPE_FID) {
    event.object = subject->handle;
    return true;
  }
  event.directory = subject->handle;
  if (type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
    const auto* text = reinterpret_cast<const char*>(subject->after.data());
    const std::size_t length = ::strnlen(text, subject->after.size());
    if (length == subject->after.size()) return false;
    event.name = {text, length};
  }
  return true;
}

Result<UniqueFd> new_group() noexcept {
  return own(::fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE |
                                 FAN_UNLIMITED_MARKS | FAN_REPORT_DFID_NAME_TARGET,
                             O_RDONLY | O_CLOEXEC));
}

Result<UniqueFd> ordinary(BorrowedFd directory) noexcept {
  return own(::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

bool mark(BorrowedFd events, unsigned how, std::uint64_t mask, BorrowedFd directory) noexcept {
  return ::fanotify_mark(events.get(), FAN_MARK_ADD | how, mask, directory.get(), ".") == 0;
}

}  // namespace

std::optional<ChangeEvent> next_change(ByteSpan& rest) noexcept {
  const auto lost = [&] {
    rest = {};
    ChangeEvent out;
    out.lost = true;
    return out;
  };
  const auto head = front<fanotify_event_metadata>(rest);
  // Zeros are where nothing was read to.
  if (!head || head->event_len == 0) {
    rest = {};
    return std::nullopt;
  }
  if (head->vers != FANOTIFY_METADATA_VERSION || head->metadata_len < sizeof *head ||
      head->event_len < head->metadata_len || head->event_len > rest.size()) {
    return lost();
  }
  ByteSpan records = rest.subspan(head->metadata_len, head->event_len - head->metadata_len);
  rest = rest.subspan(head->event_len);
  if ((head->mask & FAN_Q_OVERFLOW) != 0) return lost();
  ChangeEvent out;
  out.process = head->pid;
  out.names = (head->mask & kNames) != 0;
  out.data = (head->mask & kData) != 0;
  out.attributes = (head->mask & FAN_ATTRIB) != 0;
  while (!records.empty()) {
    const auto info = front<fanotify_event_info_header>(records);
    if (!info || info->len < sizeof *info || info->len > records.size()) return lost();
    if (!add_record(out, info->info_type, records.subspan(sizeof *info, info->len - sizeof *info)))
      return lost();
    records = records.subspan(info->len);
  }
  // Of a directory itself it is told as of "." in it.
  if (!out.object && !out.names) out.object = out.directory;
  if (out.names && (!out.directory || out.name.empty())) return lost();
  return out;
}

Result<void> ChangeEvents::probe() noexcept {
  const auto group = new_group();
  return group ? ok() : Result<void>(group.error());
}

Result<ChangeEvents> ChangeEvents::open(BorrowedFd directory, std::string& message) {
  const auto fail = [&](const char* what, Errno why) {
    message = std::string(what) + ": " + why.to_string();
    return why;
  };
  auto events = new_group();
  if (!events) return fail("fanotify", events.error());
  // Events name files by handles, which have to lead back to them.
  auto mount = ordinary(directory);
  auto handle = FileHandle::of(directory);
  if (!mount || !handle) {
    return fail("file handles", mount ? handle.error() : mount.error());
  }
  if (auto found = handle->open(mount->borrow()); !found) {
    return fail("file handles", found.error());
  }
  // First what is not to be heard, so that it never is.
  if (!mark(events->borrow(), FAN_MARK_MOUNT | FAN_MARK_IGNORE_SURV, kData, directory) ||
      !mark(events->borrow(), FAN_MARK_FILESYSTEM, kNames | kData | FAN_ATTRIB | FAN_ONDIR,
            directory)) {
    return fail("fanotify on the source", Errno::last());
  }
  return ChangeEvents(std::move(*events), std::move(*mount));
}

Result<ChangeEvents> ChangeEvents::adopt(UniqueFd events, BorrowedFd directory) {
  std::array<char, 64> name{};
  const ssize_t size =
      ::readlink(sys::ProcFdPath(events.borrow()).c_str(), name.data(), name.size());
  if (size <= 0 ||
      std::string_view(name.data(), static_cast<std::size_t>(size)) != "anon_inode:[fanotify]") {
    (void)events.release();  // somebody else's
    return Err(EBADF);
  }
  UniqueFd mount = TRY(ordinary(directory));
  return ChangeEvents(std::move(events), std::move(mount));
}

Result<ByteSpan> ChangeEvents::read(MutableByteSpan room) const noexcept {
  for (;;) {
    const ssize_t size = ::read(events_.get(), room.data(), room.size());
    if (size >= 0) return ByteSpan(room.first(static_cast<std::size_t>(size)));
    if (errno == EAGAIN) return ByteSpan();
    if (errno != EINTR) return Errno::last();
  }
}

}  // namespace passthroughfs
