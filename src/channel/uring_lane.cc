// SPDX-License-Identifier: Apache-2.0
#include "channel/uring_lane.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/log.h"

namespace passthroughfs {
namespace {

// How many seats a ring starts with. One is what a thread can work on; what comes meanwhile waits
// in the kernel and travels back with the commit, so more only add to what is stuck when the thread
// is. See docs/performance.md for what others cost.
constexpr int kSeatsAtStart = 1;

constexpr std::uint64_t kKickBit = 1ULL << 62;

LogRateLimit g_malformed_log(2);
LogRateLimit g_ring_log(2);

thread_local UringQueue* t_queue = nullptr;
thread_local const Lane* t_lane = nullptr;

bool means_the_end(int error) noexcept {
  return error == ENOTCONN || error == ECONNABORTED || error == ECANCELED || error == ENODEV;
}

}  // namespace

std::uint64_t next_kick_number() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return kKickBit | (last.fetch_add(2, std::memory_order_relaxed) + 2);  // odd ones are interrupts
}

bool is_kick(const wire::InHeader& header) noexcept {
  return static_cast<wire::Opcode>(header.opcode) == wire::Opcode::notify_reply &&
         (header.unique & kKickBit) != 0;
}

// ---- the lane ----------------------------------------------------------------------------------

Result<void> Lane::answered(Seat& seat) {
  if (UringQueue* own = UringQueue::of_this_thread(*this)) {
    own->commit_later(seat);
    return ok();
  }
  const MutexLock lock(mutex_);
  if (queues_.empty()) return Err(ENODEV);
  mail_.push_back(&seat);
  // Sequentially consistent, as is asleep_: either the queue sees the mail before it sleeps, or it
  // is seen to sleep here.
  has_mail_.store(true);
  for (UringQueue* queue : queues_) {
    if (queue->wake_if_asleep()) break;
  }
  return ok();
}

void Lane::take_mail(std::vector<Seat*>& out) {
  if (!has_mail_.load(std::memory_order_acquire)) return;
  const MutexLock lock(mutex_);
  out.insert(out.end(), mail_.begin(), mail_.end());
  mail_.clear();
  has_mail_.store(false);
}

Result<Seat*> Lane::add_seat() {
  auto seat = TRY(Seat::make(*this, payload_));
  const MutexLock lock(mutex_);
  return seats_.emplace_back(std::move(seat)).get();
}

std::size_t Lane::seats() const {
  const MutexLock lock(mutex_);
  return seats_.size();
}

bool Lane::add_queue(UringQueue& queue) {
  const MutexLock lock(mutex_);
  queues_.push_back(&queue);
  return queues_.size() > 1;
}

void Lane::remove_queue(UringQueue& queue) noexcept {
  const MutexLock lock(mutex_);
  std::erase(queues_, &queue);
}

void Lane::wake_all() noexcept {
  const MutexLock lock(mutex_);
  for (UringQueue* queue : queues_) queue->wake();
}

bool Lane::kick(std::uint64_t likely) noexcept {
  // Without it requests end by themselves, and their commits fetch what waits.
  if (file_finder_ == nullptr) return false;
  const auto retrieve = [&](std::uint64_t node) {
    const wire::NotifyRetrieveOut out{
        .notify_unique = next_kick_number(), .nodeid = node, .offset = 0, .size = 0, .padding = 0};
    const std::array parts{bytes_of(out)};
    return rest_.notify(wire::Notify::retrieve, parts).has_value();
  };
  if (likely != 0 && retrieve(likely)) return true;
  const std::uint64_t open = file_finder_(finder_context_);
  return open != 0 && retrieve(open);
}

// ---- a queue -----------------------------------------------------------------------------------

UringQueue* UringQueue::of_this_thread(const Lane& lane) noexcept {
  return t_lane == &lane ? t_queue : nullptr;
}

bool UringQueue::wake_if_asleep() noexcept {
  if (!asleep_.exchange(false)) return false;
  wake();
  return true;
}

void UringQueue::wake() noexcept {
  const std::uint64_t one = 1;
  (void)!::write(event_.get(), &one, sizeof one);  // can only fail when it is readable anyway
}

Result<void> UringQueue::attach() {
  TRY(ring_->enable(BorrowedFd(device_)));
  t_queue = this;
  t_lane = &lane_;
  attached_ = true;
  // A second queue may find requests waiting that the first does not get to.
  unfetched_ = lane_.add_queue(*this);
  for (int i = 0; i < kSeatsAtStart; ++i) TRY(register_one());
  TRY(ring_->submit());
  // A refused registration completes at once, an accepted one when there is a request.
  reap();
  if (ended_) return Err(ENOTCONN);
  if (armed_ + ready_.size() == 0) return Err(EOPNOTSUPP);
  return ok();
}

void UringQueue::detach() noexcept {
  if (!attached_) return;
  attached_ = false;
  lane_.remove_queue(*this);
  t_queue = nullptr;
  t_lane = nullptr;
  ring_.reset();
}

Result<void> UringQueue::register_one() {
  Seat* const seat = TRY(lane_.add_seat());
  TRY(ring_->register_seat(*seat, lane_.cpu()));
  ++armed_;
  return ok();
}

Result<void> UringQueue::commit_answers() {
  lane_.take_mail(to_commit_);
  if (to_commit_.empty()) return ok();
  for (Seat* seat : to_commit_) {
    TRY(ring_->commit_and_fetch(*seat, lane_.cpu()));
    ++armed_;
  }
  to_commit_.clear();
  unfetched_ = false;
  lent_ = false;
  return ok();
}

Result<std::optional<Incoming>> UringQueue::next() {
  for (;;) {
    TRY(commit_answers());
    if (stop_.load(std::memory_order_relaxed)) return std::optional<Incoming>();
    if (!ready_.empty()) {
      // Answers do not wait for what comes next.
      if (ring_->has_submissions()) TRY(ring_->submit());
      Seat& seat = *ready_.front();
      ready_.pop_front();
      if (auto incoming = lend(seat)) return std::optional<Incoming>(std::move(*incoming));
      continue;
    }
    if (ended_) return Err(ESHUTDOWN);
    TRY(prepare_to_sleep());
    TRY(sleep());
    reap();
  }
}

// Sees to it that there is a seat for what comes and that nothing waits for a commit.
Result<void> UringQueue::prepare_to_sleep() {
  if (lent_) {
    // It was not answered here, so the seat that would have fetched the next one is away.
    lent_ = false;
    unfetched_ = true;
  }
  if (armed_ == 0 && !starved_) {
    if (auto added = register_one(); !added) {
      starved_ = true;
      if (g_ring_log.allow())
        log_warning("no memory for a ring entry: {}", added.error().to_string());
    }
    unfetched_ = true;
  }
  if (unfetched_ && armed_ != 0) {
    TRY(ring_->submit());
    unfetched_ = !lane_.kick(lent_node_);
  }
  if (!event_armed_) {
    TRY(ring_->read_event(event_.borrow()));
    event_armed_ = true;
  }
  return ok();
}

Result<void> UringQueue::sleep() {
  asleep_.store(true);
  if (lane_.has_mail() || stop_.load()) {
    asleep_.store(false);
    return ring_->submit();
  }
  auto slept = ring_->submit_and_wait();
  asleep_.store(false, std::memory_order_relaxed);
  starved_ = false;  // try again
  return slept;
}

void UringQueue::reap() {
  Ring::Completion completion{};
  while (ring_->take(completion)) settle(completion);
}

void UringQueue::settle(const Ring::Completion& completion) {
  if (completion.seat == nullptr) {
    event_armed_ = false;
    return;
  }
  --armed_;
  if (completion.result >= 0) {
    ready_.push_back(completion.seat);
  } else if (means_the_end(-completion.result)) {
    ended_ = true;
  } else {
    // The seat is lost. Another one takes its place when there is none left, unless it is that what
    // was refused.
    if (completion.seat->commit_id() == 0) starved_ = true;
    if (g_ring_log.allow()) {
      log_warning("ring entry of CPU {} refused: {}", lane_.cpu(),
                  Errno(-completion.result).to_string());
    }
  }
}

std::optional<Incoming> UringQueue::lend(Seat& seat) {
  auto incoming = seat.take();
  if (incoming && !is_kick(seat.header())) {
    lent_ = true;
    lent_node_ = seat.header().nodeid;
    return std::move(*incoming);
  }
  if (incoming) {
    incoming->reply.no_answer();
    return std::nullopt;
  }
  if (g_malformed_log.allow()) {
    const wire::InHeader& header = seat.header();
    log_warning("malformed request on a ring: {} len={} unique={} extlen={}",
                wire::opcode_name(static_cast<wire::Opcode>(header.opcode)), header.len,
                header.unique, header.total_extlen);
  }
  (void)seat.refuse(EINVAL);
  return std::nullopt;
}

}  // namespace passthroughfs
