// SPDX-License-Identifier: Apache-2.0
#include "session/following.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "session/scheduling.h"
#include "wire/opcode.h"

namespace passthroughfs {
namespace {

using std::chrono::milliseconds;

constexpr int kBadTicks = 2;
// What a hand-over costs, a wake-up of a parked thread, may come with one request in so many.
constexpr std::uint64_t kPerHandover = 32;
constexpr milliseconds kPause{500};

// Whether the processes of /proc have the numbers that the kernel will tell. It tells those of the
// PID namespace of who mounts.
bool proc_is_ours() noexcept {
  std::array<char, 32> text{};
  const ssize_t got = ::readlink("/proc/self", text.data(), text.size());
  pid_t number = 0;
  if (got <= 0) return false;
  const auto end = std::from_chars(text.data(), text.data() + got, number);
  return end.ec == std::errc() && number == ::getpid();
}

}  // namespace

void RecentClients::Counts::add(const Counts& other) noexcept {
  all += other.all;
  data += other.data;
  if (other.main == main) {
    most += other.most;
  } else if (other.most > most) {
    main = other.main;
    most = other.most;
  }
}

void RecentClients::note(const wire::InHeader& header) noexcept {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  const auto opcode = static_cast<wire::Opcode>(header.opcode);
  if (opcode == wire::Opcode::read || opcode == wire::Opcode::write) {
    data_.store(data_.load(kRelaxed) + 1, kRelaxed);
    return;
  }
  if (header.pid == 0) return;  // RELEASE, FORGET, or from another PID namespace
  all_.store(all_.load(kRelaxed) + 1, kRelaxed);
  Slot& slot = slots_[header.pid % kSlots];
  const bool same = slot.client.load(kRelaxed) == header.pid;
  if (!same) slot.client.store(header.pid, kRelaxed);
  slot.count.store(same ? slot.count.load(kRelaxed) + 1 : 1, kRelaxed);
}

RecentClients::Counts RecentClients::take() noexcept {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  Counts out;
  const std::uint64_t all = all_.load(kRelaxed), data = data_.load(kRelaxed);
  out.all = all - std::exchange(all_taken_, all);
  out.data = data - std::exchange(data_taken_, data);
  if (out.all == 0) return out;
  for (Slot& slot : slots_) {
    const std::uint32_t count = slot.count.exchange(0, kRelaxed);
    if (count <= out.most) continue;
    out.most = count;
    out.main = static_cast<pid_t>(slot.client.load(kRelaxed));
  }
  return out;
}

std::optional<int> cpu_of(pid_t thread) noexcept {
  std::array<char, 64> path{};
  // Of the thread only; /proc/N/stat adds up all threads of a process.
  (void)std::snprintf(path.data(), path.size(), "/proc/%d/task/%d/stat", thread, thread);
  const UniqueFd stat(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!stat.valid()) return {};
  std::array<char, 1024> buffer{};
  const ssize_t got = ::read(stat.get(), buffer.data(), buffer.size());
  std::string_view text(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  // The second field is the name, which may hold anything; the 39th is the CPU.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos) return {};
  text.remove_prefix(name_end);
  for (int field = 2; field < 39; ++field) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos) return {};
    text.remove_prefix(space + 1);
  }
  int cpu = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), cpu).ec != std::errc()) return {};
  return cpu;
}

Following::Following(std::vector<int> cpus) : cpus_(std::move(cpus)), enabled_(proc_is_ours()) {}

bool Following::usable(int cpu) const noexcept {
  return std::find(cpus_.begin(), cpus_.end(), cpu) != cpus_.end();
}

// Nearly all requests, but for those that nobody waits for.
bool Following::has_one_client(const Seen& seen) const noexcept {
  const RecentClients::Counts& clients = seen.clients;
  return enabled_ && seen.burst && clients.main != 0 && clients.most * 8 >= clients.all * 7 &&
         clients.all * 4 >= seen.requests && clients.data * 8 <= seen.requests;
}

int Following::look(const Seen& seen, Clock::time_point now) noexcept {
  if (!enabled_) return -1;
  std::optional<int> cpu;
  if (has_one_client(seen)) cpu = cpu_of(seen.clients.main);
  return decide(seen, cpu, now);
}

int Following::decide(const Seen& seen, std::optional<int> cpu, Clock::time_point now) noexcept {
  const bool one = has_one_client(seen) && cpu && usable(*cpu);
  if (one) {
    // Also while the client would be sent away: so this begins in the tick in which that ends. As
    // SCHED_IDLE, and yet with others that read, a thread on the CPU of the client waits so long
    // that it looks like starving, and the class is left again (GivingWay).
    ++ticks_;
    bad_ticks_ = 0;
    if (cpu_ >= 0 || (ticks_ >= kBurstTicks && now >= not_before_)) cpu_ = *cpu;
  } else {
    ticks_ = 0;
    ++bad_ticks_;
  }
  // When one program follows another there is a tick with two.
  if (bad_ticks_ >= kBadTicks || !seen.burst || !seen.stays) cpu_ = -1;
  if (cpu_ >= 0 && seen.handovers * kPerHandover > seen.requests) {
    not_before_ = now + kPause;
    cpu_ = -1;
  }
  return cpu_;
}

}  // namespace passthroughfs
