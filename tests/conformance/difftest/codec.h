// SPDX-License-Identifier: Apache-2.0
//
// Operations and results as bytes between the coordinator and its agents, which are forks of one
// program, so the form has no version and trusts its reader.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exec.h"
#include "op.h"

namespace passthroughfs::difftest {

void encode(std::span<const Op> ops, std::string& to);
std::vector<Op> decode_ops(std::string_view from);
void encode(const Result& result, std::string& to);
std::vector<Result> decode_results(std::string_view from);

// One length-prefixed message over a stream socket. False at the end of the stream, on an error, or
// when `timeout_ms` (-1: never) has passed without progress.
bool send_message(int fd, std::string_view payload);
bool receive_message(int fd, std::string& payload, int timeout_ms);

}  // namespace passthroughfs::difftest
