// SPDX-License-Identifier: Apache-2.0
//
// difftest: a random sequence on two directories, the first difference, the shortest way to it.
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "compare.h"
#include "options.h"
#include "runner.h"
#include "shrink.h"
#include "users.h"

namespace passthroughfs::difftest {
namespace {

using Clock = std::chrono::steady_clock;

bool is_tmpfs(const std::string& dir) {
  struct statfs st {};
  return statfs(dir.c_str(), &st) == 0 && st.f_type == TMPFS_MAGIC;
}

bool no_atime(const std::string& dir) {
  struct statvfs st {};
  return statvfs(dir.c_str(), &st) == 0 && (st.f_flag & ST_NOATIME) != 0;
}

std::uint64_t new_seed() {
  std::random_device device;
  return device() % 1'000'000'000u;
}

std::vector<Op> load_ops(const std::string& path, bool& good) {
  std::vector<Op> ops;
  std::ifstream file(path);
  good = file.is_open();
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line.front() == '#') continue;
    auto op = parse_op(line);
    if (!op) {
      std::fprintf(stderr, "difftest: not a call: %s\n", line.c_str());
      good = false;
      break;
    }
    ops.push_back(std::move(*op));
  }
  return ops;
}

void save_ops(const std::string& path, const std::vector<Op>& ops, const std::string& comment) {
  if (path.empty()) return;
  std::ofstream file(path);
  file << "# " << comment << '\n';
  for (const Op& op : ops) file << to_line(op) << '\n';
}

// Trees are long: only the lines that differ.
void print_trees(const Difference& found) {
  const auto lines = [](const std::string& text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      out.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    return out;
  };
  const auto left = lines(found.left.detail), right = lines(found.right.detail);
  const auto missing_in = [](const std::string& line, const std::vector<std::string>& from) {
    return std::find(from.begin(), from.end(), line) == from.end();
  };
  int shown = 0;
  for (const std::string& line : left) {
    if (missing_in(line, right) && shown++ < 10) std::printf("  left:  %s\n", line.c_str());
  }
  shown = 0;
  for (const std::string& line : right) {
    if (missing_in(line, left) && shown++ < 10) std::printf("  right: %s\n", line.c_str());
  }
}

void print_difference(const Difference& found, const RunConfig& config) {
  std::string who = "agent " + std::to_string(found.op.agent);
  if (config.users) who += ", uid " + std::to_string(kUsers[found.op.agent].uid);
  std::printf("difference in: %s (step %zu, %s)\n  call:  %s\n", found.what.c_str(), found.step,
              who.c_str(), to_line(found.op).c_str());
  if (found.op.kind == Kind::kSnapshot && found.left.value == 0 && found.right.value == 0) {
    print_trees(found);
    return;
  }
  std::printf("  left:  %s\n  right: %s\n", show_result(found.left).c_str(),
              show_result(found.right).c_str());
}

void write_report(const std::string& path, std::uint64_t seed, std::size_t steps,
                  const Tallies& tallies) {
  if (path.empty()) return;
  std::ofstream file(path);
  file << "seed " << seed << "\nsteps " << steps << "\n";
  for (std::size_t i = 0; i < kKinds; ++i) {
    file << spec(static_cast<Kind>(i)).name << ' ' << tallies[i].made << " made, "
         << tallies[i].worked << " worked";
    for (const auto& [error, count] : tallies[i].errors) {
      file << ", " << count << ' ' << strerrorname_np(error);
    }
    file << '\n';
  }
}

int shrink_and_print(const Options& options, RunConfig config, std::vector<Op> ops,
                     const Difference& first) {
  config.in_place = false;
  config.patient = config.patient || is_about_times(first.what);
  if (config.patient) {
    // Each look at times costs a wait, so first without those that the difference does not need.
    std::vector<Op> fewer = ops;
    for (std::size_t i = 0; i + 1 < fewer.size(); ++i) fewer[i].observe = false;
    const auto found = run_ops(config, fewer);
    if (found && found->what == first.what) ops = std::move(fewer);
  }
  const auto same_sort = [&](const std::vector<Op>& candidate) {
    for (int attempt = 0; attempt < options.attempts; ++attempt) {
      const auto found = run_ops(config, candidate);
      if (found && found->op.kind == first.op.kind && found->what == first.what) return true;
    }
    return false;
  };
  const std::string comment = "difference in: " + first.what;
  if (!options.do_shrink) {
    save_ops(options.save, ops, comment);
    return 1;
  }
  if (!same_sort(ops)) {
    std::puts("The same calls did not differ when they were repeated.");
    save_ops(options.save, ops, comment + " (seen once)");
    return 1;
  }
  std::printf("shrinking %zu calls...\n", ops.size());
  (void)std::fflush(stdout);
  ops = shrink(std::move(ops), same_sort,
               Clock::now() + std::chrono::seconds(options.shrink_seconds));
  save_ops(options.save, ops, comment);
  std::printf("shortest sequence found (%zu calls; the first number is the agent):\n", ops.size());
  constexpr std::size_t kMost = 60;
  for (std::size_t i = 0; i < ops.size() && i < kMost; ++i) {
    std::printf("  %s\n", to_line(ops[i]).c_str());
  }
  if (ops.size() > kMost) std::printf("  ... and %zu more (see --save)\n", ops.size() - kMost);
  if (const auto found = run_ops(config, ops)) print_difference(*found, config);
  return 1;
}

int run(const Options& options) {
  RunConfig config{.left = options.left, .right = options.right, .in_place = options.in_place};
  config.confine = geteuid() == 0;
  config.users = options.users && config.confine;
  config.agents = config.users ? static_cast<int>(kUsers.size()) : 2;
  config.exact_blocks = is_tmpfs(options.left);
  config.compare_atime = no_atime(options.left);
  config.fault = options.fault;
  config.patient = options.patient;
  config.profile = options.profile;
  if (options.users && !config.users) {
    std::fputs("difftest: --users needs root\n", stderr);
    return 2;
  }

  std::vector<Op> ops;
  std::optional<Difference> found;
  if (!options.ops_file.empty()) {
    bool good = false;
    config.patient = true;
    ops = load_ops(options.ops_file, good);
    if (!good) {
      std::fprintf(stderr, "difftest: cannot read %s\n", options.ops_file.c_str());
      return 2;
    }
    found = run_ops(config, ops);
  } else {
    const std::uint64_t seed = options.seed ? *options.seed : new_seed();
    std::printf("seed %llu, %zu steps\n", static_cast<unsigned long long>(seed), options.steps);
    (void)std::fflush(stdout);
    Tallies tallies{};
    const auto begin = Clock::now();
    found = run_random(
        config,
        {.seed = seed, .agents = config.agents, .root = config.confine, .confined = config.confine},
        options.steps, ops, tallies);
    const std::chrono::duration<double> took = Clock::now() - begin;
    std::printf("%zu calls on each side in %.1f s (%.0f per second)\n", ops.size(), took.count(),
                static_cast<double>(ops.size()) / took.count());
    write_report(options.report, seed, ops.size(), tallies);
  }
  if (!found) return 0;
  print_difference(*found, config);
  (void)std::fflush(stdout);
  return shrink_and_print(options, config, std::move(ops), *found);
}

}  // namespace
}  // namespace passthroughfs::difftest

int main(int argc, char** argv) {
  int status = 0;
  const auto options = passthroughfs::difftest::parse_options(argc, argv, status);
  return options ? passthroughfs::difftest::run(*options) : status;
}
