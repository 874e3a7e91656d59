// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_list.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "base/fd.h"

namespace passthroughfs {
namespace {

constexpr int kLargest = 65535;

// Takes a number from the front.
Result<int> take_number(std::string_view& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0 || value > kLargest) return Err(EINVAL);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

}  // namespace

Result<std::vector<int>> parse_cpu_list(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  std::vector<int> out;
  while (!text.empty()) {
    const int first = TRY(take_number(text));
    int last = first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      last = TRY(take_number(text));
    }
    if (last < first || (!out.empty() && first <= out.back())) return Err(EINVAL);
    for (int cpu = first; cpu <= last; ++cpu) out.push_back(cpu);
    if (text.empty()) break;
    if (!text.starts_with(',') || text.size() == 1) return Err(EINVAL);
    text.remove_prefix(1);
  }
  if (out.empty()) return Err(EINVAL);
  return out;
}

Result<std::vector<int>> system_cpus(std::string_view name) {
  const std::string path = "/sys/devices/system/cpu/" + std::string(name);
  const UniqueFd fd = TRY(own(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
  std::array<char, 4096> text{};
  const auto size = TRY(check(::read(fd.get(), text.data(), text.size())));
  return parse_cpu_list({text.data(), static_cast<std::size_t>(size)});
}

std::vector<int> usable_cpus() {
  std::vector<int> out;
  // A mask of fixed size fails with EINVAL on machines with more CPUs than it has bits.
  for (std::size_t count = 1024; count <= kLargest + 1; count *= 2) {
    cpu_set_t* const set = CPU_ALLOC(count);
    if (set == nullptr) break;
    const std::size_t size = CPU_ALLOC_SIZE(count);
    const bool got = ::sched_getaffinity(0, size, set) == 0;
    for (std::size_t cpu = 0; got && cpu < count; ++cpu) {
      if (CPU_ISSET_S(cpu, size, set)) out.push_back(static_cast<int>(cpu));
    }
    CPU_FREE(set);
    if (got || errno != EINVAL) break;
  }
  return out;
}

bool bind_to(pid_t tid, std::span<const int> cpus) noexcept {
  if (cpus.empty()) return false;
  const auto bits = static_cast<std::size_t>(*std::max_element(cpus.begin(), cpus.end())) + 1;
  cpu_set_t* const set = CPU_ALLOC(bits);
  if (set == nullptr) return false;
  const std::size_t size = CPU_ALLOC_SIZE(bits);
  CPU_ZERO_S(size, set);
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), size, set);
  const bool done = ::sched_setaffinity(tid, size, set) == 0;
  CPU_FREE(set);
  return done;
}

}  // namespace passthroughfs
