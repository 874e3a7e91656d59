// SPDX-License-Identifier: Apache-2.0
#include "base/signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

namespace passthroughfs {
namespace {

sigset_t handled_signals() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

void block_signals() noexcept {
  const sigset_t set = handled_signals();
  (void)pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // A background shell starts its children with SIGINT ignored, which would swallow it here too.
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) (void)signal(number, SIG_DFL);
  (void)signal(SIGPIPE, SIG_IGN);
}

SignalThread::SignalThread(std::function<void()> stop, std::function<void()> reopen)
    : stop_(std::move(stop)), reopen_(std::move(reopen)) {
  const sigset_t set = handled_signals();
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC));
  end_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread(&SignalThread::run, this);
}

SignalThread::~SignalThread() {
  const std::uint64_t one = 1;
  (void)!write(end_.get(), &one, sizeof one);
  thread_.join();
}

void SignalThread::run() {
  (void)pthread_setname_np(pthread_self(), "signals");
  for (;;) {
    std::array<pollfd, 2> waited = {{{end_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}}};
    if (poll(waited.data(), waited.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (waited[0].revents != 0) return;
    signalfd_siginfo info{};
    if (read(signals_.get(), &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGHUP && reopen_) {
      reopen_();
    } else {
      stop_();
    }
  }
}

}  // namespace passthroughfs
