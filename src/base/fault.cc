// SPDX-License-Identifier: Apache-2.0
#include "base/fault.h"

#ifdef PFS_FAULT_POINTS
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <new>
#include <string_view>

namespace passthroughfs {
namespace {

constexpr std::array<std::string_view, 11> kNames{"",        "intent",  "done",   "noted",
                                                  "replied", "lookup",  "forget", "open",
                                                  "release", "recover", "upgrade"};

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

// How often the place may be passed yet, for all processes that follow one another.
std::atomic<long>& left() noexcept {
  static auto* const kLeft = [] {
    void* const at = ::mmap(nullptr, sizeof(std::atomic<long>), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) ::abort();
    return new (at) std::atomic<long>(g_chosen.left);
  }();
  return *kLeft;
}
// Before there is more than one.
const std::atomic<long>& g_left = left();

}  // namespace

void fault_point(Fault here) noexcept {
  if (here != g_chosen.fault || left().fetch_sub(1) != 1) return;
  (void)::kill(::getpid(), SIGKILL);
  for (;;) (void)::pause();
}

void renew_faults() noexcept {
  if (g_chosen.always) left().store(g_chosen.left);
}

}  // namespace passthroughfs
#endif
