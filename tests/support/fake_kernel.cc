// SPDX-License-Identifier: Apache-2.0
#include "support/fake_kernel.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <utility>

namespace passthroughfs::test {
namespace {

// Room for a message of 1 MiB of data and its overhead in both directions. Without the right to
// pass the limit (CAP_NET_ADMIN) large messages fail with EMSGSIZE.
void enlarge_buffer(const UniqueFd& socket) {
  const int size = 4 * 1024 * 1024;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) {
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
}

bool expects_answer(wire::Opcode opcode) {
  return opcode != wire::Opcode::forget && opcode != wire::Opcode::batch_forget &&
         opcode != wire::Opcode::interrupt;
}

}  // namespace

FakeKernel::FakeKernel() {
  // The daemon's end writes with writev(2), which has no MSG_NOSIGNAL.
  (void)std::signal(SIGPIPE, SIG_IGN);
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error("FakeKernel: " + Errno::last().to_string());
  }
  device_ = UniqueFd(ends[0]);
  end_ = UniqueFd(ends[1]);
  enlarge_buffer(device_);
  enlarge_buffer(end_);
  receiver_ = std::thread([this] { receive_all(); });
}

FakeKernel::~FakeKernel() {
  unmount();
  receiver_.join();
}

void FakeKernel::unmount() { (void)::shutdown(end_.get(), SHUT_RDWR); }

void FakeKernel::send_message(ByteSpan message) {
  if (::send(end_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    throw std::runtime_error("FakeKernel: cannot send: " + Errno::last().to_string());
  }
}

std::uint64_t FakeKernel::send(const RequestBytes& request) {
  std::uint64_t unique = 0;
  Bytes message;
  {
    const std::lock_guard lock(mutex_);
    unique = last_unique_ += 2;
    message = request.encode(unique);
    if (expects_answer(request.opcode)) sent_[unique] = message;
  }
  send_message(message);
  return unique;
}

void FakeKernel::send_raw(ByteSpan message) { send_message(message); }

void FakeKernel::interrupt(std::uint64_t unique) {
  send_message(requests::interrupt(unique).encode(unique | 1));
}

std::vector<std::uint64_t> FakeKernel::resend_unanswered() {
  std::vector<Bytes> messages;
  std::vector<std::uint64_t> numbers;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [unique, message] : std::exchange(sent_, {})) {
      const std::uint64_t marked = unique | wire::kUniqueResend;
      std::memcpy(message.data() + offsetof(wire::InHeader, unique), &marked, sizeof marked);
      numbers.push_back(marked);
      messages.push_back(message);
      sent_[marked] = std::move(message);
    }
  }
  for (const Bytes& message : messages) send_message(message);
  return numbers;
}

std::optional<Answer> FakeKernel::wait(std::uint64_t unique, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return ended_ || answers_.contains(unique); });
  const auto found = answers_.find(unique);
  if (found == answers_.end()) return std::nullopt;
  Answer answer = std::move(found->second);
  answers_.erase(found);
  return answer;
}

Answer FakeKernel::call(const RequestBytes& request) {
  return wait(send(request)).value_or(Answer{.error = ETIMEDOUT, .payload = {}});
}

bool FakeKernel::answered(std::uint64_t unique) {
  const std::lock_guard lock(mutex_);
  return answers_.contains(unique);
}

std::size_t FakeKernel::unanswered() {
  const std::lock_guard lock(mutex_);
  return sent_.size();
}

wire::InitOut FakeKernel::init(std::uint64_t flags) {
  return call(requests::init(flags)).as<wire::InitOut>();
}

std::optional<Notification> FakeKernel::wait_notification(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return ended_ || !notifications_.empty(); });
  if (notifications_.empty()) return std::nullopt;
  Notification oldest = std::move(notifications_.front());
  notifications_.erase(notifications_.begin());
  return oldest;
}

void FakeKernel::receive_all() {
  Bytes buffer(std::size_t{4} * 1024 * 1024);
  for (;;) {
    const ssize_t got = ::recv(end_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    const std::lock_guard lock(mutex_);
    if (got <= 0) {
      ended_ = true;
      changed_.notify_all();
      return;
    }
    wire::OutHeader header{};
    const auto size = static_cast<std::size_t>(got);
    // The kernel refuses such an answer; here nobody ever gets it, and the wait for it fails.
    if (size < sizeof header) continue;
    std::memcpy(&header, buffer.data(), sizeof header);
    if (header.len != size) continue;
    const ByteSpan whole(buffer);
    const ByteSpan rest = whole.first(size).subspan(sizeof header);
    Bytes payload(rest.begin(), rest.end());
    if (header.unique == 0) {
      notifications_.push_back({static_cast<wire::Notify>(header.error), std::move(payload)});
    } else {
      sent_.erase(header.unique);
      answers_[header.unique] = Answer{.error = -header.error, .payload = std::move(payload)};
    }
    changed_.notify_all();
  }
}

}  // namespace passthroughfs::test
