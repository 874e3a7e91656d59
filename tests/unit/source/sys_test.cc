// SPDX-License-Identifier: Apache-2.0
#include "source/sys.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <set>
#include <string>

#include "support/run_as.h"
#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

class SysTest : public ::testing::Test {
 protected:
  SysTest() {
    UniqueFd(::open((tree_ / "file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0640)).reset();
    EXPECT_EQ(::mkdir((tree_ / "directory").c_str(), 0700), 0);
    EXPECT_EQ(::symlink("file", (tree_ / "link").c_str()), 0);
    EXPECT_EQ(::mkfifo((tree_ / "fifo").c_str(), 0600), 0);
  }
  // As the tables hold it.
  [[nodiscard]] UniqueFd path_fd(const std::string& name) const {
    return UniqueFd(::open((tree_ / name).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  }

  test::TempTree tree_;
};

std::string get(BorrowedFd fd, const char* name) {
  std::array<std::byte, 64> value{};
  auto size = sys::get_xattr(fd, name, value);
  return size ? std::string(text_of(ByteSpan(value).first(*size))) : size.error().to_string();
}

std::set<std::string> list(BorrowedFd fd) {
  std::array<std::byte, 1024> names{};
  auto size = sys::list_xattr(fd, names);
  EXPECT_TRUE(size.has_value());
  std::set<std::string> out;
  const std::string_view all = text_of(ByteSpan(names).first(size ? *size : 0));
  for (std::size_t at = 0; at < all.size(); at += std::strlen(all.data() + at) + 1) {
    out.insert(all.data() + at);
  }
  return out;
}

TEST_F(SysTest, StatIsOfTheObjectItself) {
  EXPECT_TRUE(S_ISLNK(sys::stat_at(path_fd("link").borrow())->stx_mode));
  EXPECT_TRUE(S_ISREG(sys::stat_at(path_fd("file").borrow())->stx_mode));
  const UniqueFd root = path_fd(".");
  EXPECT_TRUE(S_ISLNK(sys::stat_at(root.borrow(), "link")->stx_mode));
  EXPECT_TRUE(S_ISFIFO(sys::stat_at(root.borrow(), "fifo")->stx_mode));
  auto missing = sys::stat_at(root.borrow(), "missing");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error(), ENOENT);
}

TEST_F(SysTest, ChangesTheModeThroughAPathDescriptor) {
  for (const char* name : {"file", "directory", "fifo"}) {
    const UniqueFd fd = path_fd(name);
    ASSERT_TRUE(sys::chmod_fd(fd.borrow(), 0751).has_value()) << name;
    EXPECT_EQ(sys::stat_at(fd.borrow())->stx_mode & 07777, 0751) << name;
  }
}

TEST_F(SysTest, ASymbolicLinkHasNoModeToChangeAndItsTargetKeepsIts) {
  auto changed = sys::chmod_fd(path_fd("link").borrow(), 0777);
  ASSERT_FALSE(changed.has_value());
  EXPECT_EQ(changed.error(), EOPNOTSUPP);
  EXPECT_EQ(sys::stat_at(path_fd("file").borrow())->stx_mode & 07777, 0640);
}

// The tables hold O_PATH descriptors, which not every xattr call accepts.
TEST_F(SysTest, ExtendedAttributesWorkThroughAPathDescriptor) {
  for (const char* name : {"file", "directory"}) {
    const UniqueFd fd = path_fd(name);
    auto set = sys::set_xattr(fd.borrow(), "user.colour", bytes_of(std::string_view("blue")), 0);
    if (!set && set.error() == EOPNOTSUPP) GTEST_SKIP() << "no user.* attributes here";
    ASSERT_TRUE(set.has_value()) << name << ": " << set.error().to_string();
    EXPECT_EQ(get(fd.borrow(), "user.colour"), "blue");
    EXPECT_EQ(list(fd.borrow()).count("user.colour"), 1U);
    ASSERT_TRUE(sys::remove_xattr(fd.borrow(), "user.colour").has_value());
    auto gone = sys::get_xattr(fd.borrow(), "user.colour", {});
    ASSERT_FALSE(gone.has_value());
    EXPECT_EQ(gone.error(), ENODATA);
  }
}

TEST_F(SysTest, ExtendedAttributeErrorsComeThrough) {
  const UniqueFd fd = path_fd("file");
  auto set = sys::set_xattr(fd.borrow(), "user.a", bytes_of(std::string_view("1234")), 0);
  if (!set && set.error() == EOPNOTSUPP) GTEST_SKIP() << "no user.* attributes here";
  ASSERT_TRUE(set.has_value());
  EXPECT_EQ(sys::set_xattr(fd.borrow(), "user.a", {}, XATTR_CREATE).error(), EEXIST);
  EXPECT_EQ(sys::set_xattr(fd.borrow(), "user.b", {}, XATTR_REPLACE).error(), ENODATA);
  EXPECT_EQ(sys::remove_xattr(fd.borrow(), "user.b").error(), ENODATA);
  std::array<std::byte, 2> small{};
  EXPECT_EQ(sys::get_xattr(fd.borrow(), "user.a", small).error(), ERANGE);
  EXPECT_EQ(sys::list_xattr(fd.borrow(), small).error(), ERANGE);
  EXPECT_EQ(*sys::get_xattr(fd.borrow(), "user.a", {}), 4U) << "the size alone";
  EXPECT_EQ(sys::set_xattr(fd.borrow(), "nonsense", {}, 0).error(), EOPNOTSUPP);
}

// By the name in a directory, of the object itself.
void expect_attributes_by_name(const UniqueFd& root) {
  std::array<std::byte, 64> out{};
  auto size = sys::get_xattr_at(root.borrow(), "file", "user.colour", out);
  ASSERT_TRUE(size.has_value()) << size.error().to_string();
  EXPECT_EQ(text_of(ByteSpan(out).first(*size)), "blue");
  EXPECT_EQ(*sys::get_xattr_at(root.borrow(), "file", "user.colour", {}), 4U);
  size = sys::list_xattr_at(root.borrow(), "file", out);
  ASSERT_TRUE(size.has_value()) << size.error().to_string();
  EXPECT_NE(text_of(ByteSpan(out).first(*size)).find("user.colour"), std::string_view::npos);
  std::array<std::byte, 2> small{};
  EXPECT_EQ(sys::list_xattr_at(root.borrow(), "file", small).error(), ERANGE);
  EXPECT_EQ(sys::get_xattr_at(root.borrow(), "file", "user.other", out).error(), ENODATA);
  EXPECT_EQ(sys::get_xattr_at(root.borrow(), "missing", "user.colour", out).error(), ENOENT);
  EXPECT_FALSE(sys::get_xattr_at(root.borrow(), "link", "user.colour", out).has_value());
}

TEST_F(SysTest, ExtendedAttributesAreFoundByName) {
  auto set = sys::set_xattr(path_fd("file").borrow(), "user.colour",
                            bytes_of(std::string_view("blue")), 0);
  if (!set && set.error() == EOPNOTSUPP) GTEST_SKIP() << "no user.* attributes here";
  ASSERT_TRUE(set.has_value());
  const UniqueFd root = path_fd(".");
  expect_attributes_by_name(root);
  // On a kernel that does not have the calls.
  test::in_child([&] {
    std::array filter{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 464, 1, 0),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 465, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
    expect_attributes_by_name(root);
  });
}

TEST_F(SysTest, AFifoHasNoUserAttributes) {
  auto set = sys::set_xattr(path_fd("fifo").borrow(), "user.a", {}, 0);
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error(), EPERM);
}

// trusted.* is what a symbolic link can have, and root can set.
TEST_F(SysTest, ASymbolicLinksOwnAttributesAreMeant) {
  const UniqueFd link = path_fd("link");
  EXPECT_EQ(sys::set_xattr(link.borrow(), "user.a", {}, 0).error(), EPERM);
  auto set = sys::set_xattr(link.borrow(), "trusted.a", bytes_of(std::string_view("own")), 0);
  if (!set) GTEST_SKIP() << "trusted.* attributes: " << set.error().to_string();
  EXPECT_EQ(get(link.borrow(), "trusted.a"), "own");
  std::array<char, 8> value{};
  EXPECT_EQ(::lgetxattr((tree_ / "link").c_str(), "trusted.a", value.data(), value.size()), 3);
  EXPECT_LT(::getxattr((tree_ / "file").c_str(), "trusted.a", value.data(), value.size()), 0);
  EXPECT_TRUE(sys::remove_xattr(link.borrow(), "trusted.a").has_value());
}

TEST_F(SysTest, NamesADescriptorInProc) {
  EXPECT_STREQ(sys::ProcFdPath(BorrowedFd(0)).c_str(), "/proc/self/fd/0");
  EXPECT_STREQ(sys::ProcFdPath(BorrowedFd(2147483647)).c_str(), "/proc/self/fd/2147483647");
}

TEST_F(SysTest, ReadsADirectoryToItsEnd) {
  const UniqueFd fd(::open(tree_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::set<std::string> names;
  alignas(8) std::array<std::byte, 128> buffer{};
  for (;;) {
    auto size = sys::read_directory(fd.borrow(), buffer);
    ASSERT_TRUE(size.has_value());
    if (*size == 0) break;
    for (std::size_t at = 0; at < *size;) {
      const auto* entry = reinterpret_cast<const sys::RawDirent*>(buffer.data() + at);
      EXPECT_TRUE(names.insert(entry->name).second) << entry->name;
      at += entry->reclen;
    }
  }
  EXPECT_EQ(names, (std::set<std::string>{".", "..", "file", "directory", "link", "fifo"}));
}

TEST_F(SysTest, ABufferTooSmallForAnEntryIsAnError) {
  const UniqueFd fd(::open(tree_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::array<std::byte, 8> buffer{};
  auto size = sys::read_directory(fd.borrow(), buffer);
  ASSERT_FALSE(size.has_value());
  EXPECT_EQ(size.error(), EINVAL);
}

}  // namespace
}  // namespace passthroughfs
