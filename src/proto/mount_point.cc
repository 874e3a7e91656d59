// SPDX-License-Identifier: Apache-2.0
#include "proto/mount_point.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include "base/fd.h"

namespace passthroughfs {
namespace {

// With an empty mask and AT_STATX_DONT_SYNC, FUSE answers from what the kernel has, even for users
// whom it lets see nothing else.
constexpr int kStatxFlags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;

bool read_file(const char* path, std::string& content) {
  auto fd = own(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = read(fd->get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) return true;
    content.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  std::size_t at = 0;
  while (at <= text.size()) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end;
}

// The mount table writes blanks, tabs, newlines and backslashes as \ooo.
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      unsigned code = 0;
      const char* digits = text.data() + i + 1;
      if (std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3) {
        result += static_cast<char>(code);
        i += 3;
        continue;
      }
    }
    result += text[i];
  }
  return result;
}

}  // namespace

dev_t device_at(const char* path) noexcept {
  struct statx st {};
  if (statx(AT_FDCWD, path, kStatxFlags, 0, &st) != 0) return 0;
  return makedev(st.stx_dev_major, st.stx_dev_minor);
}

bool is_dead_mount(const char* path, dev_t device) noexcept {
  if (device_at(path) != device) return false;
  // What the kernel has cached it would tell of a dead mount as well.
  constexpr int kAsk = AT_STATX_FORCE_SYNC | AT_NO_AUTOMOUNT;
  struct statx st {};
  return statx(AT_FDCWD, path, kAsk, STATX_MODE, &st) != 0 &&
         (errno == ENOTCONN || errno == ECONNABORTED);
}

bool parse_mount_table(std::string_view table, dev_t device, unsigned long mount_id,
                       MountPoint& found) {
  // 36 35 0:53 / /mnt/data rw,nosuid shared:7 - fuse.passthroughfs /srv/data rw,user_id=1000,...
  const std::string number = fmt::format("{}:{}", major(device), minor(device));
  bool any = false;
  for (const std::string_view line : split(table, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() < 10 || fields[2] != number) continue;
    unsigned long id = 0;
    if (!parse(fields[0], id) || (mount_id != 0 && id != mount_id)) continue;
    std::size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    if (dash + 3 >= fields.size()) continue;
    any = true;
    found.root = unescape(fields[3]);
    found.fs_type = unescape(fields[dash + 1]);
    found.source = unescape(fields[dash + 2]);
    found.owner_known = false;
    for (const std::string_view option : split(fields[dash + 3], ',')) {
      constexpr std::string_view kUser = "user_id=";
      if (option.starts_with(kUser)) {
        found.owner_known = parse(option.substr(kUser.size()), found.owner);
      }
    }
  }
  return any;
}

Outcome<MountPoint> find_mount_point(const std::string& path) {
  auto fail = [&path](int error) {
    return Error{error, fmt::format("{}: {}", path, std::strerror(error))};
  };
  // An O_PATH descriptor of a FUSE root is opened without a request, and its magic link has the
  // resolved path; realpath(3) would ask for the attributes.
  auto fd = own(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd) return fail(fd.error().value());
  MountPoint found;
  std::array<char, 4096> target;
  const std::string link = fmt::format("/proc/self/fd/{}", fd->get());
  const ssize_t length = readlink(link.c_str(), target.data(), target.size());
  if (length < 0) return fail(errno);
  found.path.assign(target.data(), static_cast<std::size_t>(length));

  struct statx st {};
  if (statx(fd->get(), "", kStatxFlags | AT_EMPTY_PATH, 0, &st) != 0) return fail(errno);
  found.device = makedev(st.stx_dev_major, st.stx_dev_minor);
  found.is_root = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  const unsigned long id = (st.stx_mask & STATX_MNT_ID) != 0 ? st.stx_mnt_id : 0;

  std::string table;
  if (read_file("/proc/self/mountinfo", table)) {
    (void)parse_mount_table(table, found.device, id, found);
  }
  return found;
}

}  // namespace passthroughfs
