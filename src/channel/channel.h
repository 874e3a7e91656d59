// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"
#include "wire/reply.h"
#include "wire/requests.h"

namespace passthroughfs {

// A request lent by a queue, with the duty to answer it.
struct Incoming {
  wire::Request request;  // view of the queue's buffer, until the next call of next()
  wire::Reply reply;
};

// The way of requests to one worker and back. One thread calls next(); replies may be sent by any.
class Queue : public wire::ReplySink {
 public:
  virtual ~Queue() = default;

  // Waits for the next request. Malformed requests are answered (EINVAL) and skipped here.
  // nullopt: woken without a request (see Channel::wake_all), try again or look at the stop flag.
  // Errors: ENODEV: unmounted, the orderly end. ECONNABORTED: the connection was aborted. Others:
  // the channel is unusable.
  virtual Result<std::optional<Incoming>> next() = 0;

  // Room for answers, at least max_write bytes, page-aligned; valid for the queue's life, reused by
  // its thread from request to request. Does not overlap the request.
  virtual MutableByteSpan reply_buffer() noexcept = 0;

 protected:
  Queue() = default;
};

// The connection of one mount. Thread-safe.
class Channel {
 public:
  virtual ~Channel() = default;

  // A queue for a new worker. `cpu` is where that worker is pinned, -1 for an overflow thread.
  virtual Result<std::unique_ptr<Queue>> open_queue(int cpu) = 0;

  // Sends a notification (unique 0). ENOENT: the kernel does not know the node or name.
  virtual Result<void> notify(wire::Notify code, std::span<const ByteSpan> parts) = 0;

  // Registers a file for kernel passthrough; gives its backing id, positive. EPERM without
  // CAP_SYS_ADMIN. ENOTTY where the transport or kernel has none.
  virtual Result<std::int32_t> open_backing(BorrowedFd fd) = 0;
  virtual Result<void> close_backing(std::int32_t id) = 0;

  // Makes every thread in next() return once with nullopt or an error, now and for each later call,
  // so that workers can end while the mount lives. Async-signal-safe is not required.
  virtual void wake_all() noexcept = 0;

  // "dev" or "uring".
  [[nodiscard]] virtual const char* name() const noexcept = 0;
};

}  // namespace passthroughfs
