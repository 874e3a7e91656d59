// SPDX-License-Identifier: Apache-2.0
#include "embed/preflight.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "support/temp_tree.h"

namespace passthroughfs {
namespace {

class PreflightTest : public ::testing::Test {
 protected:
  Outcome<void> check(const std::string& source, const std::string& mountpoint) {
    config_.source = source;
    config_.mountpoint = mountpoint;
    auto checked = preflight(config_);
    // A machine without FUSE passes every check but the last.
    if (!checked && checked.error().code == ENODEV) return {};
    return checked;
  }
  int error(const std::string& source, const std::string& mountpoint) {
    const auto checked = check(source, mountpoint);
    return checked ? 0 : checked.error().code;
  }
  void make_file(const std::string& path) {
    ASSERT_GE(close(open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600)), 0);
  }

  test::TempTree tree_;
  MountConfig config_;
  const std::string source_ = tree_.make_dir("source");
  const std::string mountpoint_ = tree_.make_dir("mount");
};

TEST_F(PreflightTest, ResolvesBothPaths) {
  ASSERT_EQ(symlink("source", (tree_ / "link").c_str()), 0);
  const auto checked = check(tree_ / "link/.", tree_ / "source/../mount/");
  ASSERT_TRUE(checked) << checked.error().message;
  EXPECT_EQ(config_.source, source_);
  EXPECT_EQ(config_.mountpoint, mountpoint_);
}

TEST_F(PreflightTest, RefusesWhatIsMissing) {
  EXPECT_EQ(error(tree_ / "none", mountpoint_), ENOENT);
  EXPECT_EQ(error(source_, tree_ / "none"), ENOENT);
}

TEST_F(PreflightTest, RefusesWhatIsNoDirectory) {
  make_file(tree_ / "file");
  EXPECT_EQ(error(tree_ / "file", mountpoint_), ENOTDIR);
  EXPECT_EQ(error(source_, tree_ / "file"), ENOTDIR);
}

TEST_F(PreflightTest, RefusesAMountPointInsideTheSource) {
  tree_.make_dir("source/a");
  tree_.make_dir("source/a/b");
  EXPECT_EQ(error(source_, source_ + "/a"), EINVAL);
  EXPECT_EQ(error(source_, source_ + "/a/b"), EINVAL);
  const auto checked = check(source_, source_ + "/a/b");
  EXPECT_EQ(checked.error().message,
            "mount point '" + source_ + "/a/b' is inside the source '" + source_ + "'");
}

TEST_F(PreflightTest, SeesThroughALinkIntoTheSource) {
  tree_.make_dir("source/a");
  ASSERT_EQ(symlink("source/a", (tree_ / "link").c_str()), 0);
  EXPECT_EQ(error(source_, tree_ / "link"), EINVAL);
}

TEST_F(PreflightTest, AllowsTheSourceItselfAndADirectoryAboveIt) {
  tree_.make_dir("source/a");
  EXPECT_EQ(error(source_, source_), 0);
  EXPECT_EQ(error(source_ + "/a", source_), 0);
}

TEST_F(PreflightTest, ANameThatBeginsLikeTheSourceIsNotInsideIt) {
  EXPECT_EQ(error(source_, tree_.make_dir("source2")), 0);
}

TEST_F(PreflightTest, RefusesBothAllowOptions) {
  config_.allow_other = config_.allow_root = true;
  EXPECT_EQ(error(source_, mountpoint_), EINVAL);
}

}  // namespace
}  // namespace passthroughfs
