// SPDX-License-Identifier: Apache-2.0
//
// Clear errors, no hang and no leak when something runs out, goes away, or comes in great numbers.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"
#include "support/small_source.h"

namespace passthroughfs::test {
namespace {

class RobustnessTest : public MountTest {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
  }
};

TEST_F(RobustnessTest, FullDisk) {
  const SmallSource small("size=2m");
  Mount mount({.source = small.path()});
  ASSERT_TRUE(mount.ok());
  const std::string block(100000, 'x');
  {
    const UniqueFd fd(open(mount.mnt("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    ssize_t written = 0;
    ssize_t n = 0;
    while ((n = write(fd.get(), block.data(), block.size())) > 0) {
      written += n;
      ASSERT_LT(written, 4 << 20);
    }
    EXPECT_EQ(errno_name(errno), "ENOSPC");
    EXPECT_EQ(fallocate(fd.get(), 0, 0, 4 << 20), -1);
    EXPECT_EQ(errno_name(errno), "ENOSPC");
    struct stat st {};
    ASSERT_EQ(stat(mount.source("f").c_str(), &st), 0);
    EXPECT_EQ(st.st_size, written) << "every byte that was said to be written is there";
    ASSERT_EQ(fstat(fd.get(), &st), 0);
    EXPECT_EQ(st.st_size, written);
    EXPECT_EQ(pread(fd.get(), std::string(1, ' ').data(), 1, 0), 1);
  }
  EXPECT_EQ(unlink(mount.mnt("f").c_str()), 0);
  // The space is free when the kernel has told the daemon that nobody has the file any more.
  EXPECT_TRUE(wait_until([&] {
    struct statvfs st {};
    return statvfs(mount.source().c_str(), &st) == 0 && st.f_bfree > st.f_blocks / 2;
  }));
  write_file(mount.mnt("g"), block);
  EXPECT_EQ(read_file(mount.mnt("g")), block);
}

TEST_F(RobustnessTest, NoInodesLeft) {
  const SmallSource small("size=2m,nr_inodes=20");
  Mount mount({.source = small.path()});
  ASSERT_TRUE(mount.ok());
  int made = 0;
  while (try_open(mount.mnt("f" + std::to_string(made)), O_WRONLY | O_CREAT) == 0) {
    ASSERT_LT(++made, 30);
  }
  EXPECT_EQ(errno_name(errno), "ENOSPC");
  EXPECT_EQ(mkdir(mount.mnt("d").c_str(), 0755), -1);
  EXPECT_EQ(errno_name(errno), "ENOSPC");
  EXPECT_EQ(symlink("x", mount.mnt("l").c_str()), -1);
  EXPECT_EQ(errno_name(errno), "ENOSPC");
  EXPECT_EQ(unlink(mount.mnt("f0").c_str()), 0);
  EXPECT_TRUE(wait_until([&] { return mkdir(mount.mnt("d").c_str(), 0755) == 0; }));
}

TEST_F(RobustnessTest, ReadOnlySource) {
  const SmallSource small("size=2m");
  write_file(small.path() + "/f", "content");
  ASSERT_EQ(::mount(nullptr, small.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  Mount mount({.source = small.path()});
  ASSERT_TRUE(mount.ok());
  EXPECT_EQ(read_file(mount.mnt("f")), "content");
  for (const int result :
       {try_open(mount.mnt("f"), O_WRONLY), unlink(mount.mnt("f").c_str()),
        mkdir(mount.mnt("d").c_str(), 0755), chmod(mount.mnt("f").c_str(), 0600)}) {
    EXPECT_EQ(result, -1);
  }
  EXPECT_EQ(mkdir(mount.mnt("d").c_str(), 0755), -1);
  EXPECT_EQ(errno_name(errno), "EROFS");
}

// Far fewer descriptors than files: the ones that were not used for long give way.
class FewDescriptorsTest : public RobustnessTest {
 protected:
  MountSettings settings() const override {
    // On a disk once; for the other ways of serving the quicker file system will do.
    const bool again = std::getenv("PFS_TEST_OPTIONS") != nullptr;
    return {.medium = again ? TempTree::Medium::kMemory : TempTree::Medium::kDisk,
            .descriptors = 4096};
  }
};

TEST_F(FewDescriptorsTest, WalkOfThirtyThousandFilesWorks) {
  constexpr int kDirectories = 30;
  constexpr int kFiles = 1000;
  auto name = [&](int d, int f) { return mnt("d" + std::to_string(d) + "/f" + std::to_string(f)); };
  for (int d = 0; d < kDirectories; ++d) {
    make_dir(mnt("d" + std::to_string(d)));
    for (int f = 0; f < kFiles; ++f) {
      ASSERT_EQ(try_open(name(d, f), O_WRONLY | O_CREAT | O_EXCL), 0)
          << d << "/" << f << ": " << errno_name(errno);
    }
  }
  std::size_t seen = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(mnt(""))) {
    struct stat st {};
    ASSERT_EQ(lstat(entry.path().c_str(), &st), 0) << entry.path() << errno_name(errno);
    seen += S_ISREG(st.st_mode) ? 1 : 0;
  }
  EXPECT_EQ(seen, static_cast<std::size_t>(kDirectories) * kFiles);
  // The first ones have lost their descriptors by now and must still be themselves.
  write_file(name(0, 0), "first");
  EXPECT_EQ(read_file(source("d0/f0")), "first");
  EXPECT_EQ(chmod(name(0, 1).c_str(), 0600), 0);
  EXPECT_EQ(rename(name(0, 2).c_str(), mnt("moved").c_str()), 0);
  for (int d = 0; d < kDirectories; ++d) {
    for (int f = 0; f < kFiles; ++f) {
      if (d != 0 || f != 2) {
        ASSERT_EQ(unlink(name(d, f).c_str()), 0) << d << "/" << f << ": " << errno_name(errno);
      }
    }
    ASSERT_EQ(rmdir(mnt("d" + std::to_string(d)).c_str()), 0) << errno_name(errno);
  }
}

class VeryFewDescriptorsTest : public RobustnessTest {
 protected:
  MountSettings settings() const override { return {.descriptors = 256}; }
};

TEST_F(VeryFewDescriptorsTest, OpensBeyondTheLimitFailAndNothingElse) {
  PFS_NEEDS_DAEMON();
  PFS_NEEDS_HANDLES();
  for (int i = 0; i < 1000; ++i) {
    write_file(source("f" + std::to_string(i)), "content");
  }
  std::vector<UniqueFd> open_files;
  int error = 0;
  for (int i = 0; i < 1000 && error == 0; ++i) {
    const int fd = open(mnt("f" + std::to_string(i)).c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) {
      error = errno;
    } else {
      open_files.emplace_back(fd);
    }
  }
  EXPECT_TRUE(error == ENFILE || error == EMFILE) << errno_name(error);
  EXPECT_GT(open_files.size(), 50U);
  // What is open works, and so does what needs no new handle.
  EXPECT_EQ(pwrite(open_files[0].get(), "X", 1, 0), 1);
  EXPECT_EQ(ftruncate(open_files[1].get(), 3), 0);
  struct stat st {};
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(stat(mnt("f" + std::to_string(i)).c_str(), &st), 0) << i << errno_name(errno);
  }
  EXPECT_EQ(rename(mnt("f999").c_str(), mnt("g").c_str()), 0) << errno_name(errno);
  EXPECT_EQ(mkdir(mnt("d").c_str(), 0755), 0) << errno_name(errno);
  open_files.clear();
  EXPECT_TRUE(wait_until([&] { return try_open(mnt("f500"), O_RDWR) == 0; })) << errno_name(errno);
  EXPECT_EQ(read_file(mnt("f0")), "Xontent");
}

TEST_F(RobustnessTest, ForgottenNodesGiveTheirDescriptorsBack) {
  PFS_NEEDS_DAEMON();
  auto make_and_remove = [&] {
    for (int i = 0; i < 500; ++i) {
      write_file(mnt("f" + std::to_string(i)), "x");
    }
    for (int i = 0; i < 500; ++i) {
      ASSERT_EQ(unlink(mnt("f" + std::to_string(i)).c_str()), 0);
    }
  };
  make_and_remove();  // whatever the daemon opens once for all
  // The kernel forgets an unlinked node as soon as nobody has it open.
  EXPECT_TRUE(wait_until([&] { return mount().descriptors() < 50; })) << mount().descriptors();
  const std::size_t before = mount().descriptors();
  make_and_remove();
  EXPECT_TRUE(wait_until([&] { return mount().descriptors() <= before; }))
      << before << " -> " << mount().descriptors();
}

TEST_F(RobustnessTest, SourceIsUnmountedUnderneath) {
  PFS_NEEDS_DAEMON();
  const SmallSource small("size=2m");
  Mount mount({.source = small.path()});
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "content");
  ASSERT_EQ(umount2(small.path().c_str(), MNT_DETACH), 0);
  // The daemon holds the tree: what it had goes on, nothing hangs, and it ends as usual.
  EXPECT_EQ(read_file(mount.mnt("f")), "content");
  write_file(mount.mnt("g"), "more");
  EXPECT_EQ(read_file(mount.mnt("g")), "more");
  EXPECT_LT(access((small.path() + "/g").c_str(), F_OK), 0);
}

TEST_F(RobustnessTest, SourceIsRemoved) {
  PFS_NEEDS_A_SHARED_SOURCE();
  PFS_NEEDS_DAEMON();
  write_file(mnt("f"), "content");
  make_dir(mnt("d"));
  write_file(mnt("d/g"), "content");
  const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd dir(open(mnt("d").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::filesystem::remove_all(mount().source());
  ASSERT_LT(access(mount().source().c_str(), F_OK), 0);
  EXPECT_TRUE(wait_until([&] { return access(mnt("f").c_str(), F_OK) != 0; }));
  EXPECT_EQ(errno_name(errno), "ENOENT");
  EXPECT_EQ(try_open(mnt("new"), O_WRONLY | O_CREAT), -1);
  EXPECT_EQ(errno_name(errno), "ENOENT");
  EXPECT_EQ(mkdir(mnt("new").c_str(), 0755), -1);
  struct stat st {};
  EXPECT_EQ(stat(mnt("").c_str(), &st), 0) << errno_name(errno);
  EXPECT_EQ(try_openat(dir.get(), "x", O_WRONLY | O_CREAT), -1);
  if (!mount().has_option("handles=stateless")) {
    EXPECT_EQ(pwrite(fd.get(), "X", 1, 0), 1);
    EXPECT_EQ(fchmod(fd.get(), 0600), 0);
    EXPECT_EQ(ftruncate(fd.get(), 3), 0);
  }
}

// Mounts inside the source: every file has an identity of its own, whatever file system it is on.
TEST_F(RobustnessTest, NestedMounts) {
  PFS_NEEDS_A_SHARED_SOURCE();
  auto nest = [&](const std::string& name) {
    const std::string path = make_dir(source(name));
    ASSERT_EQ(::mount("nested", path.c_str(), "tmpfs", 0, "size=1m"), 0);
    for (int i = 0; i < 20; ++i) {
      write_file(path + "/f" + std::to_string(i), name + std::to_string(i));
    }
    make_dir(path + "/d");
  };
  nest("one");
  nest("two");
  std::map<std::pair<dev_t, ino_t>, std::string> seen;
  for (const std::string name : {"one", "two"}) {
    for (int i = 0; i < 20; ++i) {
      const std::string path = mnt(name + "/f" + std::to_string(i));
      EXPECT_EQ(read_file(path), name + std::to_string(i));
      struct stat st {};
      ASSERT_EQ(stat(path.c_str(), &st), 0);
      EXPECT_EQ(st.st_nlink, 1U);
      const auto [at, fresh] = seen.try_emplace({st.st_dev, st.st_ino}, path);
      EXPECT_TRUE(fresh) << path << " looks like " << at->second;
    }
  }
  write_file(mnt("one/new"), "through");
  EXPECT_EQ(read_file(source("one/new")), "through");
  EXPECT_EQ(rename(mnt("one/new").c_str(), mnt("two/new").c_str()), -1);
  EXPECT_EQ(errno_name(errno), "EXDEV");
  EXPECT_EQ(rename(mnt("one/new").c_str(), mnt("new").c_str()), -1);
  EXPECT_EQ(errno_name(errno), "EXDEV");
  EXPECT_EQ(link(mnt("one/new").c_str(), mnt("new").c_str()), -1);
  EXPECT_EQ(errno_name(errno), "EXDEV");
  EXPECT_EQ(rmdir(mnt("one").c_str()), -1);
  EXPECT_EQ(errno_name(errno), "EBUSY");
  const UniqueFd up(open(mnt("one/d/../..").c_str(), O_PATH | O_CLOEXEC));
  struct stat st {};
  struct stat root {};
  ASSERT_EQ(fstat(up.get(), &st), 0);
  ASSERT_EQ(stat(mnt("").c_str(), &root), 0);
  EXPECT_EQ(st.st_ino, root.st_ino);
  // Entries and what they name agree there too.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(mnt(""))) {
    EXPECT_TRUE(entry.exists());
  }
  ASSERT_EQ(umount2(source("one").c_str(), MNT_DETACH), 0);
  EXPECT_TRUE(wait_until([&] { return access(mnt("one/f0").c_str(), F_OK) != 0; }));
  ASSERT_EQ(umount2(source("two").c_str(), MNT_DETACH), 0);
}

TEST_F(RobustnessTest, ThousandsOfClients) {
  write_file(mnt("shared"), "shared content");
  constexpr int kThreads = 1500;
  std::atomic<int> failures = 0;
  std::vector<std::thread> clients;
  const Gate start;
  for (int i = 0; i < kThreads; ++i) {
    clients.emplace_back([&, i] {
      if (!start.wait()) {
        ++failures;
        return;
      }
      try {
        const std::string name = mnt("c" + std::to_string(i));
        write_file(name, name);
        if (read_file(name) != name || read_file(mnt("shared")) != "shared content" ||
            unlink(name.c_str()) != 0) {
          ++failures;
        }
      } catch (const std::exception& error) {
        ++failures;
      }
    });
  }
  start.pass(kThreads);
  for (std::thread& client : clients) {
    client.join();
  }
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(mnt("")),
                          std::filesystem::directory_iterator()),
            1);
}

TEST_F(RobustnessTest, KilledClientsLeaveNothingOpen) {
  write_file(mnt("f"), std::string(1 << 20, 'x'));
  const std::size_t before = native_run() ? 0 : mount().descriptors();
  for (int round = 0; round < 20; ++round) {
    std::vector<std::unique_ptr<Child>> clients;
    for (int i = 0; i < 4; ++i) {
      clients.push_back(std::make_unique<Child>([&, i] {
        std::string buffer(300000, 'y');
        for (;;) {
          const UniqueFd fd(open(mnt("f").c_str(), O_RDWR | O_CLOEXEC));
          (void)!pread(fd.get(), buffer.data(), buffer.size(), i * 1000);
          (void)!pwrite(fd.get(), buffer.data(), buffer.size(), i * 1000);
          (void)try_open(mnt("g" + std::to_string(i)), O_RDWR | O_CREAT);
          (void)unlink(mnt("g" + std::to_string(i)).c_str());
        }
      }));
    }
    for (int i = 0; i < 5; ++i) {
      ASSERT_EQ(access(mnt("f").c_str(), F_OK), 0);
    }
    for (const auto& client : clients) {
      client->kill();
    }
  }
  if (!native_run()) {
    EXPECT_TRUE(wait_until([&] { return mount().descriptors() <= before + 5; }))
        << before << " -> " << mount().descriptors();
  }
}

// A timer signal that comes all the time must not show in calls that are never interrupted on a
// disk.
TEST_F(RobustnessTest, SignalsDoNotDisturbOrdinaryCalls) {
  in_child([&] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGALRM, &action, nullptr);  // without SA_RESTART
    const itimerval often = {{0, 500}, {0, 500}};
    ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
    const std::string data(50000, 'x');
    std::string back(50000, '\0');
    for (int i = 0; i < 300; ++i) {
      const std::string name = mnt("f" + std::to_string(i % 10));
      const UniqueFd fd(open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
      ASSERT_TRUE(fd.valid()) << errno_name(errno);
      ASSERT_EQ(pwrite(fd.get(), data.data(), data.size(), 0), 50000) << errno_name(errno);
      ASSERT_EQ(pread(fd.get(), back.data(), back.size(), 0), 50000) << errno_name(errno);
      ASSERT_EQ(fsync(fd.get()), 0) << errno_name(errno);
      ASSERT_EQ(ftruncate(fd.get(), 5), 0) << errno_name(errno);
      ASSERT_EQ(rename(name.c_str(), mnt("r").c_str()), 0) << errno_name(errno);
      ASSERT_EQ(mkdir(mnt("d").c_str(), 0755), 0) << errno_name(errno);
      ASSERT_EQ(rmdir(mnt("d").c_str()), 0) << errno_name(errno);
      ASSERT_EQ(unlink(mnt("r").c_str()), 0) << errno_name(errno);
    }
  });
}

TEST_F(RobustnessTest, AbortedConnectionFailsCleanly) {
  PFS_NEEDS_DAEMON();
  Mount mount({.broken_on_purpose = true});
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "content");
  const UniqueFd fd(open(mount.mnt("f").c_str(), O_RDWR | O_CLOEXEC));
  mount.abort();
  EXPECT_EQ(mkdir(mount.mnt("d").c_str(), 0755), -1);
  EXPECT_TRUE(errno == ENOTCONN || errno == ECONNABORTED) << errno_name(errno);
  EXPECT_EQ(fchmod(fd.get(), 0600), -1);
  EXPECT_TRUE(mount.wait_for_exit().has_value()) << "the daemon does not end after an abort";
  EXPECT_EQ(read_file(mount.source("f")), "content");
}

TEST_F(RobustnessTest, AbortEndsWaitingClients) {
  PFS_NEEDS_DAEMON();
  PFS_NEEDS_HANDLES();  // else locks are the kernel's own affair
  Mount mount({.broken_on_purpose = true});
  ASSERT_TRUE(mount.ok());
  write_file(mount.mnt("f"), "content");
  auto lock = [&](int command) {
    const int fd = open(mount.mnt("f").c_str(), O_RDWR | O_CLOEXEC);
    struct flock whole {};
    whole.l_type = F_WRLCK;
    return fcntl(fd, command, &whole);
  };
  const Gate locked;
  Child holder([&] {
    ASSERT_EQ(lock(F_SETLK), 0);
    locked.pass();
    pause();
  });
  ASSERT_TRUE(locked.wait());
  Child waiter([&] { EXPECT_EQ(lock(F_SETLKW), -1); });
  ASSERT_TRUE(wait_until([&] { return waiter.sleeps_in(SYS_fcntl); }));
  mount.abort();
  EXPECT_TRUE(waiter.join());
  holder.kill();
  EXPECT_TRUE(mount.wait_for_exit().has_value());
}

TEST_F(RobustnessTest, EndsWhileClientsAreBusy) {
  PFS_NEEDS_DAEMON();
  Mount mount;
  ASSERT_TRUE(mount.ok());
  std::vector<std::unique_ptr<Child>> clients;
  const Gate started;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<Child>([&, i] {
      const std::string name = mount.mnt("f" + std::to_string(i));
      started.pass();
      while (try_open(name, O_RDWR | O_CREAT) == 0 && unlink(name.c_str()) == 0) {
      }
    }));
  }
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(started.wait());
  }
  ASSERT_EQ(kill(mount.pid(), SIGTERM), 0);
  EXPECT_EQ(mount.wait_for_exit(), 0);
  for (const auto& client : clients) {
    client->kill();  // they may work on in what is now below the mount point
  }
}

}  // namespace
}  // namespace passthroughfs::test
