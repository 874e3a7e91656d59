// SPDX-License-Identifier: Apache-2.0
#include "base/thread.h"

#include <pthread.h>

namespace passthroughfs {

SignalsBlocked::SignalsBlocked() noexcept {
  sigset_t all;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { (void)pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace passthroughfs
