// SPDX-License-Identifier: Apache-2.0
//
// Runs a program to its end and keeps what it said.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "support/wait_until.h"

namespace passthroughfs::test {

struct ProgramResult {
  int exit_code = -1;  // -1: it was killed by a signal, or did not end in time
  std::string out;
  std::string err;
};

// `arguments[0]` is looked up in PATH. `environment` holds NAME=value pairs to add or replace.
// Nothing is inherited but stdin (which is /dev/null), stdout and stderr. A program that does not
// end within `deadline` is killed and the calling test fails. Output that comes after the program
// itself has ended (from a daemon it started) is not waited for.
ProgramResult run_program(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& environment = {},
                          std::chrono::milliseconds deadline = patience());

// Whether a program of that name is in PATH.
bool have_program(const std::string& name);

// For other code that starts processes: between fork and exec. Replaces the process image with
// `arguments`, adding `environment`; exits with 127 when that fails. `inherited`: so many
// descriptors beyond stderr stay open.
[[noreturn]] void exec_program(const std::vector<std::string>& arguments,
                               const std::vector<std::string>& environment, unsigned inherited = 0);

std::string read_all(const std::string& path);

}  // namespace passthroughfs::test
