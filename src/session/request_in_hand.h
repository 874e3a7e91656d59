// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "wire/requests.h"

namespace passthroughfs {

// A copy of what a worker has in hand, for a thread that looks at it from outside.
struct RequestInHand {
  std::uint64_t unique = 0;  // 0: none
  std::uint64_t begin = 0;   // monotonic_ns(): when it was taken up
  std::uint32_t opcode = 0;
  std::uint64_t node = 0;
  std::uint32_t client = 0;  // a thread; 0: the kernel, or one that cannot be seen from here
  pid_t thread = 0;          // that serves it
  bool interrupted = false;
  std::vector<std::byte> body;  // its beginning, as far as names reach

  // A view of this copy. Only the fields of the header that are kept here are set.
  [[nodiscard]] wire::Request request() const noexcept {
    wire::Request request{};
    request.header.opcode = opcode;
    request.header.nodeid = node;
    request.header.pid = client;
    request.header.unique = unique;
    request.body = body;
    return request;
  }
};

// Where a worker says what it serves: plain stores, for each request. The worker says whether the
// record counts, by a number of the request that it sets afterwards and clears first.
class RequestRecord {
 public:
  void note(const wire::Request& request, std::uint64_t begin) noexcept {
    constexpr auto kPlain = std::memory_order_relaxed;
    begin_.store(begin, kPlain);
    node_.store(request.header.nodeid, kPlain);
    body_.store(request.body.data(), kPlain);
    body_size_.store(request.body.size(), kPlain);
    opcode_.store(request.header.opcode, kPlain);
    client_.store(request.header.pid, kPlain);
  }
  [[nodiscard]] std::uint64_t begin() const noexcept {
    return begin_.load(std::memory_order_acquire);
  }
  // May mix two requests: whoever copies looks at the number before and after. The memory of a
  // queue stays mapped while there are workers, so there is always something to read.
  void copy_to(RequestInHand& copy) const;

 private:
  std::atomic<std::uint64_t> begin_{0};
  std::atomic<std::uint64_t> node_{0};
  std::atomic<const std::byte*> body_{nullptr};
  std::atomic<std::size_t> body_size_{0};
  std::atomic<std::uint32_t> opcode_{0};
  std::atomic<std::uint32_t> client_{0};
};

}  // namespace passthroughfs
