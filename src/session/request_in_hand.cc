// SPDX-License-Identifier: Apache-2.0
#include "session/request_in_hand.h"

#include <algorithm>

namespace passthroughfs {
namespace {

// RENAME has two names of 255 bytes, SYMLINK a target of 4095 besides its name.
constexpr std::size_t kMostBody = 8192;

// The owner may be done with the request and read the next one into the same memory meanwhile. Then
// the copy is thrown away, so what it says does not matter.
__attribute__((no_sanitize("thread"))) void copy_racing(const std::byte* from, std::byte* to,
                                                        std::size_t size) noexcept {
  for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<const volatile std::byte*>(from)[i];
}

}  // namespace

void RequestRecord::copy_to(RequestInHand& copy) const {
  constexpr auto kOrdered = std::memory_order_acquire;
  copy.begin = begin_.load(kOrdered);
  copy.node = node_.load(kOrdered);
  copy.opcode = opcode_.load(kOrdered);
  copy.client = client_.load(kOrdered);
  const std::byte* const body = body_.load(kOrdered);
  copy.body.resize(body == nullptr ? 0 : std::min(body_size_.load(kOrdered), kMostBody));
  copy_racing(body, copy.body.data(), copy.body.size());
}

}  // namespace passthroughfs
