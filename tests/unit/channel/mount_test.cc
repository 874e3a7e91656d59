// SPDX-License-Identifier: Apache-2.0
//
// mount_fuse() and the channel on the real device. Needs root: it mounts, and becomes other users.
#include "channel/mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "channel/dev_fuse.h"
#include "support/run_as.h"
#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

using test::TempTree;
using wire::Opcode;

constexpr std::size_t kMaxWrite = std::size_t{128} * 1024;

class MountFuse : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (::access("/dev/fuse", F_OK) != 0) GTEST_SKIP() << "needs /dev/fuse";
    options_.mountpoint = tree_.make_dir("mnt");
    options_.fsname = "a, strange\\name";
  }
  // The tree detaches what is still mounted in it.

  UniqueFd mount() {
    std::string message;
    Result<UniqueFd> device = mount_fuse(options_, message);
    EXPECT_TRUE(device) << message;
    return device ? std::move(device).value() : UniqueFd();
  }

  // The line of mountinfo for the mount point; empty when nothing is mounted there.
  [[nodiscard]] std::string mounted() const {
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
      if (line.find(" " + options_.mountpoint + " ") != std::string::npos) return line;
    }
    return {};
  }

  TempTree tree_;
  MountOptions options_;
};

// As much of a file system as INIT and a stat of the root need.
class TinyServer {
 public:
  explicit TinyServer(UniqueFd device)
      : channel_(make_dev_fuse_channel(std::move(device), kMaxWrite)),
        thread_([this] { serve(); }) {}
  ~TinyServer() { stop(); }
  TinyServer(const TinyServer&) = delete;
  TinyServer& operator=(const TinyServer&) = delete;

  Channel& channel() { return *channel_; }
  void stop() {
    channel_->wake_all();
    join();
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  // What ended the server; 0 after a wake-up.
  [[nodiscard]] int ended_with() const { return ended_with_; }
  [[nodiscard]] bool initialised() const { return initialised_; }

 private:
  void serve() {
    auto queue = channel_->open_queue(0);
    ASSERT_TRUE(queue);
    for (;;) {
      Result<std::optional<Incoming>> next = (*queue)->next();
      if (!next) ended_with_ = next.error().value();
      if (!next || !next->has_value()) return;
      answer(**next);
    }
  }

  void answer(Incoming& incoming) {
    switch (incoming.request.opcode()) {
      case Opcode::init: {
        const auto in = wire::decode<wire::InitRequest>(incoming.request, {});
        ASSERT_TRUE(in);
        const std::uint64_t flags = in->flags & wire::init_flag::abort_error;
        const wire::InitOut out{.major = wire::kMajor,
                                .minor = std::min(in->minor, wire::kMinor),
                                .max_readahead = in->max_readahead,
                                .flags = static_cast<std::uint32_t>(flags),
                                .max_write = kMaxWrite};
        EXPECT_TRUE(incoming.reply.value(out));
        initialised_ = true;
        return;
      }
      case Opcode::getattr: {
        wire::AttrOut out{};
        out.attr.ino = 1;
        out.attr.mode = S_IFDIR | 0755;
        out.attr.nlink = 2;
        out.attr.size = 4321;
        EXPECT_TRUE(incoming.reply.value(out));
        return;
      }
      case Opcode::forget:
      case Opcode::batch_forget: return incoming.reply.none();
      default: (void)incoming.reply.error(Err(ENOSYS));
    }
  }

  std::unique_ptr<Channel> channel_;
  std::atomic<int> ended_with_{0};
  std::atomic<bool> initialised_{false};
  std::thread thread_;
};

// In a child, so that a mount that hangs fails the test and does not hang it.
void expect_root_is_served(const std::string& mountpoint) {
  test::in_child([&] {
    struct stat st {};
    ASSERT_EQ(::stat(mountpoint.c_str(), &st), 0);
    EXPECT_EQ(st.st_size, 4321);
  });
}

// ---- mounting and unmounting as root
// -------------------------------------------------------------

TEST_F(MountFuse, GivesACloseOnExecDeviceAndAMount) {
  const UniqueFd device = mount();
  ASSERT_TRUE(device.valid());
  EXPECT_EQ(::fcntl(device.get(), F_GETFD), FD_CLOEXEC);
  const std::string line = mounted();
  EXPECT_NE(line.find(" - fuse.passthroughfs a,\\040strange\\134name "), std::string::npos) << line;
  EXPECT_NE(line.find("default_permissions"), std::string::npos) << line;
  EXPECT_EQ(line.find("allow_other"), std::string::npos) << line;
}

TEST_F(MountFuse, PassesTheOptionsOn) {
  options_.allow_root = true;  // the kernel knows allow_other only
  options_.max_read = 65536;
  options_.read_only = options_.noatime = options_.nodev = options_.nosuid = options_.noexec = true;
  options_.subtype = "other";
  const UniqueFd device = mount();
  const std::string line = mounted();
  for (const char* wanted : {" ro,", "nosuid", "nodev", "noexec", "noatime", "allow_other",
                             "max_read=65536", " fuse.other "}) {
    EXPECT_NE(line.find(wanted), std::string::npos) << wanted << " in " << line;
  }
}

TEST_F(MountFuse, ServesARealMount) {
  TinyServer server(mount());
  expect_root_is_served(options_.mountpoint);
  EXPECT_TRUE(server.initialised());
  EXPECT_TRUE(unmount(options_.mountpoint, false));
  server.join();
  EXPECT_EQ(server.ended_with(), ENODEV);
  EXPECT_EQ(mounted(), "");
}

TEST_F(MountFuse, WakeAllEndsTheServerWhileTheMountLives) {
  TinyServer server(mount());
  expect_root_is_served(options_.mountpoint);
  server.stop();
  EXPECT_EQ(server.ended_with(), 0);
  EXPECT_NE(mounted(), "");
}

TEST_F(MountFuse, AbortedConnectionIsToldApart) {
  TinyServer server(mount());
  expect_root_is_served(options_.mountpoint);
  const std::string line = mounted();  // "id parent 0:minor root ..."
  const std::size_t colon = line.find(" 0:") + 3;
  const std::string minor = line.substr(colon, line.find(' ', colon) - colon);
  test::in_child([&minor] {
    // fusectl is not mounted everywhere; in a mount namespace of our own nobody else sees it.
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    const std::string connections = "/sys/fs/fuse/connections";
    ASSERT_EQ(::mount("none", connections.c_str(), "fusectl", 0, nullptr), 0);
    std::ofstream abort(connections + "/" + minor + "/abort");
    abort << "1" << std::flush;
    ASSERT_TRUE(abort);
  });
  if (HasFailure()) server.stop();
  server.join();
  EXPECT_EQ(server.ended_with(), ECONNABORTED);
}

TEST_F(MountFuse, KernelRefusesAnAnswerToAnUnknownRequest) {
  const std::unique_ptr<Channel> channel = make_dev_fuse_channel(mount(), kMaxWrite);
  const auto queue = channel->open_queue(0);
  ASSERT_TRUE(queue);
  auto& sink = dynamic_cast<wire::ReplySink&>(**queue);
  EXPECT_EQ(sink.send(123456, 0, {}).error(), ENOENT);
}

TEST_F(MountFuse, LazyUnmountDetachesABusyMount) {
  TinyServer server(mount());
  test::in_child([this] {
    const UniqueFd busy(::open(options_.mountpoint.c_str(), O_PATH | O_CLOEXEC));
    ASSERT_TRUE(busy.valid());
    EXPECT_EQ(unmount(options_.mountpoint, false).error(), EBUSY);
    EXPECT_TRUE(unmount(options_.mountpoint, true));
  });
  EXPECT_EQ(mounted(), "");
  server.join();
}

TEST_F(MountFuse, UnmountOfNoMountIsEinval) {
  EXPECT_EQ(unmount(options_.mountpoint, false).error(), EINVAL);
}

TEST_F(MountFuse, RefusesASecondMountAtTheSamePlace) {
  const UniqueFd device = mount();
  std::string message;
  const Result<UniqueFd> second = mount_fuse(options_, message);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), EBUSY);
  EXPECT_NE(message.find("busy"), std::string::npos) << message;
}

TEST_F(MountFuse, SaysThatTheMountPointIsMissing) {
  options_.mountpoint = tree_ / "missing";
  std::string message;
  EXPECT_EQ(mount_fuse(options_, message).error(), ENOENT);
  EXPECT_NE(message.find("missing does not exist"), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST_F(MountFuse, SaysThatTheMountPointIsOfTheWrongKind) {
  options_.root_mode = S_IFREG;
  std::string message;
  const Result<UniqueFd> device = mount_fuse(options_, message);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error(), ENOTDIR);
  EXPECT_NE(message.find("same kind"), std::string::npos) << message;
}

// ---- through fusermount3
// -------------------------------------------------------------------------

// A user without rights, and the `fusermount3` that this user finds: at first none.
class MountByHelper : public MountFuse {
 protected:
  void SetUp() override {
    MountFuse::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(::chown(options_.mountpoint.c_str(), test::kAlice.uid, test::kAlice.gid), 0);
    bin_ = tree_.make_dir("bin");
  }

  void install_helper(const std::string& python) const {
    const std::string path = bin_ + "/fusermount3";
    std::ofstream(path) << "#!/usr/bin/env -S PATH=/usr/bin:/bin python3\n" << python;
    ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
  }

  // As a user who finds only the helper that was installed.
  void as_user(const std::function<void()>& body) const {
    test::run_as(test::kAlice, [&] {
      ASSERT_EQ(::setenv("PATH", bin_.c_str(), 1), 0);
      body();
    });
  }

  std::string bin_;
};

// Accepts the options that it knows, sends a descriptor, and writes its options to a file.
constexpr const char* kHelper = R"(
import os, socket, sys
known = ["fsname", "default_permissions", "max_read"]
options = sys.argv[sys.argv.index("-o") + 1]
for option in options.replace("\\,", "").split(","):
    if option.split("=")[0] not in known:
        sys.exit("fusermount3: unknown option '%s'" % option)
link = socket.socket(fileno=int(os.environ["_FUSE_COMMFD"]))
null = os.open("/dev/null", os.O_RDWR)
socket.send_fds(link, [options.encode()[:1]], [null])
)";

TEST_F(MountByHelper, TakesTheDescriptorAndLeavesOutWhatAnOldHelperDoesNotKnow) {
  install_helper(kHelper);
  options_.noatime = true;  // unknown to it, as is the subtype
  options_.max_read = 4096;
  as_user([this] {
    std::string message;
    const Result<UniqueFd> device = mount_fuse(options_, message);
    ASSERT_TRUE(device) << message;
    EXPECT_EQ(::fcntl(device->get(), F_GETFD), FD_CLOEXEC);
    struct stat st {};
    ASSERT_EQ(::fstat(device->get(), &st), 0);
    EXPECT_EQ(st.st_rdev, ::makedev(1, 3));
  });
}

TEST_F(MountByHelper, NeverLeavesOutWhatProtects) {
  install_helper(kHelper);
  options_.nosuid = true;  // unknown to it
  as_user([this] {
    std::string message;
    const Result<UniqueFd> device = mount_fuse(options_, message);
    ASSERT_FALSE(device);
    EXPECT_NE(message.find("unknown option 'nosuid'"), std::string::npos) << message;
  });
}

TEST_F(MountByHelper, PassesItsComplaintOnWithItsErrno) {
  install_helper(
      "import sys\nsys.exit('some warning\\nfusermount3: mount failed: Device or resource "
      "busy')\n");
  as_user([this] {
    std::string message;
    const Result<UniqueFd> device = mount_fuse(options_, message);
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error(), EBUSY);
    EXPECT_EQ(message,
              "cannot mount " + options_.mountpoint + ": mount failed: Device or resource busy");
  });
}

TEST_F(MountByHelper, SaysThatItIsNotInstalled) {
  as_user([this] {
    std::string message;
    const Result<UniqueFd> device = mount_fuse(options_, message);
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error(), EPERM);
    EXPECT_NE(message.find("fusermount3, which is not installed"), std::string::npos) << message;
  });
}

TEST_F(MountByHelper, SaysThatNothingWasHandedOver) {
  install_helper("");
  as_user([this] {
    std::string message;
    EXPECT_FALSE(mount_fuse(options_, message));
    EXPECT_EQ(message, "fusermount3 did not hand over /dev/fuse");
  });
}

TEST_F(MountByHelper, MountsAndUnmountsWithTheInstalledOne) {
  struct stat helper {};
  struct stat device {};
  if (::stat("/usr/bin/fusermount3", &helper) != 0 || (helper.st_mode & S_ISUID) == 0) {
    GTEST_SKIP() << "needs fusermount3 with its setuid bit";
  }
  if (::stat("/dev/fuse", &device) != 0 || (device.st_mode & 06) != 06) {
    GTEST_SKIP() << "needs a /dev/fuse that everybody may open";
  }
  const passwd* account = ::getpwnam("nobody");  // fusermount3 wants to know the user's name
  if (account == nullptr) GTEST_SKIP() << "needs the user nobody";
  const test::Identity nobody{account->pw_uid, account->pw_gid, {}};
  ASSERT_EQ(::chown(options_.mountpoint.c_str(), nobody.uid, nobody.gid), 0);
  test::run_as(nobody, [this, &nobody] {
    std::string message;
    Result<UniqueFd> mounted_device = mount_fuse(options_, message);
    ASSERT_TRUE(mounted_device) << message;
    const std::string line = mounted();
    EXPECT_NE(line.find(" - fuse.passthroughfs a,\\040strange\\134name "), std::string::npos)
        << line;
    EXPECT_NE(line.find("user_id=" + std::to_string(nobody.uid)), std::string::npos) << line;
    EXPECT_NE(line.find("default_permissions"), std::string::npos) << line;
    TinyServer server(std::move(mounted_device).value());
    EXPECT_TRUE(unmount(options_.mountpoint, false));
    EXPECT_EQ(mounted(), "");
    server.join();
    EXPECT_EQ(server.ended_with(), ENODEV);
    EXPECT_EQ(unmount(options_.mountpoint, false).error(), EINVAL);
  });
}

}  // namespace
}  // namespace passthroughfs
