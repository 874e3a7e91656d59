// SPDX-License-Identifier: Apache-2.0
//
// Operations on a file and its attributes, and what a round trip costs without a file system.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support.h"

namespace passthroughfs::bench {
namespace {

class OpenClose : public OnFile {
 public:
  explicit OpenClose(const Workspace& space) : OnFile(space, kPage) {}
  void run(std::uint64_t count) override {
    for (; count > 0; --count) const File file(path(), O_RDONLY);
  }
};

class Stat : public OnFile {
 public:
  explicit Stat(const Workspace& space) : OnFile(space, kPage) {}
  void run(std::uint64_t count) override {
    struct stat st {};
    for (; count > 0; --count) check(::stat(path().c_str(), &st) == 0, "stat", path());
  }
};

class Fstat : public OnFile {
 public:
  explicit Fstat(const Workspace& space) : OnFile(space, kPage), file_(path(), O_RDONLY) {}
  void run(std::uint64_t count) override {
    struct stat st {};
    for (; count > 0; --count) check(::fstat(file_.get(), &st) == 0, "fstat", path());
  }

 private:
  File file_;
};

// Attributes that may not come from a cache: one request and nothing else.
class Getattr : public OnFile {
 public:
  explicit Getattr(const Workspace& space) : OnFile(space, kPage), file_(path(), O_RDONLY) {}
  void run(std::uint64_t count) override {
    struct statx stx {};
    for (; count > 0; --count) {
      check(::statx(file_.get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
                    &stx) == 0,
            "statx", path());
    }
  }

 private:
  File file_;
};

class LookupMissing : public Operation {
 public:
  explicit LookupMissing(const Workspace& space) : prefix_(space.dir + "/missing") {}
  void prepare(std::uint64_t count) override {
    paths_.clear();
    while (paths_.size() < count) paths_.push_back(prefix_ + std::to_string(number_++));
  }
  void run(std::uint64_t count) override {
    struct stat st {};
    for (std::uint64_t i = 0; i < count; ++i) {
      check(::stat(paths_[i].c_str(), &st) != 0 && errno == ENOENT, "stat", paths_[i]);
    }
  }

 private:
  std::string prefix_;
  std::vector<std::string> paths_;
  std::uint64_t number_ = 0;
};

class Ftruncate : public OnFile {
 public:
  explicit Ftruncate(const Workspace& space) : OnFile(space, kPage), file_(path(), O_RDWR) {}
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      size_ = size_ == 1 ? 100 : 1;
      check(::ftruncate(file_.get(), size_) == 0, "ftruncate", path());
    }
  }

 private:
  File file_;
  off_t size_ = 0;
};

class Chmod : public OnFile {
 public:
  explicit Chmod(const Workspace& space) : OnFile(space, kPage) {}
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      mode_ = mode_ == 0600 ? 0644 : 0600;
      check(::chmod(path().c_str(), mode_) == 0, "chmod", path());
    }
  }

 private:
  mode_t mode_ = 0;
};

// --- In a prepared tree

// Visits the prepared files in an order without locality, each once before any comes again.
class OnPopulation : public Operation {
 public:
  explicit OnPopulation(Workspace space) : space_(std::move(space)) {
    if (space_.files == 0) {
      errno = EINVAL;
      fail("this operation needs --population and --files", "");
    }
    next_ = space_.client * 7919ULL % space_.files;
    while (space_.files % step_ == 0) step_ += 2;  // a number that has no divisor in common is near
  }
  void prepare(std::uint64_t count) override {
    paths_.clear();
    while (paths_.size() < count) {
      paths_.push_back(population_path(space_, next_));
      next_ = (next_ + step_) % space_.files;
    }
  }

 protected:
  const std::vector<std::string>& paths() const { return paths_; }

 private:
  Workspace space_;
  std::uint64_t next_ = 0;
  std::uint64_t step_ = 100'003;  // prime
  std::vector<std::string> paths_;
};

class GetattrEach : public OnPopulation {
 public:
  using OnPopulation::OnPopulation;
  void run(std::uint64_t count) override {
    struct statx stx {};
    for (std::uint64_t i = 0; i < count; ++i) {
      check(
          ::statx(AT_FDCWD, paths()[i].c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx) == 0,
          "statx", paths()[i]);
    }
  }
};

class OpenEach : public OnPopulation {
 public:
  using OnPopulation::OnPopulation;
  void run(std::uint64_t count) override {
    for (std::uint64_t i = 0; i < count; ++i) const File file(paths()[i], O_RDONLY);
  }
};

// --- What a round trip costs without a file system

// One byte to another thread and back. The lower bound for a request that another process answers.
class PipeRoundTrip : public Operation {
 public:
  explicit PipeRoundTrip(int own_cpu, int other_cpu) {
    check(::pipe2(there_.data(), O_CLOEXEC) == 0 && ::pipe2(back_.data(), O_CLOEXEC) == 0, "pipe",
          "");
    pin(own_cpu);
    echo_ = std::thread([this, other_cpu] {
      pin(other_cpu);
      char byte = 0;
      while (::read(there_[0], &byte, 1) == 1 && byte != 'q') (void)!::write(back_[1], &byte, 1);
    });
  }
  ~PipeRoundTrip() override {
    (void)!::write(there_[1], "q", 1);
    echo_.join();
    for (const int fd : {there_[0], there_[1], back_[0], back_[1]}) ::close(fd);
  }
  void run(std::uint64_t count) override {
    char byte = 'x';
    for (; count > 0; --count) {
      check(::write(there_[1], &byte, 1) == 1 && ::read(back_[0], &byte, 1) == 1, "pipe", "");
    }
  }

 private:
  static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    errno = ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
    check(errno == 0, "pinning to CPU", std::to_string(cpu));
  }
  std::array<int, 2> there_{};
  std::array<int, 2> back_{};
  std::thread echo_;
};

template <int kOther>
std::unique_ptr<Operation> make_pipe(const Workspace& /*space*/) {
  return std::make_unique<PipeRoundTrip>(0, kOther);
}

constexpr auto kOperations = std::to_array<OperationInfo>({
    {"open_close", "open and close an existing file", make<OpenClose>},
    {"stat", "stat by path, again and again", make<Stat>},
    {"fstat", "fstat of an open file, again and again", make<Fstat>},
    {"getattr", "statx of an open file, caches bypassed", make<Getattr>},
    {"lookup_missing", "stat of a name that is not there, each time another", make<LookupMissing>},
    {"ftruncate", "ftruncate of an open file", make<Ftruncate>},
    {"chmod", "chmod of a file", make<Chmod>},
    {"getattr_each", "statx by path in the prepared tree, caches bypassed", make<GetattrEach>},
    {"open_each", "open and close in the prepared tree", make<OpenEach>},
    {"pipe_same_cpu", "one byte to a thread on the same CPU and back", make_pipe<0>},
    {"pipe_other_cpu", "one byte to a thread on another CPU and back", make_pipe<1>},
});

}  // namespace

std::span<const OperationInfo> file_operations() { return kOperations; }

}  // namespace passthroughfs::bench
