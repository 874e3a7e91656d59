// SPDX-License-Identifier: Apache-2.0
//
// Reads through an open handle, without a kernel.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <string>

#include "ops/context.h"
#include "ops/handlers.h"
#include "source/sys.h"
#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

// Counts how often an operation says that it may wait.
class CountingThread final : public ServingThread {
 public:
  [[nodiscard]] bool begin_blocking() noexcept override {
    ++waits;
    return true;
  }
  void end_blocking() noexcept override {}
  void move_elsewhere(wire::Reply reply) noexcept override { reply.none(); }
  [[nodiscard]] bool interrupted() const noexcept override { return false; }

  int waits = 0;
};

class DataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string message;
    auto source = SourceTree::open("/", message);
    ASSERT_TRUE(source) << message;
    state_ = std::make_unique<MountState>(MountConfig{}, std::move(source).value(), 1024);
    auto inodes = InodeTable::create(state_->source, state_->budget, 1024);
    ASSERT_TRUE(inodes);
    state_->inodes = std::move(inodes).value();
    auto handles = HandleTable::create(*state_->inodes, 1024);
    ASSERT_TRUE(handles);
    state_->handles = std::move(handles).value();
  }

  struct Opened {
    std::uint64_t fh = 0;
    NodeId node = 0;
  };
  void open(const std::string& path, int flags, Opened& opened) {
    UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
    ASSERT_TRUE(fd.valid()) << path;
    const struct statx st = sys::stat_at(fd.borrow()).value();
    auto inode = state_->inodes->lookup(
        std::move(fd), {device_number(st.stx_dev_major, st.stx_dev_minor), st.stx_ino}, S_IFREG);
    ASSERT_TRUE(inode);
    HandleTable::Opened made;
    made.fd = UniqueFd(::open(path.c_str(), (flags & ~O_DIRECT) | O_CLOEXEC));
    made.flags = static_cast<std::uint32_t>(flags);
    opened.node = inode->id();
    auto fh = state_->handles->add(*inode, std::move(made));
    ASSERT_TRUE(fh);
    opened.fh = *fh;
  }

  // How often one read says that it may wait.
  int waits_of_read(const Opened& file) {
    wire::Request request{};
    request.header.nodeid = file.node;
    request.header.uid = ::geteuid();
    request.header.gid = ::getegid();
    wire::ReadRequest read{};
    read.fh = file.fh;
    read.size = 16;
    const wire::DecodeOptions decode;
    CountingThread thread;
    OpContext context(*state_, request, decode, MutableByteSpan(buffer_), thread);
    wire::Reply none;  // of a queue that sends no files
    EXPECT_TRUE(ops::read(context, read, none));
    return thread.waits;
  }

  test::TempTree tree_;
  std::unique_ptr<MountState> state_;
  std::array<std::byte, 4096> buffer_{};
};

// /proc stands for a file system inside the source that cannot say whether it would wait.
TEST_F(DataTest, WhatOneFileCannotSayIsAskedOfOthers) {
  const std::string path = tree_ / "file";
  std::ofstream(path) << "0123456789abcdefghi";
  {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char byte = 0;
    const iovec part{&byte, 1};
    if (::preadv2(fd.get(), &part, 1, 0, RWF_NOWAIT) != 1) {
      GTEST_SKIP() << "the file system of " << path << " has no RWF_NOWAIT";
    }
  }
  Opened plain;
  Opened strange;
  ASSERT_NO_FATAL_FAILURE(open(path, O_RDONLY, plain));
  ASSERT_NO_FATAL_FAILURE(open("/proc/version", O_RDONLY, strange));
  EXPECT_EQ(waits_of_read(plain), 0);
  EXPECT_EQ(waits_of_read(strange), 1);
  EXPECT_EQ(waits_of_read(plain), 0) << "the data is in memory, as before";
  EXPECT_EQ(waits_of_read(strange), 1);
}

}  // namespace
}  // namespace passthroughfs
