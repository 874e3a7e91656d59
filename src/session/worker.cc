// SPDX-License-Identifier: Apache-2.0
#include "session/worker.h"

#include <cstring>
#include <ctime>
#include <new>

#include "base/fault.h"
#include "base/log.h"
#include "ops/op_table.h"
#include "session/pending_signal.h"
#include "session/worker_pool.h"
#include "wire/dump.h"

namespace passthroughfs {
namespace {

LogRateLimit g_exception_log(5);

// No system call.
std::int64_t coarse_ns(clockid_t clock) noexcept {
  timespec now{};
  (void)::clock_gettime(clock, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

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

void Worker::answered(std::uint64_t unique, int error, std::size_t bytes,
                      std::span<const ByteSpan> parts) noexcept {
  if (unique == current_.load(std::memory_order_relaxed)) {
    error_.store(error, std::memory_order_relaxed);
    if (ledger_ != nullptr) note_answer(error, bytes, parts);
  }
  if (pool_.context().state.config.trace) {
    log_info("   unique={} {}", unique, wire::dump_reply(error, bytes));
  }
}

// ---- what a successor of this process would have to know ----------------------------------------

// False: the request is answered already.
bool Worker::open_ledger(Incoming& incoming) noexcept {
  const wire::InHeader& header = incoming.request.header;
  const std::uint64_t unique = incoming.request.unique();
  repeat_ = {};
  if (incoming.request.resent() && !take_over(incoming, unique)) return false;
  const Operation* const operation = find_operation(header.opcode);
  must_note_ = operation != nullptr && operation->effect != Effect::none;
  Ledger& ledger = *ledger_;
  ledger.phase.store(Ledger::kServing, std::memory_order_relaxed);
  ledger.opcode = header.opcode;
  ledger.node = header.nodeid;
  ledger.granted.store(0, std::memory_order_relaxed);
  ledger.forgotten.store(0, std::memory_order_relaxed);
  ledger.handle.store(0, std::memory_order_relaxed);
  ledger.has_result = 0;
  ledger.attempted = coarse_ns(CLOCK_MONOTONIC_COARSE);
  if (!repeat_.again) {
    ledger.began = coarse_ns(CLOCK_REALTIME_COARSE);
    ledger.deaths = ledger.blame = 0;
    ledger.subject_device = ledger.subject_ino = 0;
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  ledger.unique.store(unique, std::memory_order_release);
  if (Ledger* const earlier = std::exchange(earlier_, nullptr)) Recovery::close(*earlier);
  return true;
}

// A request that is sent again, because a process died that had it in hand: what that process had
// done for it. False: it is answered.
bool Worker::take_over(Incoming& incoming, std::uint64_t unique) noexcept {
  Recovery& recovery = pool_.context().recovery;
  Ledger* const earlier = recovery.claim(unique);
  if (earlier == nullptr) return true;
  if (earlier->opcode != incoming.request.header.opcode ||
      earlier->node != incoming.request.header.nodeid) {
    Recovery::close(*earlier);  // damaged
    return true;
  }
  if (earlier->phase.load() == Ledger::kAnswering && earlier->has_result != 0) {
    const ByteSpan result = ByteSpan(earlier->result).first(earlier->result_bytes);
    if (!incoming.reply.once_more(earlier->result_error, result)) recovery.take_back(*earlier);
    Recovery::close(*earlier);
    return false;
  }
  recovery.take_back(*earlier);
  repeat_ = {.again = true,
             .began = earlier->began,
             .subject = {earlier->subject_device, earlier->subject_ino}};
  ledger_->began = earlier->began;
  ledger_->deaths = earlier->deaths;
  ledger_->blame = earlier->blame;
  ledger_->subject_device = earlier->subject_device;
  ledger_->subject_ino = earlier->subject_ino;
  if (earlier->blame >= Recovery::kMostBlame) {
    log_error("{} of node {:#x} has ended {} processes: it gets EIO",
              wire::opcode_name(incoming.request.opcode()), earlier->node, earlier->deaths);
    (void)incoming.reply.error(Err(EIO));
    Recovery::close(*earlier);
    return false;
  }
  if (earlier->blame >= Recovery::kSuspect) {
    // While it waits for its turn it is not suspected.
    earlier->phase.store(Ledger::kWaiting);
    alone_ = std::unique_lock(recovery.suspects());
  }
  earlier_ = earlier;
  return true;
}

// The result before the phase, so that who finds the phase has the result.
void Worker::note_answer(int error, std::size_t bytes, std::span<const ByteSpan> parts) noexcept {
  Ledger& ledger = *ledger_;
  fault_point(Fault::done);
  if (must_note_ && bytes <= Ledger::kResultRoom) {
    std::size_t at = 0;
    for (const ByteSpan part : parts) {
      std::memcpy(ledger.result.data() + at, part.data(), part.size());
      at += part.size();
    }
    ledger.result_bytes = static_cast<std::uint32_t>(bytes);
    ledger.result_error = error;
    ledger.has_result = 1;
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  ledger.phase.store(Ledger::kAnswering, std::memory_order_release);
  fault_point(Fault::noted);
}

bool Worker::mark_interrupted(std::uint64_t unique) noexcept {
  if (current_.load() != unique) return false;
  interrupted_.store(unique);
  return true;
}

std::uint64_t Worker::has_long_in_hand(std::uint64_t begun_before) const noexcept {
  const std::uint64_t unique = current_.load();
  return unique != 0 && record_.begin() < begun_before ? unique : 0;
}

bool Worker::copy_request(std::uint64_t unique, RequestInHand& copy) {
  if (current_.load() != unique) return false;
  record_.copy_to(copy);
  copy.unique = unique;
  copy.thread = tid_.load();
  copy.interrupted = interrupted_.load() == unique;
  // A change of nothing, because a load could be done before the copy is.
  return current_.fetch_add(0) == unique;
}

void Worker::serve(Incoming& incoming, std::uint64_t begin) noexcept {
  const wire::Request& request = incoming.request;
  const bool again = begin != 0;
  if (!again) begin = monotonic_ns();
  if (!again) client_away_.waited(begin - last_end_);
  error_.store(0, std::memory_order_relaxed);
  if (ledger_ != nullptr && !open_ledger(incoming)) return;
  record_.note(request, begin);
  current_.store(request.header.unique);
  client_ = static_cast<pid_t>(request.header.pid);
  if (role_ == Role::reader) recent_clients_.note(request.header);
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
  if (ledger_ != nullptr) {
    fault_point(Fault::replied);
    Recovery::close(*ledger_);
    alone_ = {};
  }
  served_.store(served_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (moved_.pending()) {
    incoming.reply = std::move(moved_);
    pool_.serve_elsewhere(std::move(incoming), begin);
    return;
  }
  last_end_ = monotonic_ns();
  statistics_.record(request.header.opcode, error_.load(std::memory_order_relaxed) != 0,
                     last_end_ - begin);
}

void Worker::dispatch(const wire::Request& request, wire::Reply reply, MutableByteSpan buffer) {
  ServeContext& serve = pool_.context();
  if (request.opcode() == wire::Opcode::interrupt) {
    auto interrupt = wire::decode<wire::InterruptRequest>(request, serve.decode);
    if (interrupt && !pool_.interrupt(interrupt->unique)) {
      // Not seen yet, or answered meanwhile: the kernel sends it again only in the first case.
      (void)reply.error(Err(EAGAIN));
    } else {
      reply.no_answer();
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
  OpContext context(serve.state, request, serve.decode, buffer, *this, repeat_);
  operation->handler(context, std::move(reply));
  if (request.opcode() == wire::Opcode::setlkw && serve.state.locks.waiting() != 0) {
    pool_.poke();
  }
}

}  // namespace passthroughfs
