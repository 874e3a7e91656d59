// SPDX-License-Identifier: Apache-2.0
#include "operations.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace passthroughfs::bench {

void fail(std::string_view what, std::string_view path) {
  const int error = errno;
  std::fprintf(stderr, "pfs_microbench: %.*s %.*s: %s\n", static_cast<int>(what.size()),
               what.data(), static_cast<int>(path.size()), path.data(), std::strerror(error));
  std::_Exit(1);
}

std::string population_path(const Workspace& space, std::uint64_t i) {
  std::array<char, 64> name{};
  if (space.flat) {
    std::snprintf(name.data(), name.size(), "/f%07llu", static_cast<unsigned long long>(i));
  } else {
    std::snprintf(name.data(), name.size(), "/d%04llu/f%07llu",
                  static_cast<unsigned long long>(i / 1000), static_cast<unsigned long long>(i));
  }
  return space.population + name.data();
}

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kMegabyte = 1U << 20;
constexpr std::size_t kStream = 32 * kMegabyte;

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

void check(bool ok, std::string_view what, const std::string& path) {
  if (!ok) fail(what, path);
}

void fill(const std::string& path, std::size_t bytes) {
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

// --- Data
// -----------------------------------------------------------------------------------------

class ReadOrWrite : public OnFile {
 public:
  ReadOrWrite(const Workspace& space, bool write, std::size_t block, std::size_t size)
      : OnFile(space, size),
        file_(path(), write ? O_RDWR : O_RDONLY),
        write_(write),
        buffer_(block, 'y'),
        size_(size) {}
  std::uint64_t batch() const override { return buffer_.size() > kPage ? 8 : 64; }
  void run(std::uint64_t count) override {
    const auto block = static_cast<ssize_t>(buffer_.size());
    for (; count > 0; --count) {
      const auto at = static_cast<off_t>(offset_);
      const ssize_t done = write_ ? ::pwrite(file_.get(), buffer_.data(), buffer_.size(), at)
                                  : ::pread(file_.get(), buffer_.data(), buffer_.size(), at);
      check(done == block, write_ ? "pwrite" : "pread", path());
      offset_ = (offset_ + buffer_.size()) % size_;
    }
  }

 private:
  File file_;
  bool write_;
  std::vector<char> buffer_;
  std::size_t size_;
  std::size_t offset_ = 0;
};

// 4 KiB reads that the page cache of the mount cannot answer but that of the source can.
class UncachedRead : public OnFile {
 public:
  explicit UncachedRead(const Workspace& space)
      : OnFile(space, kMegabyte),
        file_(path(), O_RDONLY),
        native_(space.dir == space.source_dir),
        buffer_(kPage) {
    // No reading ahead: one call, one request.
    check(::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_RANDOM) == 0, "posix_fadvise", path());
  }
  void prepare(std::uint64_t /*count*/) override {
    // Natively that would be the source's own cache.
    if (!native_) (void)::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_DONTNEED);
    offset_ = 0;
  }
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      check(::pread(file_.get(), buffer_.data(), kPage, offset_) == static_cast<ssize_t>(kPage),
            "pread", path());
      offset_ += static_cast<off_t>(kPage);
    }
  }

 private:
  File file_;
  bool native_;
  std::vector<char> buffer_;
  off_t offset_ = 0;
};

class Append : public OnFile {
 public:
  explicit Append(const Workspace& space)
      : OnFile(space, 0), file_(path(), O_WRONLY | O_APPEND), record_(100, 'z') {}
  void prepare(std::uint64_t /*count*/) override {
    if (written_ < 8 * kMegabyte) return;
    check(::ftruncate(file_.get(), 0) == 0, "ftruncate", path());
    written_ = 0;
  }
  void run(std::uint64_t count) override {
    written_ += count * record_.size();
    for (; count > 0; --count) {
      check(::write(file_.get(), record_.data(), record_.size()) ==
                static_cast<ssize_t>(record_.size()),
            "append", path());
    }
  }

 private:
  File file_;
  std::string record_;
  std::uint64_t written_ = 0;
};

// 1 MiB reads of a file that was written behind the mount: the source has it in its page cache, the
// mount has never seen it.
class FirstRead : public Operation {
 public:
  explicit FirstRead(Workspace space) : space_(std::move(space)), buffer_(kMegabyte) {}
  ~FirstRead() override { ::unlink((space_.source_dir + name_).c_str()); }
  std::uint64_t batch() const override { return 8; }
  void prepare(std::uint64_t count) override {
    // A new name each time: no cache between here and the source can know it.
    name_ = "/first" + std::to_string(number_++);
    fill(space_.source_dir + name_, count * kMegabyte);
    file_ = std::make_unique<File>(space_.dir + name_, O_RDONLY);
  }
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      check(::read(file_->get(), buffer_.data(), kMegabyte) == static_cast<ssize_t>(kMegabyte),
            "read", space_.dir + name_);
    }
  }
  void finish(std::uint64_t /*count*/) override {
    file_.reset();
    check(::unlink((space_.dir + name_).c_str()) == 0, "unlink", space_.dir + name_);
  }

 private:
  Workspace space_;
  std::vector<char> buffer_;
  std::string name_;
  std::unique_ptr<File> file_;
  std::uint64_t number_ = 0;
};

// --- Open files and attributes
// ----------------------------------------------------------------------

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

// --- Names
// ----------------------------------------------------------------------------------------

class OnNames : public Operation {
 public:
  explicit OnNames(const Workspace& space) : OnNames(space.dir + "/name") {}
  explicit OnNames(const std::string& prefix) {
    for (std::uint64_t i = 0; i < OnNames::batch(); ++i)
      paths_.push_back(prefix + std::to_string(i));
  }
  std::uint64_t batch() const override { return 64; }

 protected:
  const std::vector<std::string>& paths() const { return paths_; }
  void create_all(std::uint64_t count) const {
    for (std::uint64_t i = 0; i < count; ++i) {
      const File file(paths_[i], O_WRONLY | O_CREAT | O_EXCL);
    }
  }
  void unlink_all(std::uint64_t count) const {
    for (std::uint64_t i = 0; i < count; ++i) {
      check(::unlink(paths_[i].c_str()) == 0, "unlink", paths_[i]);
    }
  }

 private:
  std::vector<std::string> paths_;
};

class CreateClose : public OnNames {
 public:
  using OnNames::OnNames;
  void run(std::uint64_t count) override { create_all(count); }
  void finish(std::uint64_t count) override { unlink_all(count); }
};

class Unlink : public OnNames {
 public:
  using OnNames::OnNames;
  void prepare(std::uint64_t count) override { create_all(count); }
  void run(std::uint64_t count) override { unlink_all(count); }
};

class Rename : public OnFile {
 public:
  explicit Rename(const Workspace& space) : OnFile(space, 0), other_(space.dir + "/renamed") {}
  std::uint64_t batch() const override { return 64; }  // even: the file has its first name again
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      const std::string& from = away_ ? other_ : path();
      const std::string& to = away_ ? path() : other_;
      check(::rename(from.c_str(), to.c_str()) == 0, "rename", from);
      away_ = !away_;
    }
  }
  void finish(std::uint64_t /*count*/) override {
    if (away_) run(1);
  }

 private:
  std::string other_;
  bool away_ = false;
};

class MkdirRmdir : public Operation {
 public:
  explicit MkdirRmdir(const Workspace& space) : path_(space.dir + "/directory") {}
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      check(::mkdir(path_.c_str(), 0755) == 0, "mkdir", path_);
      check(::rmdir(path_.c_str()) == 0, "rmdir", path_);
    }
  }

 private:
  std::string path_;
};

// Lists the prepared directory.
class Readdir : public Operation {
 public:
  explicit Readdir(const Workspace& space) : path_(space.population), files_(space.files) {
    if (space.files > 0 && space.flat) return;
    errno = EINVAL;
    fail("readdir needs --population, --files and --flat", "");
  }
  std::uint64_t batch() const override { return 2; }
  void run(std::uint64_t count) override {
    for (; count > 0; --count) {
      DIR* dir = ::opendir(path_.c_str());
      check(dir != nullptr, "opendir", path_);
      std::uint64_t entries = 0;
      while (::readdir(dir) != nullptr) ++entries;
      ::closedir(dir);
      if (entries == files_ + 2) continue;
      errno = ERANGE;
      fail("readdir: wrong number of entries", path_);
    }
  }

 private:
  std::string path_;
  std::uint64_t files_;
};

// --- In a prepared tree
// -------------------------------------------------------------------------------

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

// Creates in the prepared directory itself, however large it is.
class CreateInto : public OnNames {
 public:
  explicit CreateInto(const Workspace& space) : OnNames(name_prefix(space)) {}
  void run(std::uint64_t count) override { create_all(count); }
  void finish(std::uint64_t count) override { unlink_all(count); }

 private:
  static std::string name_prefix(const Workspace& space) {
    if (!space.population.empty()) return space.population + "/new" + std::to_string(space.client);
    errno = EINVAL;
    fail("this operation needs --population", "");
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
// ---------------------------------------------------

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

// --- The list
// ----------------------------------------------------------------------------------------

template <typename T>
std::unique_ptr<Operation> make(const Workspace& space) {
  return std::make_unique<T>(space);
}

template <bool kWrite, std::size_t kBlock, std::size_t kSize>
std::unique_ptr<Operation> make_io(const Workspace& space) {
  return std::make_unique<ReadOrWrite>(space, kWrite, kBlock, kSize);
}

template <int kOther>
std::unique_ptr<Operation> make_pipe(const Workspace& /*space*/) {
  return std::make_unique<PipeRoundTrip>(0, kOther);
}

constexpr auto kOperations = std::to_array<OperationInfo>({
    {"read_4k", "pread of 4 KiB, open file", make_io<false, kPage, kMegabyte>},
    {"read_4k_uncached", "the same, from the source's page cache", make<UncachedRead>},
    {"write_4k", "pwrite of 4 KiB, open file", make_io<true, kPage, kMegabyte>},
    {"append", "write of 100 bytes with O_APPEND", make<Append>},
    {"open_close", "open and close an existing file", make<OpenClose>},
    {"create_close", "create a file and close it", make<CreateClose>},
    {"stat", "stat by path, again and again", make<Stat>},
    {"fstat", "fstat of an open file, again and again", make<Fstat>},
    {"getattr", "statx of an open file, caches bypassed", make<Getattr>},
    {"lookup_missing", "stat of a name that is not there, each time another", make<LookupMissing>},
    {"unlink", "unlink a file", make<Unlink>},
    {"rename", "rename a file", make<Rename>},
    {"mkdir_rmdir", "make and remove a directory", make<MkdirRmdir>},
    {"ftruncate", "ftruncate of an open file", make<Ftruncate>},
    {"chmod", "chmod of a file", make<Chmod>},
    {"readdir", "list the prepared directory", make<Readdir>},
    {"read_1m", "1 MiB of a file that was read before", make_io<false, kMegabyte, kStream>},
    {"read_1m_first", "1 MiB of a file that was never read", make<FirstRead>},
    {"write_1m", "1 MiB of a file written before", make_io<true, kMegabyte, kStream>},
    {"getattr_each", "statx by path in the prepared tree, caches bypassed", make<GetattrEach>},
    {"open_each", "open and close in the prepared tree", make<OpenEach>},
    {"create_into", "create and close in the prepared directory", make<CreateInto>},
    {"pipe_same_cpu", "one byte to a thread on the same CPU and back", make_pipe<0>},
    {"pipe_other_cpu", "one byte to a thread on another CPU and back", make_pipe<1>},
});

}  // namespace

std::span<const OperationInfo> operations() { return kOperations; }

}  // namespace passthroughfs::bench
