// SPDX-License-Identifier: Apache-2.0
#include "proto/socket_path.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdlib>

namespace passthroughfs {
namespace {

bool contains(const std::vector<std::string>& list, const std::string& path) {
  return std::find(list.begin(), list.end(), path) != list.end();
}

TEST(SocketPath, IsNamedByTheDeviceNumber) {
  EXPECT_EQ(socket_name(makedev(0, 53)), "0:53.sock");
  EXPECT_EQ(socket_name(makedev(259, 1048575)), "259:1048575.sock");
}

TEST(SocketPath, RootsSocketsDoNotDependOnTheEnvironment) {
  ASSERT_EQ(setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1), 0);
  EXPECT_EQ(socket_directories(0).front(), "/run/passthroughfs");
  ASSERT_EQ(unsetenv("XDG_RUNTIME_DIR"), 0);
  EXPECT_EQ(socket_directories(0).front(), "/run/passthroughfs");
}

TEST(SocketPath, AUsersSocketsAreInTheSessionsDirectory) {
  ASSERT_EQ(setenv("XDG_RUNTIME_DIR", "/some/where", 1), 0);
  EXPECT_EQ(socket_directories(1000).front(), "/some/where/passthroughfs");
}

TEST(SocketPath, AreFoundByRootWithoutTheUsersEnvironment) {
  ASSERT_EQ(unsetenv("XDG_RUNTIME_DIR"), 0);
  EXPECT_TRUE(contains(socket_directories(1000), "/run/user/1000/passthroughfs"));
}

TEST(SocketPath, ARelativeSessionDirectoryIsIgnored) {
  ASSERT_EQ(setenv("XDG_RUNTIME_DIR", "tmp", 1), 0);
  EXPECT_FALSE(contains(socket_directories(1000), "tmp/passthroughfs"));
}

}  // namespace
}  // namespace passthroughfs
