// SPDX-License-Identifier: Apache-2.0
#include "support/run_as.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <system_error>

#include "support/wait_until.h"

namespace passthroughfs::test {
namespace {

constexpr int kFailed = 1;

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n <= 0) {
      return;
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// Sends each failure of the child to the parent, which is the only one to print.
class Reporter : public ::testing::EmptyTestEventListener {
 public:
  explicit Reporter(int fd) : fd_(fd) {}
  bool failed() const { return failed_; }

 private:
  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) {
      return;
    }
    failed_ = true;
    write_all(fd_, std::string(result.file_name() != nullptr ? result.file_name() : "?") + ":" +
                       std::to_string(result.line_number()) + ": " + result.message() + "\n");
  }

  int fd_;
  bool failed_ = false;
};

void become(const Identity& who) {
  if (setgroups(who.groups.size(), who.groups.data()) != 0 ||
      setresgid(who.gid, who.gid, who.gid) != 0 || setresuid(who.uid, who.uid, who.uid) != 0) {
    throw std::system_error(errno, std::generic_category(), "become another user");
  }
  // Changing ids made /proc/self root's; the child shall be able to use its own.
  (void)prctl(PR_SET_DUMPABLE, 1);
}

[[noreturn]] void run_child(int report, const Identity* who, const std::function<void()>& body) {
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  delete listeners.Release(listeners.default_xml_generator());
  auto* reporter = new Reporter(report);  // the listener list owns it
  listeners.Append(reporter);
  try {
    if (who != nullptr) {
      become(*who);
    }
    body();
  } catch (const std::exception& error) {
    write_all(report, std::string("exception: ") + error.what() + "\n");
    _exit(kFailed);
  }
  _exit(reporter->failed() ? kFailed : 0);
}

pid_t start(int* report, const Identity* who, const std::function<void()>& body) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe");
  }
  (void)fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) {
    throw std::system_error(errno, std::generic_category(), "fork");
  }
  if (pid == 0) {
    close(ends[0]);
    run_child(ends[1], who, body);
  }
  close(ends[1]);
  *report = ends[0];
  return pid;
}

std::string drain(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  // The child is gone; its own children may still hold the other end, so never block.
  (void)fcntl(fd, F_SETFL, O_NONBLOCK);
  for (ssize_t n = 0; (n = read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

void traced(const Identity* who, Trace& trace, const std::function<void(Trace&)>& body) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe");
  }
  auto wrapped = [&] {
    Trace inner;
    body(inner);
    write_all(ends[1], inner.text());
  };
  {
    // A pipe holds 64 KiB, more than any trace here; it is read after the child's end.
    Child child = who != nullptr ? Child(*who, wrapped) : Child(wrapped);
    close(ends[1]);
    child.join();
  }
  trace.append(drain(ends[0]));
  close(ends[0]);
}

}  // namespace

Child::Child(const std::function<void()>& body) { pid_ = start(&report_, nullptr, body); }

Child::Child(const Identity& who, const std::function<void()>& body) {
  pid_ = start(&report_, &who, body);
}

Child::~Child() {
  if (pid_ > 0) {
    kill();
  }
  close(report_);
}

bool Child::sleeps_in(long number) const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/syscall");
  std::string first;
  return (file >> first) && first == std::to_string(number);
}

void Child::signal(int number) const { ::kill(pid_, number); }

bool Child::wait(int* status) const {
  return wait_until([&] { return waitpid(pid_, status, WNOHANG) == pid_; });
}

bool Child::join() {
  int status = 0;
  if (!wait(&status)) {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/syscall");
    std::string where;
    std::getline(file, where);
    ADD_FAILURE() << "child did not end in time; it is in system call " << where;
    kill();
    return false;
  }
  pid_ = -1;
  const std::string text = drain(report_);
  const bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!good || !text.empty()) {
    ADD_FAILURE() << "in a child process"
                  << (WIFSIGNALED(status)
                          ? " (killed by signal " + std::to_string(WTERMSIG(status)) + ")"
                          : "")
                  << ":\n"
                  << text;
  }
  return good;
}

void Child::kill() {
  ::kill(pid_, SIGKILL);
  int status = 0;
  if (!wait(&status)) {
    ADD_FAILURE() << "child " << pid_ << " survives SIGKILL: it hangs in the kernel";
  }
  pid_ = -1;
}

void run_as(const Identity& who, const std::function<void()>& body) { Child(who, body).join(); }

void in_child(const std::function<void()>& body) { Child(body).join(); }

void run_as(const Identity& who, Trace& trace, const std::function<void(Trace&)>& body) {
  traced(&who, trace, body);
}

void in_child(Trace& trace, const std::function<void(Trace&)>& body) {
  traced(nullptr, trace, body);
}

Gate::Gate() : fd_(eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK)) {}

Gate::~Gate() { close(fd_); }

void Gate::pass(unsigned count) const {
  const std::uint64_t value = count;
  (void)!write(fd_, &value, sizeof value);
}

bool Gate::wait() const {
  const auto end = std::chrono::steady_clock::now() + patience();
  for (;;) {
    std::uint64_t value = 0;
    if (read(fd_, &value, sizeof value) == sizeof value) {
      return true;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return false;
    }
    pollfd wanted{fd_, POLLIN, 0};
    (void)poll(&wanted, 1, static_cast<int>(left.count()));
  }
}

}  // namespace passthroughfs::test
