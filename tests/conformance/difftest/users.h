// SPDX-License-Identifier: Apache-2.0
//
// Who the agents are. Numbers that no account of the machine has.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>

namespace passthroughfs::difftest {

inline constexpr gid_t kSharedGroup = 50010;  // both unprivileged users are in it

struct User {
  uid_t uid;
  gid_t gid;
  std::array<gid_t, 2> groups;  // supplementary
};

// Agent n is kUsers[n]. Agents 1 and 3 are the same user in two processes.
inline constexpr std::array<User, 4> kUsers{{
    {0, 0, {0, 0}},
    {50001, 50001, {kSharedGroup, 50011}},
    {50002, 50002, {kSharedGroup, 50012}},
    {50001, 50001, {kSharedGroup, 50011}},
}};

}  // namespace passthroughfs::difftest
