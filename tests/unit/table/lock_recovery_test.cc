// SPDX-License-Identifier: Apache-2.0
//
// Locks whose server has died, as its successor finds them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "answers.h"
#include "base/region.h"
#include "support/successor.h"
#include "table/lock_table.h"
#include "table_fixture.h"

namespace passthroughfs {
namespace {

// The nodes of these tests are in no table.
bool any_file(int /*fd*/, NodeId /*node*/) { return true; }

using test::die;
using test::run_sharing;

using test::Answers;

// The test is the guardian: it has made everything before the first server was started.
class LockRecoveryTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kNodes = 2;
  static constexpr std::uint32_t kCapacity = 100;

  void SetUp() override {
    Regions regions;
    ASSERT_TRUE(locks_->keep(kCapacity, regions));
    auto handles = HandleTable::create(tree_.inodes(), 64);
    ASSERT_TRUE(handles);
    handles_ = std::move(handles).value();
    tree_.make_files(kNodes);
    for (std::size_t i = 0; i < kNodes; ++i) {
      auto inode = tree_.look_up(test::TableTree::file(static_cast<int>(i)));
      ASSERT_TRUE(inode);
      nodes_[i] = inode->id();
      HandleTable::Opened opened;
      opened.fd = UniqueFd(::open(path(i).c_str(), O_RDWR | O_CLOEXEC));
      opened.flags = O_RDWR;
      auto fh = handles_->add(*inode, std::move(opened));
      ASSERT_TRUE(fh);
      fhs_[i] = *fh;
      // Not pinned by servers, which die before they let go.
      refs_[i] = handles_->get(*fh, nodes_[i]).value();
    }
    guardians_ = test::descriptor_numbers();
  }

  [[nodiscard]] std::string path(std::size_t node) const {
    return tree_.path(test::TableTree::file(static_cast<int>(node)));
  }
  static std::uint32_t pid_of(std::uint64_t owner) {
    return static_cast<std::uint32_t>(1000 + owner);
  }
  [[nodiscard]] LockClaim claim(std::uint64_t owner, int type, std::uint64_t start,
                                std::uint64_t end, std::size_t node = 0) const {
    LockClaim out;
    out.node = nodes_[node];
    out.fh = fhs_[node];
    out.owner = owner;
    out.lock.type = static_cast<std::uint32_t>(type);
    out.lock.start = start;
    out.lock.end = end;
    out.lock.pid = pid_of(owner);
    return out;
  }
  // 0 or the errno.
  int lock(std::uint64_t owner, int type, std::uint64_t start, std::uint64_t end,
           std::size_t node = 0) {
    const auto done = locks_->set(claim(owner, type, start, end, node), refs_[node], source());
    return done ? 0 : done.error().value();
  }
  // "read 10-19 by 1001", what holds up the write lock of somebody else.
  std::string in_the_way(std::uint64_t start, std::uint64_t end, std::uint64_t owner = 99,
                         std::size_t node = 0) {
    auto found = locks_->test(claim(owner, F_WRLCK, start, end, node), refs_[node]);
    if (!found) return found.error().to_string();
    if (found->type == F_UNLCK) return "nothing";
    return std::string(found->type == F_WRLCK ? "write " : "read ") + std::to_string(found->start) +
           "-" + (found->end == kLockToEnd ? "" : std::to_string(found->end)) + " by " +
           std::to_string(found->pid);
  }
  // Whether somebody who works on the source could write-lock it.
  [[nodiscard]] bool free_on_the_source(off_t start, off_t bytes) const {
    const UniqueFd other(::open(path(0).c_str(), O_RDWR | O_CLOEXEC));
    struct flock native {};
    native.l_type = F_WRLCK;
    native.l_start = start;
    native.l_len = bytes;
    EXPECT_EQ(::fcntl(other.get(), F_OFD_GETLK, &native), 0);
    return native.l_type == F_UNLCK;
  }
  std::uint64_t wait(const LockClaim& wanted) {
    unique_ += 2;
    locks_->set_or_wait(wanted, handles_->get(wanted.fh, wanted.node).value(), source(),
                        wire::Reply(answers_, unique_, 33), [] { return false; });
    return unique_;
  }
  // -1: not answered.
  [[nodiscard]] int answer(std::uint64_t unique) const {
    const auto found = answers_.errors.find(unique);
    return found == answers_.errors.end() ? -1 : found->second;
  }
  SourceTree& source() { return tree_.source(); }

  [[nodiscard]] std::set<int> owned() const {
    std::set<int> out;
    locks_->for_each_descriptor([&](int fd) { out.insert(fd); });
    return out;
  }
  // What a successor does first.
  [[nodiscard]] bool take_over() {
    if (!locks_->recover(any_file)) return false;
    std::set<int> kept = owned();
    kept.insert(guardians_.begin(), guardians_.end());
    test::close_all_but(kept);
    return true;
  }

  test::TableTree tree_;
  std::unique_ptr<HandleTable> handles_;
  Answers answers_;
  std::unique_ptr<LockTable> locks_ = std::make_unique<LockTable>();
  std::array<NodeId, kNodes> nodes_{};
  std::array<std::uint64_t, kNodes> fhs_{};
  std::array<HandleRef, kNodes> refs_;
  std::set<int> guardians_;
  std::uint64_t unique_ = 0;
};

constexpr const char* kDied = "signal 9";

TEST_F(LockRecoveryTest, LocksOutliveTheirProcess) {
  EXPECT_EQ(run_sharing([&]() -> int {
              if (lock(1, F_WRLCK, 10, 19) != 0 || lock(2, F_RDLCK, 30, kLockToEnd) != 0) return 1;
              if (lock(2, F_RDLCK, 0, 4) != 0) return 2;
              die();
            }),
            kDied);
  EXPECT_FALSE(free_on_the_source(10, 10));
  ASSERT_TRUE(take_over());
  EXPECT_EQ(owned().size(), 2U);
  EXPECT_FALSE(free_on_the_source(10, 10));
  EXPECT_TRUE(free_on_the_source(20, 10));
  EXPECT_FALSE(free_on_the_source(1'000'000, 1));
  EXPECT_EQ(in_the_way(5, 25), "write 10-19 by 1001");
  EXPECT_EQ(in_the_way(40, 41), "read 30- by 1002");
  EXPECT_EQ(in_the_way(0, 3), "read 0-4 by 1002");
  EXPECT_EQ(lock(3, F_RDLCK, 15, 15), EAGAIN);
  EXPECT_EQ(lock(3, F_RDLCK, 50, 50), 0);
  EXPECT_EQ(lock(1, F_WRLCK, 5, 12), 0) << "its own are not in its way";

  EXPECT_EQ(lock(1, F_UNLCK, 10, 14), 0);
  EXPECT_EQ(in_the_way(10, 25), "write 15-19 by 1001");
  EXPECT_EQ(in_the_way(5, 14), "write 5-9 by 1001");
  locks_->drop_owner(nodes_[0], 1);
  EXPECT_EQ(in_the_way(5, 25), "nothing");
  locks_->drop_owner(nodes_[0], 2);
  locks_->drop_owner(nodes_[0], 3);
  EXPECT_EQ(test::descriptor_numbers(), guardians_);
  EXPECT_TRUE(free_on_the_source(0, 0));
}

TEST_F(LockRecoveryTest, LocksThatAReleasedFileLeavesEndWithIt) {
  EXPECT_EQ(run_sharing([&]() -> int {
              if (lock(1, F_WRLCK, 10, 19) != 0 || lock(1, F_WRLCK, 10, 19, 1) != 0) return 1;
              die();
            }),
            kDied);
  ASSERT_TRUE(take_over());
  locks_->drop_handle(nodes_[0], fhs_[1]);
  EXPECT_EQ(in_the_way(0, 99), "write 10-19 by 1001") << "taken through another handle";
  locks_->drop_handle(nodes_[0], fhs_[0]);
  EXPECT_EQ(in_the_way(0, 99), "nothing");
  EXPECT_EQ(in_the_way(0, 99, 99, 1), "write 10-19 by 1001");
  locks_->drop_handle(nodes_[1], fhs_[1]);
  EXPECT_EQ(test::descriptor_numbers(), guardians_);
}

// Who waited asks again; until then nothing of the wait is left.
TEST_F(LockRecoveryTest, WaitsAreForgotten) {
  EXPECT_EQ(run_sharing([&]() -> int {
              if (lock(1, F_WRLCK, 0, 9) != 0) return 1;
              (void)wait(claim(2, F_WRLCK, 0, 9));
              (void)wait(claim(3, F_RDLCK, 5, 5, 1));
              if (locks_->waiting() != 1 || owned().size() != 3) return 2;
              die();
            }),
            kDied);
  EXPECT_EQ(owned().size(), 3U);
  ASSERT_TRUE(locks_->recover(any_file));
  EXPECT_EQ(locks_->waiting(), 0U);
  EXPECT_EQ(owned().size(), 2U);
  EXPECT_EQ(test::descriptor_numbers().size(), guardians_.size() + 2);
  const std::uint64_t again = wait(claim(2, F_WRLCK, 0, 9));
  EXPECT_EQ(answer(again), -1);
  EXPECT_EQ(lock(1, F_UNLCK, 0, 9), 0);
  EXPECT_EQ(answer(again), 0);
  locks_->drop_owner(nodes_[0], 2);
  locks_->drop_owner(nodes_[1], 3);
  EXPECT_EQ(test::descriptor_numbers(), guardians_);
  // The dead process's pin of it is for the handle table to forget.
  (void)::close(refs_[0].fd().get());
}

TEST_F(LockRecoveryTest, CirclesAreFoundThroughLocksOfTheDead) {
  EXPECT_EQ(run_sharing([&]() -> int {
              if (lock(1, F_WRLCK, 0, 9) != 0 || lock(2, F_WRLCK, 10, 19) != 0) return 1;
              die();
            }),
            kDied);
  ASSERT_TRUE(take_over());
  const std::uint64_t first = wait(claim(1, F_WRLCK, 10, 19));
  EXPECT_EQ(answer(first), -1);
  EXPECT_EQ(answer(wait(claim(2, F_WRLCK, 0, 9))), EDEADLK);
  // Whom it waits for is known, so that the source is not asked.
  const auto before = locks_->work();
  locks_->poll();
  EXPECT_EQ(locks_->work().lock_calls, before.lock_calls);
  locks_->drop_owner(nodes_[0], 2);
  EXPECT_EQ(answer(first), 0);
}

// As with a FUSE file system that keeps locks itself; here no descriptor is left to ask with.
TEST_F(LockRecoveryTest, LocksThatTheKernelDoesNotTellOfAreNotDropped) {
  EXPECT_EQ(run_sharing([&]() -> int {
              if (lock(1, F_WRLCK, 0, 9) != 0) return 1;
              die();
            }),
            kDied);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{0, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool recovered = locks_->recover(any_file).has_value();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(recovered);
  EXPECT_EQ(owned().size(), 1U);
  EXPECT_EQ(in_the_way(0, 99), "write 0-9 by 1001");
  EXPECT_EQ(lock(2, F_WRLCK, 20, 29), 0) << "what the source says counts";
  const std::uint64_t waiting = wait(claim(3, F_WRLCK, 5, 25));
  EXPECT_EQ(answer(waiting), -1);
  EXPECT_EQ(lock(2, F_UNLCK, 20, 29), 0);
  EXPECT_EQ(answer(waiting), -1);
  EXPECT_EQ(lock(1, F_UNLCK, 0, kLockToEnd), 0);
  EXPECT_EQ(answer(waiting), 0);
  EXPECT_EQ(owned().size(), 1U);
  locks_->drop_owner(nodes_[0], 3);
  EXPECT_EQ(test::descriptor_numbers(), guardians_);
}

// It died after it had unlocked and before it knew.
TEST_F(LockRecoveryTest, WhoHasUnlockedIsDropped) {
  EXPECT_EQ(run_sharing([&]() -> int {
              if (lock(1, F_WRLCK, 0, 9) != 0 || owned().size() != 1) return 1;
              struct flock all {};
              all.l_type = F_UNLCK;
              if (::fcntl(*owned().begin(), F_OFD_SETLK, &all) != 0) return 2;
              die();
            }),
            kDied);
  ASSERT_TRUE(locks_->recover(any_file));
  EXPECT_TRUE(owned().empty());
  EXPECT_EQ(test::descriptor_numbers(), guardians_);
}

TEST_F(LockRecoveryTest, WithoutARecordThereIsNoLock) {
  for (std::uint64_t owner = 1; owner <= kCapacity; ++owner) {
    ASSERT_EQ(lock(owner, F_RDLCK, 0, 9), 0) << owner;
  }
  EXPECT_EQ(lock(kCapacity + 1, F_RDLCK, 0, 9), ENOLCK);
  EXPECT_EQ(answer(wait(claim(kCapacity + 1, F_RDLCK, 0, 9))), ENOLCK);
  EXPECT_EQ(test::descriptor_numbers().size(), guardians_.size() + kCapacity);
  EXPECT_EQ(lock(1, F_RDLCK, 20, 29), 0) << "it has one";
  locks_->drop_owner(nodes_[0], 1);
  EXPECT_EQ(lock(kCapacity + 1, F_RDLCK, 0, 9), 0);
  // Who has to wait needs a record, too.
  EXPECT_EQ(lock(kCapacity + 1, F_WRLCK, 50, 59, 1), ENOLCK);
}

TEST_F(LockRecoveryTest, WithoutRecordsNothingIsKept) {
  LockTable plain;
  ASSERT_TRUE(plain.set(claim(1, F_WRLCK, 0, 9), refs_[0], source()));
  plain.for_each_descriptor([](int) { FAIL(); });
  ASSERT_TRUE(plain.recover(any_file));
  EXPECT_FALSE(plain.set(claim(2, F_WRLCK, 0, 9), refs_[0], source()));
}

// Servers that do what they find in a script, as the kernel would send it: what a server had not
// answered when it died is done once more by the next. A model says what must be locked.
class ScriptedLocksTest : public LockRecoveryTest {
 protected:
  static constexpr std::size_t kOwners = 5;
  static constexpr std::size_t kBytes = 24;

  struct Op {
    std::uint32_t node, owner;
    std::int32_t type;  // -1: FLUSH
    std::uint32_t start, end;
  };
  struct Model {
    // F_UNLCK, F_RDLCK or F_WRLCK
    std::array<std::array<std::array<std::int8_t, kBytes>, kOwners>, kNodes> locked;
  };
  // In memory that outlives the servers.
  struct Script {
    enum State : std::uint32_t { idle, begun, done };
    std::atomic<std::uint32_t> state;
    Op op;
    Model model;
    std::atomic<std::uint32_t> finished;  // so many operations
    std::array<char, 256> complaint;
  };

  void SetUp() override {
    auto region = Region::create("script", sizeof(Script));
    ASSERT_TRUE(region);
    region_.emplace(std::move(*region));
    LockRecoveryTest::SetUp();
    script_ = reinterpret_cast<Script*>(region_->data());
    for (auto& node : script_->model.locked) {
      for (auto& owner : node) owner.fill(F_UNLCK);
    }
  }

  // The process ends here if it is not so.
  void require(bool is_so, const std::string& what) const {
    if (is_so) return;
    (void)std::snprintf(script_->complaint.data(), script_->complaint.size(), "%s", what.c_str());
    ::_exit(1);
  }
  [[nodiscard]] std::string complaint() const { return script_->complaint.data(); }

  static int apply(Model& model, const Op& op) {
    auto& node = model.locked[op.node];
    if (op.type == -1) {
      node[op.owner].fill(F_UNLCK);
      return 0;
    }
    for (std::size_t owner = 0; owner < kOwners && op.type != F_UNLCK; ++owner) {
      for (std::size_t byte = op.start; owner != op.owner && byte <= op.end; ++byte) {
        const int other = node[owner][byte];
        if (other == F_WRLCK || (other == F_RDLCK && op.type == F_WRLCK)) return EAGAIN;
      }
    }
    for (std::size_t byte = op.start; byte <= op.end; ++byte) {
      node[op.owner][byte] = static_cast<std::int8_t>(op.type);
    }
    return 0;
  }

  // Empty, or in what the locks differ from the model.
  std::string difference(const Model& model) {
    for (std::size_t node = 0; node < kNodes; ++node) {
      for (std::size_t byte = 0; byte < kBytes; ++byte) {
        auto found = locks_->test(claim(99, F_WRLCK, byte, byte, node), refs_[node]);
        if (!found) return found.error().to_string();
        int expected = F_UNLCK;
        bool pid_holds = found->type == F_UNLCK;
        for (std::size_t owner = 0; owner < kOwners; ++owner) {
          const auto& locked = model.locked[node][owner];
          if (locked[byte] != F_UNLCK) expected = locked[byte];
          for (auto at = found->start; at <= found->end && at < kBytes; ++at) {
            pid_holds = pid_holds || (locked[at] != F_UNLCK && found->pid == pid_of(owner));
          }
        }
        if (static_cast<int>(found->type) != expected || !pid_holds) {
          return "byte " + std::to_string(byte) + " of " + std::to_string(node) + ": " +
                 std::to_string(found->type) + " by " + std::to_string(found->pid) + ", expected " +
                 std::to_string(expected);
        }
      }
    }
    return {};
  }

  void carry_out(const Op& op) {
    if (op.type == -1) {
      locks_->drop_owner(nodes_[op.node], op.owner);
    } else {
      Model copy = script_->model;
      const int expected = apply(copy, op);
      const int got = lock(op.owner, op.type, op.start, op.end, op.node);
      require(got == expected, "errno " + std::to_string(got));
    }
    script_->state.store(Script::done);
    (void)apply(script_->model, op);
    script_->state.store(Script::idle);
    script_->finished.fetch_add(1);
  }
  void perform(const Op& op) {
    script_->op = op;
    script_->state.store(Script::begun);
    carry_out(op);
  }

  // What a server does first.
  void begin() {
    require(take_over(), "recover");
    if (script_->state.load() == Script::done) {
      (void)apply(script_->model, script_->op);
      script_->state.store(Script::idle);
      script_->finished.fetch_add(1);
    }
    Model after = script_->model;
    if (script_->state.load() == Script::begun) (void)apply(after, script_->op);
    const std::string wrong = difference(script_->model);
    require(wrong.empty() || difference(after).empty(), wrong);
    if (script_->state.load() == Script::begun) carry_out(script_->op);
  }
  // And the last one at the end.
  void end() {
    require(difference(script_->model).empty(), "at the end");
    for (std::uint32_t node = 0; node < kNodes; ++node) {
      for (std::uint32_t owner = 0; owner < kOwners; ++owner) {
        perform({node, owner, -1, 0, 0});
      }
    }
    require(owned().empty(), "owners are left");
    require(test::descriptor_numbers() == guardians_, "descriptors are left");
  }

  std::optional<Region> region_;
  Script* script_ = nullptr;
};

// Wherever it dies in or between system calls.
TEST_F(ScriptedLocksTest, AServerCanDieAtAnySystemCall) {
  const std::vector<Op> ops{
      {0, 1, F_WRLCK, 0, 4}, {0, 2, F_RDLCK, 6, 9},  {0, 3, F_RDLCK, 6, 7},  {1, 1, F_WRLCK, 0, 20},
      {0, 1, F_UNLCK, 0, 1}, {0, 1, F_UNLCK, 0, 20}, {0, 1, F_RDLCK, 5, 23}, {0, 2, -1, 0, 0},
      {0, 4, F_WRLCK, 6, 9}, {0, 3, F_UNLCK, 6, 7},  {1, 1, F_RDLCK, 3, 5},  {0, 1, -1, 0, 0},
  };
  const auto go_on = [&] {
    begin();
    while (script_->finished.load() < ops.size()) perform(ops[script_->finished.load()]);
  };
  for (const std::uint32_t before : {0U, 5U}) {
    bool came_to_the_end = false;
    int deaths = 0;
    for (; !came_to_the_end; ++deaths) {
      script_->finished.store(0);
      ASSERT_EQ(run_sharing([&]() -> int {
                  begin();
                  while (script_->finished.load() < before) {
                    perform(ops[script_->finished.load()]);
                  }
                  die();
                }),
                kDied)
          << complaint();
      const pid_t server = test::start_sharing([&]() -> int {
        if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 77;
        (void)::kill(::getpid(), SIGSTOP);
        go_on();
        return 0;
      });
      int status = 0;
      ASSERT_EQ(::waitpid(server, &status, 0), server);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "may not trace";
      for (int call = 0; call < deaths && WIFSTOPPED(status); ++call) {
        ASSERT_EQ(::ptrace(PTRACE_SYSCALL, server, nullptr, nullptr), 0);
        ASSERT_EQ(::waitpid(server, &status, 0), server);
      }
      came_to_the_end = WIFEXITED(status);
      if (!came_to_the_end) {
        (void)::kill(server, SIGKILL);
        ASSERT_EQ(test::end_of(server), kDied);
      }
      ASSERT_EQ(run_sharing([&] {
                  go_on();
                  end();
                  return 0;
                }),
                "exit 0")
          << complaint() << ", " << deaths << " calls after operation " << before;
      ASSERT_EQ(test::descriptor_numbers(), guardians_);
    }
    EXPECT_GT(deaths, 50) << before;
  }
}

TEST_F(ScriptedLocksTest, ServersCanDieAtAnyMoment) {
  constexpr unsigned kRounds = 200;
  for (unsigned round = 0; round <= kRounds; ++round) {
    const std::string end_of_server = run_sharing([&] {
      std::mt19937 random(round);
      const auto up_to = [&](std::size_t most) {
        return static_cast<std::uint32_t>(random() % (most + 1));
      };
      if (round == kRounds) {
        begin();
        end();
        return 0;
      }
      itimerval timer{};
      timer.it_value.tv_usec = 100 + static_cast<suseconds_t>(up_to(4000));
      (void)::setitimer(ITIMER_REAL, &timer, nullptr);
      begin();
      for (;;) {
        Op op{up_to(kNodes - 1), up_to(kOwners - 1), F_UNLCK, up_to(kBytes - 1), 0};
        op.end = op.start + up_to(kBytes - 1 - op.start);
        switch (up_to(6)) {
          case 0: op.type = -1; break;
          case 1:
          case 2: op.type = F_WRLCK; break;
          case 3:
          case 4: op.type = F_RDLCK; break;
          default: break;
        }
        perform(op);
      }
    });
    ASSERT_EQ(end_of_server, round == kRounds ? "exit 0" : "signal " + std::to_string(SIGALRM))
        << complaint() << " in round " << round;
  }
  EXPECT_EQ(test::descriptor_numbers(), guardians_);
  EXPECT_GT(script_->finished.load(), kRounds / 10);
  RecordProperty("operations", static_cast<int>(script_->finished.load()));
}

}  // namespace
}  // namespace passthroughfs
