// SPDX-License-Identifier: Apache-2.0
//
// What the operations of pfs_microbench have in common.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "operations.h"

namespace passthroughfs::bench {

inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kMegabyte = 1U << 20;
inline constexpr std::size_t kStream = 32 * kMegabyte;

// Closes at the end; ends the program if it could not be opened.
class File {
 public:
  File(const std::string& path, int flags, mode_t mode = 0644)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (fd_ < 0) fail("open", path);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(fd_); }
  int get() const { return fd_; }

 private:
  int fd_;
};

inline void check(bool ok, std::string_view what, const std::string& path) {
  if (!ok) fail(what, path);
}

inline void fill(const std::string& path, std::size_t bytes) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  const std::vector<char> block(std::min(bytes, kMegabyte), 'x');
  for (std::size_t done = 0; done < bytes; done += block.size()) {
    check(::write(file.get(), block.data(), block.size()) == static_cast<ssize_t>(block.size()),
          "write", path);
  }
}

// For the operations on one file that is there before and after.
class OnFile : public Operation {
 public:
  OnFile(const Workspace& space, std::size_t bytes) : path_(space.dir + "/file") {
    fill(path_, bytes);
  }
  ~OnFile() override { ::unlink(path_.c_str()); }

 protected:
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

template <typename T>
std::unique_ptr<Operation> make(const Workspace& space) {
  return std::make_unique<T>(space);
}

// One list per file; operations() has them all.
std::span<const OperationInfo> data_operations();
std::span<const OperationInfo> file_operations();
std::span<const OperationInfo> name_operations();

}  // namespace passthroughfs::bench
