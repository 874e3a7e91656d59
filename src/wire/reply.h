// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"
#include "wire/abi.h"

namespace passthroughfs::wire {

// Takes the answer to one request to the kernel. Implemented by queues; the only thing that
// operations see of them. Thread-safe: an answer may come from a thread other than the reader's.
class ReplySink {
 public:
  // `error` is a positive errno or 0; `parts` are sent one after the other behind the header (at
  // most kMaxParts). Errors: ENOENT when the kernel has given the request up (interrupted, aborted
  // or unmounted), EINVAL when it refuses the answer, ENODEV when the transport is gone.
  virtual Result<void> send(std::uint64_t unique, int error, std::span<const ByteSpan> parts) = 0;

  static constexpr std::size_t kMaxParts = 6;

  // Answers with `size` bytes of a file from `offset` on, which are not copied on the way. Only by
  // the thread that reads the requests, and worth it for many pages. EOPNOTSUPP: nothing was sent,
  // and this sink or file cannot do it, or not with so many bytes; send() will do. Other errors: as
  // send().
  virtual Result<void> send_file(std::uint64_t /*unique*/, BorrowedFd /*file*/,
                                 std::uint64_t /*offset*/, std::size_t /*size*/) {
    return Err(EOPNOTSUPP);
  }
  [[nodiscard]] virtual bool sends_files() const noexcept { return false; }

  // A request that has no answer is done with, and its memory is not read any more. Most transports
  // need not be told.
  virtual void no_answer(std::uint64_t /*unique*/) noexcept {}

 protected:
  ~ReplySink() = default;
};

// Hears of each answer just before it is sent (of a file's data: just after), on the thread that
// sends it: for statistics, traces.
class AnswerObserver {
 public:
  // `parts`: what follows the header; empty if those `bytes` come from a file.
  virtual void answered(std::uint64_t unique, int error, std::size_t bytes,
                        std::span<const ByteSpan> parts) noexcept = 0;

 protected:
  ~AnswerObserver() = default;
};

// The duty to answer one request, once. Move-only. Destroyed unanswered it answers EIO and logs:
// a forgotten reply must not hang a caller.
class Reply {
 public:
  Reply() noexcept = default;
  Reply(ReplySink& sink, std::uint64_t unique, std::uint32_t opcode) noexcept
      : sink_(&sink), unique_(unique), opcode_(opcode) {}
  Reply(Reply&& other) noexcept
      : sink_(std::exchange(other.sink_, nullptr)),
        observer_(other.observer_),
        unique_(other.unique_),
        opcode_(other.opcode_) {}
  Reply& operator=(Reply&& other) noexcept;
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;
  ~Reply();

  [[nodiscard]] bool pending() const noexcept { return sink_ != nullptr; }
  // As in the header, the resend mark included.
  [[nodiscard]] std::uint64_t unique() const noexcept { return unique_; }

  // Each of these answers, and leaves nothing pending. A result other than success means that the
  // client did not get the answer (ENOENT: it was interrupted), so what the answer handed over
  // (lookup counts, handles) must be taken back.
  Result<void> ok() { return send(0, {}); }
  Result<void> data(ByteSpan bytes);
  Result<void> parts(std::span<const ByteSpan> parts) { return send(0, parts); }
  template <typename T>
  requires std::is_trivially_copyable_v<T> Result<void> value(const T& out) {
    return data(bytes_of(out));
  }
  Result<void> error(Errno error) { return send(error.value(), {}); }
  // An answer that was made before, as `error` (0 or positive) and bytes. One that the kernel does
  // not take is damaged, and the client gets EIO.
  Result<void> once_more(int error, ByteSpan bytes);

  // See ReplySink::send_file(). After EOPNOTSUPP the duty is still pending.
  [[nodiscard]] bool sends_files() const noexcept {
    return sink_ != nullptr && sink_->sends_files();
  }
  Result<void> file(BorrowedFd file, std::uint64_t offset, std::size_t size);

  // For requests that have no answer (FORGET), when they are done with: the last use of their
  // bytes.
  void no_answer() noexcept {
    if (sink_ != nullptr) std::exchange(sink_, nullptr)->no_answer(unique_);
  }
  // Nobody waits any more, the transport included.
  void none() noexcept { sink_ = nullptr; }

  // Tells `observer` of the answer, and nobody else any more. It has to outlive this duty.
  void observe(AnswerObserver& observer) noexcept { observer_ = &observer; }

 private:
  Result<void> send(int error, std::span<const ByteSpan> parts);
  void drop() noexcept;

  ReplySink* sink_ = nullptr;
  AnswerObserver* observer_ = nullptr;
  std::uint64_t unique_ = 0;
  std::uint32_t opcode_ = 0;
};

}  // namespace passthroughfs::wire
