// SPDX-License-Identifier: Apache-2.0
//
// The command line of difftest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "exec.h"
#include "faults.h"

namespace passthroughfs::difftest {

struct Options {
  std::string left, right;
  std::optional<std::uint64_t> seed;  // a new one when not given
  std::size_t steps = 50'000;
  std::string ops_file;  // replay this
  std::string save;      // where the failing sequence goes
  std::string report;    // where counts go
  bool do_shrink = true;
  int shrink_seconds = 60;
  int attempts = 1;  // how often a sequence is tried before it counts as good
  bool users = false;
  bool in_place = false;
  bool patient = false;
  Profile profile = Profile::kExact;
  Fault fault = Fault::kNone;
};

// Prints what is wrong, or the help, and gives nothing back when the program should end; `status`
// is then its exit status.
std::optional<Options> parse_options(int argc, char** argv, int& status);

}  // namespace passthroughfs::difftest
