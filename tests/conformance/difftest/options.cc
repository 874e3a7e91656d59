// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <getopt.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "compare.h"

namespace passthroughfs::difftest {
namespace {

constexpr char kHelp[] =
    "usage: difftest --left DIR --right DIR [option...]\n"
    "\n"
    "Makes long random sequences of file system calls in two directories, a native one and a\n"
    "mount, and compares every result and, now and then, the whole trees. Both directories lie on\n"
    "the same sort of file system. The first difference is shrunk and printed. Status: 0 no\n"
    "difference, 1 a difference, 2 it could not run.\n"
    "\n"
    "  --seed N           the sequence to make; without it a new one, which is printed\n"
    "  --steps N          how many calls (50000)\n"
    "  --ops-file FILE    replay the calls of FILE (what --save wrote) instead\n"
    "  --save FILE        write the failing sequence, shrunk, to FILE\n"
    "  --shrink yes|no    make the failing sequence as short as possible (yes)\n"
    "  --shrink-seconds N give up making it shorter after N seconds (60)\n"
    "  --attempts N       for what differs by chance: a sequence is good when it was good N times "
    "(1)\n"
    "  --users            as root: one process per user instead of one as the caller\n"
    "  --in-place         use the directories themselves, which are empty, not new ones in them\n"
    "  --patient          wait before looks at times until a change must show in them (slow)\n"
    "  --profile P        what the mount can keep: exact, passthrough (kernel passthrough), "
    "stateless,\n"
    "                     writeback\n"
    "  --report FILE      write how often each call was made and worked\n"
    "  --inject-fault F   the right side makes this mistake, to test the test:\n"
    "                    ";

enum Key {
  kLeft = 1,
  kRight,
  kSeed,
  kSteps,
  kOpsFile,
  kSave,
  kShrink,
  kShrinkSeconds,
  kAttempts,
  kUsersKey,
  kInPlace,
  kPatientKey,
  kProfile,
  kReport,
  kInject,
  kExceptionList,
  kHelpKey
};

constexpr option kOptions[] = {{"left", required_argument, nullptr, kLeft},
                               {"right", required_argument, nullptr, kRight},
                               {"seed", required_argument, nullptr, kSeed},
                               {"steps", required_argument, nullptr, kSteps},
                               {"ops-file", required_argument, nullptr, kOpsFile},
                               {"save", required_argument, nullptr, kSave},
                               {"shrink", required_argument, nullptr, kShrink},
                               {"shrink-seconds", required_argument, nullptr, kShrinkSeconds},
                               {"attempts", required_argument, nullptr, kAttempts},
                               {"users", no_argument, nullptr, kUsersKey},
                               {"in-place", no_argument, nullptr, kInPlace},
                               {"patient", no_argument, nullptr, kPatientKey},
                               {"profile", required_argument, nullptr, kProfile},
                               {"report", required_argument, nullptr, kReport},
                               {"inject-fault", required_argument, nullptr, kInject},
                               {"exceptions", no_argument, nullptr, kExceptionList},
                               {"help", no_argument, nullptr, kHelpKey},
                               {nullptr, 0, nullptr, 0}};

bool number(const char* text, std::uint64_t& to) {
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, to);
  return error == std::errc() && stop == end;
}

std::optional<Profile> profile_of_name(std::string_view name) {
  if (name == "exact") return Profile::kExact;
  if (name == "passthrough") return Profile::kPassthrough;
  if (name == "stateless") return Profile::kStateless;
  if (name == "writeback") return Profile::kWriteback;
  return std::nullopt;
}

void print_help() {
  std::fputs(kHelp, stdout);
  for (const FaultName& row : kFaultNames) std::printf(" %s", row.name);
  std::puts("\n  --exceptions       list what may differ, with the reasons");
}

void print_exceptions() {
  for (const Exception& row : exceptions()) std::printf("%s\n    %s\n", row.name, row.reason);
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv, int& status) {
  Options options;
  std::uint64_t value = 0;
  status = 2;
  for (int key = 0; (key = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    const bool wants_number =
        key == kSeed || key == kSteps || key == kShrinkSeconds || key == kAttempts;
    if (wants_number && !number(optarg, value)) {
      std::fprintf(stderr, "difftest: '%s' is not a number\n", optarg);
      return std::nullopt;
    }
    switch (key) {
      case kLeft: options.left = optarg; break;
      case kRight: options.right = optarg; break;
      case kSeed: options.seed = value; break;
      case kSteps: options.steps = value; break;
      case kOpsFile: options.ops_file = optarg; break;
      case kSave: options.save = optarg; break;
      case kShrink: options.do_shrink = std::strcmp(optarg, "no") != 0; break;
      case kShrinkSeconds: options.shrink_seconds = static_cast<int>(value); break;
      case kAttempts: options.attempts = static_cast<int>(value); break;
      case kUsersKey: options.users = true; break;
      case kInPlace: options.in_place = true; break;
      case kPatientKey: options.patient = true; break;
      case kProfile: {
        const auto profile = profile_of_name(optarg);
        if (!profile) {
          std::fprintf(stderr, "difftest: there is no profile '%s'\n", optarg);
          return std::nullopt;
        }
        options.profile = *profile;
        break;
      }
      case kReport: options.report = optarg; break;
      case kInject: {
        const auto fault = fault_of_name(optarg);
        if (!fault) {
          std::fprintf(stderr, "difftest: there is no fault '%s'\n", optarg);
          return std::nullopt;
        }
        options.fault = *fault;
        break;
      }
      case kExceptionList:
        print_exceptions();
        status = 0;
        return std::nullopt;
      case kHelpKey:
        print_help();
        status = 0;
        return std::nullopt;
      default: return std::nullopt;
    }
  }
  if (optind != argc || options.left.empty() || options.right.empty()) {
    std::fputs("difftest: needs --left DIR and --right DIR (see --help)\n", stderr);
    return std::nullopt;
  }
  return options;
}

}  // namespace passthroughfs::difftest
