// SPDX-License-Identifier: Apache-2.0
//
// What a program is told when the disk is full or its user's quota is used up, and that the mount
// is well again as soon as there is room.
#include <fcntl.h>
#include <linux/btrfs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/loop_image.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

constexpr std::size_t kMegabyte = 1 << 20;

// Writes until it is refused; how many bytes have been taken. errno is the refusal's.
off_t fill(int fd) {
  const std::string block(65536, 'x');
  off_t written = 0;
  for (std::size_t size = block.size(); size != 0; size /= 16) {
    ssize_t n = 0;
    while ((n = pwrite(fd, block.data(), size, written)) > 0) {
      written += n;
      if (written > (1 << 28)) return -1;
    }
  }
  return written;
}

// Stores to a page of a file that has no block yet, and asks for the page to be written: "stored",
// the signal that the store was answered with, or the errno of msync.
std::string store_by_mapping(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGBUS, SIG_DFL);
    void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (at == MAP_FAILED) _exit(255);
    memset(at, 'm', 4096);
    _exit(msync(at, 4096, MS_SYNC) == 0 ? 0 : errno);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    return WTERMSIG(status) == SIGBUS ? "SIGBUS" : std::to_string(status);
  }
  return WEXITSTATUS(status) == 0 ? "stored" : "msync " + errno_name(WEXITSTATUS(status));
}

// Everything that needs room, where there is none.
void use_up(Trace& t, const std::string& dir, bool mappings) {
  write_file(dir + "/holes", "");
  t.num("sparse file", truncate((dir + "/holes").c_str(), 1 << 20));
  write_file(dir + "/small", "here before");
  {
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    t.note("room at first", pwrite(fd.get(), "x", 1, 0) == 1);
    const off_t written = fill(fd.get());
    t.note("refusal", errno_name(errno));
    t.note("some were taken", written > 65536);
    struct stat st {};
    t.num("fstat", fstat(fd.get(), &st));
    t.note("what was taken is there", st.st_size == written);
    t.num("write", pwrite(fd.get(), dir.data(), 1, written + 100000));
    t.num("fallocate", fallocate(fd.get(), 0, written, 64 << 20));
    t.num("fallocate, size kept", fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, written, 64 << 20));
    t.num("fstat", fstat(fd.get(), &st));
    t.num("overwrite", pwrite(fd.get(), "y", 1, 0));
    t.num("fsync", fsync(fd.get()));
    if (mappings) t.note("store", store_by_mapping(dir + "/holes"));
  }
  t.content("small", dir + "/small");
  t.stat("holes", dir + "/holes");
  t.num("unlink", unlink((dir + "/f").c_str()));
  // The blocks are free when the file is, which a mount hears of after the fact.
  t.note(
      "room again", wait_until([&] {
        const UniqueFd fd(open((dir + "/g").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        const std::string data(500000, 'z');
        return fd.valid() && write(fd.get(), data.data(), data.size()) == 500000 &&
               fsync(fd.get()) == 0;
      }));
  t.stat("g", dir + "/g");
  t.note("mapped", store_by_mapping(dir + "/holes"));
  std::string holes(4096, ' ');
  const UniqueFd fd(open((dir + "/holes").c_str(), O_RDONLY | O_CLOEXEC));
  t.num("pread", pread(fd.get(), holes.data(), holes.size(), 0));
  t.note("read", holes == std::string(4096, 'm'));
}

// New names need blocks of their own, some of them.
void make_names(Trace& t, const std::string& dir) {
  {
    const UniqueFd fd(open((dir + "/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    (void)fill(fd.get());
    t.note("refusal", errno_name(errno));
    (void)fsync(fd.get());
  }
  t.num("create", try_open(dir + "/new", O_WRONLY | O_CREAT));
  t.num("mkdir", mkdir((dir + "/d").c_str(), 0755));
  t.num("symlink", symlink(std::string(900, 'l').c_str(), (dir + "/l").c_str()));
  const std::string value(3000, 'v');
  t.num("setxattr", setxattr((dir + "/f").c_str(), "user.big", value.data(), value.size(), 0));
  t.stat("d", dir + "/d");
  t.stat("l", dir + "/l");
}

class SpaceTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    PFS_NEEDS_DAEMON();
    PFS_NEEDS_ROOT();
  }
  bool kernel_io() const { return std::string(GetParam()) == "io=passthrough"; }

  // The same in `native` and, through a mount, in `source`.
  void compare(const std::string& native, const Identity& native_user, const std::string& source,
               const Identity& mount_user, const std::function<void(Trace&, std::string)>& body,
               const std::string& refusal) {
    Mount mount({.options = {GetParam()}, .source = source});
    ASSERT_TRUE(mount.ok());
    Trace expected;
    Trace got;
    run_as(native_user, expected, [&](Trace& t) { body(t, native); });
    run_as(mount_user, got, [&](Trace& t) { body(t, mount.mnt()); });
    EXPECT_EQ(expected.text(), got.text()) << "native above, mounted below";
    EXPECT_EQ(expected.count("refusal", refusal), 1) << expected.text();
  }
};

std::string open_to_all(const std::string& path) {
  EXPECT_EQ(chmod(path.c_str(), 0777), 0);
  return path;
}

class FullDiskTest : public SpaceTest {
 protected:
  void SetUp() override {
    SpaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    for (auto* image : {&native_, &source_}) {
      // Without blocks reserved for root, which are a test of their own.
      *image = std::make_unique<LoopImage>(
          16 * kMegabyte, std::vector<std::string>{"mkfs.ext4", "-q", "-F", "-m", "0"});
      if (!(*image)->ok()) GTEST_SKIP() << (*image)->why();
      open_to_all((*image)->path());
    }
  }
  void compare(const std::function<void(Trace&, std::string)>& body) {
    SpaceTest::compare(native_->path(), kAlice, source_->path(), kAlice, body, "ENOSPC");
  }

  std::unique_ptr<LoopImage> native_, source_;
};

TEST_P(FullDiskTest, AFullDiskIsAsNativelyAndIsWellAgainWhenThereIsRoom) {
  compare([&](Trace& t, const std::string& dir) { use_up(t, dir, kernel_io()); });
}

TEST_P(FullDiskTest, NewNamesOnAFullDisk) { compare(make_names); }

// The kernel's pages take the store; that there is no block for them shows when they are written.
TEST_P(FullDiskTest, AStoreByMappingIsRefusedByMsync) {
  if (kernel_io()) GTEST_SKIP() << "there it is as natively, which the other test shows";
  Mount mount({.options = {GetParam()}, .source = source_->path()});
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("holes"), "");
  ASSERT_EQ(truncate(mount.mnt("holes").c_str(), 1 << 20), 0);
  const UniqueFd fd(open(mount.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_GT(fill(fd.get()), 0);
  EXPECT_EQ(store_by_mapping(mount.mnt("holes")), "msync ENOSPC");
  ASSERT_EQ(ftruncate(fd.get(), 0), 0);
  EXPECT_TRUE(wait_until([&] { return store_by_mapping(mount.mnt("holes")) == "stored"; }));
  EXPECT_EQ(read_file(source_->path() + "/holes").substr(0, 4096), std::string(4096, 'm'));
}

TEST_P(FullDiskTest, BlocksReservedForRootAreForRoot) {
  if (kernel_io()) GTEST_SKIP() << "in passthrough every writer may use them (docs/semantics.md)";
  const LoopImage reserving(16 * kMegabyte, {"mkfs.ext4", "-q", "-F", "-m", "30"});
  ASSERT_TRUE(reserving.ok()) << reserving.why();
  open_to_all(reserving.path());
  Mount mount({.options = {GetParam()}, .source = reserving.path()});
  ASSERT_TRUE(mount.ok());
  run_as(kAlice, [&] {
    const UniqueFd fd(open(mount.mnt("hers").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    ASSERT_GT(fill(fd.get()), 0);
    EXPECT_EQ(errno_name(errno), "ENOSPC");
  });
  const std::string data(2 * kMegabyte, 'r');
  EXPECT_NO_THROW(write_file(mount.mnt("roots"), data));
  run_as(kAlice, [&] {
    const UniqueFd fd(open(mount.mnt("hers").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(pwrite(fd.get(), data.data(), 65536, 100 << 20), -1);
    EXPECT_EQ(errno_name(errno), "ENOSPC");
  });
}

// --- Quotas -------------------------------------------------------------------------------------

// An ordinary user's limit on an ext4 with user quotas; needs a kernel with CONFIG_QFMT_V2.
class UserQuotaTest : public SpaceTest {
 protected:
  void SetUp() override {
    SpaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    image_ = std::make_unique<LoopImage>(
        32 * kMegabyte, std::vector<std::string>{"mkfs.ext4", "-q", "-F", "-O", "quota"},
        "noatime,usrquota");
    if (!image_->ok()) GTEST_SKIP() << "no user quotas in this kernel: " << image_->why();
    for (const auto& [name, who] : {std::pair{"native", kAlice}, std::pair{"source", kBob}}) {
      ASSERT_EQ(mkdir((*image_ / name).c_str(), 0755), 0);
      ASSERT_EQ(chown((*image_ / name).c_str(), who.uid, who.gid), 0);
      dqblk limit{};
      limit.dqb_bhardlimit = limit.dqb_bsoftlimit = 4096;  // KiB
      limit.dqb_ihardlimit = limit.dqb_isoftlimit = 20;
      limit.dqb_valid = QIF_LIMITS;
      ASSERT_EQ(quotactl(QCMD(Q_SETQUOTA, USRQUOTA), image_->device().c_str(),
                         static_cast<int>(who.uid), reinterpret_cast<caddr_t>(&limit)),
                0)
          << errno_name(errno);
    }
  }
  void compare(const std::function<void(Trace&, std::string)>& body) {
    SpaceTest::compare(*image_ / "native", kAlice, *image_ / "source", kBob, body, "EDQUOT");
  }

  std::unique_ptr<LoopImage> image_;
};

TEST_P(UserQuotaTest, BlocksBeyondTheQuotaAreEdquotAsNatively) {
  compare([&](Trace& t, const std::string& dir) { use_up(t, dir, kernel_io()); });
}

TEST_P(UserQuotaTest, FilesBeyondTheQuotaAreEdquotAsNatively) {
  compare([](Trace& t, const std::string& dir) {
    int made = 0;
    while (made < 100 && try_open(dir + "/f" + std::to_string(made), O_WRONLY | O_CREAT) == 0) {
      ++made;
    }
    t.note("refusal", errno_name(errno));
    t.num("made", made);
    t.num("mkdir", mkdir((dir + "/d").c_str(), 0755));
    t.num("mknod", mknod((dir + "/p").c_str(), S_IFIFO | 0600, 0));
    t.num("symlink", symlink("x", (dir + "/l").c_str()));
    t.num("link", link((dir + "/f0").c_str(), (dir + "/same").c_str()));
    t.num("tmpfile", try_open(dir, O_WRONLY | O_TMPFILE, 0600));
    t.num("unlink", unlink((dir + "/f1").c_str()));
    t.note("room again",
           wait_until([&] { return try_open(dir + "/new", O_WRONLY | O_CREAT) == 0; }));
  });
}

// A limit for a subvolume, which holds for root too.
class SubvolumeQuotaTest : public SpaceTest {
 protected:
  void SetUp() override {
    SpaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    image_ = std::make_unique<LoopImage>(192 * kMegabyte,
                                         std::vector<std::string>{"mkfs.btrfs", "-q", "-f"});
    if (!image_->ok()) GTEST_SKIP() << image_->why();
    const UniqueFd root(open(image_->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    btrfs_ioctl_quota_ctl_args enable{};
    enable.cmd = BTRFS_QUOTA_CTL_ENABLE;
    ASSERT_EQ(ioctl(root.get(), BTRFS_IOC_QUOTA_CTL, &enable), 0) << errno_name(errno);
    ASSERT_EQ(ioctl(root.get(), BTRFS_IOC_QUOTA_RESCAN_WAIT), 0) << errno_name(errno);
    for (const char* name : {"native", "source"}) {
      btrfs_ioctl_vol_args volume{};
      strncpy(volume.name, name, sizeof volume.name - 1);
      ASSERT_EQ(ioctl(root.get(), BTRFS_IOC_SUBVOL_CREATE, &volume), 0) << errno_name(errno);
      open_to_all(*image_ / name);
      const UniqueFd fd(open((*image_ / name).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      btrfs_ioctl_qgroup_limit_args limit{};  // of the subvolume that `fd` is
      limit.lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER;
      limit.lim.max_rfer = 8 * kMegabyte;
      ASSERT_EQ(ioctl(fd.get(), BTRFS_IOC_QGROUP_LIMIT, &limit), 0) << errno_name(errno);
    }
    ASSERT_EQ(syncfs(root.get()), 0);
  }

  std::unique_ptr<LoopImage> image_;
};

TEST_P(SubvolumeQuotaTest, BlocksBeyondTheQuotaAreEdquotAsNatively) {
  compare(
      *image_ / "native", kAlice, *image_ / "source", kAlice,
      [&](Trace& t, const std::string& dir) { use_up(t, dir, kernel_io()); }, "EDQUOT");
}

TEST_P(SubvolumeQuotaTest, NewNamesBeyondTheQuota) {
  compare(*image_ / "native", kAlice, *image_ / "source", kAlice, make_names, "EDQUOT");
}

const auto kModes = ::testing::Values("io=passthrough", "io=daemon", "handles=stateless");
const auto kModeName = [](const auto& mode) {
  const std::string text = mode.param;
  return text.substr(text.find('=') + 1);
};
INSTANTIATE_TEST_SUITE_P(Modes, FullDiskTest, kModes, kModeName);
INSTANTIATE_TEST_SUITE_P(Modes, UserQuotaTest, kModes, kModeName);
INSTANTIATE_TEST_SUITE_P(Modes, SubvolumeQuotaTest, kModes, kModeName);

}  // namespace
}  // namespace passthroughfs::test
