// SPDX-License-Identifier: Apache-2.0
#include "control/connection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/fd_passing.h"
#include "control/commands.h"
#include "proto/messages.h"

namespace passthroughfs {

ControlConnection::Step ControlConnection::read_some() {
  std::array<char, 16384> buffer;
  const ssize_t n = receive_with_fd(socket_.borrow(), buffer, MSG_DONTWAIT, sent_);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? Step::blocked : Step::closed;
  if (n == 0) {
    ended_ = true;
    return Step::blocked;
  }
  // A client that sends byte by byte gets no more time for its request than others.
  if (input_.empty()) since_ = Clock::now();
  input_.append({buffer.data(), static_cast<std::size_t>(n)});
  return Step::done;
}

ControlConnection::Step ControlConnection::write_some() {
  while (is_writing()) {
    const ssize_t n = send(socket_.get(), output_.data() + written_, output_.size() - written_,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN ? Step::blocked : Step::closed;
    written_ += static_cast<std::size_t>(n);
    since_ = Clock::now();
  }
  output_ = {};  // an answer can be large: give the memory back
  written_ = 0;
  return Step::done;
}

ControlConnection::After ControlConnection::serve(ControlTarget& target) {
  Step step = write_some();
  // One read per call: a client that never stops sending does not keep the others waiting.
  if (step == Step::done) step = read_some();
  while (step != Step::closed && !is_writing()) {
    auto line = input_.next();
    if (!line) {
      const std::string refusal =
          encode_reply(Error{line.error().value(), "the request is too long"}) + '\n';
      (void)send(socket_.get(), refusal.data(), refusal.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      return After::close;
    }
    if (!*line) return ended_ ? After::close : After::keep;
    if (auto request = decode_request(**line); request) {
      if (const StreamCommand* command = find_stream_command(request->command)) {
        stream_ = {command, std::move(request->arguments), std::move(sent_)};
        return After::stream;
      }
    }
    output_ = answer(target, **line) + '\n';
    step = write_some();
  }
  return step == Step::closed ? After::close : After::keep;
}

}  // namespace passthroughfs
