// SPDX-License-Identifier: Apache-2.0
#include "held_files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "support.h"

namespace passthroughfs::bench {
namespace {

constexpr std::uint64_t kFiles = 1000;
constexpr std::uint64_t kPerProcess = 10'000;
constexpr std::uint64_t kReserve = 64;  // descriptors that a helper has anyway

std::uint64_t descriptors_of_a_process() {
  rlimit limit{};
  check(::getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit", "");
  limit.rlim_cur = limit.rlim_max;
  check(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit", "");
  return std::clamp<std::uint64_t>(limit.rlim_max, kReserve + 1, kPerProcess + kReserve) - kReserve;
}

}  // namespace

HeldFiles::HeldFiles(const std::string& dir, std::uint64_t count)
    : dir_(dir + "/held-" + std::to_string(::getpid())), files_(std::min(count, kFiles)) {
  if (count == 0) return;
  check(::mkdir(dir_.c_str(), 0755) == 0, "mkdir", dir_);
  const std::uint64_t share = descriptors_of_a_process();
  std::array<int, 2> ready{};
  std::array<int, 2> end{};
  check(::pipe2(ready.data(), O_CLOEXEC) == 0 && ::pipe2(end.data(), O_CLOEXEC) == 0, "pipe", "");
  for (std::uint64_t first = 0; first < count; first += share) {
    const pid_t pid = ::fork();
    check(pid >= 0, "fork", "");
    if (pid == 0) {
      ::close(end[1]);
      ::close(ready[0]);
      hold(first, std::min(share, count - first), ready[1], end[0]);
    }
    holders_.push_back(pid);
  }
  ::close(ready[1]);
  ::close(end[0]);
  keep_ = end[1];
  char byte = 0;
  for (std::size_t i = 0; i < holders_.size(); ++i) {
    if (::read(ready[0], &byte, 1) == 1) continue;
    std::_Exit(1);  // a helper has failed and said why
  }
  ::close(ready[0]);
}

void HeldFiles::hold(std::uint64_t first, std::uint64_t count, int ready, int end) const {
  for (std::uint64_t i = first; i < first + count; ++i) {
    const std::string file = path(i % files_);
    check(::open(file.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0644) >= 0, "open", file);
  }
  check(::write(ready, "r", 1) == 1, "write", "a pipe");
  ::close(ready);
  char byte = 0;
  (void)!::read(end, &byte, 1);
  std::_Exit(0);  // closes them all
}

HeldFiles::~HeldFiles() {
  if (keep_ < 0) return;
  ::close(keep_);
  for (const pid_t pid : holders_) ::waitpid(pid, nullptr, 0);
  for (std::uint64_t i = 0; i < files_; ++i) ::unlink(path(i).c_str());
  ::rmdir(dir_.c_str());
}

std::string HeldFiles::path(std::uint64_t i) const { return dir_ + "/h" + std::to_string(i); }

}  // namespace passthroughfs::bench
