// SPDX-License-Identifier: Apache-2.0
#include "guard/guardian.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "guard/remains.h"

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
// Until it has closed what it does not know, at most: on a machine that is far too busy.
constexpr std::uint64_t kLongestTakeover = 60 * kSecond;
// How often one is looked at that cannot be waited for.
constexpr std::uint64_t kLook = kSecond / 500;
// And one that may have been killed and not end: no signal tells of that.
constexpr std::uint64_t kLookForRest = kSecond / 40;
// How long a server waits for the guardian to say what it thinks of a program.
constexpr std::uint64_t kLongestTrial = 20 * kSecond;

}  // namespace

// Shared by all processes of a mount, and handed on to other programs: what is added goes to the
// end.
struct Guardian::Page {
  static constexpr std::size_t kBytes = 16384;

  std::atomic<State> state;
  std::atomic<bool> has_served;  // this server
  std::atomic<int> exit_code;
  std::atomic<int> error;
  std::array<char, 2000> message;
  std::atomic<std::uint64_t> starts;
  std::atomic<std::uint64_t> ready;       // CLOCK_MONOTONIC, nanoseconds
  std::atomic<std::uint64_t> died;        // CLOCK_MONOTONIC, nanoseconds
  std::atomic<std::uint64_t> last_pause;  // nanoseconds
  std::atomic<pid_t> guardian, deputy, server;
  std::atomic<Upgrade> upgrade;
  std::atomic<int> program;
  std::atomic<std::uint64_t> upgrades;
  std::array<char, 2000> upgrade_failure;
  std::atomic<std::uint64_t> beats;  // signs of life, of all servers
  std::atomic<pid_t> beater;         // the thread that gave the last one
  std::atomic<bool> ending;          // this server gives no more
  std::atomic<bool> dropping;        // see dropping(), this server

  template <std::size_t kRoom>
  static void set(std::array<char, kRoom>& to, std::string_view text) noexcept {
    const std::size_t bytes = std::min(text.size(), to.size() - 1);
    std::memcpy(to.data(), text.data(), bytes);
    to[bytes] = '\0';
  }
};

Result<std::unique_ptr<Guardian>> Guardian::create(Calls calls, const Handover* from) {
  static_assert(sizeof(Page) <= Page::kBytes);
  Regions regions = from == nullptr ? Regions() : Regions(*from);
  Region page = TRY(regions.make(kPageName, Page::kBytes));
  return std::unique_ptr<Guardian>(new Guardian(std::move(calls), std::move(page), from));
}

Guardian::Guardian(Calls calls, Region page, const Handover* from)
    : calls_(std::move(calls)), page_(std::move(page)) {
  if (from == nullptr) return;
  oom_score_ = from->text("oom_score").value_or("");
  leftovers_ = Leftovers(from->text("leftovers").value_or(""));
}

void Guardian::leave_to(Handover& handover) const {
  handover.put_descriptor(kPageName, page_.memory().get());
  handover.put_text("oom_score", oom_score_);
  handover.put_text("leftovers", leftovers_.text());
}

void Guardian::renew() noexcept {
  leftovers_.forget();
  page().died.store(0);
  page().error.store(0);
  page().program.store(-1);
  Page::set(page().message, "");
  page().upgrade_failure.back() = '\0';
}

Guardian::Page& Guardian::page() const noexcept { return *reinterpret_cast<Page*>(page_.data()); }

// ---- in the guardian ----------------------------------------------------------------------------

Outcome<void> Guardian::start(std::span<const int> not_ours, std::uint64_t most_ns) {
  const std::uint64_t until = monotonic_ns() + most_ns;
  if (oom_score_.empty()) oom_score_ = oom_score();
  set_oom_score("-1000");
  log_detach();  // what it has open is not to be shared
  auto descriptors = open_descriptors();
  if (!descriptors) return Error{descriptors.error().value(), "cannot read /proc/self/fd"};
  std::set_difference(descriptors->begin(), descriptors->end(), not_ours.begin(), not_ours.end(),
                      std::back_inserter(descriptors_));
  page().guardian.store(::getpid());
  page().deputy.store(0);
  page().upgrade.store(Upgrade::none);
  for (unsigned tries = 0; tries < kMostStillborn; ++tries) {
    log_detach();
    if (auto started = start_server(); !started) {
      leave_stop();
      return Error{started.error().value(), "cannot fork: " + started.error().to_string()};
    }
    if (stop_wanted_) (void)::kill(server_, SIGTERM);
    // ready() and failed() wake us by the same signal as its death.
    bool ended = false;
    while (!ended && page().state.load() == State::starting) {
      const std::uint64_t now = monotonic_ns();
      if (most_ns != 0 && now >= until) {
        kill_server();
        leave_stop();
        return Error{ETIMEDOUT, "the server does not come to serve"};
      }
      ended = wait_for_end(most_ns == 0 ? 0 : until - now);
    }
    if (page().state.load() == State::failed) {
      while (!ended) ended = wait_for_end(0);
      leave_stop();
      return failure();
    }
    if (page().state.load() != State::starting) return {};
    log_error("the server {} before it served", end_of_server());
  }
  leave_stop();
  return Error{EIO, "the server dies before it serves"};
}

// For the program that is executed next: what is sent to this process, and blocked, outlives that.
void Guardian::leave_stop() const noexcept {
  if (stop_wanted_) (void)::kill(::getpid(), SIGTERM);
}

Error Guardian::failure() const { return Error{page().error.load(), page().message.data()}; }

Outcome<Guardian::Ended> Guardian::watch() {
  unsigned young = 0;
  unsigned stillborn = 0;
  if (server_ == 0) start_next_server();  // a program that was to take over did not
  start_deputy();
  for (;;) {
    if (deputy_ == 0) start_deputy();
    answer_request();
    if (server_ != 0 && !wait_for_end(0)) {
      announce();
      continue;
    }
    tell_of_place();
    const State state = page().state.load();
    if (state == State::ended || state == State::failed) {
      end_deputy();
      if (state == State::failed) return failure();
      return Ended{.code = page().exit_code.load()};
    }
    page().died.store(monotonic_ns());
    if (page().upgrade.load() == Upgrade::agreed) {
      end_deputy();
      page().upgrade.store(Upgrade::none);
      server_ = 0;
      server_end_.reset();
      leave_stop();
      return Ended{.replace = true};
    }
    const std::uint64_t ready = page().ready.load();
    const bool has_served = page().has_served.load();
    young = !has_served || monotonic_ns() - ready < kYoung ? young + 1 : 0;
    stillborn = has_served ? 0 : stillborn + 1;
    if (server_ == 0 || adopted_) {
      log_error("the server is gone; starting another");
    } else {
      log_error("the server (pid {}) {}; starting another", server_, end_of_server());
    }
    if (manager_ != nullptr) manager_->note("STATUS=the server has died, starting another");
    server_ = 0;
    server_end_.reset();
    if (stillborn >= kMostStillborn) {
      end_deputy();
      return Error{EIO, "no server can live any more: each died before it served"};
    }
    if (young > kAtOnce) {
      const std::uint64_t pause =
          std::min(kFirstPause << std::min(young - kAtOnce - 1, 20U), kLongestPause);
      (void)wait_for_end(pause);
    }
    start_next_server();
  }
}

void Guardian::start_next_server() noexcept {
  log_detach();
  for (auto begun = start_server(); !begun; begun = start_server()) {
    log_error("cannot start a server: {}", begun.error().to_string());
    (void)wait_for_end(kSecond);
    log_detach();
  }
  if (stop_wanted_) (void)::kill(server_, SIGTERM);
}

Result<void> Guardian::start_server() noexcept {
  const bool again = page().starts.fetch_add(1) != 0;
  page().has_served.store(false);
  page().ending.store(false);
  page().dropping.store(false);
  page().state.store(State::starting);
  // Noted by the kernel, so that a deputy knows of it whenever this process is killed.
  const pid_t child = clone_with_descriptors(&page().server);
  if (child < 0) return Errno::last();
  if (child == 0) be_server(again);
  server_ = child;
  adopted_ = false;
  only_waited_ = false;
  pulse_.renew();
  silence_told_ = false;
  ended_at_ = 0;
  return ok();
}

bool Guardian::server_has_ended() noexcept {
  if (server_ <= 0) return false;
  if (only_waited_) return true;
  // Who drops pages has closed what it does not know, so /proc may be read here.
  if (page().dropping.load() && only_waits_for_successor(server_)) {
    only_waited_ = true;
    page().server.store(0);
    if (!adopted_) leftovers_.add(server_);
    return true;
  }
  if (adopted_) {
    if (!server_end_.valid()) {
      // While it takes over it closes every descriptor that it does not know. Where the kernel
      // does not say whether it is there still, it has had the time for that.
      if (page().state.load() == State::starting && has_memory(server_) &&
          monotonic_ns() - adopted_at_ < kLongestTakeover) {
        return false;
      }
      server_end_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, server_, 0)));
      if (!server_end_.valid()) return true;
    }
    pollfd ended{.fd = server_end_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&ended, 1, 0) == 1;
  }
  siginfo_t info{};
  const int found = ::waitid(P_PID, static_cast<id_t>(server_), &info, WEXITED | WNOHANG | WNOWAIT);
  if (found == 0 && info.si_pid == 0) return false;
  if (found < 0 && errno != ECHILD) return false;
  // Before its number can be another process's: a deputy would wait for that one.
  page().server.store(0);
  (void)::waitpid(server_, &status_, WNOHANG);
  return true;
}

std::string Guardian::end_of_server() const {
  return only_waited_ ? "was killed while it dropped pages" : end_of(status_);
}

bool Guardian::wait_for_end(std::uint64_t most_ns) noexcept {
  const std::uint64_t until = monotonic_ns() + most_ns;
  const State before = page().state.load();
  for (;;) {
    if (server_has_ended()) return true;
    leftovers_.reap();
    if (server_end_.valid()) tell_of_place();
    // It says ready(), or failed(), or asks, and sends the signal itself.
    if (page().state.load() != before || page().upgrade.load() == Upgrade::asked) return false;
    if (deputy_ > 0 && ::waitpid(deputy_, nullptr, WNOHANG) != 0) {
      deputy_ = 0;
      return false;
    }
    supervise();
    std::uint64_t left = tick_ns_;
    if (most_ns != 0) {
      const std::uint64_t now = monotonic_ns();
      if (now >= until) return false;
      left = until - now;
    }
    if (adopted_ && !server_end_.valid()) left = std::min(left == 0 ? kLook : left, kLook);
    if (page().dropping.load()) left = std::min(left == 0 ? kLookForRest : left, kLookForRest);
    const auto came = signals_.wait(server_end_.get(), left);
    if (server_ > 0 && came.stop) (void)::kill(server_, SIGTERM);
    if (came.stop && !stop_wanted_ && manager_ != nullptr) {
      manager_->note("STOPPING=1\nSTATUS=unmounting");
    }
    stop_wanted_ = stop_wanted_ || came.stop;
    if (server_ > 0 && came.reopen) (void)::kill(server_, SIGHUP);
  }
}

void Guardian::kill_server() noexcept {
  (void)::kill(server_, SIGKILL);
  while (!server_has_ended()) {
    const auto came = signals_.wait(-1, kLookForRest);
    stop_wanted_ = stop_wanted_ || came.stop;
  }
  server_ = 0;
}

// ---- the deputy ---------------------------------------------------------------------------------

// In the child it returns when that has become the guardian.
void Guardian::start_deputy() noexcept {
  log_detach();
  const pid_t guardian = ::getpid();
  const pid_t child = clone_with_descriptors();
  if (child < 0) {
    log_warning("no deputy for the guardian: {}", Errno::last().to_string());
    deputy_ = -1;  // not tried again
    page().deputy.store(0);
    return;
  }
  if (child > 0) {
    deputy_ = child;
    page().deputy.store(child);
    return;
  }
  deputy_ = 0;
  leftovers_.forget();          // the guardian's children
  (void)server_end_.release();  // the number is the guardian's, and may be anything later
  (void)::prctl(PR_SET_PDEATHSIG, SIGCHLD, 0, 0, 0);
  while (::getppid() == guardian) (void)signals_.wait(-1, 0);
  take_guardians_place();
}

// The guardian is gone. What it knew is in the page, and in this process's copy of its memory.
void Guardian::take_guardians_place() noexcept {
  page().guardian.store(::getpid());
  page().deputy.store(0);
  server_ = page().server.load();  // 0: it has ended, too, and watch() goes on with that
  adopted_ = server_ != 0;
  only_waited_ = false;
  adopted_at_ = monotonic_ns();
  place_told_ = false;
  start_deputy();
}

// Not while a server takes over: that closes every descriptor that it does not know, so also one by
// which a line is being written, and its number may be another file's before the line ends.
void Guardian::tell_of_place() noexcept {
  if (std::exchange(place_told_, true)) return;
  log_warning("the guardian was killed; pid {} watches the server now", ::getpid());
}

void Guardian::end_deputy() noexcept {
  if (deputy_ <= 0) return;
  (void)::kill(deputy_, SIGKILL);
  while (::waitpid(deputy_, nullptr, 0) < 0 && errno == EINTR) {
  }
  deputy_ = 0;
  page().deputy.store(0);
}

// ---- another program ----------------------------------------------------------------------------

void Guardian::answer_request() noexcept {
  if (page().upgrade.load() != Upgrade::asked) return;
  Outcome<void> tried = Error{ENOSYS, "this process cannot be replaced"};
  try {
    // A server that dies meanwhile is to be replaced at once.
    const auto wanted = [this] {
      supervise();
      return server_ > 0 && !server_has_ended();
    };
    if (calls_.try_program) tried = calls_.try_program(page().program.load(), wanted);
  } catch (const std::exception& error) {
    tried = Error{ENOMEM, error.what()};
  }
  if (!tried) {
    page().error.store(tried.error().code);
    Page::set(page().message, tried.error().message);
  }
  page().upgrade.store(tried ? Upgrade::agreed : Upgrade::refused);
}

int Guardian::program() const noexcept { return page().program.load(); }

void Guardian::note_upgrade(std::string_view failure) noexcept {
  if (failure.empty()) page().upgrades.fetch_add(1);
  Page::set(page().upgrade_failure, failure);
}

void Guardian::take_back_upgrade() noexcept { page().upgrades.fetch_sub(1); }

// Another one can get this number from now on, so the next server must not take it for ours.
void Guardian::let_go_of(int fd) noexcept {
  const auto found = std::lower_bound(descriptors_.begin(), descriptors_.end(), fd);
  if (found == descriptors_.end() || *found != fd) return;
  descriptors_.erase(found);
  (void)::close(fd);
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
  const std::uint64_t now = monotonic_ns();
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
    if (silence_told_ || monotonic_ns() - ended_at_ < kToDie) return;
    silence_told_ = true;
    log_error("the server (pid {}) does not end: a thread of it waits for the disk", server);
    return;
  }
  // A descriptor may be opened for a moment: a server that has served closes none that is not its.
  const Condition condition =
      page().has_served.load() ? condition_of(server, page().beater.load()) : Condition::ordinary;
  if (condition == Condition::ordinary) {
    ended_at_ = monotonic_ns();
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
  (void)std::snprintf(lines.data(), lines.size(),
                      "READY=1\nSTATUS=served by process %d, server number %llu", server_,
                      static_cast<unsigned long long>(starts));
  manager_->note(lines.data());
}

// ---- in the server ------------------------------------------------------------------------------

void Guardian::be_server(bool again) noexcept {
  set_oom_score(oom_score_);
  if (calls_.prepare) calls_.prepare();
  int code = 0;
  try {
    // Not on this thread, of which the C library may have the wrong number.
    std::thread([&] { code = calls_.serve(again); }).join();
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
    page().last_pause.store(monotonic_ns() - died);
  }
  page().ready.store(monotonic_ns());
  page().has_served.store(true);
}

void Guardian::beat() noexcept {
  page().beater.store(::gettid());
  page().beats.fetch_add(1);
}

// A deputy that takes the guardian's place says so before it looks, so one of them gets to know.
void Guardian::dropping(bool begun) noexcept {
  page().dropping.store(begun);
  if (begun) (void)::sigqueue(page().guardian.load(), SIGCHLD, sigval{});
}

void Guardian::ending() noexcept { page().ending.store(true); }

void Guardian::ready() noexcept {
  page().state.store(State::serving);
  (void)::sigqueue(page().guardian.load(), SIGCHLD, sigval{});
}

void Guardian::failed(const Error& error) noexcept {
  Page::set(page().message, error.message);
  page().error.store(error.code);
  page().state.store(State::failed);
  ::_exit(1);
}

Outcome<void> Guardian::ask_for_upgrade(int program) {
  page().program.store(program);
  page().upgrade.store(Upgrade::asked);
  const std::uint64_t until = monotonic_ns() + kLongestTrial;
  while (page().upgrade.load() == Upgrade::asked) {
    if (!is_watched()) {
      page().upgrade.store(Upgrade::none);
      return Error{ECHILD, "the guardian is gone"};
    }
    if (monotonic_ns() > until) return Error{ETIMEDOUT, "the guardian does not answer"};
    (void)::sigqueue(page().guardian.load(), SIGCHLD, sigval{});
    constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 1'000'000};
    (void)::nanosleep(&kPause, nullptr);
  }
  if (page().upgrade.load() != Upgrade::agreed) return failure();
  return {};
}

void Guardian::leave_to_program() noexcept {
  ending();
  page().state.store(State::replaced);
  ::_exit(0);
}

pid_t Guardian::guardian_pid() const noexcept { return page().guardian.load(); }
pid_t Guardian::deputy_pid() const noexcept { return page().deputy.load(); }
std::uint64_t Guardian::starts() const noexcept { return page().starts.load(); }
std::uint64_t Guardian::last_pause() const noexcept { return page().last_pause.load(); }
std::int64_t Guardian::died() const noexcept {
  return static_cast<std::int64_t>(page().died.load());
}
std::uint64_t Guardian::upgrades() const noexcept { return page().upgrades.load(); }
std::string Guardian::upgrade_failure() const { return page().upgrade_failure.data(); }

// The deputy first: when it takes the guardian's place it says so before it is none any more.
bool Guardian::is_watched() const noexcept {
  const pid_t deputy = page().deputy.load();
  const pid_t guardian = page().guardian.load();
  return ::kill(guardian, 0) == 0 || (deputy > 0 && ::kill(deputy, 0) == 0);
}

}  // namespace passthroughfs
