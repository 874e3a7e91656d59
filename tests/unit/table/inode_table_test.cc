// SPDX-License-Identifier: Apache-2.0
#include "table/inode_table.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "table_fixture.h"

namespace passthroughfs {
namespace {

using test::TableTree;

TEST(InodeTableTest, TheRootIsNodeOneAndCannotBeForgotten) {
  TableTree tree;
  EXPECT_EQ(InodeTable::kRoot, 1U);
  EXPECT_TRUE(tree.inodes().forget(InodeTable::kRoot, 1));
  EXPECT_TRUE(tree.inodes().forget(InodeTable::kRoot, 1'000'000));
  auto root = tree.inodes().get(InodeTable::kRoot);
  ASSERT_TRUE(root.has_value());
  EXPECT_EQ(root->id(), InodeTable::kRoot);
  EXPECT_EQ(TableTree::ino_of(*root), tree.ino_of("."));
  EXPECT_EQ(tree.inodes().known(), 1U);
}

TEST(InodeTableTest, LookingUpTheRootGivesTheRoot) {
  TableTree tree;
  EXPECT_EQ(tree.node("."), InodeTable::kRoot);
  EXPECT_EQ(tree.inodes().known(), 1U);
}

TEST(InodeTableTest, OneFileIsOneNodeByWhicheverName) {
  TableTree tree;
  tree.make_files(2);
  ASSERT_EQ(::link(tree.path("file0").c_str(), tree.path("other").c_str()), 0);
  const NodeId node = tree.node("file0");
  EXPECT_EQ(tree.node("file0"), node);
  EXPECT_EQ(tree.node("other"), node);
  EXPECT_NE(tree.node("file1"), node);
}

// Beyond its lookups: something may still be at work with it.
TEST(InodeTableTest, TheKernelKnowsANodeUntilItHasGivenAllLookupsBack) {
  TableTree tree;
  tree.make_files(1);
  const NodeId node = tree.node("file0");
  ASSERT_EQ(tree.node("file0"), node);
  auto pinned = tree.inodes().get(node);
  ASSERT_TRUE(pinned.has_value());
  const InodeKey key = (*pinned)->key;
  EXPECT_EQ(tree.inodes().known_as(key), node);
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_TRUE(tree.inodes().kernel_knows(node));
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_FALSE(tree.inodes().kernel_knows(node));
  EXPECT_EQ(tree.inodes().known_as(key), 0U);
  EXPECT_TRUE(tree.inodes().kernel_knows(InodeTable::kRoot));
}

TEST(InodeTableTest, ADirectoryIsAtThePlaceThatWasToldLast) {
  TableTree tree;
  ASSERT_EQ(::mkdir(tree.path("d").c_str(), 0755), 0);
  auto found = tree.look_up("d");
  ASSERT_TRUE(found.has_value());
  const auto place = InodeTable::place_of(InodeTable::kRoot, "d");
  EXPECT_FALSE(tree.inodes().is_told_at((*found)->key, place)) << "nobody has told";
  (*found)->told_place.store(place);
  EXPECT_TRUE(tree.inodes().is_told_at((*found)->key, place));
  EXPECT_FALSE(
      tree.inodes().is_told_at((*found)->key, InodeTable::place_of(InodeTable::kRoot, "e")));
  EXPECT_FALSE(tree.inodes().is_told_at((*found)->key, InodeTable::place_of(found->id(), "d")));
  EXPECT_FALSE(tree.inodes().is_told_at({0, 1}, place)) << "of none that is known";
}

TEST(InodeTableTest, ANodeIsKnownForExactlyAsManyLookupsAsItGot) {
  TableTree tree;
  tree.make_files(1);
  const NodeId node = tree.node("file0");
  for (int i = 0; i < 4; ++i) (void)tree.node("file0");
  EXPECT_TRUE(tree.inodes().forget(node, 3));
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_TRUE(tree.inodes().get(node).has_value());
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  auto gone = tree.inodes().get(node);
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error(), ESTALE);
  EXPECT_EQ(tree.inodes().known(), 1U);
}

TEST(InodeTableTest, ForgettingMoreThanWasGivenIsNoticedAndEndsTheNode) {
  TableTree tree;
  tree.make_files(1);
  const NodeId node = tree.node("file0");
  EXPECT_FALSE(tree.inodes().forget(node, 2));
  EXPECT_FALSE(tree.inodes().get(node).has_value());
  EXPECT_FALSE(tree.inodes().forget(node, 1)) << "unknown by now";
  EXPECT_NE(tree.node("file0"), node);
}

TEST(InodeTableTest, ANumberOfNoNodeIsStale) {
  TableTree tree;
  tree.make_files(1);
  const NodeId node = tree.node("file0");
  for (const NodeId wrong :
       std::initializer_list<NodeId>{0, node + 1, node + (1ULL << 32), ~0ULL}) {
    auto got = tree.inodes().get(wrong);
    ASSERT_FALSE(got.has_value()) << wrong;
    EXPECT_EQ(got.error(), ESTALE);
    EXPECT_FALSE(tree.inodes().forget(wrong, 1)) << wrong;
  }
}

TEST(InodeTableTest, NodeNumbersAreNeverReused) {
  TableTree tree;
  tree.make_files(10);
  std::set<NodeId> seen;
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 10; ++i) {
      const NodeId node = tree.node(TableTree::file(i));
      EXPECT_TRUE(seen.insert(node).second) << node;
      EXPECT_TRUE(tree.inodes().forget(node, 1));
    }
  }
}

TEST(InodeTableTest, AReferenceOutlivesTheLastForget) {
  TableTree tree;
  tree.make_files(1);
  auto inode = tree.look_up("file0");
  ASSERT_TRUE(inode.has_value());
  const NodeId node = inode->id();
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_FALSE(tree.inodes().get(node).has_value()) << "no number of the kernel's any more";
  EXPECT_EQ(TableTree::ino_of(*inode), tree.ino_of("file0")) << "but the descriptor is open";
  EXPECT_EQ(tree.inodes().known(), 2U);
  inode->reset();
  EXPECT_EQ(tree.inodes().known(), 1U);
}

TEST(InodeTableTest, ALookupRevivesWhatIsForgottenButInUse) {
  TableTree tree;
  tree.make_files(1);
  auto inode = tree.look_up("file0");
  ASSERT_TRUE(inode.has_value());
  const NodeId node = inode->id();
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_EQ(tree.node("file0"), node) << "the same file has the same number";
  inode->reset();
  EXPECT_TRUE(tree.inodes().get(node).has_value());
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_EQ(tree.inodes().known(), 1U);
}

TEST(InodeTableTest, AHoldKeepsANodeBeyondTheKernelsCount) {
  TableTree tree;
  tree.make_files(1);
  auto inode = tree.look_up("file0");
  ASSERT_TRUE(inode.has_value());
  const NodeId node = inode->id();
  const std::uint32_t slot = tree.inodes().slot_of(*inode);
  tree.inodes().hold(*inode);
  inode->reset();
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_TRUE(tree.inodes().get(node).has_value());
  tree.inodes().drop_hold(slot);
  EXPECT_FALSE(tree.inodes().get(node).has_value());
  EXPECT_EQ(tree.inodes().known(), 1U);
}

// A FORGET that overtakes an OPEN. Without care the open's pin would be the last thing that keeps
// the node, and the handle would later drop its hold on whoever has the slot by then.
TEST(InodeTableTest, AHoldOnAForgottenNodeKeepsIt) {
  TableTree tree;
  tree.make_files(2);
  auto inode = tree.look_up("file0");
  ASSERT_TRUE(inode.has_value());
  const std::uint32_t slot = tree.inodes().slot_of(*inode);
  EXPECT_TRUE(tree.inodes().forget(inode->id(), 1));
  tree.inodes().hold(*inode);
  inode->reset();
  EXPECT_EQ(tree.inodes().known(), 2U) << "held";
  const NodeId other = tree.node("file1");
  EXPECT_NE(SlotNumber::slot(other), slot);
  tree.inodes().drop_hold(slot);
  EXPECT_EQ(tree.inodes().known(), 2U) << "only the other one";
  EXPECT_TRUE(tree.inodes().get(other).has_value());
}

TEST(InodeTableTest, FindsWhatIsKnownAndCountsNothing) {
  TableTree tree;
  tree.make_files(2);
  const NodeId node = tree.node("file0");
  const std::uint64_t device = tree.source().root_device();
  {
    auto found = tree.inodes().find({device, tree.ino_of("file0")});
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->id(), node);
  }
  auto unknown = tree.inodes().find({device, tree.ino_of("file1")});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error(), ENOENT);
  EXPECT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_EQ(tree.inodes().known(), 1U);
}

TEST(InodeTableTest, DoesNotFindWhatIsForgottenAndOnlyPinned) {
  TableTree tree;
  tree.make_files(1);
  auto inode = tree.look_up("file0");
  ASSERT_TRUE(inode.has_value());
  EXPECT_TRUE(tree.inodes().forget(inode->id(), 1));
  EXPECT_FALSE(tree.inodes().find({tree.source().root_device(), tree.ino_of("file0")}).has_value());
}

TEST(InodeTableTest, ADescriptorIsKeptPerInodeAndNotPerLookup) {
  TableTree tree;
  tree.make_files(20);
  const std::size_t before = test::open_descriptors();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) (void)tree.node(TableTree::file(i));
  }
  EXPECT_EQ(test::open_descriptors(), before + 20);
  EXPECT_EQ(tree.budget().held(), 21U);
  for (int i = 0; i < 20; ++i) {
    const NodeId node = tree.node(TableTree::file(i));
    EXPECT_TRUE(tree.inodes().forget(node, 4));
  }
  EXPECT_EQ(test::open_descriptors(), before);
  EXPECT_EQ(tree.budget().held(), 1U);
}

TEST(InodeTableTest, TheEndOfTheTableClosesWhatTheKernelStillKnows) {
  const std::size_t before = test::open_descriptors();
  {
    TableTree tree;
    tree.make_files(20);
    for (int i = 0; i < 20; ++i) (void)tree.node(TableTree::file(i));
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(InodeTableTest, AFullTableGivesENFILEAndLeaksNothing) {
  TableTree tree(4096, test::TempTree::Medium::kDisk, 5);  // slots 1 to 4
  tree.make_files(4);
  const std::size_t before = test::open_descriptors();
  for (int i = 0; i < 3; ++i) (void)tree.node(TableTree::file(i));
  for (int i = 0; i < 10; ++i) {
    auto full = tree.look_up("file3");
    ASSERT_FALSE(full.has_value());
    EXPECT_EQ(full.error(), ENFILE);
  }
  EXPECT_EQ(test::open_descriptors(), before + 3);
  EXPECT_TRUE(tree.inodes().forget(tree.node("file0"), 2));
  EXPECT_NE(tree.node("file3"), 0U);
}

// The index grows many times on the way; every inode must stay findable in it.
TEST(InodeTableTest, FindsEachOfManyInodes) {
  constexpr std::uint64_t kMany = 10'000;  // below the hard limit that most systems have
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_cur < kMany + 1000) GTEST_SKIP() << "RLIMIT_NOFILE is " << limit.rlim_cur;
  TableTree tree(400'000);
  tree.make_files(1);
  UniqueFd file(::open(tree.path("file0").c_str(), O_PATH | O_CLOEXEC));
  std::vector<NodeId> nodes;
  for (std::uint64_t ino = 1; ino <= kMany; ++ino) {
    auto copy = duplicate(file.borrow());
    ASSERT_TRUE(copy.has_value());
    auto inode = tree.inodes().lookup(std::move(*copy), {7, ino}, S_IFREG);
    ASSERT_TRUE(inode.has_value());
    nodes.push_back(inode->id());
  }
  for (std::uint64_t ino = 1; ino <= kMany; ++ino) {
    auto found = tree.inodes().find({7, ino});
    ASSERT_TRUE(found.has_value()) << ino;
    ASSERT_EQ(found->id(), nodes[ino - 1]);
  }
  for (const NodeId node : nodes) ASSERT_TRUE(tree.inodes().forget(node, 1));
  EXPECT_EQ(tree.inodes().known(), 1U);
}

// Many threads meet the same files for the first time at once.
TEST(InodeTableTest, RacingLookupsOfOneFileAgreeOnItsNode) {
  constexpr int kThreads = 8;
  constexpr int kFiles = 40;
  TableTree tree;
  tree.make_files(kFiles);
  const std::size_t before = test::open_descriptors();
  for (int round = 0; round < 10; ++round) {
    std::vector<std::vector<NodeId>> got(kThreads, std::vector<NodeId>(kFiles));
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        ready.fetch_add(1);
        while (ready.load() < kThreads) std::this_thread::yield();
        for (int i = 0; i < kFiles; ++i) {
          got[static_cast<std::size_t>(t)][static_cast<std::size_t>(i)] =
              tree.node(TableTree::file(i));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (int t = 1; t < kThreads; ++t) EXPECT_EQ(got[static_cast<std::size_t>(t)], got[0]);
    EXPECT_EQ(tree.inodes().known(), std::uint64_t{kFiles} + 1);
    for (const NodeId node : got[0]) {
      EXPECT_TRUE(tree.inodes().forget(node, kThreads - 1));
      EXPECT_TRUE(tree.inodes().get(node).has_value()) << "one count left";
      EXPECT_TRUE(tree.inodes().forget(node, 1));
    }
    EXPECT_EQ(tree.inodes().known(), 1U);
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

// The last forget and the last unpin of a node race with lookups that revive it.
TEST(InodeTableTest, RacingForgetsAndRevivalsLoseNoCount) {
  constexpr int kThreads = 6;
  TableTree tree;
  tree.make_files(1);
  const std::size_t before = test::open_descriptors();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        auto inode = tree.look_up("file0");
        if (!inode) {
          wrong.fetch_add(1);
          continue;
        }
        const NodeId node = inode->id();
        if (t % 2 == 0) inode->reset();  // forget last, or let go last
        if (!tree.inodes().forget(node, 1)) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(tree.inodes().known(), 1U);
  EXPECT_EQ(test::open_descriptors(), before);
  EXPECT_EQ(tree.budget().held(), 1U);
}

}  // namespace
}  // namespace passthroughfs
