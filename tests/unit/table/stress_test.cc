// SPDX-License-Identifier: Apache-2.0
//
// A few seconds of everything at once on few files, with hardly any descriptors. The sanitizers
// look for races and lifetimes; here the counts are checked. $PFS_STRESS_SECONDS makes it longer.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "table/handle_table.h"
#include "table/inode_table.h"
#include "table_fixture.h"

namespace passthroughfs {
namespace {

using test::kTinyLimit;
using test::TableTree;
using test::TempTree;

std::chrono::milliseconds duration() {
  const char* seconds = std::getenv("PFS_STRESS_SECONDS");
  return std::chrono::milliseconds(seconds != nullptr ? 1000 * std::atol(seconds) : 2000);
}

// What the kernel's side of one thread knows: lookups that it owes, files that it has open.
class Client {
 public:
  Client(TableTree& tree, HandleTable& handles, int files, unsigned seed)
      : tree_(tree), handles_(handles), files_(files), random_(seed) {}

  // One step, chosen by chance. What goes wrong first stays in wrong().
  void step() {
    switch (pick(10)) {
      case 0:
      case 1:
      case 2: return look_up();
      case 3: return forget();
      case 4:
      case 5: return get();
      case 6: return open();
      case 7: return use_handle();
      case 8: return release();
      default: return disturb();
    }
  }

  void give_everything_back() {
    while (!open_.empty()) release();
    while (!owed_.empty()) forget();
  }

  [[nodiscard]] const std::string& wrong() const { return wrong_; }

 private:
  struct Known {
    NodeId node;
    std::uint64_t ino;
  };
  struct Open {
    Known file;
    std::uint64_t fh;
  };

  unsigned pick(std::size_t count) {
    return static_cast<unsigned>(random_() % static_cast<unsigned>(count));
  }
  void fail(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }
  template <typename T>
  T take(std::vector<T>& from) {
    std::swap(from[pick(from.size())], from.back());
    const T taken = from.back();
    from.pop_back();
    return taken;
  }
  // The reference must lead to the very file that was looked up.
  void check(const InodeRef& inode, std::uint64_t ino, const char* where) {
    auto st = sys::stat_at(inode.fd());
    if (!st) return fail(std::string(where) + ": " + st.error().to_string());
    if (st->stx_ino != ino) fail(std::string(where) + ": another file");
  }

  void look_up() {
    const std::string name = TableTree::file(static_cast<int>(pick(static_cast<unsigned>(files_))));
    UniqueFd fd =
        own(::openat(tree_.source().root().get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC))
            .value();
    const struct statx st = sys::stat_at(fd.borrow()).value();
    auto inode = tree_.inodes().lookup(
        std::move(fd), {device_number(st.stx_dev_major, st.stx_dev_minor), st.stx_ino}, S_IFREG);
    if (!inode) return fail("lookup: " + inode.error().to_string());
    owed_.push_back({inode->id(), st.stx_ino});
    check(*inode, st.stx_ino, "lookup");
    if (pick(4) == 0) {
      // FORGET while the request that looked it up still works.
      forget_one(take(owed_));
    }
  }
  void forget_one(const Known& file) {
    if (!tree_.inodes().forget(file.node, 1)) fail("forget: more than was given");
  }
  void forget() {
    if (!owed_.empty()) forget_one(take(owed_));
  }
  void get() {
    if (owed_.empty()) return;
    const Known& file = owed_[pick(owed_.size())];
    auto inode = tree_.inodes().get(file.node);
    if (!inode) return fail("get: " + inode.error().to_string());
    check(*inode, file.ino, "get");
  }
  void open() {
    if (owed_.empty() || open_.size() > 3) return;
    const Known file = owed_[pick(owed_.size())];
    auto inode = tree_.inodes().get(file.node);
    if (!inode) return fail("open: " + inode.error().to_string());
    HandleTable::Opened opened;
    opened.fd = UniqueFd(::open(sys::ProcFdPath(inode->fd()).c_str(), O_RDONLY | O_CLOEXEC));
    auto fh = handles_.add(*inode, std::move(opened));
    if (!fh) return fail("add: " + fh.error().to_string());
    open_.push_back({file, *fh});
    if (pick(2) == 0) forget();  // the handle alone keeps it now and then
  }
  void use_handle() {
    if (open_.empty()) return;
    const Open& file = open_[pick(open_.size())];
    auto handle = handles_.get(file.fh, file.file.node);
    if (!handle) return fail("handle: " + handle.error().to_string());
    auto st = sys::stat_at(handle->fd());
    if (!st || st->stx_ino != file.file.ino) fail("handle: another file");
    // Its node stays known whatever the kernel has forgotten.
    auto inode = tree_.inodes().get(file.file.node);
    if (!inode) return fail("held: " + inode.error().to_string());
  }
  void release() {
    if (open_.empty()) return;
    const Open file = take(open_);
    auto running = handles_.get(file.fh, file.file.node);
    if (!handles_.release(file.fh, file.file.node)) fail("release");
    if (handles_.release(file.fh, file.file.node)) fail("released twice");
  }
  void disturb() {
    switch (pick(4)) {
      case 0: (void)tree_.inodes().relieve(); return;
      case 1: (void)tree_.inodes().get((random_() & 0xffffffff) << 32 | pick(100)); return;
      case 2: handles_.for_each([](std::uint64_t, const HandleRef&) {}); return;
      default: {
        const Known file = owed_.empty() ? Known{InodeTable::kRoot, 0} : owed_[pick(owed_.size())];
        auto found = tree_.inodes().find({tree_.source().root_device(), file.ino});
        if (file.ino != 0 && !found) fail("find: " + found.error().to_string());
        if (found) check(*found, file.ino, "find");
      }
    }
  }

  TableTree& tree_;
  HandleTable& handles_;
  const int files_;
  std::mt19937_64 random_;
  std::vector<Known> owed_;
  std::vector<Open> open_;
  std::string wrong_;
};

class StressTest : public ::testing::TestWithParam<std::tuple<int, TempTree::Medium>> {};
INSTANTIATE_TEST_SUITE_P(Threads, StressTest,
                         ::testing::Combine(::testing::Values(4, 8),
                                            ::testing::Values(TempTree::Medium::kDisk,
                                                              TempTree::Medium::kMemory)),
                         [](const auto& row) {
                           return std::to_string(std::get<0>(row.param)) +
                                  (std::get<1>(row.param) == TempTree::Medium::kDisk ? "OnDisk"
                                                                                     : "InMemory");
                         });

TEST_P(StressTest, CountsAndDescriptorsComeBack) {
  const auto [threads, medium] = GetParam();
  constexpr int kFiles = 60;
  TableTree tree(kTinyLimit, medium);
  const bool evicts = tree.can_evict();
  const int files = evicts ? kFiles : 10;  // without file handles all of them keep a descriptor
  tree.make_files(files);
  auto handles = HandleTable::create(tree.inodes(), 1024);
  ASSERT_TRUE(handles.has_value());
  const std::size_t before = test::open_descriptors();

  const unsigned seed = std::random_device{}();
  RecordProperty("seed", static_cast<int>(seed));
  const auto deadline = std::chrono::steady_clock::now() + duration();
  std::vector<std::string> wrong(static_cast<std::size_t>(threads));
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      Client client(tree, **handles, files, seed + static_cast<unsigned>(t));
      while (std::chrono::steady_clock::now() < deadline && client.wrong().empty()) {
        for (int i = 0; i < 100; ++i) client.step();
      }
      client.give_everything_back();
      wrong[static_cast<std::size_t>(t)] = client.wrong();
    });
  }
  for (std::thread& thread : running) thread.join();
  for (const std::string& what : wrong) EXPECT_EQ(what, "") << "seed " << seed;

  EXPECT_EQ(tree.inodes().known(), 1U);
  EXPECT_EQ((*handles)->open_count(), 0U);
  EXPECT_EQ(tree.budget().held(), 1U);
  EXPECT_EQ(test::open_descriptors(), before);
  if (evicts) {
    EXPECT_GT(tree.inodes().evictions(), 0U);
    EXPECT_GT(tree.inodes().restores(), 0U);
  }
}

// Files come and go under the same names while they are looked up, so that inode numbers are reused
// while their former owners are still known by file handle.
TEST_P(StressTest, NodesNeverChangeTheirFile) {
  const auto [threads, medium] = GetParam();
  constexpr int kFiles = 20;
  TableTree tree(kTinyLimit, medium);
  const std::size_t before = test::open_descriptors();
  const unsigned seed = std::random_device{}();
  const auto deadline = std::chrono::steady_clock::now() + duration();
  std::atomic<int> wrong{0};
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      std::mt19937 random(seed + static_cast<unsigned>(t));
      struct Known {
        NodeId node;
        std::uint64_t ino;
        std::int64_t born_sec;
        std::uint32_t born_nsec;
      };
      std::vector<Known> known;
      const auto born = [](const struct statx& st, const Known& file) {
        return st.stx_ino == file.ino && st.stx_btime.tv_sec == file.born_sec &&
               st.stx_btime.tv_nsec == file.born_nsec;
      };
      while (std::chrono::steady_clock::now() < deadline) {
        const std::string name = TableTree::file(static_cast<int>(random() % kFiles));
        switch (random() % 4) {
          case 0: (void)::unlink(tree.path(name).c_str()); break;
          case 1:
            UniqueFd(::open(tree.path(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644)).reset();
            break;
          case 2: {
            auto fd = tree.source().child(tree.source().root(), name.c_str());
            if (!fd) break;
            auto st = sys::stat_at(fd->borrow(), "", STATX_BASIC_STATS | STATX_BTIME);
            auto inode = tree.inodes().lookup(
                std::move(*fd), {device_number(st->stx_dev_major, st->stx_dev_minor), st->stx_ino},
                S_IFREG);
            if (!inode) {
              // Without names they all keep their descriptors.
              if (!(inode.error() == ENFILE)) wrong.fetch_add(1);
              break;
            }
            known.push_back(
                {inode->id(), st->stx_ino, st->stx_btime.tv_sec, st->stx_btime.tv_nsec});
            auto now = sys::stat_at(inode->fd(), "", STATX_BASIC_STATS | STATX_BTIME);
            if (!now || !born(*now, known.back())) wrong.fetch_add(1);
            break;
          }
          default: {
            if (known.empty()) break;
            std::swap(known[random() % known.size()], known.back());
            const Known& file = known.back();
            auto inode = tree.inodes().get(file.node);
            if (inode) {
              auto now = sys::stat_at(inode->fd(), "", STATX_BASIC_STATS | STATX_BTIME);
              if (!now || !born(*now, file)) wrong.fetch_add(1);
            } else if (!(inode.error() == ESTALE)) {
              wrong.fetch_add(1);
            }
            if (known.size() > 30 || random() % 2 == 0) {
              inode = Err(ESTALE);  // let go before or after the last forget
              if (!tree.inodes().forget(file.node, 1)) wrong.fetch_add(1);
              known.pop_back();
            }
          }
        }
      }
      for (const Known& file : known) {
        if (!tree.inodes().forget(file.node, 1)) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  EXPECT_EQ(wrong.load(), 0) << "seed " << seed;
  EXPECT_EQ(tree.inodes().known(), 1U);
  EXPECT_EQ(tree.budget().held(), 1U);
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace passthroughfs
