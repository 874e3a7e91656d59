// SPDX-License-Identifier: Apache-2.0
#include "ops/op_table.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

using wire::Opcode;

// A request that the protocol has and the table has not would be answered ENOSYS without anybody
// having decided so, and its changes would be recorded nowhere.
TEST(OpTable, HasARowForEveryOpcode) {
  for (std::uint32_t number = 0; number < wire::kOpcodeCount; ++number) {
    const bool known = wire::opcode_name(static_cast<Opcode>(number)) != "UNKNOWN";
    EXPECT_EQ(find_operation(number) != nullptr, known) << number;
  }
  EXPECT_EQ(find_operation(wire::kOpcodeCount), nullptr);
  EXPECT_EQ(find_operation(~0U), nullptr);
}

TEST(OpTable, RowsStandAtTheirOpcode) {
  for (std::uint32_t number = 0; number < wire::kOpcodeCount; ++number) {
    const Operation* operation = find_operation(number);
    if (operation == nullptr) continue;
    EXPECT_EQ(static_cast<std::uint32_t>(operation->opcode), number);
  }
}

TEST(OpTable, DeclinesOnlyWhatTheKernelThenDoesItself) {
  for (std::uint32_t number = 0; number < wire::kOpcodeCount; ++number) {
    const Operation* operation = find_operation(number);
    if (operation == nullptr || !operation->declined) continue;
    const Opcode opcode = operation->opcode;
    EXPECT_TRUE(opcode == Opcode::poll || opcode == Opcode::bmap ||
                opcode == Opcode::notify_reply || opcode == Opcode::setupmapping ||
                opcode == Opcode::removemapping)
        << wire::opcode_name(opcode);
  }
}

TEST(OpTable, EveryChangingOperationSaysWhatItChanges) {
  for (const Opcode opcode :
       {Opcode::setattr, Opcode::symlink, Opcode::mknod, Opcode::mkdir, Opcode::unlink,
        Opcode::rmdir, Opcode::rename, Opcode::rename2, Opcode::link, Opcode::open, Opcode::write,
        Opcode::setxattr, Opcode::removexattr, Opcode::create, Opcode::ioctl, Opcode::fallocate,
        Opcode::copy_file_range, Opcode::copy_file_range_64, Opcode::tmpfile}) {
    EXPECT_NE(find_operation(static_cast<std::uint32_t>(opcode))->effect, Effect::none)
        << wire::opcode_name(opcode);
  }
}

}  // namespace
}  // namespace passthroughfs
