// SPDX-License-Identifier: Apache-2.0
//
// The account of a series of calls, to compare the same calls made in two places.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <concepts>
#include <string>
#include <string_view>

namespace passthroughfs::test {

// "EINVAL" for 22, and so on.
std::string errno_name(int number);

// Collects one line per call. Meant to be wrapped around the call itself, so that errno is still
// the call's: `int fd = t.ok("open", open(...));`
class Trace {
 public:
  // Records "ok" or the errno; for results whose value means nothing (descriptors).
  template <std::signed_integral T>
  T ok(std::string_view name, T result) {
    const int error = errno;
    add(name, result < 0 ? errno_name(error) : "ok");
    errno = error;
    return result;
  }
  // Records the value or the errno.
  template <std::signed_integral T>
  T num(std::string_view name, T result) {
    const int error = errno;
    add(name, result < 0 ? errno_name(error) : std::to_string(result));
    errno = error;
    return result;
  }
  void note(std::string_view name, std::string_view value) { add(name, value); }
  void note(std::string_view name, bool value) { add(name, value ? "yes" : "no"); }
  void note(std::string_view name, const char* value) { add(name, value); }

  // Records type, mode, links, owner, group and size of what is there (not followed).
  void stat(std::string_view name, const std::string& path);
  void fstat(std::string_view name, int fd);
  // Records the whole content (escaped), or the errno of open.
  void content(std::string_view name, const std::string& path);

  void append(const std::string& lines) { text_ += lines; }
  const std::string& text() const { return text_; }
  // How many lines say exactly "name: value".
  int count(std::string_view name, std::string_view value) const;

 private:
  void add(std::string_view name, std::string_view value);
  std::string text_;
};

}  // namespace passthroughfs::test
