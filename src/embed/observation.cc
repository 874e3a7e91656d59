// SPDX-License-Identifier: Apache-2.0
#include "embed/observation.h"

#include <pthread.h>

#include <csignal>
#include <exception>

#include "base/log.h"

namespace passthroughfs {
namespace {

// What happens within this time is told together.
constexpr std::chrono::milliseconds kGather{50};

}  // namespace

Observation::Observation(ChangeQueries& changes, Observer observer)
    : changes_(changes), observer_(std::move(observer)) {
  // The program's signals are for its own threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Observation::~Observation() { thread_.join(); }

void Observation::run() {
  (void)pthread_setname_np(pthread_self(), "observer");
  auto token = changes_.checkpoint();
  while (token) {
    const auto soon = std::chrono::steady_clock::now() + std::chrono::hours(1);
    if (!changes_.wait_for_change(*token, soon)) {
      if (changes_.is_interrupted()) return;
      continue;
    }
    std::this_thread::sleep_for(kGather);
    auto report = changes_.since(*token, true);
    if (!report) break;
    tell(*report);
    token = report->token;
  }
}

void Observation::tell(const ChangeReport& report) {
  if (!report.complete) log_warning("changes may be missing: {}", report.reason);
  for (const Change& change : report.changes) {
    try {
      observer_(change);
    } catch (const std::exception& error) {
      if (!has_thrown_) log_warning("the observer of changes threw: {}", error.what());
      has_thrown_ = true;
    } catch (...) {
      if (!has_thrown_) log_warning("the observer of changes threw");
      has_thrown_ = true;
    }
  }
}

}  // namespace passthroughfs
