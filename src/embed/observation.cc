// SPDX-License-Identifier: Apache-2.0
#include "embed/observation.h"

#include <pthread.h>

#include <chrono>
#include <exception>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/thread.h"

namespace passthroughfs {
namespace {

// What happens within this time is told together.
constexpr std::chrono::milliseconds kGather{50};

}  // namespace

Observation::Observation(ChangeQueries& changes, Observer observer)
    : changes_(changes), observer_(std::move(observer)) {
  thread_ = start_thread([this] { run(); });
}

Observation::~Observation() { thread_.join(); }

void Observation::run() {
  (void)pthread_setname_np(pthread_self(), "observer");
  // From the mount's beginning, however long this thread took to begin.
  std::optional<std::string> token;
  while (!changes_.is_interrupted()) {
    auto report = changes_.since(token, true);
    if (!report) {
      if (changes_.is_interrupted()) break;
      log_error("no more changes are told to the observer: {}", report.error().message);
      return;
    }
    tell(*report);
    token = report->token;
    while (!changes_.is_interrupted() &&
           !changes_.wait_for_change(*token,
                                     std::chrono::steady_clock::now() + std::chrono::hours(1))) {
    }
    if (!changes_.is_interrupted()) std::this_thread::sleep_for(kGather);
  }
  if (auto last = changes_.until_end(token)) {
    tell(*last);
  } else {
    log_warning("the last changes are not told to the observer: {}", last.error().message);
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
