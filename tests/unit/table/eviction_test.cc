// SPDX-License-Identifier: Apache-2.0
//
// Descriptors given up for file handles, and what happens when they cannot be. Needs root, because
// open_by_handle_at(2) needs CAP_DAC_READ_SEARCH.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <fstream>
#include <thread>
#include <vector>

#include "support/run_as.h"
#include "table/inode_table.h"
#include "table_fixture.h"

namespace passthroughfs {
namespace {

using test::kTinyLimit;
using test::TableTree;
using test::TempTree;

// On ext4 or whatever $PFS_TEST_DIR is, and on tmpfs.
class EvictionTest : public ::testing::TestWithParam<TempTree::Medium> {
 protected:
  TempTree::Medium medium() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Medium, EvictionTest,
                         ::testing::Values(TempTree::Medium::kDisk, TempTree::Medium::kMemory),
                         [](const auto& row) {
                           return row.param == TempTree::Medium::kDisk ? "Disk" : "Memory";
                         });

TEST_P(EvictionTest, KeepsWithinTheBudgetWhileAllFilesStayReachable) {
  constexpr int kFiles = 500;
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(kFiles);
  const std::size_t before = test::open_descriptors();
  std::vector<NodeId> nodes;
  for (int i = 0; i < kFiles; ++i) {
    nodes.push_back(tree.node(TableTree::file(i)));
    ASSERT_LE(tree.budget().held(), tree.budget().budget() + 1) << i;
  }
  EXPECT_GT(tree.inodes().evictions(), 0U);
  for (int i = 0; i < kFiles; ++i) {
    auto inode = tree.inodes().get(nodes[static_cast<std::size_t>(i)]);
    ASSERT_TRUE(inode.has_value()) << i << ": " << inode.error().to_string();
    EXPECT_EQ(TableTree::ino_of(*inode), tree.ino_of(TableTree::file(i)));
    ASSERT_LE(tree.budget().held(), tree.budget().budget() + 1) << i;
  }
  EXPECT_GT(tree.inodes().restores(), 0U);
  EXPECT_EQ(tree.inodes().known(), std::uint64_t{kFiles} + 1);
  for (const NodeId node : nodes) EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_EQ(tree.inodes().known(), 1U);
  EXPECT_EQ(tree.budget().held(), 1U);
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST_P(EvictionTest, ALookupOfAnEvictedFileGivesTheSameNode) {
  constexpr int kFiles = 300;
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(kFiles);
  std::vector<NodeId> nodes;
  for (int i = 0; i < kFiles; ++i) nodes.push_back(tree.node(TableTree::file(i)));
  for (int i = 0; i < kFiles; ++i) {
    EXPECT_EQ(tree.node(TableTree::file(i)), nodes[static_cast<std::size_t>(i)]);
  }
  for (const NodeId node : nodes) EXPECT_TRUE(tree.inodes().forget(node, 2));
  EXPECT_EQ(tree.inodes().known(), 1U);
  EXPECT_EQ(tree.budget().held(), 1U);
}

TEST_P(EvictionTest, EveryKindOfFileComesBack) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_file("regular");
  ASSERT_EQ(::mkdir(tree.path("directory").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("nowhere", tree.path("link").c_str()), 0);
  ASSERT_EQ(::mkfifo(tree.path("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mknod(tree.path("socket").c_str(), S_IFSOCK | 0600, 0), 0);
  for (const char* name : {"regular", "directory", "link", "fifo", "socket"}) {
    const NodeId node = tree.node(name);
    ASSERT_TRUE(tree.evict(node)) << name;
    auto inode = tree.inodes().get(node);
    ASSERT_TRUE(inode.has_value()) << name << ": " << inode.error().to_string();
    EXPECT_EQ(TableTree::ino_of(*inode), tree.ino_of(name)) << name;
  }
}

TEST_P(EvictionTest, AFileThatMovedComesBack) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_file("before");
  ASSERT_EQ(::mkdir(tree.path("directory").c_str(), 0700), 0);
  const std::uint64_t ino = tree.ino_of("before");
  const NodeId node = tree.node("before");
  ASSERT_TRUE(tree.evict(node));
  ASSERT_EQ(::rename(tree.path("before").c_str(), tree.path("directory/after").c_str()), 0);
  auto inode = tree.inodes().get(node);
  ASSERT_TRUE(inode.has_value());
  EXPECT_EQ(TableTree::ino_of(*inode), ino);
}

TEST_P(EvictionTest, AnInodeCanBePinnedWithoutItsDescriptor) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(1);
  const NodeId node = tree.node("file0");
  ASSERT_TRUE(tree.evict(node));
  auto inode = tree.inodes().pin(node);
  ASSERT_TRUE(inode.has_value());
  EXPECT_FALSE(inode->fd().valid());
  EXPECT_EQ(inode->id(), node);
  EXPECT_EQ(tree.inodes().restores(), 0U);
  EXPECT_TRUE(tree.inodes().get(node).has_value());
  EXPECT_TRUE(inode->fd().valid()) << "restored by the other one";
}

TEST_P(EvictionTest, APinnedInodeKeepsItsDescriptor) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(2);
  auto pinned = tree.look_up("file0");
  ASSERT_TRUE(pinned.has_value());
  ASSERT_TRUE(tree.evict(tree.node("file1"))) << "somebody was given up";
  for (int i = 0; i < 10; ++i) (void)tree.inodes().relieve();
  EXPECT_TRUE(pinned->fd().valid());
}

TEST_P(EvictionTest, TheRootKeepsItsDescriptor) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(tree.inodes().relieve());
  EXPECT_EQ(tree.budget().held(), 1U);
}

TEST_P(EvictionTest, AFileWithoutANameKeepsItsDescriptor) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(2);
  const std::uint64_t ino = tree.ino_of("file0");
  const NodeId node = tree.node("file0");
  ASSERT_EQ(::unlink(tree.path("file0").c_str()), 0);
  EXPECT_FALSE(tree.evict(node));
  auto inode = tree.inodes().get(node);
  ASSERT_TRUE(inode.has_value());
  EXPECT_EQ(TableTree::ino_of(*inode), ino);
}

TEST_P(EvictionTest, AnEvictedFileThatIsDeletedBehindTheMountIsStale) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(1);
  const NodeId node = tree.node("file0");
  ASSERT_TRUE(tree.evict(node));
  ASSERT_EQ(::unlink(tree.path("file0").c_str()), 0);
  auto gone = tree.inodes().get(node);
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error(), ESTALE);
  EXPECT_TRUE(tree.inodes().forget(node, 1)) << "the kernel may still give it back";
  EXPECT_EQ(tree.inodes().known(), 1U);
}

TEST_P(EvictionTest, AnEvictedFileWithoutANameIsAskedOfTheOrphanFinder) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(1);
  const std::uint64_t ino = tree.ino_of("file0");
  const NodeId node = tree.node("file0");
  struct Context {
    int asked = 0;
    NodeId id = 0;
    UniqueFd open_file;
  } context;
  tree.inodes().set_orphan_finder(
      [](void* data, NodeId id) -> Result<UniqueFd> {
        auto& found = *static_cast<Context*>(data);
        ++found.asked;
        found.id = id;
        if (!found.open_file.valid()) return Err(ESTALE);
        return own(::open(sys::ProcFdPath(found.open_file.borrow()).c_str(), O_PATH | O_CLOEXEC));
      },
      &context);

  // As an open handle would: the inode lives on without a name, its handle opens nothing.
  ASSERT_TRUE(tree.evict(node));
  ASSERT_EQ(::unlink(tree.path("file0").c_str()), 0);
  EXPECT_FALSE(tree.inodes().get(node).has_value());
  EXPECT_EQ(context.asked, 1);
  EXPECT_EQ(context.id, node);

  tree.make_file("stand-in");
  context.open_file = UniqueFd(::open(tree.path("stand-in").c_str(), O_RDONLY | O_CLOEXEC));
  auto inode = tree.inodes().get(node);
  ASSERT_TRUE(inode.has_value());
  EXPECT_EQ(TableTree::ino_of(*inode), tree.ino_of("stand-in")) << "the finder's descriptor";
  EXPECT_EQ(context.asked, 2);
  inode->reset();
  EXPECT_TRUE(tree.inodes().get(node).has_value());
  EXPECT_EQ(context.asked, 2) << "the descriptor is there";
  (void)ino;
}

// A second file with the inode number of one that is gone is another file.
TEST_P(EvictionTest, AReusedInodeNumberIsANewNode) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(1);
  const std::uint64_t ino = tree.ino_of("file0");
  const NodeId first = tree.node("file0");
  ASSERT_TRUE(tree.evict(first));
  ASSERT_EQ(::unlink(tree.path("file0").c_str()), 0);
  std::string again;
  for (int i = 0; i < 2000 && again.empty(); ++i) {
    const std::string name = "again" + std::to_string(i);
    tree.make_file(name);
    if (tree.ino_of(name) == ino) again = name;
  }
  if (again.empty()) GTEST_SKIP() << "this file system does not reuse inode numbers soon";
  const NodeId second = tree.node(again);
  EXPECT_NE(second, first);
  auto stale = tree.inodes().get(first);
  ASSERT_FALSE(stale.has_value());
  EXPECT_EQ(stale.error(), ESTALE);
  auto inode = tree.inodes().get(second);
  ASSERT_TRUE(inode.has_value());
  EXPECT_EQ(TableTree::ino_of(*inode), ino);
  inode->reset();
  EXPECT_EQ(tree.node(again), second) << "the index leads to the new one";
  // Both come back exactly, in either order.
  EXPECT_TRUE(tree.inodes().forget(first, 1));
  EXPECT_EQ(tree.node(again), second);
  EXPECT_TRUE(tree.inodes().forget(second, 3));
  EXPECT_EQ(tree.inodes().known(), 1U);
}

// The same, for the first descriptor ever given up: a removal that was under way before must keep
// its inode too.
TEST_P(EvictionTest, TheFirstEvictionWaitsForRemovalsThatDidNotLook) {
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(3);
  for (int i = 0; i < 3; ++i) (void)tree.node(TableTree::file(i));
  const NodeId node = tree.node("file0");
  {
    const InodeTable::Removal removal(tree.inodes());
    EXPECT_FALSE(removal.must_look()) << "nothing was ever given up";
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(tree.inodes().relieve());
    EXPECT_TRUE(tree.inodes().has_evicted()) << "announced";
    const InodeTable::Removal later(tree.inodes());
    EXPECT_TRUE(later.must_look());
    ASSERT_EQ(::unlink(tree.path("file0").c_str()), 0);
  }
  EXPECT_TRUE(tree.inodes().relieve());
  EXPECT_GT(tree.inodes().evictions(), 0U);
  EXPECT_TRUE(tree.inodes().get(node).has_value()) << "it kept its descriptor";
}

TEST_P(EvictionTest, OpensMoreThanTheLimitAllowsDescriptors) {
  constexpr rlim_t kLimit = 200;
  constexpr int kFiles = 1000;
  TableTree tree(kLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(kFiles);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit tight{kLimit, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  std::vector<NodeId> nodes;
  for (int i = 0; i < kFiles; ++i) nodes.push_back(tree.node(TableTree::file(i)));
  // Others take what is left; then a restore has to make room for itself.
  std::vector<UniqueFd> others;
  for (;;) {
    auto copy = duplicate(tree.source().root());
    if (!copy) break;
    others.push_back(std::move(*copy));
  }
  for (const NodeId node : nodes) {
    auto inode = tree.inodes().get(node);
    EXPECT_TRUE(inode.has_value()) << inode.error().to_string();
  }
  others.clear();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

// The few slots with a descriptor are far apart there.
TEST_P(EvictionTest, FindsWhatCanBeGivenUpInALargeTable) {
  constexpr std::uint64_t kMany = 300'000;
  TableTree tree(kTinyLimit, medium());
  PFS_NEEDS_HANDLES_OF(tree);
  tree.make_files(1);
  const UniqueFd file(::open(tree.path("file0").c_str(), O_PATH | O_CLOEXEC));
  std::vector<NodeId> nodes;
  for (int round = 0; round < 2; ++round) {
    for (std::uint64_t ino = 1; ino <= kMany; ++ino) {
      auto copy = duplicate(file.borrow());
      ASSERT_TRUE(copy.has_value());
      // One file under many numbers, for speed; the table cannot know.
      auto inode = tree.inodes().lookup(std::move(*copy), {7, ino}, S_IFREG);
      ASSERT_TRUE(inode.has_value()) << ino << ": " << inode.error().to_string();
      if (round == 0) nodes.push_back(inode->id());
    }
  }
  for (const NodeId node : nodes) ASSERT_TRUE(tree.inodes().forget(node, 2));
  EXPECT_EQ(tree.budget().held(), 1U);
}

// Whoever may not open by handle must not give anything up: nothing would come back.
TEST(EvictionWithoutRightsTest, DescriptorsAreKeptAndTheRestIsENFILE) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const TempTree outer;
  ASSERT_EQ(::chmod(outer.path().c_str(), 0777), 0);
  const std::string place = outer.make_dir("place", 0777);
  test::run_as(test::kAlice, [&] {
    ASSERT_EQ(setenv("PFS_TEST_DIR", place.c_str(), 1), 0);
    constexpr int kFiles = 100;
    TableTree tree(kTinyLimit);
    EXPECT_FALSE(tree.can_evict());
    tree.make_files(kFiles);
    std::vector<NodeId> nodes;
    int refused = 0;
    for (int i = 0; i < kFiles; ++i) {
      auto inode = tree.look_up(TableTree::file(i));
      if (inode) {
        nodes.push_back(inode->id());
      } else {
        EXPECT_EQ(inode.error(), ENFILE);
        ++refused;
      }
    }
    EXPECT_EQ(tree.inodes().evictions(), 0U);
    EXPECT_GT(refused, 0);
    ASSERT_GE(nodes.size(), tree.budget().budget());
    for (const NodeId node : nodes) EXPECT_TRUE(tree.inodes().get(node).has_value());
    // What is known stays reachable by name too: nothing new is asked for.
    EXPECT_EQ(tree.node("file0"), nodes[0]);
    EXPECT_TRUE(tree.inodes().forget(nodes[0], 1));
    // As soon as the kernel forgets, others may come.
    for (const NodeId node : nodes) EXPECT_TRUE(tree.inodes().forget(node, 1));
    EXPECT_EQ(tree.inodes().known(), 1U) << "refused lookups left nothing behind";
    EXPECT_EQ(tree.budget().held(), 1U);
    EXPECT_NE(tree.node(TableTree::file(kFiles - 1)), 0U);
  });
}

}  // namespace
}  // namespace passthroughfs
