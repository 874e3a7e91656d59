// SPDX-License-Identifier: Apache-2.0
//
// Extended attributes and POSIX ACLs.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/fd.h"
#include "mount/acl.h"
#include "support/mount_fixture.h"

namespace passthroughfs::test {
namespace {

class XattrTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    write_file(source("probe"), "");
    const bool supported = setxattr(source("probe").c_str(), "user.probe", "", 0, 0) == 0;
    ASSERT_EQ(unlink(source("probe").c_str()), 0);
    if (!supported) {
      GTEST_SKIP() << "the file system of the tests has no extended attributes";
    }
  }
};

class AclTest : public XattrTest {};

int set(const std::string& path, const std::string& name, const std::string& value, int flags = 0) {
  return lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags);
}

void get(Trace& t, const std::string& path, const std::string& name) {
  std::string value(70000, '\0');
  const ssize_t n = t.num(name, lgetxattr(path.c_str(), name.c_str(), value.data(), value.size()));
  if (n > 0) {
    value.resize(static_cast<std::size_t>(n));
    t.note("value", n < 100 ? value : std::to_string(std::hash<std::string>{}(value)));
  }
  t.num(name + " size", lgetxattr(path.c_str(), name.c_str(), nullptr, 0));
}

void list(Trace& t, const std::string& path) {
  std::string names(70000, '\0');
  const ssize_t n = t.num("list", llistxattr(path.c_str(), names.data(), names.size()));
  t.num("list size", llistxattr(path.c_str(), nullptr, 0));
  std::set<std::string> sorted;
  for (std::size_t at = 0; n > 0 && at < static_cast<std::size_t>(n);) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    sorted.insert(name);
  }
  for (const std::string& name : sorted) {
    t.note("name", name);
  }
}

// A file, a directory and a symlink.
void populate(const std::string& dir) {
  write_file(dir + "/file", "content");
  make_dir(dir + "/dir");
  ASSERT_EQ(symlink("file", (dir + "/link").c_str()), 0);
  ASSERT_EQ(mkfifo((dir + "/fifo").c_str(), 0666), 0);
}

TEST_F(XattrTest, SetGetListRemove) {
  const Trace native = same([](Trace& t, const std::string& dir) {
    populate(dir);
    for (const char* file : {"/file", "/dir", "/link", "/fifo"}) {
      const std::string path = dir + file;
      t.note("at", file);
      list(t, path);
      get(t, path, "user.none");
      for (const char* name : {"user.one", "user.two", "trusted.one", "security.one"}) {
        t.num(std::string("set ") + name, set(path, name, "value of " + std::string(name)));
        get(t, path, name);
      }
      list(t, path);
      t.num("replace", set(path, "user.one", "short"));
      get(t, path, "user.one");
      t.num("empty", set(path, "user.empty", ""));
      get(t, path, "user.empty");
      t.num("binary", set(path, "user.binary", std::string("a\0b\xff", 4)));
      get(t, path, "user.binary");
      t.num("remove", lremovexattr(path.c_str(), "user.one"));
      t.num("remove again", lremovexattr(path.c_str(), "user.one"));
      get(t, path, "user.one");
      t.num("remove trusted", lremovexattr(path.c_str(), "trusted.one"));
      list(t, path);
    }
    t.num("through the symlink", setxattr((dir + "/link").c_str(), "user.l", "x", 1, 0));
    get(t, dir + "/file", "user.l");
  });
  EXPECT_GE(native.count("set user.one", "0"), 2);
}

TEST_F(XattrTest, CreateAndReplaceFlags) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    const std::string path = dir + "/file";
    t.num("replace missing", set(path, "user.a", "1", XATTR_REPLACE));
    t.num("create", set(path, "user.a", "1", XATTR_CREATE));
    t.num("create again", set(path, "user.a", "2", XATTR_CREATE));
    get(t, path, "user.a");
    t.num("replace", set(path, "user.a", "3", XATTR_REPLACE));
    get(t, path, "user.a");
    t.num("both", set(path, "user.a", "4", XATTR_CREATE | XATTR_REPLACE));
    t.num("both missing", set(path, "user.b", "4", XATTR_CREATE | XATTR_REPLACE));
    t.num("unknown flag", set(path, "user.a", "4", 4));
    list(t, path);
  });
}

TEST_F(XattrTest, NamesThatAreNone) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    const std::string path = dir + "/file";
    for (const std::string& name :
         {std::string("user."), std::string(""), std::string("none"), std::string("nons.x"),
          std::string("system.x"), "user." + std::string(250, 'n'), "user." + std::string(251, 'n'),
          std::string("USER.x"), std::string("user.\xff\x01 ")}) {
      t.num("set", set(path, name, "x"));
      get(t, path, name);
      t.num("remove", lremovexattr(path.c_str(), name.c_str()));
    }
    list(t, path);
    t.num("missing file", set(dir + "/none", "user.a", "x"));
    get(t, dir + "/none", "user.a");
    t.num("list", listxattr((dir + "/none").c_str(), nullptr, 0));
  });
}

TEST_F(XattrTest, SizesAndShortBuffers) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    const std::string path = dir + "/file";
    for (const std::size_t size : {1U, 100U, 1000U, 4000U, 5000U, 65536U, 65537U}) {
      t.num("set", set(path, "user.big", std::string(size, 'x')));
      get(t, path, "user.big");
    }
    ASSERT_EQ(set(path, "user.ten", "0123456789"), 0);
    std::string buffer(20, '\0');
    for (const std::size_t size : {1U, 9U, 10U, 11U}) {
      t.num("get", getxattr(path.c_str(), "user.ten", buffer.data(), size));
      t.num("list", listxattr(path.c_str(), buffer.data(), size));
    }
  });
}

TEST_F(XattrTest, ThroughHandles) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    const UniqueFd fd(open((dir + "/file").c_str(), O_RDONLY | O_CLOEXEC));
    const UniqueFd path_fd(open((dir + "/file").c_str(), O_PATH | O_CLOEXEC));
    ASSERT_EQ(unlink((dir + "/file").c_str()), 0);
    char buffer[10] = {};
    t.num("set", fsetxattr(fd.get(), "user.a", "value", 5, 0));
    t.num("get", fgetxattr(fd.get(), "user.a", buffer, sizeof buffer));
    t.note("value", buffer);
    t.num("list", flistxattr(fd.get(), buffer, sizeof buffer));
    t.num("remove", fremovexattr(fd.get(), "user.a"));
    t.num("get", fgetxattr(fd.get(), "user.a", buffer, sizeof buffer));
    t.num("O_PATH", fsetxattr(path_fd.get(), "user.a", "value", 5, 0));
  });
}

TEST_F(XattrTest, OtherUsersAreRefusedAsNatively) {
  PFS_NEEDS_ROOT();
  same([](Trace& trace, const std::string& dir) {
    populate(dir);
    make_dir(dir + "/sticky", 01777);
    for (const char* file : {"/file", "/dir", "/link", "/fifo", "/sticky"}) {
      const std::string path = dir + file;
      ASSERT_EQ(lchown(path.c_str(), kAlice.uid, kAlice.gid), 0);
      (void)set(path, "user.root", "x");
      ASSERT_EQ(set(path, "trusted.root", "secret"), 0);
      ASSERT_EQ(set(path, "security.root", "x"), 0);
      for (const Identity& who : {kAlice, kBob}) {
        run_as(who, trace, [&](Trace& t) {
          t.note("at", file);
          list(t, path);
          for (const char* name : {"user.root", "trusted.root", "security.root", "user.new",
                                   "trusted.new", "security.new"}) {
            get(t, path, name);
            t.num(std::string("set ") + name, set(path, name, "mine"));
            t.num(std::string("remove ") + name, lremovexattr(path.c_str(), name));
          }
        });
      }
      list(trace, path);
    }
    ASSERT_EQ(chmod((dir + "/file").c_str(), 0200), 0);
    ASSERT_EQ(set(dir + "/file", "user.hidden", "x"), 0);
    run_as(kAlice, trace, [&](Trace& t) {
      get(t, dir + "/file", "user.hidden");
      t.num("write-only file", set(dir + "/file", "user.hidden", "y"));
    });
  });
}

TEST_F(XattrTest, ChangeTimeMoves) {
  write_file(mnt("f"), "");
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(stat(mnt("f").c_str(), &before), 0);
  next_timestamp();
  ASSERT_EQ(set(mnt("f"), "user.a", "1"), 0);
  ASSERT_EQ(stat(mnt("f").c_str(), &after), 0);
  EXPECT_TRUE(before.st_ctim.tv_sec != after.st_ctim.tv_sec ||
              before.st_ctim.tv_nsec != after.st_ctim.tv_nsec);
}

TEST_F(XattrTest, ChangesBehindTheMountAreSeen) {
  PFS_NEEDS_A_SHARED_SOURCE();
  write_file(mnt("f"), "");
  ASSERT_EQ(set(mnt("f"), "user.a", "1"), 0);
  ASSERT_EQ(set(source("f"), "user.a", "2"), 0);
  EXPECT_TRUE(wait_until([&] {
    char value = 0;
    return getxattr(mnt("f").c_str(), "user.a", &value, 1) == 1 && value == '2';
  }));
}

TEST_F(XattrTest, FileCapabilitiesAreKept) {
  PFS_NEEDS_ROOT();
  // VFS_CAP_REVISION_2 with cap_net_raw permitted and effective.
  const std::string capability(
      "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
      "\x00\x00\x00\x00",
      20);
  const Trace native = same([&](Trace& t, const std::string& dir) {
    populate(dir);
    t.num("set", set(dir + "/file", "security.capability", capability));
    get(t, dir + "/file", "security.capability");
    t.num("bad", set(dir + "/file", "security.capability", "nonsense"));
    run_as(kAlice, t, [&](Trace& inner) {
      inner.num("set", set(dir + "/file", "security.capability", capability));
      get(inner, dir + "/file", "security.capability");
    });
    list(t, dir + "/file");
    t.num("remove", lremovexattr((dir + "/file").c_str(), "security.capability"));
    get(t, dir + "/file", "security.capability");
  });
  EXPECT_EQ(native.count("set", "0"), 1);
}

TEST_F(AclTest, SetAndReadBack) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    for (const char* file : {"/file", "/dir"}) {
      const std::string path = dir + file;
      t.num("access", set_acl(path, "u::rwx,u:50001:rw-,g::r-x,m::rwx,o::r--"));
      t.stat("mode follows the mask", path);
      get(t, path, "system.posix_acl_access");
      t.num("default", set_acl(path, "u::rwx,g::r-x,o::---", true));
      get(t, path, "system.posix_acl_default");
      list(t, path);
      t.num("chmod", chmod(path.c_str(), 0640));
      get(t, path, "system.posix_acl_access");
      t.stat("stat", path);
      t.num("minimal", set_acl(path, "u::rw-,g::---,o::r--"));
      get(t, path, "system.posix_acl_access");
      t.stat("stat", path);
      t.num("no mask", set_acl(path, "u::rw-,u:50001:rw-,g::---,o::r--"));
      t.num("no owner", set_acl(path, "g::---,o::r--"));
      t.num("nonsense", set(path, "system.posix_acl_access", "nonsense"));
      t.num("named group", set_acl(path, "u::rw-,g::---,g:50002:rwx,m::r-x,o::---"));
      t.stat("stat", path);
      t.num("remove", removexattr(path.c_str(), "system.posix_acl_access"));
      t.num("remove default", removexattr(path.c_str(), "system.posix_acl_default"));
      t.stat("stat", path);
      list(t, path);
    }
  });
}

TEST_F(AclTest, NamedUsersAndGroupsAreHonoured) {
  PFS_NEEDS_ROOT();
  const Trace native = same([](Trace& trace, const std::string& dir) {
    populate(dir);
    auto tries = [&](const Identity& who, const std::string& name) {
      run_as(who, trace, [&](Trace& t) {
        t.num(name + " reads", try_open(dir + "/file", O_RDONLY));
        t.num(name + " writes", try_open(dir + "/file", O_WRONLY));
        t.num(name + " truncates", truncate((dir + "/file").c_str(), 3));
        t.num(name + " creates", try_open(dir + "/dir/" + name, O_WRONLY | O_CREAT | O_EXCL));
        t.num(name + " access", access((dir + "/file").c_str(), W_OK));
      });
    };
    auto all = [&] {
      tries(kAlice, "alice");
      tries(kBob, "bob");
      tries(Identity{50003, 50003, {50004}}, "carol");
      for (const char* name : {"alice", "bob", "carol"}) {
        (void)unlink((dir + "/dir/" + name).c_str());
      }
    };
    all();
    const char* acl = "u::rwx,u:50001:rwx,g::r-x,g:50004:rwx,m::rwx,o::---";
    trace.num("file", set_acl(dir + "/file", acl));
    trace.num("directory", set_acl(dir + "/dir", acl));
    all();
    trace.num("mask", chmod((dir + "/file").c_str(), 0640));
    all();
    trace.num("deny", set_acl(dir + "/file", "u::rwx,u:50001:---,g::r--,m::rwx,o::rw-"));
    all();
  });
  EXPECT_EQ(native.count("alice writes", "0"), 1);
}

TEST_F(AclTest, DefaultAclDecidesInsteadOfTheUmask) {
  PFS_NEEDS_ROOT();
  const Trace native = same([&](Trace& trace, const std::string& dir) {
    for (const bool with_acl : {true, false}) {
      for (const mode_t mask : {0U, 077U, 027U}) {
        const std::string d = dir + "/" + std::to_string(mask) + (with_acl ? "acl" : "plain");
        make_dir(d, 0777);
        if (with_acl) {
          trace.num("default", set_acl(d, "u::rwx,u:50002:rwx,g::rwx,m::rwx,o::r-x", true));
        }
        run_as(kAlice, trace, [&](Trace& t) {
          umask(mask);
          t.num("create", try_open(d + "/f", O_WRONLY | O_CREAT | O_EXCL, 0666));
          t.num("private", try_open(d + "/p", O_WRONLY | O_CREAT | O_EXCL, 0600));
          t.num("mkdir", mkdir((d + "/d").c_str(), 0777));
          t.num("mknod", mkfifo((d + "/fifo").c_str(), 0666));
          t.num("symlink", symlink("f", (d + "/s").c_str()));
          {
            const UniqueFd fd(open(d.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0666));
            t.num("tmpfile", linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd.get())).c_str(),
                                    AT_FDCWD, (d + "/t").c_str(), AT_SYMLINK_FOLLOW));
          }
        });
        for (const char* name : {"/f", "/p", "/d", "/fifo", "/s", "/t"}) {
          trace.stat(name, d + name);
          get(trace, d + name, "system.posix_acl_access");
          get(trace, d + name, "system.posix_acl_default");
        }
        run_as(kBob, trace, [&](Trace& t) {
          t.num("named user writes", try_open(d + "/f", O_WRONLY));
          t.num("named user creates", try_open(d + "/d/x", O_WRONLY | O_CREAT, 0644));
        });
      }
    }
  });
  EXPECT_EQ(native.count("named user writes", "0"), 4);
}

TEST_F(AclTest, OwnerOutsideTheGroupLosesSetgid) {
  PFS_NEEDS_ROOT();
  const Trace native = same([](Trace& trace, const std::string& dir) {
    for (const Identity& who : {kAlice, Identity{kAlice.uid, kAlice.gid, {kBob.gid}}, kRoot}) {
      (void)unlink((dir + "/f").c_str());
      write_file(dir + "/f", "");
      ASSERT_EQ(chown((dir + "/f").c_str(), kAlice.uid, kBob.gid), 0);
      for (const char* acl : {"u::rwx,u:50001:rw-,g::r-x,m::rwx,o::r--", "u::rwx,g::r-x,o::r-x"}) {
        ASSERT_EQ(chmod((dir + "/f").c_str(), 02775), 0);
        run_as(who, trace, [&](Trace& t) { t.num("setfacl", set_acl(dir + "/f", acl)); });
        trace.stat("stat", dir + "/f");
      }
      run_as(kBob, trace, [&](Trace& t) {
        t.num("not the owner", set_acl(dir + "/f", "u::rwx,g::r-x,o::r-x"));
        t.num("remove", removexattr((dir + "/f").c_str(), "system.posix_acl_access"));
      });
    }
  });
  EXPECT_EQ(native.count("setfacl", "0"), 6);
}

// A memory file system takes values that a disk block does not.
class MemoryXattrTest : public XattrTest {
 protected:
  MountSettings settings() const override { return {.medium = TempTree::Medium::kMemory}; }
};

TEST_F(MemoryXattrTest, LargestValueAndManyNames) {
  same([](Trace& t, const std::string& dir) {
    populate(dir);
    const std::string path = dir + "/file";
    t.num("largest", set(path, "user.big", std::string(65536, 'x')));
    get(t, path, "user.big");
    t.num("too large", set(path, "user.big", std::string(65537, 'x')));
    t.num("trusted", set(path, "trusted.big", std::string(65000, 'y')));
    get(t, path, "trusted.big");
    for (int i = 0; i < 100; ++i) {
      (void)set(path, "user.name" + std::to_string(i), "x");
    }
    list(t, path);
  });
}

}  // namespace
}  // namespace passthroughfs::test
