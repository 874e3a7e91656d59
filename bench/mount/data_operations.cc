// SPDX-License-Identifier: Apache-2.0
//
// Reads and writes.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "support.h"

namespace passthroughfs::bench {
namespace {

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

template <bool kWrite, std::size_t kBlock, std::size_t kSize>
std::unique_ptr<Operation> make_io(const Workspace& space) {
  return std::make_unique<ReadOrWrite>(space, kWrite, kBlock, kSize);
}

constexpr auto kOperations = std::to_array<OperationInfo>({
    {"read_4k", "pread of 4 KiB, open file", make_io<false, kPage, kMegabyte>},
    {"read_4k_uncached", "the same, from the source's page cache", make<UncachedRead>},
    {"write_4k", "pwrite of 4 KiB, open file", make_io<true, kPage, kMegabyte>},
    {"append", "write of 100 bytes with O_APPEND", make<Append>},
    {"read_1m", "1 MiB of a file that was read before", make_io<false, kMegabyte, kStream>},
    {"read_1m_first", "1 MiB of a file that was never read", make<FirstRead>},
    {"write_1m", "1 MiB of a file written before", make_io<true, kMegabyte, kStream>},
});

}  // namespace

std::span<const OperationInfo> data_operations() { return kOperations; }

}  // namespace passthroughfs::bench
