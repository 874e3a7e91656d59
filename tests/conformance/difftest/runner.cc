// SPDX-License-Identifier: Apache-2.0
#include "runner.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "compare.h"

namespace passthroughfs::difftest {
namespace {

constexpr std::size_t kBatch = 16;

SideConfig side_config(const RunConfig& config, const std::string& base, Fault fault) {
  return {.base = base,
          .agents = config.agents,
          .users = config.users,
          .confine = config.confine,
          .fault = fault,
          .profile = config.profile,
          .patient = config.patient,
          .exact_blocks = config.exact_blocks,
          .compare_atime = config.compare_atime};
}

// A lock that was let go by a last close may be held for another moment (see exceptions()).
bool is_about_locks(Kind kind) {
  return kind == Kind::kSetLk || kind == Kind::kGetLk || kind == Kind::kOfdSetLk ||
         kind == Kind::kOfdGetLk || kind == Kind::kFlock;
}

Op final_look() { return Op{.kind = Kind::kSnapshot, .agent = 0}; }

}  // namespace

Pair::Pair(const RunConfig& config)
    : directories_(config.left, config.right, config.in_place),
      left_(side_config(config, directories_.left(), Fault::kNone)),
      right_(side_config(config, directories_.right(), config.fault)) {}

std::optional<Difference> Pair::step(std::span<const Op> batch, std::vector<Result>& lefts) {
  lefts.clear();
  for (std::size_t first = 0; first < batch.size();) {
    std::size_t end = first + 1;
    while (end < batch.size() && !is_about_locks(batch[end - 1].kind)) ++end;
    if (auto found = step_part(batch.subspan(first, end - first), lefts)) {
      found->step += first;
      return found;
    }
    first = end;
  }
  return std::nullopt;
}

std::optional<Difference> Pair::step_part(std::span<const Op> part, std::vector<Result>& lefts) {
  const int agent = part.front().agent;
  const bool left_alive = left_.send(agent, part);
  const bool right_alive = right_.send(agent, part);
  const bool left_answered = left_alive && left_.receive(agent, left_results_);
  const bool right_answered = right_alive && right_.receive(agent, right_results_);
  if (!left_answered || !right_answered) {
    const Result lost{.value = -1, .error = ETIMEDOUT, .detail = " agent died or hangs"};
    return Difference{0, part.front(), left_answered ? Result{} : lost,
                      right_answered ? Result{} : lost, "no answer"};
  }
  for (std::size_t i = 0; i < part.size(); ++i) {
    auto what = difference(part[i], left_results_[i], right_results_[i]);
    // Only ever the last of its part, so nothing has been built upon the wrong answer.
    if (what && is_about_locks(part[i].kind)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      std::vector<Result> again;
      if (right_.send(agent, part.subspan(i, 1)) && right_.receive(agent, again)) {
        what = difference(part[i], left_results_[i], again.front());
      }
    }
    if (what) {
      return Difference{i, part[i], left_results_[i], right_results_[i], std::move(*what)};
    }
    lefts.push_back(std::move(left_results_[i]));
  }
  return std::nullopt;
}

std::optional<Difference> run_random(const RunConfig& config, const GeneratorConfig& generator,
                                     std::size_t steps, std::vector<Op>& ops, Tallies& tallies) {
  Pair pair(config);
  Generator calls(generator);
  std::vector<Result> lefts;
  while (ops.size() < steps) {
    const std::vector<Op> batch = calls.next_batch();
    const std::size_t first = ops.size();
    ops.insert(ops.end(), batch.begin(), batch.end());
    auto found = pair.step(batch, lefts);
    for (std::size_t i = 0; i < lefts.size(); ++i) {
      calls.learn(batch[i], lefts[i]);
      Tally& tally = tallies[static_cast<std::size_t>(batch[i].kind)];
      ++tally.made;
      if (lefts[i].value >= 0) ++tally.worked;
      if (lefts[i].error != 0) ++tally.errors[lefts[i].error];
    }
    if (found) {
      // A lost answer belongs to some call of the batch; all of them are kept.
      const bool lost = found->what == "no answer";
      found->step = lost ? ops.size() - 1 : first + found->step;
      ops.resize(found->step + 1);
      return found;
    }
  }
  ops.push_back(final_look());
  auto found = pair.step(std::span(&ops.back(), 1), lefts);
  if (found) found->step = ops.size() - 1;
  return found;
}

std::optional<Difference> run_ops(const RunConfig& config, std::span<const Op> ops) {
  Pair pair(config);
  std::vector<Result> lefts;
  for (std::size_t first = 0; first < ops.size();) {
    std::size_t end = first + 1;
    while (end < ops.size() && end - first < kBatch && ops[end].agent == ops[first].agent) ++end;
    auto found = pair.step(ops.subspan(first, end - first), lefts);
    if (found) {
      const bool lost = found->what == "no answer";
      found->step = lost ? end - 1 : first + found->step;
      return found;
    }
    first = end;
  }
  const Op look = final_look();
  auto found = pair.step(std::span(&look, 1), lefts);
  if (found) found->step = ops.size();
  return found;
}

}  // namespace passthroughfs::difftest
