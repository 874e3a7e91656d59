// SPDX-License-Identifier: Apache-2.0
#include <sys/file.h>

#include <vector>

#include "session_fixture.h"
#include "support/wait_until.h"
#include "wire/opcode.h"

namespace passthroughfs::test {
namespace {

namespace flag = wire::init_flag;
using Session = SessionFixture;

TEST_F(Session, NodeThatWasNeverGivenIsEstale) {
  start();
  EXPECT_EQ(kernel_.call(requests::getattr(77)).error, ESTALE);
  EXPECT_EQ(kernel_.call(requests::lookup((5ULL << 32) | 1, "a")).error, ESTALE);
}

TEST_F(Session, RootIsNodeOneAndItsParentIsItself) {
  start();
  const auto root = kernel_.call(requests::getattr(1)).as<wire::AttrOut>();
  const auto up = kernel_.call(requests::lookup(1, ".."));
  EXPECT_EQ(up.error, 0);
  EXPECT_EQ(up.as<wire::EntryOut>().nodeid, 1U);
  EXPECT_EQ(up.as<wire::EntryOut>().attr.ino, root.attr.ino);
}

TEST_F(Session, DotDotBelowTheRootIsRefused) {
  start();
  ASSERT_EQ(kernel_.call(requests::mkdir(1, "d", 0755)).error, 0);
  EXPECT_EQ(kernel_.call(requests::lookup(look_up("d"), "..")).error, ESTALE);
}

TEST_F(Session, HandleNumbersAreNeverUsedAgain) {
  write_file("a", "x");
  start();
  const std::uint64_t node = look_up("a");
  const std::uint64_t first = open(node, O_RDONLY);
  ASSERT_EQ(kernel_.call(requests::release(node, first)).error, 0);
  const std::uint64_t second = open(node, O_RDONLY);
  EXPECT_NE(first, second);
  EXPECT_EQ(kernel_.call(requests::read(node, first, 0, 10)).error, EBADF);
  EXPECT_EQ(kernel_.call(requests::read(node, second, 0, 10)).text(), "x");
}

TEST_F(Session, HandleOfAnotherNodeIsEbadf) {
  write_file("a", "x");
  write_file("b", "y");
  start();
  const std::uint64_t a = look_up("a");
  const std::uint64_t b = look_up("b");
  const std::uint64_t fh = open(a, O_RDWR);
  EXPECT_EQ(kernel_.call(requests::read(b, fh, 0, 10)).error, EBADF);
  EXPECT_EQ(kernel_.call(requests::release(b, fh)).error, EBADF);
  EXPECT_EQ(kernel_.call(requests::release(a, fh)).error, 0);
  EXPECT_EQ(kernel_.call(requests::release(a, fh)).error, EBADF);
}

TEST_F(Session, EveryHandleOperationRefusesANumberOutOfThinAir) {
  write_file("a", "x");
  start();
  const std::uint64_t node = look_up("a");
  constexpr std::uint64_t kWild = 0x7777000000000003ULL;
  wire::SetattrIn size{};
  size.valid = wire::setattr_valid::fh | wire::setattr_valid::size;
  size.fh = kWild;
  wire::CopyFileRangeIn copy{kWild, 0, node, kWild, 0, 1, 0};
  wire::LkIn lock{};
  lock.fh = kWild;
  lock.lk.type = F_RDLCK;
  const std::vector<RequestBytes> all{
      requests::read(node, kWild, 0, 1),
      requests::write(node, kWild, 0, bytes_of(std::string_view("z"))),
      requests::flush(node, kWild),
      requests::release(node, kWild),
      requests::fsync(node, kWild),
      requests::fallocate(node, kWild, 0, 1, 0),
      requests::lseek(node, kWild, 0, SEEK_DATA),
      requests::getattr(node, kWild),
      requests::setattr(node, size),
      requests::copy_file_range(wire::Opcode::copy_file_range, node, copy),
      requests::copy_file_range(wire::Opcode::copy_file_range_64, node, copy),
      requests::lock(wire::Opcode::getlk, node, lock),
      requests::lock(wire::Opcode::setlk, node, lock),
      requests::lock(wire::Opcode::setlkw, node, lock),
  };
  for (const RequestBytes& request : all) {
    EXPECT_EQ(kernel_.call(request).error, EBADF) << wire::opcode_name(request.opcode);
  }
}

TEST_F(Session, UnknownOpcodesAndSecondInitsAreErrorsNotCrashes) {
  start();
  EXPECT_EQ(kernel_.call(requests::make(static_cast<wire::Opcode>(7), 1)).error, ENOSYS);
  EXPECT_EQ(kernel_.call(requests::make(static_cast<wire::Opcode>(53000), 1)).error, ENOSYS);
  EXPECT_EQ(kernel_.call(requests::init(0)).error, EIO);
  EXPECT_EQ(kernel_.call(requests::statfs()).error, 0);
}

TEST_F(Session, ForgettingTooOftenIsHarmless) {
  write_file("a", "x");
  start();
  const std::uint64_t node = look_up("a");
  (void)kernel_.send(requests::forget(node, 1000));
  // It has no answer, and another thread may serve what comes next first.
  EXPECT_TRUE(
      test::wait_until([&] { return kernel_.call(requests::getattr(node)).error == ESTALE; }));
  (void)kernel_.send(requests::forget(wire::kRootNodeId, 1000));
  EXPECT_EQ(kernel_.call(requests::getattr(wire::kRootNodeId)).error, 0);
  EXPECT_NE(look_up("a"), node);
}

TEST_F(Session, OpenFileOutlivesForget) {
  write_file("a", "still");
  start();
  const std::uint64_t node = look_up("a");
  const std::uint64_t fh = open(node, O_RDONLY);
  (void)kernel_.send(requests::forget(node, 1));
  EXPECT_EQ(kernel_.call(requests::unlink(1, "a")).error, 0);
  EXPECT_EQ(kernel_.call(requests::read(node, fh, 0, 10)).text(), "still");
}

TEST_F(Session, ReadLargerThanTheBufferIsCutNotOverrun) {
  write_file("a", std::string(100, 'x'));
  MountConfig config;
  config.max_write = 65536;
  start(config);
  const std::uint64_t node = look_up("a");
  const std::uint64_t fh = open(node, O_RDONLY);
  const Answer answer = kernel_.call(requests::read(node, fh, 0, ~0U));
  EXPECT_EQ(answer.error, 0);
  EXPECT_EQ(answer.payload.size(), 100U);
}

// ---- locks -------------------------------------------------------------------------------------

wire::LkIn posix_lock(std::uint64_t fh, std::uint64_t owner, std::uint32_t type,
                      std::uint64_t start = 0, std::uint64_t end = 9) {
  wire::LkIn in{};
  in.fh = fh;
  in.owner = owner;
  in.lk = {start, end, type, static_cast<std::uint32_t>(owner)};
  return in;
}

TEST_F(Session, LockWaitOccupiesNoWorkerAndIsGrantedAtUnlock) {
  write_file("a", "x");
  MountConfig config;
  config.threads = 1;
  start(config);
  const std::uint64_t node = look_up("a");
  const std::uint64_t fh = open(node, O_RDWR);
  const auto set = [&](std::uint64_t owner, std::uint32_t type) {
    return requests::lock(wire::Opcode::setlk, node, posix_lock(fh, owner, type));
  };
  ASSERT_EQ(kernel_.call(set(1, F_WRLCK)).error, 0);
  std::vector<std::uint64_t> waiters;
  for (std::uint64_t owner = 2; owner < 100; ++owner) {
    waiters.push_back(
        kernel_.send(requests::lock(wire::Opcode::setlkw, node, posix_lock(fh, owner, F_RDLCK))));
  }
  EXPECT_EQ(kernel_.call(set(200, F_RDLCK)).error, EAGAIN);
  for (const std::uint64_t waiter : waiters) EXPECT_FALSE(kernel_.answered(waiter));
  ASSERT_EQ(kernel_.call(set(1, F_UNLCK)).error, 0);
  for (const std::uint64_t waiter : waiters) {
    const auto answer = kernel_.wait(waiter);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error, 0);
  }
}

TEST_F(Session, InterruptEndsALockWait) {
  write_file("a", "x");
  start();
  const std::uint64_t node = look_up("a");
  const std::uint64_t fh = open(node, O_RDWR);
  ASSERT_EQ(
      kernel_.call(requests::lock(wire::Opcode::setlk, node, posix_lock(fh, 1, F_WRLCK))).error, 0);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t waiter =
        kernel_.send(requests::lock(wire::Opcode::setlkw, node, posix_lock(fh, 2, F_WRLCK)));
    // At once, so that it sometimes overtakes the request that it is about. EAGAIN asks for it
    // again, as the kernel then does.
    auto answer = std::optional<Answer>();
    for (int tries = 0; tries < 1000 && !answer; ++tries) {
      kernel_.interrupt(waiter);
      answer = kernel_.wait(waiter, std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error, EINTR);
  }
}

TEST_F(Session, CircleOfLockWaitsIsEdeadlk) {
  write_file("a", "x");
  start();
  const std::uint64_t node = look_up("a");
  const std::uint64_t fh = open(node, O_RDWR);
  const auto lock = [&](wire::Opcode opcode, std::uint64_t owner, std::uint64_t at,
                        std::uint32_t type = F_WRLCK) {
    return requests::lock(opcode, node, posix_lock(fh, owner, type, at, at));
  };
  ASSERT_EQ(kernel_.call(lock(wire::Opcode::setlk, 1, 0)).error, 0);
  ASSERT_EQ(kernel_.call(lock(wire::Opcode::setlk, 2, 1)).error, 0);
  ASSERT_EQ(kernel_.call(lock(wire::Opcode::setlk, 3, 2)).error, 0);
  const std::uint64_t first = kernel_.send(lock(wire::Opcode::setlkw, 1, 1));
  // A request behind it on the same, single connection may overtake it; wait until it is parked.
  while (session_->stats().lock_waiters < 1) std::this_thread::yield();
  (void)kernel_.send(lock(wire::Opcode::setlkw, 2, 2));
  while (session_->stats().lock_waiters < 2) std::this_thread::yield();
  EXPECT_EQ(kernel_.call(lock(wire::Opcode::setlkw, 3, 0)).error, EDEADLK);
  ASSERT_EQ(kernel_.call(lock(wire::Opcode::setlk, 3, 2, F_UNLCK)).error, 0);
  ASSERT_EQ(kernel_.call(lock(wire::Opcode::setlk, 2, 1, F_UNLCK)).error, 0);
  EXPECT_EQ(kernel_.wait(first)->error, 0);
}

TEST_F(Session, FlushDropsTheLocksOfItsOwnerOnly) {
  write_file("a", "x");
  start();
  const std::uint64_t node = look_up("a");
  const std::uint64_t fh = open(node, O_RDWR);
  const auto lock = [&](std::uint64_t owner, std::uint64_t at) {
    return requests::lock(wire::Opcode::setlk, node, posix_lock(fh, owner, F_WRLCK, at, at));
  };
  ASSERT_EQ(kernel_.call(lock(1, 0)).error, 0);
  ASSERT_EQ(kernel_.call(lock(2, 1)).error, 0);
  ASSERT_EQ(kernel_.call(requests::flush(node, fh, 1)).error, 0);
  EXPECT_EQ(kernel_.call(lock(3, 0)).error, 0);
  EXPECT_EQ(kernel_.call(lock(3, 1)).error, EAGAIN);
}

TEST_F(Session, GetlkNamesTheHolder) {
  write_file("a", "x");
  start();
  const std::uint64_t node = look_up("a");
  const std::uint64_t fh = open(node, O_RDWR);
  ASSERT_EQ(
      kernel_.call(requests::lock(wire::Opcode::setlk, node, posix_lock(fh, 42, F_WRLCK, 5, 8)))
          .error,
      0);
  const Answer answer =
      kernel_.call(requests::lock(wire::Opcode::getlk, node, posix_lock(fh, 7, F_RDLCK, 0, 99)));
  const auto out = answer.as<wire::LkOut>();
  EXPECT_EQ(out.lk.type, static_cast<std::uint32_t>(F_WRLCK));
  EXPECT_EQ(out.lk.start, 5U);
  EXPECT_EQ(out.lk.end, 8U);
  EXPECT_EQ(out.lk.pid, 42U);
}

// ---- ends --------------------------------------------------------------------------------------

TEST_F(Session, UnmountWithParkedLocksAndOpenHandlesEndsCleanly) {
  write_file("a", "x");
  start();
  const std::uint64_t node = look_up("a");
  const std::uint64_t fh = open(node, O_RDWR);
  ASSERT_EQ(
      kernel_.call(requests::lock(wire::Opcode::setlk, node, posix_lock(fh, 1, F_WRLCK))).error, 0);
  (void)kernel_.send(requests::lock(wire::Opcode::setlkw, node, posix_lock(fh, 2, F_WRLCK)));
  while (session_->stats().lock_waiters < 1) std::this_thread::yield();
  kernel_.unmount();
  EXPECT_TRUE(session_->wait());
}

// Of a server that takes over: the first of its threads may be told so before the last one is
// there.
TEST_F(Session, UnmountWhileThreadsStartIsAnEndLikeAnyOther) {
  MountConfig config{.source = tree_.path()};
  config.threads = 200;
  std::string message;
  auto session = passthroughfs::Session::create(config, message);
  ASSERT_TRUE(session) << message;
  session_ = std::move(session).value();
  Result<void> connected = Err(EIO);
  std::thread starter([&] { connected = session_->connect(kernel_.take_device(), message); });
  settled_ = kernel_.init();
  starter.join();
  ASSERT_TRUE(connected) << message;
  kernel_.unmount();
  EXPECT_TRUE(session_->serve({}, message)) << message;
}

TEST_F(Session, DestroyedWhileServing) {
  start();
  session_.reset();
}

TEST_F(Session, AllowRootRefusesOtherUsers) {
  MountConfig config;
  config.allow_root = true;
  start(config);
  EXPECT_EQ(kernel_.call(requests::statfs().as(0, 0)).error, 0);
  EXPECT_EQ(kernel_.call(requests::statfs().as(54321, 54321)).error, EACCES);
}

TEST_F(Session, HandlesShowWhereDataGoesNow) {
  write_file("f", std::string(8192, 'x'));
  start();
  if (const UniqueFd fd(::open((tree_ / "f").c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
      !fd.valid()) {
    GTEST_SKIP() << "the file system has no O_DIRECT";
  }
  const std::uint64_t node = look_up("f");
  const std::uint64_t plain = open(node, O_RDONLY);
  const std::uint64_t direct = open(node, O_RDONLY | O_DIRECT);
  const auto io = [&](std::uint64_t fh) {
    for (const HandleView& view : session_->handles(0, 100).handles) {
      if (view.fh == fh) return std::string(view.io);
    }
    return std::string("none");
  };
  EXPECT_EQ(io(plain), "daemon");
  EXPECT_EQ(io(direct), "direct");
  // F_SETFL takes the flag away and adds it; each request says what holds.
  EXPECT_EQ(kernel_.call(requests::read(node, direct, 0, 4096, O_RDONLY)).error, 0);
  EXPECT_EQ(io(direct), "daemon");
  EXPECT_EQ(kernel_.call(requests::read(node, direct, 0, 4096, O_RDONLY | O_DIRECT)).error, 0);
  EXPECT_EQ(io(direct), "direct");
  EXPECT_EQ(kernel_.call(requests::read(node, plain, 0, 4096, O_RDONLY | O_DIRECT)).error, 0);
  EXPECT_EQ(io(plain), "direct");
}

TEST_F(Session, StatisticsCountOperationsAndErrors) {
  start();
  (void)kernel_.call(requests::lookup(1, "missing"));
  (void)kernel_.call(requests::statfs());
  // An answer is sent before it is counted.
  const auto counted = [&](wire::Opcode opcode) {
    for (const OperationView& view : session_->stats().operations) {
      if (view.opcode == opcode) return view;
    }
    return OperationView{};
  };
  while (counted(wire::Opcode::statfs).count == 0) std::this_thread::yield();
  EXPECT_EQ(counted(wire::Opcode::lookup).count, 1U);
  EXPECT_EQ(counted(wire::Opcode::lookup).errors, 1U);
  EXPECT_EQ(counted(wire::Opcode::statfs).errors, 0U);
}

}  // namespace
}  // namespace passthroughfs::test
