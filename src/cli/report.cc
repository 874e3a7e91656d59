// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <unistd.h>

#include <cerrno>
#include <string>

namespace passthroughfs {
namespace {

bool write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

void report(std::string_view line) noexcept {
  std::string text = "passthroughfs: ";
  text += line;
  text += '\n';
  (void)write_all(STDERR_FILENO, text);  // there is nobody else to tell
}

bool print(std::string_view text) noexcept { return write_all(STDOUT_FILENO, text); }

}  // namespace passthroughfs
