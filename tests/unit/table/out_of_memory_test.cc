// SPDX-License-Identifier: Apache-2.0
//
// The tables when memory runs out: an error for the request, never the end of the process. A
// program of its own, because no_memory.cc replaces operator new.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <new>

#include "base/log.h"
#include "no_memory.h"
#include "source/device_map.h"
#include "source/mount_fds.h"
#include "table/handle_table.h"
#include "table/inode_table.h"
#include "table_fixture.h"

namespace passthroughfs {
namespace {

using test::NoMemory;
using test::TableTree;

TEST(OutOfMemoryTest, TheFailingAllocatorFails) {
  const NoMemory none;
  EXPECT_THROW(::operator delete(::operator new(100)), std::bad_alloc);
}

TEST(OutOfMemoryTest, TheIndexGoesOnWithLongerChains) {
  constexpr std::uint64_t kMany = 3000;
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  TableTree tree(100'000);
  tree.make_files(1);
  const UniqueFd file(::open(tree.path("file0").c_str(), O_PATH | O_CLOEXEC));
  {
    const NoMemory none;
    for (std::uint64_t ino = 1; ino <= kMany; ++ino) {
      auto copy = duplicate(file.borrow());
      if (!copy || !tree.inodes().lookup(std::move(*copy), {7, ino}, S_IFREG)) std::abort();
    }
  }
  for (std::uint64_t ino = 1; ino <= kMany; ++ino) {
    ASSERT_TRUE(tree.inodes().find({7, ino}).has_value()) << ino;
  }
}

TEST(OutOfMemoryTest, OpeningADirectoryGivesENOMEMAndLeaksNothing) {
  TableTree tree;
  auto handles = HandleTable::create(tree.inodes(), 16);
  ASSERT_TRUE(handles.has_value());
  auto root = tree.inodes().get(InodeTable::kRoot);
  ASSERT_TRUE(root.has_value());
  const std::size_t before = test::open_descriptors();
  HandleTable::Opened opened;
  opened.fd = UniqueFd(::open(tree.path(".").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  opened.kind = HandleKind::directory;
  const auto fh = [&] {
    const NoMemory none;
    return (*handles)->add(*root, std::move(opened));
  }();
  ASSERT_FALSE(fh.has_value());
  EXPECT_EQ(fh.error(), ENOMEM);
  EXPECT_EQ(test::open_descriptors(), before);
  EXPECT_EQ((*handles)->open_count(), 0U);
}

TEST(OutOfMemoryTest, AnUnknownHandleIsEBADFEvenIfTheLineCannotBeLogged) {
  TableTree tree;
  auto handles = HandleTable::create(tree.inodes(), 16);
  ASSERT_TRUE(handles.has_value());
  set_log_sink([](LogLevel, std::string_view) {}, LogLevel::debug);
  {
    const NoMemory none;
    auto handle = (*handles)->get(0x123456789, InodeTable::kRoot);
    if (handle.has_value() || !(handle.error() == EBADF)) std::abort();
  }
  set_log_sink(nullptr, LogLevel::debug);
}

TEST(OutOfMemoryTest, AnotherDeviceStillGetsANumberThatIsNotTheSourcesOwn) {
  DeviceMap devices(1);
  std::uint64_t shown = 0;
  {
    const NoMemory none;
    shown = devices.shown_ino(2, 77);
  }
  EXPECT_NE(shown, 77U);
}

TEST(OutOfMemoryTest, AMountThatCannotBeRememberedIsENOMEMAndLeaksNothing) {
  TableTree tree;
  PFS_NEEDS_HANDLES_OF(tree);
  MountFds mounts;
  const std::size_t before = test::open_descriptors();
  const auto remembered = [&] {
    const NoMemory none;
    return mounts.remember(12345, tree.source().root());
  }();
  ASSERT_FALSE(remembered.has_value());
  EXPECT_EQ(remembered.error(), ENOMEM);
  EXPECT_FALSE(mounts.knows(12345));
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace passthroughfs
