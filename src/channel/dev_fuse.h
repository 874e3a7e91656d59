// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "channel/channel.h"

namespace passthroughfs {

// Requests by read(2), answers by writev(2) on a /dev/fuse descriptor (or any descriptor that keeps
// message borders: tests use a SOCK_SEQPACKET pair with the kernel's end played by FakeKernel).
//
// The read of an idle worker has to end when the session stops while the mount lives; nobody may
// poll the descriptor beside the workers (each poller is woken on every request), so wake_all()
// uses a signal: wake_signal(). The channel gives it a handler that does nothing, without
// SA_RESTART, for the whole process, and next() unblocks it in the thread that calls it. wake_all()
// sends it only to threads that are inside next(), and again until they have left.
//
// max_write sizes the buffers: a request is at most header + WriteIn + max_write bytes. The buffer
// is placed so that the data of a WRITE is page-aligned, which O_DIRECT on the source needs; all
// other structs then are 8-byte aligned.
//
// A queue outlives the replies of its requests, and the channel outlives its queues.
std::unique_ptr<Channel> make_dev_fuse_channel(UniqueFd device, std::size_t max_write);

// Room for open_queue(): bytes, whole pages.
[[nodiscard]] std::size_t request_room(std::size_t max_write) noexcept;
// The last request that was read into such a room, whole or not at all; empty: none since the
// queue began to wait for the next one.
[[nodiscard]] ByteSpan last_request(ByteSpan room) noexcept;

// SIGRTMIN + 1: SIGUSR1 and SIGUSR2 belong to the program that embeds us, and libc takes the lowest
// real-time signals for itself.
[[nodiscard]] int wake_signal() noexcept;

}  // namespace passthroughfs
