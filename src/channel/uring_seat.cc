// SPDX-License-Identifier: Apache-2.0
#include "channel/uring_seat.h"

#include <cstring>
#include <exception>

#include "channel/sendable_errno.h"

namespace passthroughfs {
namespace {

// Behind the names that a request brings, answers are built at this alignment.
constexpr std::size_t kBufferAlignment = 64;

bool within(ByteSpan outer, ByteSpan inner) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(outer.data());
  const auto at = reinterpret_cast<std::uintptr_t>(inner.data());
  return at >= begin && at < begin + outer.size();
}

}  // namespace

Result<std::unique_ptr<Seat>> Seat::make(SeatOwner& owner, std::size_t payload) {
  // Only what is used becomes memory: the second half of the room when a request with a payload has
  // an answer with one.
  Pages pages = TRY(Pages::map(page_size() + 2 * payload));
  // A huge page would make two megabytes of the first byte.
  (void)::madvise(pages.bytes().data(), pages.bytes().size(), MADV_NOHUGEPAGE);
  return std::unique_ptr<Seat>(new Seat(owner, std::move(pages), payload));
}

Seat::Seat(SeatOwner& owner, Pages pages, std::size_t payload) noexcept
    : owner_(owner),
      pages_(std::move(pages)),
      front_(*reinterpret_cast<wire::UringReqHeader*>(pages_.bytes().data())),
      payload_(pages_.bytes().subspan(page_size(), payload)),
      room_(pages_.bytes().subspan(page_size(), 2 * payload)),
      buffers_{{{&front_, sizeof front_}, {payload_.data(), payload_.size()}}} {}

Result<Incoming> Seat::take() noexcept {
  wire::UringEntInOut entry{};
  std::memcpy(&entry, &front_.ring_ent_in_out, sizeof entry);
  std::memcpy(&header_, front_.in_out, sizeof header_);
  commit_id_ = entry.commit_id;
  const std::size_t outside = sizeof header_ + std::size_t{entry.payload_sz};
  if (entry.payload_sz > payload_.size() || header_.len < outside ||
      header_.len - outside > sizeof front_.op_in) {
    return Err(EINVAL);
  }
  const std::size_t own = header_.len - outside;
  std::byte* const begin = payload_.data() - own - sizeof header_;
  std::memcpy(begin, &header_, sizeof header_);
  std::memcpy(begin + sizeof header_, front_.op_in, own);
  const wire::Request request = TRY(wire::parse_request(ByteSpan(begin, header_.len)));
  const std::size_t used = align_up(entry.payload_sz, kBufferAlignment);
  return Incoming{.request = request,
                  .reply = wire::Reply(*this, header_.unique, header_.opcode),
                  .buffer = room_.subspan(used, room_.size() - payload_.size())};
}

Result<void> Seat::send(std::uint64_t /*unique*/, int error, std::span<const ByteSpan> parts) {
  std::size_t total = 0;
  for (const ByteSpan part : parts) total += part.size();
  Result<void> fits = ok();
  if (total > payload_.size()) {
    fits = Err(EINVAL);
    error = EIO;
  }
  if (error != 0) total = 0;
  if (total != 0) {
    // First the part that the others could overwrite.
    for (const bool inside : {true, false}) {
      std::size_t at = 0;
      for (const ByteSpan part : parts) {
        std::byte* const to = payload_.data() + at;
        at += part.size();
        if (part.empty() || to == part.data() || within(room_, part) != inside) continue;
        std::memmove(to, part.data(), part.size());
      }
    }
  }
  const wire::OutHeader out{.len = static_cast<std::uint32_t>(sizeof out + total),
                            .error = -sendable_errno(error),
                            .unique = header_.unique};
  std::memcpy(front_.in_out, &out, sizeof out);
  front_.ring_ent_in_out.payload_sz = static_cast<std::uint32_t>(total);
  auto travels = owner_.answered(*this);
  return travels ? fits : travels;
}

void Seat::no_answer(std::uint64_t unique) noexcept {
  try {
    (void)send(unique, 0, {});
  } catch (const std::exception&) {
    // No memory to remember the seat: it is lost.
  }
}

}  // namespace passthroughfs
