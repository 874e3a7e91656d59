// SPDX-License-Identifier: Apache-2.0
#include "passthroughfs/client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/fd.h"
#include "control/server.h"
#include "control/socket_file.h"
#include "proto/mount_point.h"
#include "support/run_as.h"
#include "support/temp_tree.h"
#include "unit/control/fake_target.h"

namespace passthroughfs {
namespace {

using namespace std::chrono_literals;

// The client finds a socket by the device number alone, so any mount will do.
constexpr const char* kMount = "/proc";

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(setenv("XDG_RUNTIME_DIR", tree_.path().c_str(), 1), 0); }

  [[nodiscard]] std::vector<std::string> directories() const { return {tree_ / "passthroughfs"}; }
  void serve() {
    auto server = ControlServer::start(device_at(kMount), target_, {.directories = directories()});
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(server).value();
  }

  test::TempTree tree_;
  test::FakeTarget target_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ClientTest, FindsTheDaemonFromTheMountPoint) {
  target_.files.resize(3);
  target_.files[1].path = "a\xFF";
  target_.statistics.notes = {"note"};
  serve();
  auto client = Client::connect(kMount);
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_EQ(client->daemon_pid(), getpid());
  const auto files = client->handles();
  ASSERT_TRUE(files);
  ASSERT_EQ(files->size(), 3U);
  EXPECT_EQ((*files)[1].path, "a\xFF");
  const auto stats = client->stats();
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->notes, std::vector<std::string>{"note"});
  const auto info = client->info();
  ASSERT_TRUE(info);
  EXPECT_EQ(info->source, "/source");
  EXPECT_TRUE(client->unmount());
  EXPECT_EQ(target_.unmounts, 1);
}

// They come in pages.
TEST_F(ClientTest, ShowsMoreOpenFilesThanOneAnswerCouldHold) {
  target_.made_up = 400'000;
  serve();
  auto client = Client::connect(kMount);
  ASSERT_TRUE(client);
  std::uint64_t expected = 0;
  const auto done = client->visit_handles([&](const OpenFileInfo& file) {
    ++expected;
    if (file.fh != expected) ADD_FAILURE() << file.fh << " is not " << expected;
  });
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_EQ(expected, target_.made_up);
  EXPECT_LE(target_.largest_page, 10'000U);
}

TEST_F(ClientTest, PassesOnWhatTheDaemonRefuses) {
  target_.refuse_unmount = true;
  serve();
  auto client = Client::connect(kMount);
  ASSERT_TRUE(client);
  const auto done = client->unmount();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, EBUSY);
  EXPECT_EQ(done.error().message, "it is busy");
}

TEST_F(ClientTest, SaysThatADirectoryIsNoMountPoint) {
  tree_.make_dir("plain");
  const auto client = Client::connect(tree_ / "plain");
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, EINVAL);
  EXPECT_NE(client.error().message.find("is not a mount point"), std::string::npos);
}

TEST_F(ClientTest, SaysWhichOtherFileSystemIsMounted) {
  const auto client = Client::connect(kMount);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ENOTTY);
  EXPECT_EQ(client.error().message, "/proc is not a passthroughfs mount, but proc");
}

TEST_F(ClientTest, SaysThatThePathIsMissing) {
  const auto client = Client::connect(tree_ / "nothing");
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ENOENT);
}

TEST_F(ClientTest, SaysThatTheDaemonIsDead) {
  // A socket whose process is gone refuses connections.
  test::in_child([&] {
    auto file = SocketFile::create(device_at(kMount), directories());
    ASSERT_TRUE(file) << file.error().message;
    _exit(0);  // without its destructor
  });
  const auto client = Client::connect(kMount);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ECONNREFUSED);
}

TEST_F(ClientTest, DoesNotWaitForADaemonThatHangs) {
  // Listens and never accepts.
  auto file = SocketFile::create(device_at(kMount), directories());
  ASSERT_TRUE(file) << file.error().message;
  auto client = Client::connect(kMount, 50ms);
  ASSERT_TRUE(client) << client.error().message;
  const auto info = client->info();
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, ETIMEDOUT);
}

TEST_F(ClientTest, DoesNotWaitForAFullQueueOfConnections) {
  auto file = SocketFile::create(device_at(kMount), directories());
  ASSERT_TRUE(file) << file.error().message;
  std::vector<Client> clients;
  for (int i = 0; i < 100; ++i) {
    auto client = Client::connect(kMount, 50ms);
    if (!client) {
      EXPECT_EQ(client.error().code, ETIMEDOUT) << client.error().message;
      return;
    }
    clients.push_back(std::move(client).value());
  }
  ADD_FAILURE() << "the queue never filled";
}

TEST_F(ClientTest, NoticesThatTheDaemonEnds) {
  serve();
  auto client = Client::connect(kMount);
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->info());
  server_.reset();
  const auto info = client->info();
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, EPIPE);
}

TEST_F(ClientTest, DoesNotListenToAnotherUsersSocket) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be two users";
  tree_.make_dir("shared", 01777);
  ASSERT_EQ(setenv("XDG_RUNTIME_DIR", (tree_ / "shared").c_str(), 1), 0);
  const test::Gate listening;
  const test::Gate done;
  // Alice puts a socket that everybody may use where Bob's would be.
  test::Child alice(test::kAlice, [&] {
    auto file = SocketFile::create(device_at(kMount), {tree_ / "shared/passthroughfs"});
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(chmod((tree_ / "shared/passthroughfs").c_str(), 0755), 0);
    ASSERT_EQ(chmod(file->path().c_str(), 0666), 0);
    EXPECT_TRUE(Client::connect(kMount));
    listening.pass();
    EXPECT_TRUE(done.wait());
  });
  ASSERT_TRUE(listening.wait());
  test::run_as(test::kBob, [] {
    const auto client = Client::connect(kMount);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().code, ENOTTY) << client.error().message;
  });
  done.pass();
  EXPECT_TRUE(alice.join());
}

}  // namespace
}  // namespace passthroughfs
