// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <memory>

#include "channel/channel.h"
#include "channel/pages.h"
#include "wire/abi.h"

namespace passthroughfs {

class Seat;

// Who sees to it that answers travel; see Seat.
class SeatOwner {
 public:
  // The answer is in the seat's memory; from now on the seat is the owner's again. By any thread.
  virtual Result<void> answered(Seat& seat) = 0;

 protected:
  ~SeatOwner() = default;
};

// One entry of a kernel ring queue: the memory in which a request arrives and its answer leaves.
//
// It is in one of three hands, which take turns: the kernel's (from its registration or a commit to
// the completion), the request's (from take() to the answer), the owner's (until the commit).
// Memory has no lock; the completion, answered() and the commit pass it on.
//
// Header and payload are registered as two buffers. The kernel puts the header and the request's
// own struct in the first, everything else (names, data) in the second, which the answer's data
// also leaves through. What lies in front of the payload is ours: take() puts header and struct
// there, so that the request is one piece for the decoders and the data of a WRITE page-aligned.
class Seat final : public wire::ReplySink {
 public:
  // `payload`: bytes, whole pages: the largest that the kernel may send or expect. Errors: ENOMEM.
  static Result<std::unique_ptr<Seat>> make(SeatOwner& owner, std::size_t payload);
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  ~Seat() = default;

  // For the registration: header, payload.
  [[nodiscard]] const std::array<iovec, 2>& buffers() const noexcept { return buffers_; }

  // What the kernel has put here. EINVAL: malformed; then refuse() is the answer.
  Result<Incoming> take() noexcept;
  // Answers without a Reply. Of the last take(), malformed or not.
  Result<void> refuse(int error) { return send(0, error, {}); }

  // The answer of the request that take() gave; `unique` adds nothing to that. Of the parts, one
  // may lie in the buffer that take() lent, anywhere; it is moved, or already where it must be.
  // EINVAL: larger than the payload (the client gets EIO), ENODEV: the connection is gone.
  Result<void> send(std::uint64_t unique, int error, std::span<const ByteSpan> parts) override;
  // The kernel has no end for a request on a ring but the commit, and without it not only the seat
  // is lost: a FORGET that comes this way has its client waiting (a READDIRPLUS whose entry the
  // kernel could not use), perhaps with a directory locked.
  void no_answer(std::uint64_t unique) noexcept override;

  // Names the request in the commit.
  [[nodiscard]] std::uint64_t commit_id() const noexcept { return commit_id_; }
  // Of the last take(); the opcode is 0 if not even that could be read.
  [[nodiscard]] const wire::InHeader& header() const noexcept { return header_; }

 private:
  Seat(SeatOwner& owner, Pages pages, std::size_t payload) noexcept;

  SeatOwner& owner_;
  const Pages pages_;
  wire::UringReqHeader& front_;
  const MutableByteSpan payload_;  // what the kernel sees of it
  const MutableByteSpan room_;     // payload_ and as much behind it
  std::array<iovec, 2> buffers_;
  wire::InHeader header_{};
  std::uint64_t commit_id_ = 0;
};

}  // namespace passthroughfs
