// SPDX-License-Identifier: Apache-2.0
//
// Changes over the control socket: commands that take long, tell much, or never end.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "control/server.h"
#include "control/stream.h"
#include "passthroughfs/client.h"
#include "proto/mount_point.h"
#include "support/temp_tree.h"
#include "support/wait_until.h"
#include "unit/control/fake_target.h"

namespace passthroughfs {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMount = "/proc";  // any mount will do

// A record of changes that a test fills.
class FakeQueries : public ChangeQueries {
 public:
  Outcome<std::string> checkpoint() override {
    const std::lock_guard lock(mutex_);
    return "token" + std::to_string(moment_);
  }
  Outcome<ChangeReport> since(std::optional<std::string_view> token, bool renames) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !stuck_ || interrupted_; });
    if (token == "bad") return Error{EINVAL, "'bad' is not a token"};
    ++reports_;
    asked_renames_ = renames;
    ChangeReport report;
    report.since = token ? std::string(*token) : "begin";
    report.token = "token" + std::to_string(moment_);
    report.complete = complete_;
    if (!complete_) report.reason = "a gap";
    report.changes = changes_;
    if (!keep_) changes_.clear();
    return report;
  }
  Outcome<ChangeReport> until_end(std::optional<std::string_view> token) override {
    const std::lock_guard lock(mutex_);
    if (!interrupted_) return Error{ESHUTDOWN, "asked too early"};
    ChangeReport report;
    report.since = token ? std::string(*token) : "begin";
    report.token = "end";
    report.changes = std::move(last_);
    return report;
  }
  Outcome<void> forget_before(std::string_view token) override {
    if (token == "bad") return Error{EINVAL, "'bad' is not a token"};
    forgotten_ = token;
    return {};
  }
  bool wait_for_change(std::string_view token,
                       std::chrono::steady_clock::time_point deadline) override {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline,
                        [&] { return interrupted_ || token != "token" + std::to_string(moment_); });
    return !interrupted_ && token != "token" + std::to_string(moment_);
  }
  void interrupt() override {
    interrupted_ = true;
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  [[nodiscard]] bool is_interrupted() const override { return interrupted_; }

  // What is told of the time between the last report and the end.
  void change_last(std::vector<Change> changes) {
    const std::lock_guard lock(mutex_);
    last_ = std::move(changes);
  }
  void change(std::vector<Change> changes) {
    const std::lock_guard lock(mutex_);
    changes_ = std::move(changes);
    ++moment_;
    changed_.notify_all();
  }
  void set_stuck(bool stuck) {
    const std::lock_guard lock(mutex_);
    stuck_ = stuck;
    changed_.notify_all();
  }

  std::vector<Change> changes_;
  bool keep_ = false;
  bool complete_ = true;
  std::atomic<int> reports_ = 0;
  bool asked_renames_ = false;
  std::string forgotten_;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Change> last_;
  int moment_ = 1;
  bool stuck_ = false;
  std::atomic<bool> interrupted_ = false;
};

Change created(std::string path) {
  Change change;
  change.path = std::move(path);
  change.type = "file";
  change.created = true;
  return change;
}

class ControlChangesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(setenv("XDG_RUNTIME_DIR", tree_.path().c_str(), 1), 0);
    target_.queries = &queries_;
    auto server = ControlServer::start(device_at(kMount), target_,
                                       {.directories = {tree_ / "passthroughfs"}});
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(server).value();
  }
  static Client connect() {
    auto client = Client::connect(kMount);
    if (!client) throw std::runtime_error(client.error().message);
    return std::move(client).value();
  }

  test::TempTree tree_;
  test::FakeTarget target_;
  FakeQueries queries_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlChangesTest, TokensComeAndGo) {
  Client client = connect();
  const auto token = client.checkpoint();
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(*token, "token1");
  EXPECT_TRUE(client.forget_before("token1"));
  EXPECT_EQ(queries_.forgotten_, "token1");
  const auto refused = client.forget_before("bad");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EINVAL);
  EXPECT_TRUE(client.info());  // the connection for short questions is another one
}

TEST_F(ControlChangesTest, AReportComesWholeWithPathsOfAnyBytes) {
  Change renamed;
  renamed.path = "new\nline";
  renamed.type = "directory";
  renamed.renamed = renamed.xattr = true;
  renamed.from = "old\xFF";
  queries_.changes_ = {created("a\xFE"), renamed};
  queries_.complete_ = false;
  Client client = connect();
  const auto report = client.changes("token0", false);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_FALSE(queries_.asked_renames_);
  EXPECT_EQ(report->since, "token0");
  EXPECT_EQ(report->token, "token1");
  EXPECT_FALSE(report->complete);
  EXPECT_EQ(report->reason, "a gap");
  ASSERT_EQ(report->changes.size(), 2U);
  EXPECT_EQ(report->changes[0].path, "a\xFE");
  EXPECT_TRUE(report->changes[0].created);
  EXPECT_FALSE(report->changes[0].renamed);
  EXPECT_EQ(report->changes[1].path, "new\nline");
  EXPECT_EQ(report->changes[1].from, "old\xFF");
  EXPECT_TRUE(report->changes[1].renamed && report->changes[1].xattr);
  EXPECT_EQ(report->changes[1].type, "directory");
}

// As in an upgrade, where the server leaves at once. ThreadSanitizer says at the end of a process
// if a thread is over and nobody has taken notice; then the exit code is its.
TEST_F(ControlChangesTest, TheProcessMayEndWithoutNoticingThatACommandHasEnded) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process of its own, from its beginning on
  const auto ask_and_leave = [&] {
    const auto threads = [] {
      const fs::directory_iterator tasks("/proc/self/task");
      return std::distance(fs::begin(tasks), fs::end(tasks));
    };
    const auto before = threads();
    bool done = false;
    {
      Client client = connect();
      done = client.checkpoint() && test::wait_until([&] { return threads() == before; });
    }
    fs::remove_all(tree_.path());
    _exit(done ? 0 : 1);
  };
  EXPECT_EXIT(ask_and_leave(), ::testing::ExitedWithCode(0), "");
}

TEST_F(ControlChangesTest, AReportMayBeLongerThanAnyAnswer) {
  constexpr int kChanges = 300'000;
  for (int i = 0; i < kChanges; ++i) {
    queries_.changes_.push_back(created(std::string(200, 'p') + std::to_string(i)));
  }
  int count = 0;
  Client client = connect();
  const auto report = client.visit_changes(std::nullopt, true, [&](const Change&) { ++count; });
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(count, kChanges);
  EXPECT_TRUE(report->complete);
}

TEST_F(ControlChangesTest, ErrorsOfTheJournalReachTheClient) {
  Client client = connect();
  const auto report = client.changes("bad");
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, EINVAL);
  EXPECT_EQ(report.error().message, "'bad' is not a token");
}

TEST_F(ControlChangesTest, AMountWithoutAJournalSaysSo) {
  target_.queries = nullptr;
  Client client = connect();
  const auto token = client.checkpoint();
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().code, EOPNOTSUPP);
  EXPECT_EQ(client.changes(std::nullopt).error().code, EOPNOTSUPP);
  target_.queries = &queries_;
}

TEST_F(ControlChangesTest, AQuestionThatTakesLongKeepsNobodyWaiting) {
  queries_.set_stuck(true);
  std::thread asking([] { EXPECT_TRUE(connect().changes(std::nullopt)); });
  Client client = connect();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(client.info());
  queries_.set_stuck(false);
  asking.join();
}

TEST_F(ControlChangesTest, TooManyQuestionsAtOnceAreRefused) {
  queries_.set_stuck(true);
  std::atomic<int> refused = 0;
  std::vector<std::thread> asking;
  for (std::size_t i = 0; i < StreamThreads::kMost + 4; ++i) {
    asking.emplace_back([&] {
      const auto report = connect().changes(std::nullopt);
      if (!report) {
        EXPECT_EQ(report.error().code, EBUSY);
        ++refused;
      }
    });
  }
  EXPECT_TRUE(test::wait_until([&] { return refused == 4; }));
  queries_.set_stuck(false);
  for (std::thread& thread : asking) thread.join();
  EXPECT_EQ(refused, 4);
}

TEST_F(ControlChangesTest, WatchTellsChangesAsTheyHappen) {
  std::vector<nlohmann::json> lines;
  std::thread changing;
  const auto watched = connect().watch(std::nullopt, [&](const std::string& line) {
    lines.push_back(nlohmann::json::parse(line));
    if (lines.size() == 1) {
      changing = std::thread([this] { queries_.change({created("a"), created("b")}); });
    } else if (lines.size() == 3) {
      changing.join();
      changing = std::thread([this] { queries_.change({created("c")}); });
    }
    return lines.size() < 4;
  });
  changing.join();
  EXPECT_TRUE(watched);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0], nlohmann::json({{"token", "token1"}}));
  // From the first of two nothing can be resumed but their beginning.
  EXPECT_EQ(lines[1]["token"], "token1");
  EXPECT_EQ(lines[1]["path"], "a");
  EXPECT_EQ(lines[1]["kinds"], nlohmann::json({"created"}));
  EXPECT_EQ(lines[2]["token"], "token2");
  EXPECT_EQ(lines[3]["token"], "token3");
  EXPECT_EQ(lines[3]["path"], "c");
}

TEST_F(ControlChangesTest, AReaderThatFallsBehindIsToldOfAGap) {
  // More than sockets take, so that the rest waits for the reader.
  std::vector<Change> many;
  for (int i = 0; i < 20'000; ++i) many.push_back(created(std::string(100, 'm')));
  bool gap = false;
  std::size_t count = 0;
  std::thread changing;
  const auto watched = connect().watch(std::nullopt, [&](const std::string& text) {
    const auto line = nlohmann::json::parse(text);
    if (count == 0) {
      changing = std::thread([&] { queries_.change(many); });
      changing.join();
    } else if (count == 1) {
      // It is the passing of time that makes a reader slow.
      std::this_thread::sleep_for(std::chrono::milliseconds(1300));
    }
    ++count;
    gap = line.contains("gap");
    if (!gap) return true;
    EXPECT_EQ(line["since"], "token2");
    return false;
  });
  EXPECT_TRUE(watched);
  EXPECT_TRUE(gap);
  EXPECT_EQ(count, 20'002U);
}

TEST_F(ControlChangesTest, TheEndOfTheServerEndsAWatchWithWhatCameLast) {
  std::atomic<bool> begun = false;
  std::string last;
  queries_.change_last({created("last")});
  std::thread watching([&] {
    const auto watched = connect().watch(std::nullopt, [&](const std::string& line) {
      begun = true;
      last = line;
      return true;
    });
    EXPECT_FALSE(watched);
    EXPECT_EQ(watched.error().code, EPIPE);
  });
  EXPECT_TRUE(test::wait_until([&] { return begun.load(); }));
  server_.reset();
  watching.join();
  EXPECT_EQ(nlohmann::json::parse(last).at("path"), "last");
}

TEST_F(ControlChangesTest, AWatcherThatGoesMakesRoomForAnother) {
  for (std::size_t i = 0; i < 2 * StreamThreads::kMost; ++i) {
    EXPECT_TRUE(test::wait_until([&] {
      return connect().watch(std::nullopt, [](const std::string&) { return false; }).has_value();
    }));
  }
}

}  // namespace
}  // namespace passthroughfs
