// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "support/request_bytes.h"
#include "wire/abi.h"

namespace passthroughfs::test {

// What came back for one request.
struct Answer {
  int error = 0;  // a positive errno; 0 for success
  Bytes payload;

  // The payload as a struct; zeroes where the answer is shorter, so check `error` and size first.
  template <typename T>
  [[nodiscard]] T as() const {
    T out{};
    if (!payload.empty()) {
      std::memcpy(&out, payload.data(), payload.size() < sizeof out ? payload.size() : sizeof out);
    }
    return out;
  }
  [[nodiscard]] std::string_view text() const { return text_of(ByteSpan(payload)); }
};

struct Notification {
  wire::Notify code;
  Bytes payload;
};

// The kernel's end of a FUSE connection, played by a test over a SOCK_SEQPACKET pair: no privilege,
// no mount, any bytes. Everything may be called by any thread. Requests are numbered as Linux
// numbers them: even, rising, never 0; an INTERRUPT has its target's number with bit 0 set.
//
// Unlike the real kernel it accepts every answer (an answer to an unknown number is kept under that
// number), knows no ioctl (backing ids: ENOTTY), and ends with ENODEV, never ECONNABORTED.
class FakeKernel {
 public:
  static constexpr std::chrono::milliseconds kPatience{10'000};

  FakeKernel();   // throws std::runtime_error when there are no sockets
  ~FakeKernel();  // unmounts
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  // The daemon's end, to be given to make_dev_fuse_channel(). Once.
  [[nodiscard]] UniqueFd take_device() { return std::move(device_); }

  // Queues a request and gives its number.
  std::uint64_t send(const RequestBytes& request);
  // Queues any bytes as one message, and takes no note of them.
  void send_raw(ByteSpan message);
  // INTERRUPT of a request that was sent before.
  void interrupt(std::uint64_t unique);
  // What NOTIFY_RESEND asks for: every unanswered request again, its number marked. Returns the new
  // numbers, in the order of the old ones. FORGETs and INTERRUPTs are not repeated.
  std::vector<std::uint64_t> resend_unanswered();

  // Takes the answer to a request; nullopt when none has come in time.
  std::optional<Answer> wait(std::uint64_t unique, std::chrono::milliseconds patience = kPatience);
  // send() and wait(). The error is ETIMEDOUT when nothing came.
  Answer call(const RequestBytes& request);
  // Whether an answer is there. For "not answered yet" after something else was waited for.
  [[nodiscard]] bool answered(std::uint64_t unique);
  [[nodiscard]] std::size_t unanswered();

  // INIT with these flags offered. The answer's `flags` and `flags2` together are in accepted().
  wire::InitOut init(std::uint64_t flags = ~0ULL);
  [[nodiscard]] static std::uint64_t accepted(const wire::InitOut& out) {
    return out.flags | std::uint64_t{out.flags2} << 32;
  }

  // Takes the oldest notification; nullopt when none has come in time.
  std::optional<Notification> wait_notification(std::chrono::milliseconds patience = kPatience);

  // Hangs up: readers of the device see the end (ENODEV).
  void unmount();

 private:
  void receive_all();
  void send_message(ByteSpan message);

  UniqueFd device_;
  UniqueFd end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t last_unique_ = 0;
  bool ended_ = false;
  std::map<std::uint64_t, Bytes> sent_;  // without an answer
  std::map<std::uint64_t, Answer> answers_;
  std::vector<Notification> notifications_;
  std::thread receiver_;
};

}  // namespace passthroughfs::test
