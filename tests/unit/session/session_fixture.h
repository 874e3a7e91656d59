// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>

#include "session/session.h"
#include "support/fake_kernel.h"
#include "support/temp_tree.h"

namespace passthroughfs::test {

// A whole session over a real source, with the kernel's end in the test's hands.
class SessionFixture : public ::testing::Test {
 protected:
  void start(const MountConfig& wanted = {}, std::uint64_t offered = ~0ULL) {
    MountConfig config = wanted;
    config.source = tree_.path();
    std::string message;
    auto session = Session::create(config, message);
    ASSERT_TRUE(session) << message;
    session_ = std::move(session).value();
    Result<void> started = Err(EIO);
    std::thread starter([&] { started = session_->start(kernel_.take_device(), message); });
    settled_ = kernel_.init(offered);
    starter.join();
    ASSERT_TRUE(started) << message;
  }

  // Destroying the session before the kernel's end, or after it, must both work.
  void TearDown() override {
    kernel_.unmount();
    if (session_) {
      EXPECT_TRUE(session_->wait());
    }
  }

  void write_file(const std::string& name, const std::string& content) {
    std::ofstream(tree_ / name) << content;
  }
  std::uint64_t look_up(const std::string& name, std::uint64_t parent = wire::kRootNodeId) {
    const Answer answer = kernel_.call(requests::lookup(parent, name));
    EXPECT_EQ(answer.error, 0) << name;
    return answer.as<wire::EntryOut>().nodeid;
  }
  std::uint64_t open(std::uint64_t node, std::uint32_t flags) {
    const Answer answer = kernel_.call(requests::open(node, flags));
    EXPECT_EQ(answer.error, 0);
    return answer.as<wire::OpenOut>().fh;
  }

  TempTree tree_{TempTree::Medium::kMemory};
  FakeKernel kernel_;
  std::unique_ptr<Session> session_;
  wire::InitOut settled_{};
};

}  // namespace passthroughfs::test
