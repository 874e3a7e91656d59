// SPDX-License-Identifier: Apache-2.0
#include "session/scheduling.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>

namespace passthroughfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A thread that gives way only to its clients waits, each time that it has run, for what they do
// between two requests; one that gives way to another program waits for all of a tick.
constexpr std::uint64_t kWaited = 4'000'000;       // nanoseconds in a tick
constexpr std::uint64_t kWaitedPerSlice = 64'000;  // and that for each time
// The kernel counts in hundredths of a second.
constexpr milliseconds kIdleWindow{100};
// Between this and kNoneIdle nothing changes.
constexpr double kSomeIdle = 0.3;
constexpr milliseconds kFirstPause{250};
constexpr seconds kLongestPause{16};
constexpr seconds kProven{2};

bool set_class(pid_t tid, int policy) noexcept {
  const sched_param parameters{};
  return ::sched_setscheduler(tid, policy, &parameters) == 0;
}

pid_t this_tid() noexcept { return static_cast<pid_t>(::syscall(SYS_gettid)); }

using Buffer = std::array<char, 512>;

std::string_view read_from_start(const UniqueFd& fd, Buffer& buffer) noexcept {
  const ssize_t got = ::pread(fd.borrow().get(), buffer.data(), buffer.size(), 0);
  return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

// Empty if it cannot be had.
std::string_view read_about(pid_t tid, const char* what, Buffer& buffer) noexcept {
  std::array<char, 64> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/self/task/%d/%s", tid, what);
  const UniqueFd fd(::open(path.data(), O_RDONLY | O_CLOEXEC));
  return fd.valid() ? read_from_start(fd, buffer) : std::string_view{};
}

// Of /proc/self/task/*/stat: the state follows the name, which may hold anything.
bool says_runnable(std::string_view text) noexcept {
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string_view::npos && text.substr(name_end).starts_with(") R");
}

std::uint64_t take_number(std::string_view& text) noexcept {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number).ptr;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

}  // namespace

bool is_runnable(pid_t tid) noexcept {
  Buffer buffer{};
  const std::string_view stat = read_about(tid, "stat", buffer);
  return stat.empty() || says_runnable(stat);
}

IdleCpus::IdleCpus() noexcept
    : stat_(::open("/proc/stat", O_RDONLY | O_CLOEXEC)),
      unit_(1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK))) {}

double IdleCpus::look(Clock::time_point now) noexcept {
  const std::chrono::duration<double> passed = now - when_;
  if (passed < kIdleWindow) return seen_;
  Buffer buffer{};
  std::string_view text = read_from_start(stat_, buffer);
  if (!text.starts_with("cpu ")) return 1;
  text.remove_prefix(4);
  for (int i = 0; i < 3; ++i) (void)take_number(text);  // user, nice, system
  std::uint64_t idle = take_number(text);
  // A CPU whose last thread waits for a ring, as ours do, is "waiting for input or output".
  idle += take_number(text);
  if (when_ != Clock::time_point{}) {
    seen_ = static_cast<double>(idle - idle_) * unit_ / passed.count();
  }
  when_ = now;
  idle_ = idle;
  return seen_;
}

bool GivingWay::possible() noexcept {
  bool works = false;
  try {
    // In a thread that ends: what cannot be undone must not happen to one that stays.
    std::thread([&works] {
      Buffer buffer{};
      works = !read_about(this_tid(), "schedstat", buffer).empty() && set_class(0, SCHED_IDLE) &&
              set_class(0, SCHED_OTHER);
    }).join();
  } catch (const std::exception&) {
    return false;
  }
  return works;
}

void GivingWay::add_this_thread(Rests rests) noexcept {
  const pid_t tid = this_tid();
  // A filter may forbid it; it is slower then, that is all.
  if (otherwise_ == Otherwise::batch) (void)set_class(tid, SCHED_BATCH);
  if (!enabled_) return;
  const MutexLock lock(mutex_);
  try {
    threads_.push_back({.tid = tid, .rests = std::move(rests)});
    // The next look() makes it what the others are.
  } catch (const std::exception&) {
    return;  // it never gives way
  }
}

bool GivingWay::look_at(Thread& thread) noexcept {
  thread.awake = !thread.rests || !thread.rests();
  if (!thread.awake) return false;
  Buffer buffer{};
  std::string_view text = read_about(thread.tid, "schedstat", buffer);
  (void)take_number(text);  // time on a CPU
  thread.delay = take_number(text);
  thread.slices = take_number(text);
  return true;
}

// Whether it was ready to run for long since the last look, or is and has not run at all.
GivingWay::Waited GivingWay::had_to_wait(Thread& thread, bool one_serves) noexcept {
  const bool known = thread.awake;
  const std::uint64_t delay = thread.delay, slices = thread.slices;
  if (!look_at(thread) || !known) return {};
  const std::uint64_t ran = thread.slices - slices;
  const bool waited = thread.delay - delay > kWaited + (one_serves ? ran * kWaitedPerSlice : 0);
  if (waited || ran != 0) return {.ran = ran, .waited = waited};
  return {.ran = 0, .waited = is_runnable(thread.tid)};
}

bool GivingWay::look(bool burst, double idle_cpus, Clock::time_point now,
                     bool one_serves) noexcept {
  if (!enabled_) return false;
  const bool idle_before = idle_;
  const MutexLock lock(mutex_);
  Verdict verdict(one_serves);
  if (idle_) {
    for (Thread& thread : threads_) verdict.add(had_to_wait(thread, one_serves));
  }
  const bool soon = decide(burst, idle_cpus, verdict.waited(), now);
  if (idle_ != idle_before || (idle_ && applied_to_ != threads_.size())) apply();
  return soon;
}

bool GivingWay::decide(bool burst, double idle_cpus, bool waited, Clock::time_point now) noexcept {
  burst_ticks_ = burst ? burst_ticks_ + 1 : 0;
  if (!idle_) {
    if (burst_ticks_ < kBurstTicks || now < not_before_ || idle_cpus < kSomeIdle) {
      return burst_ticks_ > 0;
    }
    idle_ = true;
    idle_since_ = now;
    return true;
  }
  if (waited) {
    if (now - idle_since_ > kProven) pause_ = {};
    pause_ = std::clamp<Clock::duration>(2 * pause_, kFirstPause, kLongestPause);
    not_before_ = now + pause_;
    idle_ = false;
    burst_ticks_ = 0;
  } else if (burst_ticks_ == 0 || idle_cpus < kNoneIdle) {
    // Nothing is to be gained; and if nobody asks the ticks are about to become long.
    idle_ = false;
  }
  return true;
}

void GivingWay::apply() noexcept {
  applied_to_ = threads_.size();
  for (Thread& thread : threads_) {
    (void)set_class(thread.tid, idle_                            ? SCHED_IDLE
                                : otherwise_ == Otherwise::batch ? SCHED_BATCH
                                                                 : SCHED_OTHER);
    (void)look_at(thread);
  }
}

}  // namespace passthroughfs
