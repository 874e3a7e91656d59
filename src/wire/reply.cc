// SPDX-License-Identifier: Apache-2.0
#include "wire/reply.h"

#include <cerrno>
#include <exception>

#include "base/log.h"
#include "wire/opcode.h"

namespace passthroughfs::wire {
// Runs in destructors, so nothing may leave it. Who drops a reply has a bug: that is worth a line
// each time, and it cannot be provoked at will by a client.
void Reply::drop() noexcept {
  try {
    log_warning("{} unique={} was not answered; it gets EIO",
                opcode_name(static_cast<Opcode>(opcode_)), unique_);
    (void)send(EIO, {});  // nobody is left to tell
  } catch (const std::exception&) {
    // No memory for the log line or the answer.
  }
}

Reply& Reply::operator=(Reply&& other) noexcept {
  if (this != &other) {
    if (pending()) drop();
    observer_ = other.observer_;
    sink_ = std::exchange(other.sink_, nullptr);
    unique_ = other.unique_;
    opcode_ = other.opcode_;
  }
  return *this;
}

Reply::~Reply() {
  if (pending()) drop();
}

Result<void> Reply::data(ByteSpan bytes) { return send(0, std::span<const ByteSpan>(&bytes, 1)); }

Result<void> Reply::once_more(int error, ByteSpan bytes) {
  ReplySink* const sink = sink_;
  auto sent = send(error, std::span<const ByteSpan>(&bytes, bytes.empty() ? 0 : 1));
  if (!sent && sent.error() == EINVAL && sink != nullptr) (void)sink->send(unique_, EIO, {});
  return sent;
}

Result<void> Reply::file(BorrowedFd file, std::uint64_t offset, std::size_t size) {
  if (!pending()) return Err(EINVAL);
  auto sent = sink_->send_file(unique_, file, offset, size);
  if (!sent && sent.error() == EOPNOTSUPP) return sent;
  if (observer_ != nullptr) observer_->answered(unique_, 0, size, {});
  none();
  return sent;
}

Result<void> Reply::send(int error, std::span<const ByteSpan> parts) {
  // A second answer would be taken for an answer to a later request with the same number.
  if (!pending() || parts.size() > ReplySink::kMaxParts) return Err(EINVAL);
  if (observer_ != nullptr) {
    std::size_t bytes = 0;
    for (const ByteSpan part : parts) bytes += part.size();
    observer_->answered(unique_, error, bytes, parts);
  }
  return std::exchange(sink_, nullptr)->send(unique_, error, parts);
}

}  // namespace passthroughfs::wire
