// SPDX-License-Identifier: Apache-2.0
#include "guard/guardian.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>

#include "base/fd.h"
#include "base/log.h"

namespace passthroughfs {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
// A server that has served no longer than this has died young.
constexpr std::uint64_t kYoung = kSecond / 50;
// The first few are replaced at once, which a request that ends each of them may need (see
// Recovery::kMostBlame); then the pause doubles.
constexpr unsigned kAtOnce = 8;
constexpr std::uint64_t kFirstPause = kSecond / 100;
constexpr std::uint64_t kLongestPause = kSecond;
// So many in a row that did not even come to serve, and it is given up.
constexpr unsigned kMostStillborn = 20;

std::uint64_t now_ns() noexcept {
  timespec now{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

sigset_t watched_signals() noexcept {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

Result<std::vector<int>> open_descriptors() {
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return Errno::last();
  std::vector<int> out;
  while (const dirent* entry = ::readdir(directory)) {
    char* end = nullptr;
    const long number = std::strtol(entry->d_name, &end, 10);
    if (end == entry->d_name || number == ::dirfd(directory)) continue;
    out.push_back(static_cast<int>(number));
  }
  ::closedir(directory);
  std::sort(out.begin(), out.end());
  return out;
}

// As fork(), but with the descriptors shared. The first thread's own number, which the C library
// keeps, is set as fork() sets it where the kernel tells its address; where it does not, that
// thread does nothing that would need it (see be_server).
pid_t clone_with_descriptors() noexcept {
  unsigned long flags = CLONE_FILES | SIGCHLD;
  void* number = nullptr;
  if (::prctl(PR_GET_TID_ADDRESS, &number, 0, 0, 0) == 0 && number != nullptr) {
    flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  }
#if defined(__s390x__)
  return static_cast<pid_t>(::syscall(SYS_clone, nullptr, flags, nullptr, number, nullptr));
#elif defined(__x86_64__)
  return static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, nullptr, number, nullptr));
#else
  return static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, nullptr, nullptr, number));
#endif
}

std::string end_of(int status) {
  return WIFSIGNALED(status) ? fmt::format("was killed: {}", ::strsignal(WTERMSIG(status)))
                             : fmt::format("ended with {}", WEXITSTATUS(status));
}

// Who is left when memory is short: "-1000" for never, as the kernel writes it; "" if it cannot be
// had. Less than it was needs CAP_SYS_RESOURCE.
constexpr const char* kOomScore = "/proc/self/oom_score_adj";

std::string oom_score() {
  const UniqueFd file(::open(kOomScore, O_RDONLY | O_CLOEXEC));
  std::array<char, 16> text{};
  const ssize_t got = file.valid() ? ::read(file.get(), text.data(), text.size()) : 0;
  return {text.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

void set_oom_score(std::string_view score) noexcept {
  const UniqueFd file(::open(kOomScore, O_WRONLY | O_CLOEXEC));
  if (file.valid()) (void)!::write(file.get(), score.data(), score.size());
}

}  // namespace

struct Guardian::Page {
  std::atomic<State> state;
  std::atomic<bool> has_served;  // this server
  std::atomic<int> exit_code;
  std::atomic<int> error;
  std::array<char, 2000> message;
  std::atomic<std::uint64_t> starts;
  std::atomic<std::uint64_t> ready;       // CLOCK_MONOTONIC, nanoseconds
  std::atomic<std::uint64_t> died;        // CLOCK_MONOTONIC, nanoseconds
  std::atomic<std::uint64_t> last_pause;  // nanoseconds
  std::atomic<std::uint64_t> beats;       // signs of life, of all servers
  std::atomic<pid_t> beater;              // the thread that gave the last one
  std::atomic<bool> ending;               // this server gives no more
};

Result<std::unique_ptr<Guardian>> Guardian::create(Serve serve, std::function<void()> prepare) {
  Region page = TRY(Region::create("passthroughfs-guardian", sizeof(Page)));
  return std::unique_ptr<Guardian>(
      new Guardian(std::move(serve), std::move(prepare), std::move(page)));
}

Guardian::Guardian(Serve serve, std::function<void()> prepare, Region page)
    : serve_(std::move(serve)),
      prepare_(std::move(prepare)),
      page_(std::move(page)),
      guardian_(::getpid()) {}

Guardian::Page& Guardian::page() const noexcept { return *reinterpret_cast<Page*>(page_.data()); }

// ---- in the guardian ----------------------------------------------------------------------------

Outcome<void> Guardian::start() {
  const sigset_t signals = watched_signals();
  (void)::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  oom_score_ = oom_score();
  set_oom_score("-1000");
  log_detach();  // what it has open is not to be shared
  auto descriptors = open_descriptors();
  if (!descriptors) return Error{descriptors.error().value(), "cannot read /proc/self/fd"};
  descriptors_ = std::move(*descriptors);
  for (unsigned tries = 0; tries < kMostStillborn; ++tries) {
    log_detach();
    if (auto started = start_server(); !started) {
      return Error{started.error().value(), "cannot fork: " + started.error().to_string()};
    }
    // ready() and failed() wake us by the same signal as its death.
    while (page().state.load() == State::starting && !wait_for_end(0)) {
    }
    if (page().state.load() == State::failed) {
      while (!wait_for_end(0)) {
      }
      return failure();
    }
    if (page().state.load() != State::starting) return {};
    log_error("the server {} before it served", end_of(status_));
  }
  return Error{EIO, "the server dies before it serves"};
}

Error Guardian::failure() const { return Error{page().error.load(), page().message.data()}; }

Outcome<int> Guardian::watch() {
  unsigned young = 0;
  unsigned stillborn = 0;
  for (;;) {
    if (wait_for_end(0)) {
      const State state = page().state.load();
      if (state == State::ended) return page().exit_code.load();
      if (state == State::failed) return failure();
      page().died.store(now_ns());
      const std::uint64_t ready = page().ready.load();
      const bool has_served = page().has_served.load();
      young = !has_served || now_ns() - ready < kYoung ? young + 1 : 0;
      stillborn = has_served ? 0 : stillborn + 1;
      log_error("the server (pid {}) {}; starting another", server_, end_of(status_));
      if (manager_ != nullptr) manager_->tell("STATUS=the server has died, starting another");
      server_ = 0;
      if (stillborn >= kMostStillborn) {
        return Error{EIO, "no server can live any more: each died before it served"};
      }
      if (young > kAtOnce) {
        const std::uint64_t pause =
            std::min(kFirstPause << std::min(young - kAtOnce - 1, 20U), kLongestPause);
        (void)wait_for_end(pause);
      }
      log_detach();
      for (auto begun = start_server(); !begun; begun = start_server()) {
        log_error("cannot start a server: {}", begun.error().to_string());
        (void)wait_for_end(kSecond);
        log_detach();
      }
      if (stop_wanted_) hand_on(SIGTERM);
    } else {
      announce();
    }
  }
}

Result<void> Guardian::start_server() noexcept {
  const bool again = page().starts.fetch_add(1) != 0;
  page().has_served.store(false);
  page().ending.store(false);
  page().state.store(State::starting);
  const pid_t child = clone_with_descriptors();
  if (child < 0) return Errno::last();
  if (child == 0) be_server(again);
  server_ = child;
  pulse_.renew();
  silence_told_ = false;
  ended_at_ = 0;
  return ok();
}

bool Guardian::wait_for_end(std::uint64_t most_ns) noexcept {
  const sigset_t signals = watched_signals();
  const std::uint64_t until = now_ns() + most_ns;
  const State before = page().state.load();
  for (;;) {
    if (server_ > 0) {
      const pid_t ended = ::waitpid(server_, &status_, WNOHANG);
      if (ended == server_ || (ended < 0 && errno == ECHILD)) return true;
    }
    supervise();
    siginfo_t info{};
    int signal = -1;
    if (most_ns == 0 && tick_ns_ != 0) {
      const timespec tick{.tv_sec = static_cast<time_t>(tick_ns_ / kSecond),
                          .tv_nsec = static_cast<long>(tick_ns_ % kSecond)};
      signal = ::sigtimedwait(&signals, &info, &tick);
    } else if (most_ns == 0) {
      signal = ::sigwaitinfo(&signals, &info);
    } else {
      const std::uint64_t now = now_ns();
      if (now >= until) return false;
      const timespec left{.tv_sec = static_cast<time_t>((until - now) / kSecond),
                          .tv_nsec = static_cast<long>((until - now) % kSecond)};
      signal = ::sigtimedwait(&signals, &info, &left);
    }
    if (signal == SIGTERM || signal == SIGINT) {
      if (!stop_wanted_ && manager_ != nullptr) manager_->tell("STOPPING=1\nSTATUS=unmounting");
      stop_wanted_ = true;
    }
    if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP) hand_on(signal);
    // It says ready(), or failed(), and sends that signal itself.
    if (page().state.load() != before) return false;
  }
}

void Guardian::hand_on(int signal) noexcept {
  if (server_ > 0) (void)::kill(server_, signal);
}

// ---- signs of life ------------------------------------------------------------------------------

void Guardian::look_after(std::uint64_t silent_ns, ServiceManager* manager) noexcept {
  constexpr std::uint64_t kShortestTick = kSecond / 20, kLongestTick = 2 * kSecond;
  manager_ = manager;
  silent_ns_ = silent_ns;
  const std::uint64_t period = manager != nullptr ? manager->watchdog_ns() : 0;
  // Before the manager ends all of it.
  if (silent_ns != 0 && period != 0) silent_ns_ = std::min(silent_ns, period / 2);
  tick_ns_ = silent_ns_ / 4;
  if (period != 0) tick_ns_ = tick_ns_ == 0 ? period / 8 : std::min(tick_ns_, period / 8);
  if (tick_ns_ != 0) tick_ns_ = std::clamp(tick_ns_, kShortestTick, kLongestTick);
  pulse_ = Pulse(2 * tick_ns_);
}

void Guardian::supervise() noexcept {
  const State state = page().state.load();
  // The first server is waited for by who starts it all.
  if (tick_ns_ == 0 || (state == State::starting && page().starts.load() == 1)) return;
  const std::uint64_t now = now_ns();
  const std::uint64_t silence = pulse_.look(now, page().beats.load());
  if (server_ > 0 && silent_ns_ != 0 && !page().ending.load() && state != State::failed) {
    // Until it serves it gives none, and what it does then may take its time.
    constexpr std::uint64_t kToStart = 10;
    if (silence > silent_ns_ * (page().has_served.load() ? 1 : kToStart)) end_silent(silence);
  }
  // Where silence is dealt with here, the manager has nothing to do: to end everything would help
  // neither a server that a debugger has nor one that waits for the disk.
  if (manager_ == nullptr) return;
  if (silent_ns_ != 0 || silence < manager_->watchdog_ns() / 2) manager_->ping(now);
}

// SIGKILL before the line: the log may be what it hangs in.
void Guardian::end_silent(std::uint64_t silence) noexcept {
  constexpr std::uint64_t kToDie = 5 * kSecond;
  const pid_t server = server_;
  const auto seconds = silence / kSecond;
  if (ended_at_ != 0) {
    if (silence_told_ || now_ns() - ended_at_ < kToDie) return;
    silence_told_ = true;
    log_error("the server (pid {}) does not end: a thread of it waits for the disk", server);
    return;
  }
  // A descriptor may be opened for a moment: a server that has served closes none that is not its.
  const Condition condition =
      page().has_served.load() ? condition_of(server, page().beater.load()) : Condition::ordinary;
  if (condition == Condition::ordinary) {
    ended_at_ = now_ns();
    (void)::kill(server, SIGKILL);
    log_error("the server (pid {}) has given no sign of life for {} s: ending it", server, seconds);
  } else if (!silence_told_) {
    silence_told_ = true;
    log_warning("the server (pid {}) has given no sign of life for {} s: {}", server, seconds,
                condition == Condition::traced ? "a debugger has it, so it is left alone"
                                               : "it waits for the disk, so it cannot be ended");
  }
}

// After a new server has come to serve.
void Guardian::announce() noexcept {
  const std::uint64_t starts = page().starts.load();
  if (manager_ == nullptr || page().state.load() != State::serving || starts == 1) return;
  std::array<char, 128> lines{};
  (void)std::snprintf(
      lines.data(), lines.size(), "READY=1\nSTATUS=served by process %d after %llu %s", server_,
      static_cast<unsigned long long>(starts - 1), starts == 2 ? "death" : "deaths");
  manager_->tell(lines.data());
}

// ---- in the server ------------------------------------------------------------------------------

void Guardian::be_server(bool again) noexcept {
  set_oom_score(oom_score_);
  if (prepare_) prepare_();
  int code = 0;
  try {
    // Not on this thread, of which the C library may have the wrong number.
    std::thread([&] { code = serve_(again); }).join();
  } catch (const std::exception& error) {
    failed(Error{EAGAIN, std::string("cannot start a thread: ") + error.what()});
  }
  ended(code);
}

void Guardian::ended(int code) noexcept {
  ending();
  page().exit_code.store(code);
  page().state.store(State::ended);
  ::_exit(code);
}

void Guardian::serving() noexcept {
  if (const std::uint64_t died = page().died.exchange(0); died != 0) {
    page().last_pause.store(now_ns() - died);
  }
  page().ready.store(now_ns());
  page().has_served.store(true);
}

void Guardian::beat() noexcept {
  page().beater.store(::gettid());
  page().beats.fetch_add(1);
}

void Guardian::ending() noexcept { page().ending.store(true); }

void Guardian::ready() noexcept {
  page().state.store(State::serving);
  (void)::sigqueue(guardian_, SIGCHLD, sigval{});
}

void Guardian::failed(const Error& error) noexcept {
  const std::size_t bytes = std::min(error.message.size(), page().message.size() - 1);
  std::memcpy(page().message.data(), error.message.data(), bytes);
  page().message[bytes] = '\0';
  page().error.store(error.code);
  page().state.store(State::failed);
  ::_exit(1);
}

std::uint64_t Guardian::starts() const noexcept { return page().starts.load(); }
std::uint64_t Guardian::last_pause() const noexcept { return page().last_pause.load(); }
std::int64_t Guardian::died() const noexcept {
  return static_cast<std::int64_t>(page().died.load());
}
bool Guardian::is_watched() const noexcept { return ::getppid() == guardian_; }

}  // namespace passthroughfs
