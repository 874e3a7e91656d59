// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "control/stream.h"
#include "control/target.h"
#include "proto/framing.h"

namespace passthroughfs {

// One client of the control socket. Never blocks. Used by the server's thread only.
class ControlConnection {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ControlConnection(UniqueFd socket) : socket_(std::move(socket)) {}

  // Reads what is there, answers whole requests, writes what can be written.
  enum class After { keep, close, stream };
  After serve(ControlTarget& target);

  // After `stream`: a command that takes over the connection.
  struct StreamRequest {
    const StreamCommand* command = nullptr;
    Json arguments;
    UniqueFd sent;  // the last descriptor that came on the connection, if any
  };
  [[nodiscard]] StreamRequest take_request() noexcept { return std::move(stream_); }
  [[nodiscard]] UniqueFd take_socket() noexcept { return std::move(socket_); }

  [[nodiscard]] BorrowedFd socket() const noexcept { return socket_.borrow(); }
  // An answer waits for the client to read; until then no request of its is read.
  [[nodiscard]] bool is_writing() const noexcept { return written_ < output_.size(); }
  // In the middle of a request or an answer.
  [[nodiscard]] bool is_busy() const noexcept { return is_writing() || !input_.empty(); }
  // When the last byte went either way, or the request that is coming in began.
  [[nodiscard]] Clock::time_point since() const noexcept { return since_; }

 private:
  enum class Step { done, blocked, closed };
  Step read_some();
  Step write_some();

  UniqueFd socket_;
  LineReader input_{kMaxRequestBytes};
  std::string output_;
  std::size_t written_ = 0;
  StreamRequest stream_;
  UniqueFd sent_;
  bool ended_ = false;  // the client will send no more
  Clock::time_point since_ = Clock::now();
};

}  // namespace passthroughfs
