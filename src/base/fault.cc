// SPDX-License-Identifier: Apache-2.0
#include "base/fault.h"

#ifdef PFS_FAULT_POINTS
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace passthroughfs {
namespace {

constexpr std::array<std::string_view, 10> kNames{"",       "intent", "done", "noted",   "replied",
                                                  "lookup", "forget", "open", "release", "recover"};

struct Chosen {
  Fault fault = Fault::none;
  long left = 1;
  bool always = false;

  Chosen() noexcept {
    const char* const set = ::getenv("PFS_FAULT");
    if (set == nullptr) return;
    std::string_view text(set);
    if (text.ends_with('*')) {
      always = true;
      text.remove_suffix(1);
    }
    const std::size_t colon = text.find(':');
    if (colon != std::string_view::npos) left = std::strtol(set + colon + 1, nullptr, 10);
    for (std::size_t i = 1; i < kNames.size(); ++i) {
      if (text.substr(0, colon) == kNames[i]) fault = static_cast<Fault>(i);
    }
  }
};

const Chosen g_chosen;
std::atomic<long> g_left{g_chosen.left};
bool g_over = false;

}  // namespace

void fault_point(Fault here) noexcept {
  if (here != g_chosen.fault || g_over || g_left.fetch_sub(1) != 1) return;
  (void)::kill(::getpid(), SIGKILL);
  for (;;) (void)::pause();
}

void end_first_faults() noexcept { g_over = !g_chosen.always; }

}  // namespace passthroughfs
#endif
