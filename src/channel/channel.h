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
  // A view of the queue's memory. Of a bound queue: until the request is answered, so that it can
  // be passed to another thread; else until the next call of next().
  wire::Request request;
  wire::Reply reply;
  // Room for the answer's data, at least max_write bytes, page-aligned for requests that bring no
  // data or names themselves. Does not overlap the request, and lives as long as its view.
  MutableByteSpan buffer;
};

// The way of requests to one worker and back. One thread calls attach(), next() and detach();
// replies may be sent by any, as long as the channel lives.
class Queue {
 public:
  virtual ~Queue() = default;

  // Before the first next(), and by the same thread. Errors leave the queue unusable.
  virtual Result<void> attach() { return ok(); }

  // Waits for the next request. Malformed requests are answered (EINVAL) and skipped here.
  // nullopt: woken without a request (see Channel::wake_all), try again or look at the stop flag.
  // Errors: ENODEV: unmounted, the orderly end. ECONNABORTED: the connection was aborted.
  // ESHUTDOWN, of a bound queue: ended one way or the other; the others will say which. Others: the
  // channel is unusable.
  virtual Result<std::optional<Incoming>> next() = 0;

  // After the last next(), by the same thread.
  virtual void detach() noexcept {}

 protected:
  Queue() = default;
};

// The connection of one mount. Thread-safe.
class Channel {
 public:
  virtual ~Channel() = default;

  // The CPUs that need a bound queue each: a request by a client on that CPU comes to no other
  // queue, so its thread must not wait in a call for long. Empty: any queue takes any request.
  // Constant but for unbind().
  [[nodiscard]] virtual std::span<const int> bound_cpus() const noexcept { return {}; }

  // A queue for a new worker. `cpu`: one of bound_cpus() for a bound queue (a CPU may get more than
  // one, then each takes what the others are too busy for). Without bound CPUs, where that worker
  // is pinned. -1: for whatever goes to no bound queue. `room`: memory to read requests into, which
  // a successor of this process will look at (dev_fuse.h); empty: the queue has its own.
  virtual Result<std::unique_ptr<Queue>> open_queue(int cpu, MutableByteSpan room) = 0;
  Result<std::unique_ptr<Queue>> open_queue(int cpu) { return open_queue(cpu, {}); }

  // Asked by bound queues for the node of a regular file that is open, 0: there is none.
  // Thread-safe. Set once, before bound queues serve, and only if the kernel sends RELEASE: what
  // has not been released is a file that the kernel still has, and is not about to give up.
  using FileFinder = std::uint64_t (*)(void* context);
  virtual void set_file_finder(FileFinder /*finder*/, void* /*context*/) noexcept {}

  // Gives up bound queues before any has served, all of them detached: from now on bound_cpus() is
  // empty.
  virtual void unbind() noexcept {}

  // Sends a notification (unique 0). ENOENT: the kernel does not know the node or name.
  virtual Result<void> notify(wire::Notify code, std::span<const ByteSpan> parts) = 0;

  // Registers a file for kernel passthrough; gives its backing id, positive. EPERM without
  // CAP_SYS_ADMIN. ENOTTY where the transport or kernel has none.
  virtual Result<std::int32_t> open_backing(BorrowedFd fd) = 0;
  virtual Result<void> close_backing(std::int32_t id) = 0;

  // Makes every thread in next() return once with nullopt or an error, now and for each later call,
  // so that workers can end while the mount lives. Async-signal-safe is not required.
  virtual void wake_all() noexcept = 0;

  // Whether a request waits to be read, now. Of /dev/fuse only.
  [[nodiscard]] virtual bool has_waiting() noexcept { return false; }

  // /dev/fuse; the channel's own.
  [[nodiscard]] virtual int descriptor() const noexcept = 0;

  // "dev" or "uring".
  [[nodiscard]] virtual const char* name() const noexcept = 0;
};

}  // namespace passthroughfs
