// SPDX-License-Identifier: Apache-2.0
#include "session/worker.h"

#include <new>

#include "base/log.h"
#include "ops/op_table.h"
#include "session/pending_signal.h"
#include "session/worker_pool.h"
#include "wire/dump.h"

namespace passthroughfs {
namespace {

LogRateLimit g_exception_log(5);

// With allow_root the kernel lets everybody in (it has no such option), so it is refused here.
// Ending what was begun is always allowed.
bool refused(const ServeContext& serve, const wire::Request& request) noexcept {
  if (!serve.state.config.allow_root) return false;
  const std::uint32_t uid = request.header.uid;
  if (uid == 0 || uid == serve.owner) return false;
  switch (request.opcode()) {
    case wire::Opcode::forget:
    case wire::Opcode::batch_forget:
    case wire::Opcode::release:
    case wire::Opcode::releasedir:
    case wire::Opcode::flush:
    case wire::Opcode::interrupt:
    case wire::Opcode::destroy: return false;
    default: return true;
  }
}

}  // namespace

bool Worker::begin_blocking() noexcept {
  if (role_ == Role::bound) return false;
  set_state(State::blocked);
  if (role_ == Role::reader) pool_.ensure_reader();
  return true;
}

void Worker::end_blocking() noexcept { set_state(State::serving); }

bool Worker::interrupted() const noexcept {
  const std::uint64_t current = current_.load();
  if (interrupted_.load() == current) return true;
  if (role_ != Role::bound) return false;
  // A ring may have held the request for a while. INTERRUPT may have come meanwhile; and for a
  // signal that came before the kernel copied the request, it sends none at all.
  return pool_.interrupted_early(current) || has_pending_signal(client_);
}

void Worker::answered(std::uint64_t unique, int error, std::size_t bytes) noexcept {
  if (unique == current_.load(std::memory_order_relaxed)) {
    error_.store(error, std::memory_order_relaxed);
  }
  if (pool_.context().state.config.trace) {
    log_info("   unique={} {}", unique, wire::dump_reply(error, bytes));
  }
}

bool Worker::mark_interrupted(std::uint64_t unique) noexcept {
  if (current_.load() != unique) return false;
  interrupted_.store(unique);
  return true;
}

void Worker::serve(Incoming& incoming, std::uint64_t begin) noexcept {
  const wire::Request& request = incoming.request;
  const bool again = begin != 0;
  if (!again) begin = monotonic_ns();
  error_.store(0, std::memory_order_relaxed);
  current_.store(request.header.unique);
  client_ = static_cast<pid_t>(request.header.pid);
  incoming.reply.observe(*this);
  try {
    if (!again && pool_.context().state.config.trace) {
      log_info("{}", wire::dump(request, pool_.context().decode));
    }
    dispatch(request, std::move(incoming.reply), incoming.buffer);
  } catch (const std::exception& exception) {
    // The reply is answered already: with EIO by its destructor if nothing else came first.
    if (g_exception_log.allow()) {
      log_error("{} failed: {}", wire::opcode_name(request.opcode()), exception.what());
    }
  }
  current_.store(0);
  served_.store(served_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (moved_.pending()) {
    incoming.reply = std::move(moved_);
    pool_.serve_elsewhere(std::move(incoming), begin);
    return;
  }
  statistics_.record(request.header.opcode, error_.load(std::memory_order_relaxed) != 0,
                     monotonic_ns() - begin);
}

void Worker::dispatch(const wire::Request& request, wire::Reply reply, MutableByteSpan buffer) {
  ServeContext& serve = pool_.context();
  if (request.opcode() == wire::Opcode::interrupt) {
    auto interrupt = wire::decode<wire::InterruptRequest>(request, serve.decode);
    if (interrupt && !pool_.interrupt(interrupt->unique)) {
      // Not seen yet, or answered meanwhile: the kernel sends it again only in the first case.
      (void)reply.error(Err(EAGAIN));
    } else {
      reply.none();
    }
    return;
  }
  const Operation* operation = find_operation(request.header.opcode);
  if (operation == nullptr || operation->declined) {
    (void)reply.error(Err(ENOSYS));
    return;
  }
  if (operation->handler == nullptr) {
    (void)reply.error(Err(EIO));  // a second INIT: a broken peer
    return;
  }
  if (refused(serve, request)) {
    (void)reply.error(Err(EACCES));
    return;
  }
  OpContext context(serve.state, request, serve.decode, buffer, *this);
  operation->handler(context, std::move(reply));
  if (request.opcode() == wire::Opcode::setlkw && serve.state.locks.waiting() != 0) {
    pool_.poke();
  }
}

}  // namespace passthroughfs
