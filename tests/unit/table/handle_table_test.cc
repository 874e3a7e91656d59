// SPDX-License-Identifier: Apache-2.0
#include "table/handle_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "table_fixture.h"

namespace passthroughfs {
namespace {

using test::TableTree;

class HandleTableTest : public ::testing::Test {
 protected:
  explicit HandleTableTest(std::uint32_t capacity = 1024) {
    auto handles = HandleTable::create(tree_.inodes(), capacity);
    EXPECT_TRUE(handles.has_value());
    handles_ = std::move(*handles);
    tree_.make_files(2);
    before_ = test::open_descriptors();
  }

  HandleTable::Opened opened(const std::string& name, HandleKind kind = HandleKind::file) const {
    HandleTable::Opened out;
    const int how = kind == HandleKind::directory ? O_RDONLY | O_DIRECTORY : O_RDWR;
    out.fd = UniqueFd(::open(tree_.path(name).c_str(), how | O_CLOEXEC));
    EXPECT_TRUE(out.fd.valid()) << name;
    out.flags = static_cast<std::uint32_t>(how);
    out.kind = kind;
    return out;
  }
  // Looks up and opens; the kernel's lookup count is given back, so that only the handle holds.
  std::uint64_t open(const std::string& name, NodeId* node = nullptr,
                     HandleKind kind = HandleKind::file) {
    auto inode = tree_.look_up(name);
    EXPECT_TRUE(inode.has_value());
    auto fh = handles_->add(*inode, opened(name, kind));
    EXPECT_TRUE(fh.has_value());
    if (node != nullptr) *node = inode->id();
    EXPECT_TRUE(tree_.inodes().forget(inode->id(), 1));
    return *fh;
  }
  static void expect_ebadf(const Result<HandleRef>& got) {
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error(), EBADF);
  }

  TableTree tree_;
  std::unique_ptr<HandleTable> handles_;
  std::size_t before_ = 0;
};

TEST_F(HandleTableTest, GivesBackWhatWasOpened) {
  NodeId node = 0;
  auto inode = tree_.look_up("file0");
  ASSERT_TRUE(inode.has_value());
  node = inode->id();
  HandleTable::Opened file = opened("file0");
  const int fd = file.fd.get();
  file.pid = 77;
  file.io = HandleIo::passthrough;
  file.append_fd = true;
  auto fh = handles_->add(*inode, std::move(file));
  ASSERT_TRUE(fh.has_value());
  auto handle = handles_->get(*fh, node);
  ASSERT_TRUE(handle.has_value());
  EXPECT_EQ(handle->fd().get(), fd);
  EXPECT_EQ((*handle)->node, node);
  EXPECT_EQ((*handle)->flags, static_cast<std::uint32_t>(O_RDWR));
  EXPECT_EQ((*handle)->pid, 77U);
  EXPECT_EQ((*handle)->kind, HandleKind::file);
  EXPECT_EQ((*handle)->io, HandleIo::passthrough);
  EXPECT_EQ((*handle)->append_fd, 1);
  EXPECT_EQ((*handle)->direct_fd.load(), -1);
  EXPECT_NE((*handle)->opened_sec, 0);
  EXPECT_EQ(handles_->open_count(), 1U);
}

TEST_F(HandleTableTest, NoHandleIsNumberZero) {
  NodeId node = 0;
  EXPECT_NE(open("file0", &node), 0U);
  expect_ebadf(handles_->get(0, node));
}

TEST_F(HandleTableTest, AnUnknownNumberIsEBADF) {
  NodeId node = 0;
  const std::uint64_t fh = open("file0", &node);
  for (const std::uint64_t wrong :
       std::initializer_list<std::uint64_t>{fh + 1, fh + (1ULL << 32), ~0ULL}) {
    expect_ebadf(handles_->get(wrong, node));
    auto released = handles_->release(wrong, node);
    ASSERT_FALSE(released.has_value());
    EXPECT_EQ(released.error(), EBADF);
  }
  EXPECT_EQ(handles_->open_count(), 1U);
}

TEST_F(HandleTableTest, AHandleOfAnotherNodeIsEBADFAndStaysOpen) {
  NodeId node = 0;
  const std::uint64_t fh = open("file0", &node);
  const NodeId other = tree_.node("file1");
  expect_ebadf(handles_->get(fh, other));
  auto released = handles_->release(fh, other);
  ASSERT_FALSE(released.has_value());
  EXPECT_EQ(released.error(), EBADF);
  EXPECT_TRUE(handles_->get(fh, node).has_value());
}

TEST_F(HandleTableTest, TellsWhetherAFileIsOpenForWriting) {
  NodeId node = 0;
  const std::uint64_t writer = open("file0", &node);
  auto inode = tree_.inodes().get(node);
  ASSERT_TRUE(inode.has_value());
  HandleTable::Opened to_read = opened("file0");
  to_read.flags = O_RDONLY;
  ASSERT_TRUE(handles_->add(*inode, std::move(to_read)).has_value());
  EXPECT_TRUE(handles_->has_writer(node));
  EXPECT_FALSE(handles_->has_writer(tree_.node("file1")));
  EXPECT_TRUE(handles_->release(writer, node).has_value());
  EXPECT_FALSE(handles_->has_writer(node));
}

TEST_F(HandleTableTest, ASecondReleaseIsEBADF) {
  NodeId node = 0;
  const std::uint64_t fh = open("file0", &node);
  EXPECT_TRUE(handles_->release(fh, node).has_value());
  auto again = handles_->release(fh, node);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error(), EBADF);
  expect_ebadf(handles_->get(fh, node));
}

TEST_F(HandleTableTest, ASecondReleaseWhileARequestRunsIsEBADFToo) {
  NodeId node = 0;
  const std::uint64_t fh = open("file0", &node);
  auto running = handles_->get(fh, node);
  ASSERT_TRUE(running.has_value());
  EXPECT_TRUE(handles_->release(fh, node).has_value());
  EXPECT_FALSE(handles_->release(fh, node).has_value());
}

TEST_F(HandleTableTest, NumbersAreNeverReused) {
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    NodeId node = 0;
    const std::uint64_t fh = open("file0", &node);
    EXPECT_TRUE(seen.insert(fh).second) << fh;
    EXPECT_TRUE(handles_->release(fh, node).has_value());
  }
  EXPECT_LT(handles_->memory_bytes(), 4 * sizeof(Handle)) << "but slots are";
}

TEST_F(HandleTableTest, ARunningRequestKeepsItsDescriptorBeyondRelease) {
  NodeId node = 0;
  const std::uint64_t fh = open("file0", &node);
  auto running = handles_->get(fh, node);
  ASSERT_TRUE(running.has_value());
  EXPECT_TRUE(handles_->release(fh, node).has_value());
  expect_ebadf(handles_->get(fh, node));
  struct stat st {};
  EXPECT_EQ(::fstat(running->fd().get(), &st), 0);
  EXPECT_EQ(handles_->open_count(), 1U);
  running->reset();
  EXPECT_EQ(handles_->open_count(), 0U);
  EXPECT_EQ(test::open_descriptors(), before_);
  EXPECT_EQ(tree_.inodes().known(), 1U) << "the hold on the inode went with it";
}

TEST_F(HandleTableTest, AnOpenFileKeepsItsNodeBeyondTheKernelsForget) {
  NodeId node = 0;
  const std::uint64_t fh = open("file0", &node);  // looked up and forgotten
  EXPECT_TRUE(tree_.inodes().get(node).has_value());
  EXPECT_EQ(tree_.node("file0"), node);
  EXPECT_TRUE(tree_.inodes().forget(node, 1));
  EXPECT_TRUE(handles_->release(fh, node).has_value());
  EXPECT_FALSE(tree_.inodes().get(node).has_value());
}

TEST_F(HandleTableTest, AHandleOfAnInodeThatIsForgottenMeanwhileIsSound) {
  auto inode = tree_.look_up("file0");
  ASSERT_TRUE(inode.has_value());
  const NodeId node = inode->id();
  EXPECT_TRUE(tree_.inodes().forget(node, 1));
  auto fh = handles_->add(*inode, opened("file0"));
  ASSERT_TRUE(fh.has_value());
  inode->reset();
  EXPECT_EQ(tree_.inodes().known(), 2U) << "held";
  const NodeId other = tree_.node("file1");
  EXPECT_TRUE(handles_->get(*fh, node).has_value());
  EXPECT_TRUE(handles_->release(*fh, node).has_value());
  EXPECT_TRUE(tree_.inodes().get(other).has_value());
  EXPECT_EQ(tree_.inodes().known(), 2U) << "the root and the other one";
}

TEST_F(HandleTableTest, ClosesBothDescriptorsAtTheEnd) {
  auto inode = tree_.look_up("file0");
  ASSERT_TRUE(inode.has_value());
  HandleTable::Opened file = opened("file0");
  file.direct_fd = UniqueFd(::open(tree_.path("file0").c_str(), O_RDONLY | O_CLOEXEC));
  auto fh = handles_->add(*inode, std::move(file));
  ASSERT_TRUE(fh.has_value());
  const NodeId node = inode->id();
  inode->reset();
  EXPECT_TRUE(tree_.inodes().forget(node, 1));
  EXPECT_EQ(test::open_descriptors(), before_ + 3);
  EXPECT_TRUE(handles_->release(*fh, node).has_value());
  EXPECT_EQ(test::open_descriptors(), before_);
}

TEST_F(HandleTableTest, ADirectoryHasAReadingPositionOfItsOwn) {
  NodeId node = 0;
  const std::uint64_t first = open(".", &node, HandleKind::directory);
  const std::uint64_t second = open(".", &node, HandleKind::directory);
  auto a = handles_->get(first, node);
  auto b = handles_->get(second, node);
  ASSERT_TRUE(a.has_value());
  ASSERT_TRUE(b.has_value());
  EXPECT_NE(&a->stream(), &b->stream());
  MutexLock lock(a->stream().mutex);
  a->stream().next_offset = 5;
  MutexLock other(b->stream().mutex);
  EXPECT_EQ(b->stream().next_offset, 0U);
}

TEST_F(HandleTableTest, TheEndOfTheTableClosesEverything) {
  NodeId node = 0;
  (void)open("file0", &node);
  (void)open(".", &node, HandleKind::directory);
  handles_.reset();
  EXPECT_EQ(test::open_descriptors(), before_ - 2) << "its regions went too";
  EXPECT_EQ(tree_.inodes().known(), 1U);
}

TEST_F(HandleTableTest, VisitsWhatIsOpen) {
  NodeId node = 0;
  NodeId other = 0;
  const std::uint64_t a = open("file0", &node);
  const std::uint64_t b = open("file1", &other);
  const std::uint64_t c = open("file0", &node);
  EXPECT_TRUE(handles_->release(a, node).has_value());
  std::set<std::uint64_t> seen;
  handles_->for_each([&](std::uint64_t fh, const HandleRef& handle) {
    seen.insert(fh);
    EXPECT_TRUE(handle.fd().valid());
  });
  EXPECT_EQ(seen, (std::set<std::uint64_t>{b, c}));
}

TEST_F(HandleTableTest, VisitsInParts) {
  NodeId node = 0;
  std::set<std::uint64_t> all;
  for (int i = 0; i < 10; ++i) all.insert(open("file0", &node));
  EXPECT_TRUE(handles_->release(*all.begin(), node).has_value());
  all.erase(all.begin());
  for (const std::size_t most : {1U, 2U, 4U, 9U, 100U}) {
    std::set<std::uint64_t> seen;
    std::uint64_t position = 0;
    do {
      std::size_t visited = 0;
      position = handles_->for_some(position, most, [&](std::uint64_t fh, const HandleRef&) {
        EXPECT_TRUE(seen.insert(fh).second);
        ++visited;
      });
      EXPECT_LE(visited, most);
    } while (position != 0);
    EXPECT_EQ(seen, all) << most;
  }
  EXPECT_EQ(handles_->for_some(~0ULL, 5, [](auto, const auto&) { FAIL(); }), 0U);
}

TEST_F(HandleTableTest, AVisitorMayReleaseAndMayThrow) {
  NodeId node = 0;
  const std::uint64_t fh = open("file0", &node);
  EXPECT_THROW(handles_->for_each([&](std::uint64_t seen, const HandleRef&) {
    EXPECT_EQ(seen, fh);
    EXPECT_TRUE(handles_->release(fh, node).has_value());
    throw std::runtime_error("enough");
  }),
               std::runtime_error);
  EXPECT_EQ(handles_->open_count(), 0U);
  EXPECT_EQ(test::open_descriptors(), before_);
}

class SmallHandleTableTest : public HandleTableTest {
 protected:
  SmallHandleTableTest() : HandleTableTest(3) {}  // slots 1 and 2
};

TEST_F(SmallHandleTableTest, AFullTableGivesENFILEAndLeaksNothing) {
  NodeId node = 0;
  const std::uint64_t first = open("file0", &node);
  (void)open("file0", &node);
  const std::size_t full = test::open_descriptors();
  auto inode = tree_.inodes().get(node);
  ASSERT_TRUE(inode.has_value());
  for (const HandleKind kind : {HandleKind::file, HandleKind::directory}) {
    auto fh = handles_->add(*inode, opened(kind == HandleKind::file ? "file0" : ".", kind));
    ASSERT_FALSE(fh.has_value());
    EXPECT_EQ(fh.error(), ENFILE);
    EXPECT_EQ(test::open_descriptors(), full);
  }
  EXPECT_TRUE(handles_->release(first, node).has_value());
  EXPECT_TRUE(handles_->add(*inode, opened("file0")).has_value());
}

TEST_F(HandleTableTest, AMovedReferenceLetsGoOnce) {
  NodeId node = 0;
  const std::uint64_t fh = open("file0", &node);
  {
    auto got = handles_->get(fh, node);
    ASSERT_TRUE(got.has_value());
    HandleRef moved(std::move(*got));
    HandleRef assigned;
    assigned = std::move(moved);
    EXPECT_FALSE(static_cast<bool>(moved));  // NOLINT(bugprone-use-after-move)
    EXPECT_TRUE(static_cast<bool>(assigned));
  }
  EXPECT_TRUE(handles_->release(fh, node).has_value());
  EXPECT_EQ(handles_->open_count(), 0U);
}

// Requests run while RELEASE comes: each either works on an open descriptor or gets EBADF.
TEST_F(HandleTableTest, RequestsThatRaceWithReleaseNeverSeeAClosedDescriptor) {
  constexpr int kThreads = 4;
  for (int round = 0; round < 200; ++round) {
    NodeId node = 0;
    const std::uint64_t fh = open("file0", &node);
    std::atomic<int> ready{0};
    std::atomic<int> released{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        ready.fetch_add(1);
        while (ready.load() < kThreads) std::this_thread::yield();
        for (int i = 0; i < 20; ++i) {
          if (t < 2 && i == 5 && handles_->release(fh, node)) released.fetch_add(1);
          auto handle = handles_->get(fh, node);
          if (!handle) continue;
          struct stat st {};
          EXPECT_EQ(::fstat(handle->fd().get(), &st), 0);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(released.load(), 1);
    ASSERT_EQ(handles_->open_count(), 0U);
  }
  EXPECT_EQ(test::open_descriptors(), before_);
  EXPECT_EQ(tree_.inodes().known(), 1U);
}

}  // namespace
}  // namespace passthroughfs
