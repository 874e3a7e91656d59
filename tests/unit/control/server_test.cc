// SPDX-License-Identifier: Apache-2.0
#include "control/server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.h"
#include "proto/framing.h"
#include "proto/messages.h"
#include "proto/socket_path.h"
#include "support/run_as.h"
#include "support/temp_tree.h"
#include "support/wait_until.h"
#include "unit/control/fake_target.h"

namespace passthroughfs {
namespace {

constexpr std::string_view kInfo = "{\"command\":\"info\"}\n";

// A client that may behave badly.
class RawClient {
 public:
  explicit RawClient(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const UniqueFd directory(open(path.substr(0, slash).c_str(), O_PATH | O_CLOEXEC));
    const sockaddr_un address = address_in(directory.borrow(), path.substr(slash + 1));
    socket_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    timeval timeout{20, 0};
    (void)setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    error_ =
        connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0
            ? 0
            : errno;
  }
  [[nodiscard]] int error() const { return error_; }
  // Whether everything could be sent.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void end_sending() { (void)shutdown(socket_.get(), SHUT_WR); }
  // The next line; "end" when the server has closed the connection.
  std::string line() {
    for (;;) {
      auto line = input_.next();
      if (!line) return "too long";
      if (*line) return **line;
      std::array<char, 65536> buffer;
      const ssize_t n = recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (n < 0 && errno == EAGAIN) return "timeout";
      if (n <= 0) return "end";
      input_.append({buffer.data(), static_cast<std::size_t>(n)});
    }
  }
  bool serves() {
    const auto reply = send(kInfo) ? decode_reply(line()) : Outcome<Json>(Error{EPIPE, "closed"});
    return reply && reply->at("pid") == 77;
  }

 private:
  UniqueFd socket_;
  LineReader input_{kMaxReplyBytes};
  int error_ = 0;
};

class ControlServerTest : public ::testing::Test {
 protected:
  std::string start(ControlServer::Options options = {}) {
    options.directories = {tree_ / "d"};
    auto server = ControlServer::start(makedev(0, 4001), target_, std::move(options));
    EXPECT_TRUE(server) << server.error().message;
    server_ = std::move(server).value();
    return server_->path();
  }

  test::TempTree tree_;
  test::FakeTarget target_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, AnswersManyRequestsOfOneClientInOrder) {
  RawClient client(start());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(client.serves());
  std::string many;
  for (int i = 0; i < 500; ++i) many += i % 2 == 0 ? "{\"command\":\"stats\"}\n" : kInfo;
  ASSERT_TRUE(client.send(many));
  for (int i = 0; i < 500; ++i) {
    const auto reply = decode_reply(client.line());
    ASSERT_TRUE(reply);
    ASSERT_EQ(reply->contains("pid"), i % 2 == 1);
  }
}

TEST_F(ControlServerTest, UnderstandsARequestThatComesByteByByte) {
  RawClient client(start());
  for (const char c : kInfo) ASSERT_TRUE(client.send({&c, 1}));
  EXPECT_TRUE(decode_reply(client.line()));
}

TEST_F(ControlServerTest, AnswersAClientThatHasStoppedSending) {
  RawClient client(start());
  ASSERT_TRUE(client.send(kInfo));
  client.end_sending();
  EXPECT_TRUE(decode_reply(client.line()));
  EXPECT_EQ(client.line(), "end");
}

TEST_F(ControlServerTest, AnswersGarbageWithAnErrorAndGoesOn) {
  RawClient client(start());
  for (const std::string_view garbage :
       {"\n", "x\n", "{\"command\":\n", "[[[[[[[[\n", "\xFF\xFE\n", "null\n"}) {
    ASSERT_TRUE(client.send(garbage));
    EXPECT_FALSE(decode_reply(client.line()));
  }
  ASSERT_TRUE(client.send(std::string_view("\0\0\n", 3)));
  EXPECT_FALSE(decode_reply(client.line()));
  EXPECT_TRUE(client.serves());
}

TEST_F(ControlServerTest, EndsAClientWhoseRequestIsTooLong) {
  const std::string path = start();
  RawClient client(path);
  (void)client.send(std::string(kMaxRequestBytes + 20000, 'x'));
  const auto reply = decode_reply(client.line());
  ASSERT_FALSE(reply);
  EXPECT_EQ(client.line(), "end");
  EXPECT_TRUE(RawClient(path).serves());
}

TEST_F(ControlServerTest, EndsAFloodWithoutNewlines) {
  const std::string path = start();
  RawClient client(path);
  const std::string block(1U << 20, '{');
  bool open = true;
  for (int i = 0; i < 64 && open; ++i) open = client.send(block);
  EXPECT_FALSE(open);
  EXPECT_TRUE(RawClient(path).serves());
}

TEST_F(ControlServerTest, EndsAClientThatDoesNotFinishItsRequest) {
  const std::string path = start({.patience_ms = 50});
  RawClient client(path);
  ASSERT_TRUE(client.send("{\"comm"));
  EXPECT_EQ(client.line(), "end");
}

TEST_F(ControlServerTest, KeepsAClientThatAsksNothing) {
  const std::string path = start({.patience_ms = 20});
  RawClient quiet(path);
  ASSERT_TRUE(quiet.serves());
  // Another one runs into the limit of patience meanwhile.
  RawClient slow(path);
  ASSERT_TRUE(slow.send("{"));
  ASSERT_EQ(slow.line(), "end");
  EXPECT_TRUE(quiet.serves());
}

TEST_F(ControlServerTest, ServesOthersWhileOneDoesNotReadItsAnswer) {
  target_.statistics.notes.assign(3, std::string(1U << 20, 'n'));
  const std::string path = start();
  RawClient lazy(path);
  ASSERT_TRUE(lazy.send("{\"command\":\"stats\"}\n{\"command\":\"info\"}\n"));
  EXPECT_TRUE(RawClient(path).serves());
  const auto stats = decode_reply(lazy.line());
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->at("notes").size(), 3U);
  const auto info = decode_reply(lazy.line());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->at("pid"), 77);
}

TEST_F(ControlServerTest, EndsAClientThatNeverReadsItsAnswer) {
  target_.statistics.notes.assign(3, std::string(1U << 20, 'n'));
  const std::string path = start({.patience_ms = 50});
  RawClient lazy(path);
  ASSERT_TRUE(lazy.send("{\"command\":\"stats\"}\n"));
  // The server has closed it once nothing more can be sent.
  EXPECT_TRUE(test::wait_until([&] { return !lazy.send("\n"); }));
}

TEST_F(ControlServerTest, TheClientIdleForLongestGivesWayToANewOne) {
  const std::string path = start({.max_clients = 3});
  RawClient a(path);
  ASSERT_TRUE(a.serves());
  RawClient b(path);
  ASSERT_TRUE(b.serves());
  RawClient c(path);
  ASSERT_TRUE(c.serves());
  ASSERT_TRUE(a.serves());  // now b is the oldest
  RawClient d(path);
  EXPECT_TRUE(d.serves());
  EXPECT_EQ(b.line(), "end");
  EXPECT_TRUE(a.serves());
  EXPECT_TRUE(c.serves());
}

TEST_F(ControlServerTest, EndsWhileClientsAreConnected) {
  const std::string path = start();
  RawClient idle(path);
  ASSERT_TRUE(idle.serves());
  RawClient half(path);
  ASSERT_TRUE(half.send("{"));
  server_.reset();
  EXPECT_EQ(idle.line(), "end");
  EXPECT_EQ(half.line(), "end");
  EXPECT_EQ(RawClient(path).error(), ENOENT);
}

TEST_F(ControlServerTest, LeavesNoDescriptorBehind) {
  auto count = [] {
    int open_ones = 0;
    for (int fd = 0; fd < 1024; ++fd) open_ones += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return open_ones;
  };
  const int before = count();
  for (int i = 0; i < 5; ++i) {
    const std::string path = start({.max_clients = 2});
    for (int j = 0; j < 20; ++j) ASSERT_TRUE(RawClient(path).serves());
    server_.reset();
  }
  EXPECT_EQ(count(), before);
}

TEST_F(ControlServerTest, HearsOnlyTheMountingUserAndRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be two users";
  const std::string path = start();
  // Past the file modes, which refuse strangers already.
  ASSERT_EQ(chmod(path.c_str(), 0666), 0);
  ASSERT_EQ(chmod((tree_ / "d").c_str(), 0755), 0);
  test::run_as(test::kAlice, [&] {
    RawClient stranger(path);
    EXPECT_EQ(stranger.error(), 0);
    EXPECT_FALSE(stranger.serves());
  });
  EXPECT_TRUE(RawClient(path).serves());
}

}  // namespace
}  // namespace passthroughfs
