// SPDX-License-Identifier: Apache-2.0
#include "channel/dev_fuse.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "support/fake_kernel.h"

namespace passthroughfs {
namespace {

namespace requests = test::requests;
using test::Answer;
using test::Bytes;
using test::FakeKernel;
using test::RequestBytes;
using wire::Opcode;

constexpr std::size_t kMaxWrite = std::size_t{128} * 1024;
constexpr std::chrono::seconds kPatience{20};

std::size_t page_size() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

std::uintptr_t address(ByteSpan bytes) { return reinterpret_cast<std::uintptr_t>(bytes.data()); }

class DevFuse : public ::testing::Test {
 protected:
  explicit DevFuse(std::size_t max_write = kMaxWrite)
      : channel_(make_dev_fuse_channel(kernel_.take_device(), max_write)), queue_(open()) {}

  std::unique_ptr<Queue> open() {
    Result<std::unique_ptr<Queue>> queue = channel_->open_queue(-1);
    EXPECT_TRUE(queue);
    return queue ? std::move(queue).value() : nullptr;
  }

  // The next request; the test fails when there is none.
  Incoming take() {
    Result<std::optional<Incoming>> next = queue_->next();
    EXPECT_TRUE(next && next->has_value());
    return next && next->has_value() ? std::move(**next) : Incoming{};
  }

  FakeKernel kernel_;
  std::unique_ptr<Channel> channel_;
  std::unique_ptr<Queue> queue_;
};

// ---- requests and answers
// ------------------------------------------------------------------------

TEST_F(DevFuse, CallsItselfDev) { EXPECT_STREQ(channel_->name(), "dev"); }

TEST_F(DevFuse, DeliversARequestAndItsAnswer) {
  const std::uint64_t unique = kernel_.send(requests::lookup(1, "name").as(1000, 100));
  Incoming incoming = take();
  EXPECT_EQ(incoming.request.opcode(), Opcode::lookup);
  EXPECT_EQ(incoming.request.header.uid, 1000U);
  EXPECT_EQ(wire::decode<wire::LookupRequest>(incoming.request, {})->name, "name");
  EXPECT_TRUE(incoming.reply.value(wire::EntryOut{.nodeid = 5}));
  const std::optional<Answer> answer = kernel_.wait(unique);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error, 0);
  EXPECT_EQ(answer->payload.size(), sizeof(wire::EntryOut));
  EXPECT_EQ(answer->as<wire::EntryOut>().nodeid, 5U);
}

TEST_F(DevFuse, AnswersWithAnError) {
  const std::uint64_t unique = kernel_.send(requests::lookup(1, "name"));
  EXPECT_TRUE(take().reply.error(Err(ENOENT)));
  const std::optional<Answer> answer = kernel_.wait(unique);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error, ENOENT);
  EXPECT_TRUE(answer->payload.empty());
}

TEST_F(DevFuse, AnswersWithSeveralPartsInOrder) {
  const std::uint64_t unique = kernel_.send(requests::readlink(2));
  const std::vector<ByteSpan> parts(wire::ReplySink::kMaxParts, bytes_of(std::string_view("ab")));
  EXPECT_TRUE(take().reply.parts(parts));
  const std::optional<Answer> answer = kernel_.wait(unique);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->text(), "abababababab");
}

TEST_F(DevFuse, DroppedAnswerIsEio) {
  const std::uint64_t unique = kernel_.send(requests::lookup(1, "name"));
  { const Incoming incoming = take(); }
  const std::optional<Answer> answer = kernel_.wait(unique);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error, EIO);
}

// The kernel would refuse it and leave the caller waiting for ever.
TEST_F(DevFuse, ErrnoThatTheKernelRefusesBecomesEio) {
  for (const int error : {512, 524, 4000}) {
    const std::uint64_t unique = kernel_.send(requests::statfs());
    EXPECT_TRUE(take().reply.error(Err(error)));
    const std::optional<Answer> answer = kernel_.wait(unique);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error, EIO) << error;
  }
}

TEST_F(DevFuse, ResentRequestIsAnsweredUnderItsMarkedNumber) {
  kernel_.send(requests::statfs());
  Incoming first = take();
  const std::vector<std::uint64_t> again = kernel_.resend_unanswered();
  ASSERT_EQ(again.size(), 1U);
  Incoming second = take();
  EXPECT_TRUE(second.request.resent());
  EXPECT_EQ(second.request.unique(), 2U);
  EXPECT_TRUE(second.reply.ok());
  EXPECT_TRUE(kernel_.wait(again[0]));
  first.reply.none();
}

TEST_F(DevFuse, AnswersComeFromAnyThread) {
  constexpr int request_count = 400;
  constexpr std::size_t thread_count = 4;
  std::vector<std::uint64_t> numbers;
  std::vector<std::vector<Incoming>> shares(thread_count);
  for (int i = 0; i < request_count; ++i) {
    numbers.push_back(kernel_.send(requests::statfs(static_cast<std::uint64_t>(i))));
    Incoming incoming = take();
    shares[static_cast<std::size_t>(i) % thread_count].push_back(std::move(incoming));
  }
  std::vector<std::thread> threads;
  for (std::vector<Incoming>& share : shares) {
    threads.emplace_back([&share] {
      for (Incoming& incoming : share) {
        EXPECT_TRUE(incoming.reply.value(incoming.request.header.nodeid));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::uint64_t i = 0; i < numbers.size(); ++i) {
    const std::optional<Answer> answer = kernel_.wait(numbers[i]);
    ASSERT_TRUE(answer) << i;
    EXPECT_EQ(answer->as<std::uint64_t>(), i);
  }
}

TEST_F(DevFuse, SeveralReadersShareTheRequests) {
  constexpr int request_count = 300;
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([this] {
      const std::unique_ptr<Queue> queue = open();
      for (;;) {
        Result<std::optional<Incoming>> next = queue->next();
        if (!next || !next->has_value()) return;
        EXPECT_TRUE((*next)->reply.value((*next)->request.header.nodeid));
      }
    });
  }
  for (std::uint64_t i = 0; i < request_count; ++i) {
    EXPECT_EQ(kernel_.call(requests::statfs(i)).as<std::uint64_t>(), i);
  }
  channel_->wake_all();
  for (std::thread& worker : workers) worker.join();
}

// ---- buffers
// -------------------------------------------------------------------------------------

TEST_F(DevFuse, DataOfAWriteIsPageAligned) {
  const Bytes data(100);
  kernel_.send(requests::write(2, 9, 0, ByteSpan(data)));
  Incoming incoming = take();
  const auto write = wire::decode<wire::WriteRequest>(incoming.request, {});
  ASSERT_TRUE(write);
  EXPECT_EQ(address(write->data) % page_size(), 0U);
  EXPECT_TRUE(incoming.reply.ok());
}

TEST_F(DevFuse, PairsOfABatchForgetAreAligned) {
  kernel_.send(requests::batch_forget({{2, 1}, {3, 1}}));
  Incoming incoming = take();
  EXPECT_TRUE(wire::decode<wire::BatchForgetRequest>(incoming.request, {}));
  incoming.reply.none();
}

TEST_F(DevFuse, LargestWriteFits) {
  Bytes data(kMaxWrite, std::byte{'d'});
  kernel_.send(requests::write(2, 9, 0, ByteSpan(data)));
  Incoming incoming = take();
  const auto write = wire::decode<wire::WriteRequest>(incoming.request, {});
  ASSERT_TRUE(write);
  EXPECT_EQ(write->data.size(), kMaxWrite);
  EXPECT_TRUE(incoming.reply.ok());
}

TEST_F(DevFuse, LargestXattrFits) {
  const Bytes value(65536);
  kernel_.send(requests::setxattr(2, std::string(255, 'x'), ByteSpan(value)));
  EXPECT_TRUE(take().reply.ok());
}

TEST_F(DevFuse, ReplyBufferIsAlignedLargeEnoughAndApartFromTheRequest) {
  kernel_.send(requests::statfs());
  Incoming before = take();
  const MutableByteSpan buffer = before.buffer;
  EXPECT_TRUE(before.reply.ok());
  EXPECT_EQ(address(buffer) % page_size(), 0U);
  EXPECT_GE(buffer.size(), kMaxWrite);
  std::fill(buffer.begin(), buffer.end(), std::byte{0x55});
  const Bytes data(kMaxWrite, std::byte{'d'});
  const std::uint64_t unique = kernel_.send(requests::write(2, 9, 0, ByteSpan(data)));
  Incoming incoming = take();
  EXPECT_TRUE(std::all_of(buffer.begin(), buffer.end(),
                          [](std::byte byte) { return byte == std::byte{0x55}; }));
  EXPECT_TRUE(incoming.reply.data(buffer.first(kMaxWrite)));
  EXPECT_EQ(kernel_.wait(unique)->payload.size(), kMaxWrite);
}

class SmallDevFuse : public DevFuse {
 protected:
  SmallDevFuse() : DevFuse(4096) {}
};

TEST_F(SmallDevFuse, StillHasRoomForTheLargestXattr) {
  const Bytes value(65536);
  kernel_.send(requests::setxattr(2, std::string(255, 'x'), ByteSpan(value)));
  EXPECT_TRUE(take().reply.ok());
}

// ---- malformed requests
// --------------------------------------------------------------------------

// None of these reaches the caller of next(), which sees the good one behind them at once.
TEST_F(DevFuse, SkipsWhatHasNoHeader) {
  const Bytes message = requests::statfs().encode(100);
  kernel_.send_raw(ByteSpan(message).first(1));
  kernel_.send_raw(ByteSpan(message).first(39));
  const std::uint64_t good = kernel_.send(requests::statfs());
  EXPECT_EQ(take().reply.unique(), good);
}

TEST_F(DevFuse, AnswersAWrongLengthWithEinval) {
  Bytes message = requests::lookup(1, "name").encode(100);
  message.pop_back();
  kernel_.send_raw(message);
  kernel_.send(requests::statfs());
  EXPECT_TRUE(take().reply.ok());
  const std::optional<Answer> answer = kernel_.wait(100);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error, EINVAL);
}

TEST_F(DevFuse, AnswersBadExtensionsWithEinval) {
  RequestBytes request = requests::unlink(1, "a");
  Bytes message = request.encode(100);
  const std::uint16_t units = 99;
  std::memcpy(message.data() + offsetof(wire::InHeader, total_extlen), &units, sizeof units);
  kernel_.send_raw(message);
  kernel_.send(requests::statfs());
  EXPECT_TRUE(take().reply.ok());
  EXPECT_EQ(kernel_.wait(100).value_or(Answer{}).error, EINVAL);
}

TEST_F(DevFuse, AnswersWhatIsLargerThanTheBufferWithEinval) {
  const Bytes data(kMaxWrite + 200'000);
  try {
    kernel_.send_raw(ByteSpan(requests::write(2, 9, 0, ByteSpan(data)).encode(100)));
  } catch (const std::exception& error) {
    GTEST_SKIP() << "needs CAP_NET_ADMIN for large messages: " << error.what();
  }
  kernel_.send(requests::statfs());
  EXPECT_TRUE(take().reply.ok());
  EXPECT_EQ(kernel_.wait(100).value_or(Answer{}).error, EINVAL);
}

TEST_F(DevFuse, AnswersNoMalformedForget) {
  for (const Opcode opcode : {Opcode::forget, Opcode::batch_forget}) {
    Bytes message = requests::make(opcode, 2, Bytes(8)).encode(100);
    message.pop_back();
    kernel_.send_raw(message);
  }
  const std::uint64_t good = kernel_.send(requests::statfs());
  EXPECT_TRUE(take().reply.ok());
  ASSERT_TRUE(kernel_.wait(good));  // answers keep their order
  EXPECT_FALSE(kernel_.answered(100));
}

// It would be taken for a notification.
TEST_F(DevFuse, AnswersNothingUnderNumberZero) {
  kernel_.send_raw(ByteSpan(requests::statfs().encode(0)));
  const std::uint64_t good = kernel_.send(requests::statfs());
  EXPECT_TRUE(take().reply.ok());
  ASSERT_TRUE(kernel_.wait(good));
  EXPECT_FALSE(kernel_.wait_notification(std::chrono::milliseconds(0)));
}

// ---- notifications and backing files
// -------------------------------------------------------------

TEST_F(DevFuse, SendsNotifications) {
  const wire::NotifyInvalEntryOut out{.parent = 1, .namelen = 4, .flags = 0};
  const ByteSpan parts[] = {bytes_of(out), bytes_of(std::string_view("name\0", 5))};
  EXPECT_TRUE(channel_->notify(wire::Notify::inval_entry, parts));
  const std::optional<test::Notification> got = kernel_.wait_notification();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->code, wire::Notify::inval_entry);
  EXPECT_EQ(got->payload.size(), sizeof out + 5);
}

TEST_F(DevFuse, SendsNotificationsWithoutArguments) {
  EXPECT_TRUE(channel_->notify(wire::Notify::resend, {}));
  EXPECT_EQ(kernel_.wait_notification()->code, wire::Notify::resend);
}

TEST_F(DevFuse, RefusesTooManyParts) {
  const std::vector<ByteSpan> parts(wire::ReplySink::kMaxParts + 1);
  EXPECT_EQ(channel_->notify(wire::Notify::store, parts).error(), EINVAL);
}

TEST_F(DevFuse, HasNoBackingFilesOnASocket) {
  EXPECT_EQ(channel_->open_backing(BorrowedFd(0)).error(), ENOTTY);
  EXPECT_EQ(channel_->close_backing(1).error(), ENOTTY);
}

// ---- the end
// -------------------------------------------------------------------------------------

TEST_F(DevFuse, UnmountEndsWithEnodev) {
  kernel_.unmount();
  const Result<std::optional<Incoming>> next = queue_->next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error(), ENODEV);
}

TEST_F(DevFuse, UnmountEndsAWaitingReader) {
  std::future<int> error = std::async(std::launch::async, [this] {
    const Result<std::optional<Incoming>> next = queue_->next();
    return next ? 0 : next.error().value();
  });
  kernel_.unmount();
  ASSERT_EQ(error.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(error.get(), ENODEV);
}

TEST_F(DevFuse, RequestsBeforeTheUnmountAreStillDelivered) {
  kernel_.send(requests::forget(2, 1));
  kernel_.send(requests::destroy());
  kernel_.unmount();
  Incoming forget = take();
  EXPECT_EQ(forget.request.opcode(), Opcode::forget);
  forget.reply.none();
  Incoming destroy = take();
  EXPECT_EQ(destroy.request.opcode(), Opcode::destroy);
  EXPECT_EQ(destroy.reply.ok().error(), ENODEV);
  EXPECT_EQ(queue_->next().error(), ENODEV);
}

TEST_F(DevFuse, NotifyAfterTheUnmountIsEnodev) {
  kernel_.unmount();
  EXPECT_EQ(channel_->notify(wire::Notify::resend, {}).error(), ENODEV);
}

// ---- signals and waking
// --------------------------------------------------------------------------

std::atomic<int> g_signals{0};

TEST_F(DevFuse, SignalsOfOthersDoNotEndTheWait) {
  struct sigaction action {};
  action.sa_handler = [](int) { ++g_signals; };
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  g_signals = 0;
  std::promise<pthread_t> reader;
  std::future<std::uint64_t> got = std::async(std::launch::async, [&] {
    reader.set_value(pthread_self());
    return take().reply.unique();
  });
  const pthread_t thread = reader.get_future().get();
  for (int i = 1; i <= 20; ++i) {
    ASSERT_EQ(pthread_kill(thread, SIGUSR1), 0);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (g_signals < i && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    ASSERT_EQ(g_signals, i);
  }
  const std::uint64_t unique = kernel_.send(requests::statfs());
  ASSERT_EQ(got.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(got.get(), unique);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(DevFuse, AfterWakeAllEachCallReturnsNothing) {
  kernel_.send(requests::statfs());
  channel_->wake_all();
  for (int i = 0; i < 3; ++i) {
    const Result<std::optional<Incoming>> next = queue_->next();
    ASSERT_TRUE(next);
    EXPECT_FALSE(next->has_value());
  }
}

TEST_F(DevFuse, WakeAllMayBeCalledAgain) {
  channel_->wake_all();
  channel_->wake_all();
  EXPECT_FALSE(queue_->next()->has_value());
}

TEST_F(DevFuse, WakeAllReachesAThreadThatBlocksAllSignals) {
  std::future<bool> woken = std::async(std::launch::async, [this] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    const Result<std::optional<Incoming>> next = queue_->next();
    return next && !next->has_value();
  });
  channel_->wake_all();
  ASSERT_EQ(woken.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(woken.get());
}

TEST_F(DevFuse, AnswersAreStillSentAfterWakeAll) {
  const std::uint64_t unique = kernel_.send(requests::statfs());
  Incoming incoming = take();
  channel_->wake_all();
  EXPECT_TRUE(incoming.reply.ok());
  EXPECT_TRUE(kernel_.wait(unique));
}

// Whatever wake_all() meets: threads before their first call, between check and read, inside the
// read, with a request in hand, or gone. A lost wake-up would hang this test.
TEST(DevFuseWaking, NoThreadIsMissed) {
  constexpr int round_count = 300;
  constexpr int thread_count = 3;
  for (int round = 0; round < round_count; ++round) {
    FakeKernel kernel;
    const std::unique_ptr<Channel> channel = make_dev_fuse_channel(kernel.take_device(), kMaxWrite);
    std::atomic<int> left{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < thread_count; ++i) {
      threads.emplace_back([&channel, &left] {
        {
          const auto queue = channel->open_queue(-1);
          ASSERT_TRUE(queue);
          for (;;) {
            Result<std::optional<Incoming>> next = (*queue)->next();
            if (!next || !next->has_value()) break;
            EXPECT_TRUE((*next)->reply.ok());
          }
        }
        ++left;
      });
    }
    if (round % 3 == 0) kernel.send(requests::statfs());
    for (int spin = 0; spin < round * 20; ++spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    channel->wake_all();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(left, thread_count);
  }
}

// Somebody who shares the descriptor may have made it non-blocking.
TEST(DevFuseNonBlocking, WaitsAndIsWokenAllTheSame) {
  FakeKernel kernel;
  UniqueFd device = kernel.take_device();
  ASSERT_EQ(::fcntl(device.get(), F_SETFL, O_NONBLOCK), 0);
  const std::unique_ptr<Channel> channel = make_dev_fuse_channel(std::move(device), kMaxWrite);
  std::future<bool> done = std::async(std::launch::async, [&channel] {
    const auto queue = channel->open_queue(-1);
    Result<std::optional<Incoming>> first = (*queue)->next();
    if (!first || !first->has_value() || !(*first)->reply.ok()) return false;
    const Result<std::optional<Incoming>> second = (*queue)->next();
    return second && !second->has_value();
  });
  EXPECT_EQ(kernel.call(requests::statfs()).error, 0);
  channel->wake_all();
  ASSERT_EQ(done.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(done.get());
}

}  // namespace
}  // namespace passthroughfs
