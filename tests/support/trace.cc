// SPDX-License-Identifier: Apache-2.0
#include "support/trace.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

namespace passthroughfs::test {
namespace {

std::string describe(const struct stat& st) {
  std::array<char, 128> text{};
  // The size of a directory says how the file system stores it, not what is in it.
  const auto size = S_ISDIR(st.st_mode) ? 0 : static_cast<long long>(st.st_size);
  std::snprintf(text.data(), text.size(), "%06o nlink=%lu %u:%u size=%lld", st.st_mode,
                static_cast<unsigned long>(st.st_nlink), st.st_uid, st.st_gid, size);
  return text.data();
}

}  // namespace

std::string errno_name(int number) {
  const char* name = strerrorname_np(number);
  return name != nullptr ? name : "errno " + std::to_string(number);
}

void Trace::add(std::string_view name, std::string_view value) {
  text_.append(name).append(": ").append(value).append("\n");
}

int Trace::count(std::string_view name, std::string_view value) const {
  const std::string line = std::string(name) + ": " + std::string(value) + "\n";
  int found = 0;
  for (std::size_t at = text_.find(line); at != std::string::npos; at = text_.find(line, at + 1)) {
    found += at == 0 || text_[at - 1] == '\n' ? 1 : 0;
  }
  return found;
}

void Trace::stat(std::string_view name, const std::string& path) {
  struct stat st {};
  add(name, lstat(path.c_str(), &st) == 0 ? describe(st) : errno_name(errno));
}

void Trace::fstat(std::string_view name, int fd) {
  struct stat st {};
  add(name, ::fstat(fd, &st) == 0 ? describe(st) : errno_name(errno));
}

void Trace::content(std::string_view name, const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    return add(name, errno_name(errno));
  }
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = read(fd, buffer.data(), buffer.size())) != 0;) {
    if (n < 0) {
      text += "<" + errno_name(errno) + ">";
      break;
    }
    for (const char c : std::string_view(buffer.data(), static_cast<std::size_t>(n))) {
      if (c >= ' ' && c <= '~' && c != '\\') {
        text += c;
      } else {
        std::array<char, 5> hex{};
        std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned char>(c));
        text += hex.data();
      }
    }
  }
  close(fd);
  add(name, text);
}

}  // namespace passthroughfs::test
