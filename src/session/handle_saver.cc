// SPDX-License-Identifier: Apache-2.0
#include "session/handle_saver.h"

#include <cerrno>
#include <chrono>
#include <system_error>

#include "base/thread.h"

namespace passthroughfs {
namespace {

// What is younger than this is lost with all processes.
constexpr std::chrono::milliseconds kEvery{250};

}  // namespace

HandleSaver::~HandleSaver() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<void> HandleSaver::start() {
  try {
    thread_ = start_thread([this] { run(); });
  } catch (const std::system_error&) {
    return Err(EAGAIN);
  }
  return ok();
}

void HandleSaver::run() noexcept {
  for (;;) {
    const auto next = std::chrono::steady_clock::now() + kEvery;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && std::chrono::steady_clock::now() < next) {
        (void)changed_.wait_until(mutex_, next);
      }
      if (stopping_) return;
    }
    inodes_.save_handles();
  }
}

}  // namespace passthroughfs
