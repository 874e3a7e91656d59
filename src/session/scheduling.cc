// SPDX-License-Identifier: Apache-2.0
#include "session/scheduling.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <thread>

namespace passthroughfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// In a tick of 10 ms. Fewer requests than this, and the class makes no difference that anybody
// notices.
constexpr std::uint64_t kHot = 64;
constexpr int kHotTicks = 3;
// A reader that gives way only to its clients waits for some microseconds per request; one that
// gives way to another program waits for all of a tick.
constexpr std::uint64_t kWaited = 4'000'000;  // nanoseconds
constexpr milliseconds kFirstPause{250};
constexpr seconds kLongestPause{16};
constexpr seconds kProven{2};

bool set_class(pid_t tid, int policy) noexcept {
  const sched_param parameters{};
  return ::sched_setscheduler(tid, policy, &parameters) == 0;
}

pid_t this_tid() noexcept { return static_cast<pid_t>(::syscall(SYS_gettid)); }

UniqueFd open_about(pid_t tid, const char* what) {
  const std::string path = "/proc/self/task/" + std::to_string(tid) + "/" + what;
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

std::string_view read_about(const UniqueFd& fd, std::array<char, 512>& buffer) noexcept {
  const ssize_t got = ::pread(fd.borrow().get(), buffer.data(), buffer.size(), 0);
  return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

std::uint64_t take_number(std::string_view& text) noexcept {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number).ptr;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

}  // namespace

void let_clients_run_on() noexcept {
  (void)set_class(0, SCHED_BATCH);  // a filter may forbid it; it is slower then, that is all
}

bool ReaderScheduling::possible() noexcept {
  bool works = false;
  try {
    // In a thread that ends: what cannot be undone must not happen to one that stays.
    std::thread([&works] {
      std::array<char, 512> buffer{};
      const UniqueFd schedstat = open_about(this_tid(), "schedstat");
      works = schedstat.valid() && !read_about(schedstat, buffer).empty() &&
              set_class(0, SCHED_IDLE) && set_class(0, SCHED_OTHER);
    }).join();
  } catch (const std::exception&) {
    return false;
  }
  return works;
}

void ReaderScheduling::add_this_thread() noexcept {
  if (!enabled_) return;
  const MutexLock lock(mutex_);
  try {
    const pid_t tid = this_tid();
    Reader reader{
        .tid = tid, .schedstat = open_about(tid, "schedstat"), .stat = open_about(tid, "stat")};
    if (!reader.schedstat.valid() || !reader.stat.valid()) return;  // stays in the normal class
    readers_.push_back(std::move(reader));
    if (idle_) (void)set_class(tid, SCHED_IDLE);
  } catch (const std::exception&) {
    return;
  }
}

// Whether it was ready to run for long since the last look, or is and has not run at all.
bool ReaderScheduling::had_to_wait(Reader& reader) noexcept {
  std::array<char, 512> buffer{};
  std::string_view text = read_about(reader.schedstat, buffer);
  (void)take_number(text);  // time on a CPU
  const std::uint64_t delay = take_number(text), slices = take_number(text);
  const bool waited = delay - reader.delay > kWaited;
  const bool ran = slices != reader.slices;
  reader.delay = delay;
  reader.slices = slices;
  if (waited || ran) return waited;
  // Its state follows the name, which may hold anything.
  text = read_about(reader.stat, buffer);
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string_view::npos && text.substr(name_end).starts_with(") R");
}

bool ReaderScheduling::look(std::uint64_t requests, Clock::time_point now) noexcept {
  if (!enabled_) return false;
  const bool idle_before = idle_;
  const MutexLock lock(mutex_);
  bool waited = false;
  if (idle_) {
    for (Reader& reader : readers_) waited = had_to_wait(reader) || waited;
  }
  const bool soon = decide(requests, waited, now);
  if (idle_ != idle_before) apply();
  return soon;
}

bool ReaderScheduling::decide(std::uint64_t requests, bool waited, Clock::time_point now) noexcept {
  hot_ticks_ = requests >= kHot ? hot_ticks_ + 1 : 0;
  if (!idle_) {
    if (hot_ticks_ < kHotTicks || now < not_before_) return hot_ticks_ > 0;
    idle_ = true;
    idle_since_ = now;
    return true;
  }
  if (waited) {
    if (now - idle_since_ > kProven) pause_ = {};
    pause_ = std::clamp<Clock::duration>(2 * pause_, kFirstPause, kLongestPause);
    not_before_ = now + pause_;
    idle_ = false;
    hot_ticks_ = 0;
  } else if (hot_ticks_ == 0) {
    // Nothing is to be gained, and the ticks are about to become long.
    idle_ = false;
  }
  return true;
}

void ReaderScheduling::apply() noexcept {
  std::array<char, 512> buffer{};
  for (Reader& reader : readers_) {
    (void)set_class(reader.tid, idle_ ? SCHED_IDLE : SCHED_OTHER);
    std::string_view text = read_about(reader.schedstat, buffer);
    (void)take_number(text);
    reader.delay = take_number(text);
    reader.slices = take_number(text);
  }
}

}  // namespace passthroughfs
