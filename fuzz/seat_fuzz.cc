// SPDX-License-Identifier: Apache-2.0
//
// What a kernel ring entry may claim of itself: the sizes in its header decide where a request lies
// and where its answer goes. The input: a little-endian payload_sz (4 bytes), a byte that is not
// looked at further than bit 0 (the header's length is corrected to fit), the message header, the
// request's own struct (at most 128 bytes each) and the payload.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "channel/uring_seat.h"
#include "require.h"
#include "support/decode_any.h"

namespace {

using namespace passthroughfs;

constexpr std::size_t kPayload = 8192;

struct Owner final : SeatOwner {
  Result<void> answered(Seat& /*seat*/) override {
    ++answers;
    return ok();
  }
  int answers = 0;
};

bool inside(ByteSpan view, const std::byte* begin, const std::byte* end) {
  return view.empty() || (view.data() >= begin && view.data() + view.size() <= end);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Owner owner;
  static const std::unique_ptr<Seat> seat = std::move(*Seat::make(owner, kPayload));
  owner.answers = 0;
  if (size < 5) return 0;
  wire::UringReqHeader front{};
  const auto take = [&](void* to, std::size_t most) {
    const std::size_t n = std::min(most, size);
    std::memcpy(to, data, n);
    data += n;
    size -= n;
    return n;
  };
  take(&front.ring_ent_in_out.payload_sz, 4);
  std::uint8_t how = 0;
  take(&how, 1);
  take(front.in_out, sizeof(wire::InHeader));
  const std::size_t own = take(front.op_in, sizeof front.op_in);
  front.ring_ent_in_out.commit_id = 77;
  if ((how & 1) != 0) {
    const auto length =
        static_cast<std::uint32_t>(sizeof(wire::InHeader) + own + front.ring_ent_in_out.payload_sz);
    std::memcpy(front.in_out + offsetof(wire::InHeader, len), &length, sizeof length);
  }
  auto* const payload = static_cast<std::byte*>(seat->buffers()[1].iov_base);
  std::memcpy(seat->buffers()[0].iov_base, &front, sizeof front);
  std::memset(payload, 0, kPayload);
  take(payload, kPayload);

  auto incoming = seat->take();
  require(seat->commit_id() == 77);
  if (!incoming) {
    require(seat->refuse(EINVAL).has_value());
    require(owner.answers == 1);
  } else {
    // Header and struct stand in front of the payload, never further away than they are long.
    const std::byte* const begin = payload - sizeof(wire::InHeader) - sizeof front.op_in;
    const std::byte* const end = payload + kPayload;
    require(front.ring_ent_in_out.payload_sz <= kPayload);
    require(inside(incoming->request.body, begin, end));
    require(inside(incoming->request.extensions, begin, end));
    require(incoming->buffer.size() >= kPayload);
    const std::byte* const message_end = payload + front.ring_ent_in_out.payload_sz;
    require(incoming->buffer.data() >= message_end);
    (void)test::decode_any(incoming->request, {});
    // An answer from the buffer that was lent, from where the request lies, and too large a one.
    std::memset(incoming->buffer.data(), 'a', incoming->buffer.size());
    const std::size_t length = (how >> 1) * std::size_t{100};
    static const std::vector<std::byte> elsewhere(2 * kPayload, std::byte{'a'});
    const ByteSpan answer = length <= kPayload ? ByteSpan(incoming->buffer) : ByteSpan(elsewhere);
    const std::array<ByteSpan, 2> parts{ByteSpan(), answer.first(length)};
    const auto sent = seat->send(0, 0, parts);
    require(sent.has_value() == (length <= kPayload));
    require(owner.answers == 1);
    incoming->reply.none();
    wire::OutHeader out{};
    std::memcpy(&out, seat->buffers()[0].iov_base, sizeof out);
    require(out.unique == seat->header().unique);
    require(out.len == sizeof out + (length <= kPayload ? length : 0));
    require(out.error == (length <= kPayload ? 0 : -EIO));
    if (length <= kPayload) {
      require(
          std::all_of(payload, payload + length, [](std::byte b) { return b == std::byte{'a'}; }));
    }
  }
  return 0;
}
