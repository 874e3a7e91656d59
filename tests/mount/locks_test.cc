// SPDX-License-Identifier: Apache-2.0
//
// flock, POSIX and open-file-description locks between processes, on the mount and across it.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "mount/lock_actor.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

enum class Kind { kPosix, kOfd, kFlock };

Command lock_command(Kind kind, bool exclusive, bool wait) {
  switch (kind) {
    case Kind::kFlock:
      return {.op = Op::kFlock, .number = (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB)};
    case Kind::kOfd:
      return Actor::lock_command(wait ? F_OFD_SETLKW : F_OFD_SETLK, exclusive ? F_WRLCK : F_RDLCK);
    case Kind::kPosix: break;
  }
  return Actor::lock_command(wait ? F_SETLKW : F_SETLK, exclusive ? F_WRLCK : F_RDLCK);
}

Command unlock_command(Kind kind) {
  if (kind == Kind::kFlock) {
    return {.op = Op::kFlock, .number = LOCK_UN};
  }
  return Actor::lock_command(kind == Kind::kOfd ? F_OFD_SETLK : F_SETLK, F_UNLCK);
}

class LocksTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    write_file(source("f"), "0123456789");
    write_file(mount().native("f"), "0123456789");
  }
};

// The same for each kind of lock.
class EachLock : public LocksTest, public ::testing::WithParamInterface<Kind> {
 protected:
  std::string take(Actor& actor, bool exclusive) {
    return Actor::name(actor.call(lock_command(GetParam(), exclusive, false)));
  }
  void begin_wait(Actor& actor, bool exclusive = true) {
    actor.begin(lock_command(GetParam(), exclusive, true));
    ASSERT_TRUE(wait_until([&] { return actor.waits(); })) << "the lock call does not wait";
  }
  std::string release(Actor& actor) { return Actor::name(actor.call(unlock_command(GetParam()))); }
};

INSTANTIATE_TEST_SUITE_P(Kinds, EachLock, ::testing::Values(Kind::kPosix, Kind::kOfd, Kind::kFlock),
                         [](const auto& kind) {
                           return kind.param == Kind::kPosix ? "Posix"
                                  : kind.param == Kind::kOfd ? "Ofd"
                                                             : "Flock";
                         });

TEST_P(EachLock, ExcludesOtherProcesses) {
  Actor a(mnt("f"));
  Actor b(mnt("f"));
  EXPECT_EQ(take(a, true), "ok");
  EXPECT_EQ(take(b, true), "EAGAIN");
  EXPECT_EQ(take(b, false), "EAGAIN");
  EXPECT_EQ(release(a), "ok");
  EXPECT_EQ(take(b, false), "ok");
  EXPECT_EQ(take(a, false), "ok") << "readers share";
  EXPECT_EQ(take(a, true), "EAGAIN") << "an upgrade waits for the other reader";
  EXPECT_EQ(release(b), "ok");
  EXPECT_EQ(take(a, true), "ok");
}

TEST_P(EachLock, OnTheMountShutsOutTheSource) {
  PFS_NEEDS_HANDLES();
  Actor inside(mnt("f"));
  Actor outside(source("f"));
  EXPECT_EQ(take(inside, true), "ok");
  EXPECT_EQ(take(outside, true), "EAGAIN");
  EXPECT_EQ(take(outside, false), "EAGAIN");
  EXPECT_EQ(release(inside), "ok");
  EXPECT_EQ(take(outside, true), "ok");
}

TEST_P(EachLock, OnTheSourceShutsOutTheMount) {
  PFS_NEEDS_HANDLES();
  Actor inside(mnt("f"));
  Actor outside(source("f"));
  EXPECT_EQ(take(outside, true), "ok");
  EXPECT_EQ(take(inside, true), "EAGAIN");
  EXPECT_EQ(take(inside, false), "EAGAIN");
  EXPECT_EQ(release(outside), "ok");
  EXPECT_EQ(take(inside, true), "ok");
}

TEST_P(EachLock, WaiterGetsItWhenTheHolderLetsGo) {
  Actor holder(mnt("f"));
  Actor waiter(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  begin_wait(waiter);
  EXPECT_EQ(release(holder), "ok");
  EXPECT_EQ(Actor::name(waiter.finish()), "ok");
  EXPECT_EQ(take(holder, true), "EAGAIN");
}

TEST_P(EachLock, WaiterGetsItWhenAnOutsideHolderLetsGo) {
  PFS_NEEDS_HANDLES();
  Actor holder(source("f"));
  Actor waiter(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  begin_wait(waiter);
  EXPECT_EQ(release(holder), "ok");
  EXPECT_EQ(Actor::name(waiter.finish()), "ok");
  EXPECT_EQ(take(holder, true), "EAGAIN");
}

TEST_P(EachLock, OutsideWaiterGetsItWhenTheMountLetsGo) {
  PFS_NEEDS_HANDLES();
  Actor holder(mnt("f"));
  Actor waiter(source("f"));
  ASSERT_EQ(take(holder, true), "ok");
  begin_wait(waiter);
  EXPECT_EQ(release(holder), "ok");
  EXPECT_EQ(Actor::name(waiter.finish()), "ok");
}

TEST_P(EachLock, WaiterGetsItWhenTheHolderCloses) {
  Actor holder(mnt("f"));
  Actor waiter(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  begin_wait(waiter);
  EXPECT_EQ(holder.close(0), "ok");
  EXPECT_EQ(Actor::name(waiter.finish()), "ok");
}

TEST_P(EachLock, WaiterGetsItWhenTheHolderIsKilled) {
  Actor holder(mnt("f"));
  Actor waiter(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  begin_wait(waiter);
  holder.kill();
  EXPECT_EQ(Actor::name(waiter.finish()), "ok");
}

TEST_P(EachLock, SignalEndsTheWait) {
  Actor holder(mnt("f"));
  Actor waiter(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  begin_wait(waiter);
  waiter.interrupt();
  EXPECT_EQ(Actor::name(waiter.finish()), "EINTR");
  EXPECT_EQ(release(holder), "ok");
  EXPECT_EQ(take(holder, true), "ok") << "the interrupted waiter must not own it";
  EXPECT_EQ(take(waiter, true), "EAGAIN");
}

TEST_P(EachLock, KilledWaiterLeavesNothingBehind) {
  Actor holder(mnt("f"));
  Actor waiter(mnt("f"));
  Actor other(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  begin_wait(waiter);
  begin_wait(other);
  waiter.kill();
  EXPECT_EQ(release(holder), "ok");
  EXPECT_EQ(Actor::name(other.finish()), "ok");
  EXPECT_EQ(release(other), "ok");
  EXPECT_EQ(take(holder, true), "ok");
}

TEST_P(EachLock, SharedWaitersGetItTogether) {
  Actor holder(mnt("f"));
  Actor one(mnt("f"));
  Actor two(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  begin_wait(one, false);
  begin_wait(two, false);
  EXPECT_EQ(release(holder), "ok");
  EXPECT_EQ(Actor::name(one.finish()), "ok");
  EXPECT_EQ(Actor::name(two.finish()), "ok");
}

TEST_P(EachLock, StaysWithAFileThatIsRenamedOrUnlinked) {
  Actor holder(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  ASSERT_EQ(rename(mnt("f").c_str(), mnt("g").c_str()), 0);
  write_file(mnt("f"), "another file");
  Actor fresh(mnt("f"));
  Actor renamed(mnt("g"));
  EXPECT_EQ(take(fresh, true), "ok");
  EXPECT_EQ(take(renamed, true), "EAGAIN");
  ASSERT_EQ(unlink(mnt("g").c_str()), 0);
  EXPECT_EQ(take(renamed, true), "EAGAIN");
  EXPECT_EQ(release(holder), "ok");
  EXPECT_EQ(take(renamed, true), "ok");
}

TEST_P(EachLock, HoldsThroughEveryName) {
  ASSERT_EQ(link(mnt("f").c_str(), mnt("g").c_str()), 0);
  Actor one(mnt("f"));
  Actor two(mnt("g"));
  EXPECT_EQ(take(one, true), "ok");
  EXPECT_EQ(take(two, true), "EAGAIN");
}

// Far more waiters than any pool of workers, and the mount serves others meanwhile.
TEST_P(EachLock, ManyWaitersDoNotStopTheMount) {
  Actor holder(mnt("f"));
  ASSERT_EQ(take(holder, true), "ok");
  constexpr int kWaiters = 200;
  std::vector<std::unique_ptr<Actor>> waiters;
  for (int i = 0; i < kWaiters; ++i) {
    waiters.push_back(std::make_unique<Actor>(mnt("f")));
    waiters.back()->begin(lock_command(GetParam(), true, true));
  }
  for (const auto& waiter : waiters) {
    ASSERT_TRUE(wait_until([&] { return waiter->waits(); }));
  }
  for (int i = 0; i < 100; ++i) {
    const std::string name = mnt("other" + std::to_string(i));
    write_file(name, name);
    ASSERT_EQ(read_file(name), name);
    ASSERT_EQ(unlink(name.c_str()), 0);
  }
  Actor other(mnt("f"));
  EXPECT_EQ(take(other, false), "EAGAIN");
  EXPECT_EQ(release(holder), "ok");
  int got = 0;
  // They get it one after the other, in any order: each lets go as soon as it is seen to have it.
  for (const auto& waiter : waiters) {
    waiter->begin(unlock_command(GetParam()));
  }
  for (const auto& waiter : waiters) {
    got += Actor::name(waiter->finish()) == "ok" && Actor::name(waiter->finish()) == "ok" ? 1 : 0;
  }
  EXPECT_EQ(got, kWaiters);
  EXPECT_EQ(take(other, true), "ok");
}

// A race between taking, waiting, interrupting and letting go: at no time may two have it.
TEST_P(EachLock, NeverHasTwoOwners) {
  PFS_NEEDS_HANDLES();
  constexpr int kChildren = 6;
  constexpr int kRounds = 60;
  write_file(mnt("counter"), "0");
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < kChildren; ++i) {
    children.push_back(std::make_unique<Child>([&, i] {
      const UniqueFd fd(open((i % 3 == 0 ? source("f") : mnt("f")).c_str(), O_RDWR | O_CLOEXEC));
      const UniqueFd counter(open(source("counter").c_str(), O_RDWR | O_CLOEXEC));
      for (int round = 0; round < kRounds; ++round) {
        struct flock lock {};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        if (GetParam() == Kind::kFlock) {
          ASSERT_EQ(flock(fd.get(), LOCK_EX), 0);
        } else {
          ASSERT_EQ(fcntl(fd.get(), GetParam() == Kind::kOfd ? F_OFD_SETLKW : F_SETLKW, &lock), 0);
        }
        std::array<char, 16> text{};
        ASSERT_GT(pread(counter.get(), text.data(), text.size() - 1, 0), 0);
        const std::string next = std::to_string(std::atoi(text.data()) + 1);
        ASSERT_GT(pwrite(counter.get(), next.data(), next.size(), 0), 0);
        lock.l_type = F_UNLCK;
        if (GetParam() == Kind::kFlock) {
          ASSERT_EQ(flock(fd.get(), LOCK_UN), 0);
        } else {
          ASSERT_EQ(fcntl(fd.get(), GetParam() == Kind::kOfd ? F_OFD_SETLK : F_SETLK, &lock), 0);
        }
      }
    }));
  }
  for (const auto& child : children) {
    child->join();
  }
  EXPECT_EQ(read_file(source("counter")), std::to_string(kChildren * kRounds));
}

TEST_F(LocksTest, FlockAndPosixLocksDoNotMeet) {
  same([](Trace& t, const std::string& dir) {
    Actor a(dir + "/f");
    Actor b(dir + "/f");
    t.note("flock", a.flock(LOCK_EX | LOCK_NB));
    t.note("posix", b.lock(F_SETLK, F_WRLCK));
    t.note("ofd", b.lock(F_OFD_SETLK, F_WRLCK, 0, 5, 0));
    t.note("flock", b.flock(LOCK_SH | LOCK_NB));
  });
}

TEST_F(LocksTest, RangesSplitAndMergeAsNatively) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    for (const int ofd : {0, 1}) {
      const int set = ofd != 0 ? F_OFD_SETLK : F_SETLK;
      const int get = ofd != 0 ? F_OFD_GETLK : F_GETLK;
      Actor a(dir + "/f");
      Actor b(dir + "/f");
      const std::vector<std::pair<pid_t, std::string>> names = {{a.pid(), "a"}, {b.pid(), "b"}};
      t.note("a 0+10", a.lock(set, F_WRLCK, 0, 10));
      t.note("a frees 3+4", a.lock(set, F_UNLCK, 3, 4));
      t.note("b 3+4", b.lock(set, F_WRLCK, 3, 4));
      t.note("b 2+1", b.lock(set, F_RDLCK, 2, 1));
      t.note("b 7+1", b.lock(set, F_RDLCK, 7, 1));
      t.note("a reads 8+2", a.lock(set, F_RDLCK, 8, 2));
      t.note("b reads 9+1", b.lock(set, F_RDLCK, 9, 1));
      t.note("b to the end", b.lock(set, F_WRLCK, 100, 0));
      t.note("a far away", a.lock(set, F_WRLCK, 1000000, 1));
      t.note("a before 100", a.lock(set, F_WRLCK, 10, 90));
      for (const off_t at : {0, 2, 3, 6, 7, 8, 9, 10, 99, 100, 5000}) {
        t.note("a asks", a.obstacle(get, F_WRLCK, at, 1, names));
        t.note("b asks", b.obstacle(get, F_WRLCK, at, 1, names));
        t.note("b asks to read", b.obstacle(get, F_RDLCK, at, 1, names));
      }
      t.note("b all", b.obstacle(get, F_WRLCK, 0, 0, names));
      t.note("a frees all", a.lock(set, F_UNLCK, 0, 0));
      t.note("b all", b.lock(set, F_WRLCK, 0, 0));
      t.note("a asks", a.obstacle(get, F_RDLCK, 5, 1, names));
    }
  });
  EXPECT_EQ(native.count("a asks", "write 0+0 by b"), 1);
}

TEST_F(LocksTest, BadRequestsAreRefusedAsNatively) {
  same([](Trace& t, const std::string& dir) {
    Actor a(dir + "/f");
    t.note("open", a.open(1, O_RDONLY));
    t.note("open", a.open(2, O_WRONLY));
    for (const int slot : {0, 1, 2}) {
      for (const int set : {F_SETLK, F_OFD_SETLK, F_SETLKW}) {
        t.note("read lock", a.lock(set, F_RDLCK, 0, 1, slot));
        t.note("write lock", a.lock(set, F_WRLCK, 0, 1, slot));
        t.note("unlock", a.lock(set, F_UNLCK, 0, 1, slot));
      }
      t.note("shared flock", a.flock(LOCK_SH | LOCK_NB, slot));
      t.note("exclusive flock", a.flock(LOCK_EX | LOCK_NB, slot));
      t.note("unlock", a.flock(LOCK_UN, slot));
    }
    t.note("bad type", a.lock(F_SETLK, 77));
    t.note("bad start", a.lock(F_SETLK, F_RDLCK, -5, 1));
    t.note("backwards", a.lock(F_SETLK, F_RDLCK, 5, -3));
    t.note("too far back", a.lock(F_SETLK, F_RDLCK, 5, -10));
    t.note("overflow", a.lock(F_SETLK, F_RDLCK, 0x7ffffffffffffff0, 0x7fffffff));
    t.note("bad flock", a.flock(0));
    t.note("bad flock", a.flock(99));
  });
}

TEST_F(LocksTest, GetlkNamesTheHolder) {
  PFS_NEEDS_HANDLES();
  Actor holder(mnt("f"));
  Actor asker(mnt("f"));
  Actor outside(source("f"));
  ASSERT_EQ(holder.lock(F_SETLK, F_WRLCK, 2, 3), "ok");
  EXPECT_EQ(asker.obstacle(F_GETLK, F_RDLCK, 0, 0, {{holder.pid(), "holder"}}),
            "write 2+3 by holder");
  ASSERT_EQ(outside.lock(F_SETLK, F_RDLCK, 7, 1), "ok");
  EXPECT_EQ(asker.obstacle(F_GETLK, F_WRLCK, 6, 0, {{outside.pid(), "outside"}}),
            "read 7+1 by outside");
}

// Whichever of the two closes the circle is refused. Sleeping in fcntl does not say that the mount
// has seen the request, so the second to ask can be the first to wait.
TEST_F(LocksTest, DeadlockIsFoundAsNatively) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    Actor actors[] = {Actor(dir + "/f"), Actor(dir + "/f")};
    for (int i = 0; i < 2; ++i) {
      t.note("takes its own", actors[i].lock(F_SETLK, F_WRLCK, i, 1));
    }
    for (int i = 0; i < 2; ++i) {
      actors[i].begin(Actor::lock_command(F_SETLKW, F_WRLCK, 1 - i, 1));
    }
    Answer answer;
    int refused = 0;
    if (!wait_until([&] {
          refused = actors[0].finished(answer) ? 0 : 1;
          return refused == 0 || actors[1].finished(answer);
        })) {
      t.note("one of them", "waits for ever");
      for (Actor& actor : actors) actor.kill();
      return;
    }
    t.note("one is refused", Actor::name(answer));
    t.note("the other waits", actors[1 - refused].finished(answer) ? "no" : "yes");
    t.note("it lets go", actors[refused].lock(F_SETLK, F_UNLCK, refused, 1));
    t.note("the other has it", Actor::name(actors[1 - refused].finish()));
  });
  EXPECT_EQ(native.count("one is refused", "EDEADLK"), 1);
}

TEST_F(LocksTest, PosixLocksGoWithTheFirstCloseAndOnlyTheirOwners) {
  same([](Trace& t, const std::string& dir) {
    Actor a(dir + "/f");
    Actor b(dir + "/f");
    Actor c(dir + "/f");
    t.note("a second open", a.open(1, O_RDONLY));
    t.note("a 0+5", a.lock(F_SETLK, F_WRLCK, 0, 5));
    t.note("b 5+5", b.lock(F_SETLK, F_WRLCK, 5, 5));
    t.note("b second open", b.open(1, O_RDWR));
    t.note("c 0+1", c.lock(F_SETLK, F_WRLCK, 0, 1));
    t.note("a closes the other one", a.close(1));
    t.note("c 0+5", c.lock(F_SETLK, F_WRLCK, 0, 5));
    t.note("c 5+1", c.lock(F_SETLK, F_WRLCK, 5, 1));
    t.note("b dup", b.dup(0, 2));
    t.note("b closes the duplicate", b.close(2));
    t.note("c 5+1", c.lock(F_SETLK, F_WRLCK, 5, 1));
  });
}

TEST_F(LocksTest, FlockAndOfdLocksGoWithTheLastDuplicate) {
  same([](Trace& t, const std::string& dir) {
    for (const bool ofd : {false, true}) {
      Actor a(dir + "/f");
      Actor b(dir + "/f");
      auto take = [&](Actor& actor, int slot) {
        return ofd ? actor.lock(F_OFD_SETLK, F_WRLCK, 0, 0, slot)
                   : actor.flock(LOCK_EX | LOCK_NB, slot);
      };
      t.note("a", take(a, 0));
      t.note("a dup", a.dup(0, 1));
      t.note("a second open", a.open(2, O_RDWR));
      t.note("a's second open", take(a, 2));
      t.note("a's duplicate", take(a, 1));
      t.note("a closes", a.close(0));
      t.note("a closes", a.close(2));
      t.note("b", take(b, 0));
      t.note("a closes the last", a.close(1));
      t.note("b", take(b, 0));
    }
  });
}

TEST_F(LocksTest, ForkInheritsFlockAndNotPosixLocks) {
  same([](Trace& trace, const std::string& dir) {
    in_child(trace, [&](Trace& t) {
      const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
      struct flock lock {};
      lock.l_type = F_WRLCK;
      lock.l_whence = SEEK_SET;
      t.num("posix", fcntl(fd.get(), F_SETLK, &lock));
      t.num("flock", flock(fd.get(), LOCK_EX | LOCK_NB));
      in_child(t, [&](Trace& inner) {
        inner.num("child posix", fcntl(fd.get(), F_SETLK, &lock));
        inner.num("child flock", flock(fd.get(), LOCK_EX | LOCK_NB));
        const UniqueFd own(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
        inner.num("child's own flock", flock(own.get(), LOCK_EX | LOCK_NB));
        // Closing in the child must not take the parent's POSIX lock away.
      });
      in_child(t, [&](Trace& inner) {
        const UniqueFd own(open((dir + "/f").c_str(), O_RDWR | O_CLOEXEC));
        inner.num("another child posix", fcntl(own.get(), F_SETLK, &lock));
        inner.num("unlock for the parent", flock(fd.get(), LOCK_UN));
        inner.num("own flock", flock(own.get(), LOCK_EX | LOCK_NB));
      });
    });
  });
}

TEST_F(LocksTest, FlockConvertsAsNatively) {
  same([](Trace& t, const std::string& dir) {
    Actor a(dir + "/f");
    Actor b(dir + "/f");
    t.note("a shared", a.flock(LOCK_SH | LOCK_NB));
    t.note("b shared", b.flock(LOCK_SH | LOCK_NB));
    t.note("a exclusive", a.flock(LOCK_EX | LOCK_NB));
    t.note("b unlock", b.flock(LOCK_UN));
    t.note("a exclusive", a.flock(LOCK_EX | LOCK_NB));
    t.note("b shared", b.flock(LOCK_SH | LOCK_NB));
    t.note("a shared", a.flock(LOCK_SH | LOCK_NB));
    t.note("b shared", b.flock(LOCK_SH | LOCK_NB));
    t.note("unlock twice", a.flock(LOCK_UN));
    t.note("unlock twice", a.flock(LOCK_UN));
  });
}

TEST_F(LocksTest, DirectoriesCanBeFlocked) {
  same([](Trace& trace, const std::string& dir) {
    make_dir(dir + "/d");
    const UniqueFd one(open((dir + "/d").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const UniqueFd two(open((dir + "/d").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    trace.num("one", flock(one.get(), LOCK_EX | LOCK_NB));
    trace.num("two", flock(two.get(), LOCK_EX | LOCK_NB));
    trace.num("unlock", flock(one.get(), LOCK_UN));
    trace.num("two", flock(two.get(), LOCK_EX | LOCK_NB));
    struct flock lock {};
    lock.l_type = F_RDLCK;
    trace.num("posix on a directory", fcntl(one.get(), F_SETLK, &lock));
  });
}

}  // namespace
}  // namespace passthroughfs::test
