// SPDX-License-Identifier: Apache-2.0
//
// Running a sequence on both sides and finding the first call that differs.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fresh_pair.h"
#include "generator.h"
#include "op.h"
#include "side.h"

namespace passthroughfs::difftest {

struct RunConfig {
  std::string left, right;
  bool in_place = false;
  int agents = 1;
  bool users = false;
  bool confine = false;
  Profile profile = Profile::kExact;
  bool patient = false;
  bool exact_blocks = false;
  bool compare_atime = false;
  Fault fault = Fault::kNone;  // of the right side
};

struct Difference {
  std::size_t step = 0;
  Op op;
  Result left, right;
  std::string what;  // the same text for the same sort of difference
};

// How often each call was made, and what came of it on the left.
struct Tally {
  std::size_t made = 0, worked = 0;
  std::map<int, std::size_t> errors;
};
using Tallies = std::array<Tally, kKinds>;

// The agents of both sides on a fresh pair of directories.
class Pair {
 public:
  explicit Pair(const RunConfig& config);

  // Makes calls of one agent on both sides, at the same time. `lefts` are the left results up to
  // the first difference, whose step counts from the start of `batch`.
  std::optional<Difference> step(std::span<const Op> batch, std::vector<Result>& lefts);

 private:
  std::optional<Difference> step_part(std::span<const Op> part, std::vector<Result>& lefts);

  FreshPair directories_;
  Side left_, right_;
  std::vector<Result> left_results_, right_results_;
};

// Generates and runs `steps` calls; `ops` gets all of them, up to the one that differs. A look at
// the whole trees ends the run.
std::optional<Difference> run_random(const RunConfig& config, const GeneratorConfig& generator,
                                     std::size_t steps, std::vector<Op>& ops, Tallies& tallies);

// Runs a given sequence, and looks at the whole trees in the end.
std::optional<Difference> run_ops(const RunConfig& config, std::span<const Op> ops);

}  // namespace passthroughfs::difftest
