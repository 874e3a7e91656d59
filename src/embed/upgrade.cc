// SPDX-License-Identifier: Apache-2.0
#include "embed/upgrade.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/close_range.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "base/clock.h"
#include "guard/process.h"
#include "session/continuation.h"

extern "C" char** environ;

namespace passthroughfs {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kLongestTrial = 10 * kSecond;

// The command line and environment of a program that is to take over.
class Image {
 public:
  Image(const std::vector<std::string>& arguments, int handover)
      : arguments_(arguments), variable_(fmt::format("{}={}", kHandoverVariable, handover)) {
    for (const std::string& argument : arguments_) {
      argv_.push_back(const_cast<char*>(argument.c_str()));
    }
    argv_.push_back(nullptr);
    const std::string own = std::string(kHandoverVariable) + "=";
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (!std::string_view(*entry).starts_with(own)) envp_.push_back(*entry);
    }
    envp_.push_back(variable_.data());
    envp_.push_back(nullptr);
  }
  Errno execute(int program) noexcept {
    (void)::execveat(program, "", argv_.data(), envp_.data(), AT_EMPTY_PATH);
    return Errno::last();
  }

 private:
  std::vector<std::string> arguments_;
  std::string variable_;
  std::vector<char*> argv_, envp_;
};

void keep_over_exec(int fd) noexcept { (void)::fcntl(fd, F_SETFD, 0); }

// The last line of a memory file.
std::string last_line(int file) {
  std::array<char, 8192> text{};
  const ssize_t got = ::pread(file, text.data(), text.size(), 0);
  std::string_view rest(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  while (rest.ends_with('\n')) rest.remove_suffix(1);
  return std::string(rest.substr(rest.rfind('\n') + 1));
}

}  // namespace

std::string program_layout() { return "1: " + memory_layout(); }

Outcome<void> try_program(int program, const std::vector<std::string>& arguments, Handover handover,
                          const std::function<bool()>& wanted) {
  UniqueFd answer(::memfd_create("passthroughfs-answer", MFD_CLOEXEC));
  if (!answer.valid()) return Error{errno, "no memory for an answer"};
  handover.put_number(handed::kTrial, 1);
  handover.put_descriptor(handed::kAnswer, answer.get());
  auto file = handover.write();
  if (!file) return Error{file.error().value(), "no memory for a handover"};
  Image image(arguments, file->get());
  const std::vector<int> kept = handover.descriptors();
  const pid_t guardian = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return Error{errno, "cannot fork"};
  if (child == 0) {
    // Nobody else would end it, and it has the connection to the kernel open.
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != guardian) ::_exit(1);
    for (const int fd : kept) keep_over_exec(fd);
    keep_over_exec(file->get());
    (void)::dup2(answer.get(), STDERR_FILENO);  // what it says before it knows better
    const Errno why = image.execute(program);
    (void)!::dprintf(answer.get(), "%s",
                     fmt::format("cannot be executed: {}", why.to_string()).c_str());
    ::_exit(1);
  }
  const std::uint64_t until = monotonic_ns() + kLongestTrial;
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child || (ended < 0 && errno != EINTR)) break;
    const bool is_wanted = wanted();
    if (!is_wanted || monotonic_ns() > until) {
      (void)::kill(child, SIGKILL);
      while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
      if (!is_wanted) return Error{ECANCELED, "the server has died meanwhile"};
      return Error{ETIMEDOUT, "the new program does not say whether it can take over"};
    }
    constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 1'000'000};
    (void)::nanosleep(&kPause, nullptr);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && last_line(answer.get()) == "can take over") {
    return {};
  }
  std::string said = last_line(answer.get());
  if (said.empty()) said = "it " + end_of(status);
  return Error{ENOEXEC, "the new program cannot take over: " + said};
}

Errno replace_program(int program, const std::vector<std::string>& arguments,
                      const Handover& handover) {
  auto file = handover.write();
  if (!file) return file.error();
  auto open = open_descriptors();
  if (!open) return open.error();
  Image image(arguments, file->get());
  for (const int fd : *open) {
    if (fd != program) keep_over_exec(fd);
  }
  const Errno why = image.execute(program);
  (void)::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  return why;
}

namespace {

Result<Inheritance> inherit_from(int descriptor) {
  Inheritance out;
  out.handover = TRY(Handover::read(BorrowedFd(descriptor)));
  (void)::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  (void)::close(descriptor);
  const std::vector<int> named = out.handover.descriptors();
  for (const int fd : TRY(open_descriptors())) {
    if (fd > STDERR_FILENO && !std::binary_search(named.begin(), named.end(), fd)) {
      out.unnamed.push_back(fd);
    }
  }
  return out;
}

}  // namespace

std::optional<Result<Inheritance>> inherit() {
  const char* const value = std::getenv(kHandoverVariable);
  if (value == nullptr) return std::nullopt;
  char* end = nullptr;
  const long descriptor = std::strtol(value, &end, 10);
  const bool is_number = end != value && *end == '\0';
  (void)::unsetenv(kHandoverVariable);
  if (!is_number || descriptor < 0 || descriptor > INT_MAX) return Result<Inheritance>(Err(EPROTO));
  return inherit_from(static_cast<int>(descriptor));
}

}  // namespace passthroughfs
