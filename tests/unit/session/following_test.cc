// SPDX-License-Identifier: Apache-2.0
#include "session/following.h"

#include <sched.h>
#include <unistd.h>

#include <thread>

#include <gtest/gtest.h>

#include "session/scheduling.h"
#include "wire/opcode.h"

namespace passthroughfs {
namespace {

using Clock = Following::Clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMany = 500;
constexpr milliseconds kTick{10};

wire::InHeader request(std::uint32_t client, wire::Opcode opcode = wire::Opcode::getattr) {
  wire::InHeader header{};
  header.opcode = static_cast<std::uint32_t>(opcode);
  header.pid = client;
  return header;
}

class FollowingTest : public ::testing::Test {
 protected:
  // `share` of the requests are the main client's.
  static Following::Seen seen(std::uint64_t requests, double share = 1) {
    Following::Seen out;
    out.requests = requests;
    out.burst = is_burst(requests, kTick);
    out.clients = {.all = requests,
                   .main = 1,
                   .most = static_cast<std::uint64_t>(static_cast<double>(requests) * share),
                   .data = 0};
    out.stays = true;
    return out;
  }
  int tick(const Following::Seen& seen, std::optional<int> cpu = 3) {
    return following_.decide(seen, cpu, now_ += kTick);
  }
  int ticks(int count, const Following::Seen& seen, std::optional<int> cpu = 3) {
    int at = -1;
    for (int i = 0; i < count; ++i) at = tick(seen, cpu);
    return at;
  }
  void follow() { ASSERT_EQ(ticks(10, seen(kMany)), 3); }

  Following following_{{2, 3, 5}};
  Clock::time_point now_{seconds(1000)};
};

TEST_F(FollowingTest, FollowsOneClientWhoseRequestsComeThick) {
  EXPECT_EQ(ticks(100, seen(5)), -1);
  EXPECT_EQ(tick(seen(kMany)), -1) << "not for a moment's sake";
  EXPECT_EQ(tick(seen(kMany)), 3);
  EXPECT_EQ(tick(seen(kMany), 5), 5) << "the client has moved";
  EXPECT_EQ(tick(seen(5)), -1) << "the next look may be a long tick away";
}

TEST_F(FollowingTest, GoesOnlyWhereReadersMayBe) {
  EXPECT_EQ(ticks(10, seen(kMany), 4), -1);
  EXPECT_EQ(ticks(10, seen(kMany), std::nullopt), -1) << "a client that /proc does not show";
}

TEST_F(FollowingTest, AllReadForSeveralClients) {
  EXPECT_EQ(ticks(10, seen(kMany, 0.5)), -1);
  follow();
  EXPECT_EQ(tick(seen(kMany, 0.95)), 3) << "somebody looks in now and then";
  EXPECT_EQ(tick(seen(kMany, 0.5)), 3) << "one program after another";
  EXPECT_EQ(tick(seen(kMany, 0.5)), -1);
}

TEST_F(FollowingTest, AllReadForClientsWithoutANumberAndForData) {
  Following::Seen unnamed = seen(kMany);
  unnamed.clients.all = unnamed.clients.most = kMany / 10;
  EXPECT_EQ(ticks(10, unnamed), -1);
  Following::Seen data = seen(kMany);
  data.clients.data = kMany / 2;
  data.clients.all = data.clients.most = kMany / 2;
  EXPECT_EQ(ticks(10, data), -1);
  Following::Seen with_releases = seen(kMany);
  with_releases.clients.all = with_releases.clients.most = kMany / 2;
  EXPECT_EQ(ticks(10, with_releases), 3);
}

TEST_F(FollowingTest, AllReadWhereAnAnswerSendsTheClientAway) {
  Following::Seen sent_away = seen(kMany);
  sent_away.stays = false;
  EXPECT_EQ(ticks(10, sent_away), -1);
  EXPECT_EQ(tick(seen(kMany)), 3) << "in the tick in which that ends";
  EXPECT_EQ(tick(sent_away), -1);
  follow();
  EXPECT_EQ(tick(sent_away), -1);
}

TEST_F(FollowingTest, AllReadForAWhileIfTheOneIsOftenAboutToWait) {
  follow();
  Following::Seen few = seen(kMany);
  few.handovers = 3;
  EXPECT_EQ(tick(few), 3);
  Following::Seen many = seen(kMany);
  many.handovers = 100;
  EXPECT_EQ(tick(many), -1);
  EXPECT_EQ(ticks(20, seen(kMany)), -1);
  EXPECT_EQ(ticks(50, seen(kMany)), 3);
}

TEST(RecentClientsTest, NamesWhoSentTheMost) {
  RecentClients clients;
  EXPECT_EQ(clients.take().main, 0);
  for (int i = 0; i < 10; ++i) clients.note(request(4001));
  clients.note(request(4002));
  clients.note(request(0, wire::Opcode::release));
  for (int i = 0; i < 5; ++i) clients.note(request(4003, wire::Opcode::read));
  const RecentClients::Counts counts = clients.take();
  EXPECT_EQ(counts.main, 4001);
  EXPECT_EQ(counts.most, 10U);
  EXPECT_EQ(counts.all, 11U);
  EXPECT_EQ(counts.data, 5U);
  EXPECT_EQ(clients.take().all, 0U);
}

TEST(RecentClientsTest, OneClientOfTwoThreadsIsOneClient) {
  RecentClients::Counts counts{.all = 10, .main = 7, .most = 10, .data = 0};
  counts.add({.all = 5, .main = 7, .most = 5, .data = 0});
  EXPECT_EQ(counts.most, 15U);
  counts.add({.all = 40, .main = 8, .most = 40, .data = 0});
  EXPECT_EQ(counts.main, 8);
  EXPECT_EQ(counts.all, 55U);
}

TEST(ClientAwayTest, SuspectsAfterWaitingAgainAndAgain) {
  constexpr std::uint64_t kLong = 40'000, kShort = 500;
  ClientAway away;
  std::uint64_t now = 1'000'000'000;
  for (int i = 0; i < 100; ++i) {
    away.waited(i % 3 == 0 ? kLong : kShort);
    EXPECT_FALSE(away.suspects(now += 10'000));
  }
  // After a close the RELEASE is there at once.
  int times = 0;
  for (int i = 0; i < 100; ++i) {
    away.waited(i % 3 == 0 ? kShort : kLong);
    if (!away.suspects(now += 40'000)) continue;
    ++times;
    away.found(true, now);
  }
  EXPECT_GE(times, 8) << "of 4 milliseconds";
  EXPECT_LE(times, 32) << "not more than once in an eighth of a millisecond";
}

TEST(ClientAwayTest, LooksLessOftenForAClientThatIsThereAndOnlyComputes) {
  ClientAway away;
  std::uint64_t now = 1'000'000'000;
  int times = 0;
  const auto looks_in_100_ms = [&](bool gone) {
    times = 0;
    for (int i = 0; i < 2'500; ++i) {
      away.waited(40'000);
      if (!away.suspects(now += 40'000)) continue;
      ++times;
      away.found(gone, now);
    }
    return times;
  };
  EXPECT_LE(looks_in_100_ms(false), 20);
  EXPECT_GE(looks_in_100_ms(true), 400) << "as soon as it has gone once";
}

TEST(CpuOfTest, SeesWhereAThreadRuns) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &before)) continue;
    std::thread([cpu] {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
      EXPECT_EQ(cpu_of(gettid()), cpu);
    }).join();
  }
  EXPECT_FALSE(cpu_of(0).has_value());
}

}  // namespace
}  // namespace passthroughfs
