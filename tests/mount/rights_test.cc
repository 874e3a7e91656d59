// SPDX-License-Identifier: Apache-2.0
//
// Nobody gets rights through the mount that the source would not give, or loses any; what is made
// belongs to its maker. As several users, with allow_other.
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class RightsTest : public MountTest {
 protected:
  void SetUp() override {
    PFS_NEEDS_ROOT();
    MountTest::SetUp();
  }
};

constexpr gid_t kTeam = 50010;
const Identity kMember{kBob.uid, kBob.gid, {50098, kTeam, 50099}};

// One of everything that can be made.
void make_everything(Trace& t, const std::string& d) {
  t.num("create", try_open(d + "/file", O_WRONLY | O_CREAT | O_EXCL, 0666));
  t.num("mkdir", mkdir((d + "/dir").c_str(), 0777));
  t.num("mkdir setgid", mkdir((d + "/sdir").c_str(), 03777));
  t.num("symlink", symlink("file", (d + "/symlink").c_str()));
  t.num("fifo", mkfifo((d + "/fifo").c_str(), 0666));
  t.num("socket", mknod((d + "/socket").c_str(), S_IFSOCK | 0666, 0));
  t.num("regular", mknod((d + "/regular").c_str(), S_IFREG | 0666, 0));
  t.num("device", mknod((d + "/device").c_str(), S_IFCHR | 0666, makedev(1, 3)));
  t.num("suid create", try_open(d + "/suid", O_WRONLY | O_CREAT | O_EXCL, 06775));
  {
    const UniqueFd fd(t.ok("tmpfile", open(d.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 02775)));
    t.num("link it", linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd.get())).c_str(),
                            AT_FDCWD, (d + "/tmpfile").c_str(), AT_SYMLINK_FOLLOW));
  }
  t.num("link", link((d + "/file").c_str(), (d + "/link").c_str()));
}

void describe_everything(Trace& t, const std::string& d) {
  for (const char* name : {"file", "dir", "sdir", "symlink", "fifo", "socket", "regular", "device",
                           "suid", "tmpfile", "link"}) {
    t.stat(name, d + "/" + name);
  }
}

TEST_F(RightsTest, WhatIsMadeBelongsToItsMaker) {
  const Trace native = same([](Trace& trace, const std::string& dir) {
    int n = 0;
    for (const mode_t mode : {0777U, 02777U, 01777U, 03777U, 0755U}) {
      for (const Identity& who : {kAlice, kMember, kRoot}) {
        for (const mode_t mask : {022U, 0U, 077U}) {
          const std::string d = dir + "/" + std::to_string(n++);
          make_dir(d);
          ASSERT_EQ(chown(d.c_str(), 0, kTeam), 0);
          ASSERT_EQ(chmod(d.c_str(), mode), 0);
          run_as(who, trace, [&](Trace& t) {
            umask(mask);
            make_everything(t, d);
          });
          describe_everything(trace, d);
        }
      }
    }
  });
  EXPECT_EQ(native.count("create", "EACCES"), 6);
}

TEST_F(RightsTest, OwnersInTheSourceAreTheMakersToo) {
  make_dir(source("d"), 0777);
  run_as(kAlice, [&] { write_file(mnt("d/f"), "x"); });
  struct stat st {};
  ASSERT_EQ(stat(source("d/f").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kAlice.uid);
  EXPECT_EQ(st.st_gid, kAlice.gid);
}

TEST_F(RightsTest, SupplementaryGroupsOpenGroupDirectories) {
  const Trace native = same([](Trace& trace, const std::string& dir) {
    const std::string d = dir + "/team";
    make_dir(d);
    ASSERT_EQ(chown(d.c_str(), 0, kTeam), 0);
    ASSERT_EQ(chmod(d.c_str(), 02770), 0);
    write_file(d + "/shared", "content");
    ASSERT_EQ(chown((d + "/shared").c_str(), kAlice.uid, kTeam), 0);
    ASSERT_EQ(chmod((d + "/shared").c_str(), 0660), 0);
    run_as(kMember, trace, [&](Trace& t) {
      make_everything(t, d);
      t.num("chmod own", chmod((d + "/file").c_str(), 02770));
      t.num("chmod own dir", chmod((d + "/dir").c_str(), 02770));
      t.num("chown to the group", chown((d + "/regular").c_str(), static_cast<uid_t>(-1), kTeam));
      t.num("write shared", try_open(d + "/shared", O_RDWR | O_TRUNC));
      t.num("truncate shared", truncate((d + "/shared").c_str(), 3));
      t.num("chmod shared", chmod((d + "/shared").c_str(), 0666));
      t.num("utimes now", utimensat(AT_FDCWD, (d + "/shared").c_str(), nullptr, 0));
      t.num("rename", rename((d + "/fifo").c_str(), (d + "/fifo2").c_str()));
      t.num("unlink other's", unlink((d + "/socket").c_str()));
    });
    describe_everything(trace, d);
    run_as(kAlice, trace, [&](Trace& t) {
      t.num("outsider", try_open(d + "/shared", O_RDONLY));
      t.num("outsider creates", try_open(d + "/x", O_WRONLY | O_CREAT));
    });
  });
  EXPECT_EQ(native.count("create", "0"), 1);
  EXPECT_EQ(native.count("outsider", "EACCES"), 1);
}

TEST_F(RightsTest, ManySupplementaryGroups) {
  // More than fit in any fixed small array; the last one counts.
  Identity who = kBob;
  for (gid_t i = 0; i < 1000; ++i) {
    who.groups.push_back(60000 + i);
  }
  who.groups.push_back(kTeam);
  same([&](Trace& trace, const std::string& dir) {
    const std::string d = dir + "/team";
    make_dir(d);
    ASSERT_EQ(chown(d.c_str(), 0, kTeam), 0);
    ASSERT_EQ(chmod(d.c_str(), 0770), 0);
    run_as(who, trace, [&](Trace& t) { make_everything(t, d); });
    describe_everything(trace, d);
  });
}

TEST_F(RightsTest, PermissionsAreCheckedForEveryModeAndUser) {
  const Trace native = same([](Trace& trace, const std::string& dir) {
    for (const mode_t mode :
         {0U, 0400U, 0040U, 0004U, 0200U, 0020U, 0002U, 0100U, 0111U, 0700U, 0770U, 0077U, 0666U}) {
      const std::string file = dir + "/f" + std::to_string(mode);
      const std::string d = dir + "/d" + std::to_string(mode);
      write_file(file, "content");
      make_dir(d);
      write_file(d + "/inside", "inside");
      ASSERT_EQ(chmod((d + "/inside").c_str(), 0666), 0);
      for (const std::string& path : {file, d}) {
        ASSERT_EQ(chown(path.c_str(), kAlice.uid, kTeam), 0);
        ASSERT_EQ(chmod(path.c_str(), mode), 0);
      }
      for (const Identity& who : {kAlice, kMember, kBob, kRoot}) {
        run_as(who, trace, [&](Trace& t) {
          t.num("read", try_open(file, O_RDONLY));
          t.num("write", try_open(file, O_WRONLY));
          t.num("both", try_open(file, O_RDWR));
          t.num("append", try_open(file, O_WRONLY | O_APPEND));
          t.num("noatime", try_open(file, O_RDONLY | O_NOATIME));
          t.num("list", try_open(d, O_RDONLY | O_DIRECTORY));
          t.num("look", access((d + "/inside").c_str(), F_OK));
          t.num("open inside", try_open(d + "/inside", O_RDWR));
          t.num("create inside", try_open(d + "/new", O_WRONLY | O_CREAT));
          t.num("mkdir inside", mkdir((d + "/dir").c_str(), 0755));
          t.num("rename inside", rename((d + "/new").c_str(), (d + "/new2").c_str()));
          t.num("unlink inside", unlink((d + "/new2").c_str()));
          t.num("rmdir inside", rmdir((d + "/dir").c_str()));
          t.num("chdir", chdir(d.c_str()));
          t.num("truncate", truncate(file.c_str(), 7));
          t.num("execute", access(file.c_str(), X_OK));
        });
      }
    }
  });
  EXPECT_GT(native.count("read", "EACCES"), 10);
}

TEST_F(RightsTest, WhoMayPassThroughTheTree) {
  same([](Trace& trace, const std::string& dir) {
    make_dir(dir + "/closed", 0700);
    make_dir(dir + "/closed/open", 0777);
    write_file(dir + "/closed/open/f", "x");
    ASSERT_EQ(chmod((dir + "/closed/open/f").c_str(), 0666), 0);
    // Root fills the kernel's caches; alice must not profit.
    trace.content("root", dir + "/closed/open/f");
    run_as(kAlice, trace, [&](Trace& t) {
      t.content("alice", dir + "/closed/open/f");
      t.num("list", try_open(dir + "/closed/open", O_RDONLY | O_DIRECTORY));
      t.num("link", link((dir + "/closed/open/f").c_str(), (dir + "/g").c_str()));
    });
  });
}

TEST_F(RightsTest, StickyDirectoriesProtectOthersFiles) {
  same([](Trace& trace, const std::string& dir) {
    const std::string d = dir + "/sticky";
    make_dir(d, 01777);
    run_as(kAlice, trace, [&](Trace& t) {
      write_file(d + "/alice", "x");
      t.num("mkdir", mkdir((d + "/alicedir").c_str(), 0777));
    });
    run_as(kBob, trace, [&](Trace& t) {
      write_file(d + "/bob", "x");
      t.num("unlink", unlink((d + "/alice").c_str()));
      t.num("rmdir", rmdir((d + "/alicedir").c_str()));
      t.num("rename", rename((d + "/alice").c_str(), (d + "/x").c_str()));
      t.num("rename over", rename((d + "/bob").c_str(), (d + "/alice").c_str()));
      t.num("own", unlink((d + "/bob").c_str()));
    });
    run_as(kRoot, trace, [&](Trace& t) { t.num("root", unlink((d + "/alice").c_str())); });
  });
}

TEST_F(RightsTest, ExecuteOnlyProgramRuns) {
  const std::string program = read_file("/bin/true");
  for (const char* where : {"", "sub/"}) {
    (void)mkdir(mnt("sub").c_str(), 0755);
    const std::string path = mnt(std::string(where) + "true");
    write_file(path, program);
    ASSERT_EQ(chmod(path.c_str(), 0111), 0);
    run_as(kAlice, [&] {
      EXPECT_LT(open(path.c_str(), O_RDONLY | O_CLOEXEC), 0);
      EXPECT_EQ(run_program({path}).exit_code, 0);
    });
    ASSERT_EQ(chmod(path.c_str(), 0444), 0);
    run_as(kAlice, [&] { EXPECT_EQ(run_program({path}).exit_code, 127); });
  }
}

TEST_F(RightsTest, WritingARunningProgramIsTextBusy) {
  write_file(mnt("sleep"), read_file("/bin/sleep"));
  ASSERT_EQ(chmod(mnt("sleep").c_str(), 0755), 0);
  Child runs([&] { exec_program({mnt("sleep"), "100"}, {}); });
  const std::string exe = "/proc/" + std::to_string(runs.pid()) + "/exe";
  ASSERT_TRUE(wait_until([&] {
    std::string target(1000, '\0');
    const ssize_t n = readlink(exe.c_str(), target.data(), target.size());
    return n > 0 && target.compare(0, static_cast<std::size_t>(n), mnt("sleep")) == 0;
  }));
  EXPECT_LT(open(mnt("sleep").c_str(), O_WRONLY | O_CLOEXEC), 0);
  EXPECT_EQ(errno, ETXTBSY);
  runs.kill();
}

TEST_F(RightsTest, SetuidProgramWorks) {
  // A mount by root without nosuid runs them as their owner, as the source does.
  const std::string id = "/usr/bin/id";
  write_file(mnt("id"), read_file(id));
  ASSERT_EQ(chown(mnt("id").c_str(), kBob.uid, kTeam), 0);
  ASSERT_EQ(chmod(mnt("id").c_str(), 06755), 0);
  run_as(kAlice, [&] {
    EXPECT_EQ(run_program({mnt("id"), "-u"}).out, std::to_string(kBob.uid) + "\n");
    EXPECT_EQ(run_program({mnt("id"), "-g"}).out, std::to_string(kTeam) + "\n");
    EXPECT_EQ(run_program({mnt("id"), "-ru"}).out, std::to_string(kAlice.uid) + "\n");
  });
}

TEST_F(RightsTest, ProtectedSymlinksAndHardlinksAreTheKernels) {
  same([](Trace& trace, const std::string& dir) {
    write_file(dir + "/secret", "x", 0600);
    run_as(kAlice, trace, [&](Trace& t) {
      t.num("hard link to a file of another",
            link((dir + "/secret").c_str(), (dir + "/mine").c_str()));
    });
    make_dir(dir + "/open", 0777);
    run_as(kAlice, trace, [&](Trace& t) {
      t.num("link", link((dir + "/secret").c_str(), (dir + "/open/mine").c_str()));
    });
    (void)unlink((dir + "/open/mine").c_str());
  });
}

TEST_F(RightsTest, UserNamespaceOwner) {
  make_dir(source("d"), 0777);
  // Somebody who is root in a user namespace of his own owns what he makes there by his real id.
  run_as(kAlice, [&] {
    if (unshare(CLONE_NEWUSER) != 0) {
      return;  // not allowed on this machine
    }
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", "0 " + std::to_string(kAlice.uid) + " 1");
    write_file("/proc/self/gid_map", "0 " + std::to_string(kAlice.gid) + " 1");
    ASSERT_EQ(getuid(), 0U);
    write_file(mnt("d/f"), "x");
    struct stat st {};
    ASSERT_EQ(stat(mnt("d/f").c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 0U);
    EXPECT_LT(open(mnt("root").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644), 0);
  });
  struct stat st {};
  if (stat(source("d/f").c_str(), &st) != 0) {
    GTEST_SKIP() << "no user namespaces for ordinary users here";
  }
  EXPECT_EQ(st.st_uid, kAlice.uid);
  EXPECT_EQ(st.st_gid, kAlice.gid);
}

TEST_F(RightsTest, CapabilitiesOfTheCallerCountNotOnlyItsUser) {
  // Root without capabilities is nobody special, natively or here.
  same([](Trace& trace, const std::string& dir) {
    write_file(dir + "/f", "x");
    ASSERT_EQ(chown((dir + "/f").c_str(), kAlice.uid, kAlice.gid), 0);
    ASSERT_EQ(chmod((dir + "/f").c_str(), 0600), 0);
    make_dir(dir + "/d", 0700);
    ASSERT_EQ(chown((dir + "/d").c_str(), kAlice.uid, kAlice.gid), 0);
    run_as(kRoot, trace, [&](Trace& t) {
      ASSERT_EQ(run_program({"setpriv", "--version"}).exit_code, 0);
      for (const std::string& command : {"cat " + dir + "/f", "echo y > " + dir + "/f",
                                         "touch " + dir + "/d/x", "chmod 666 " + dir + "/f"}) {
        const ProgramResult result = run_program(
            {"setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "sh", "-c", command});
        t.num("exit code", result.exit_code == 0 ? 0 : 1);
      }
    });
    trace.stat("f", dir + "/f");
  });
}

}  // namespace
}  // namespace passthroughfs::test
