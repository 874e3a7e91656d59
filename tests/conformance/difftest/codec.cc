// SPDX-License-Identifier: Apache-2.0
#include "codec.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace passthroughfs::difftest {
namespace {

template <typename T>
void put(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& to, const std::string& text) {
  put(to, static_cast<std::uint32_t>(text.size()));
  to += text;
}

template <typename T>
T take(std::string_view& from) {
  T value{};
  std::memcpy(&value, from.data(), sizeof value);
  from.remove_prefix(sizeof value);
  return value;
}

std::string take_text(std::string_view& from) {
  const auto length = take<std::uint32_t>(from);
  std::string text(from.substr(0, length));
  from.remove_prefix(length);
  return text;
}

bool receive_exactly(int fd, char* to, std::size_t length, int timeout_ms) {
  while (length > 0) {
    if (timeout_ms >= 0) {
      pollfd wait{fd, POLLIN, 0};
      const int ready = poll(&wait, 1, timeout_ms);
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) return false;
    }
    const ssize_t got = recv(fd, to, length, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    length -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

void encode(std::span<const Op> ops, std::string& to) {
  for (const Op& op : ops) {
    put(to, op.kind);
    put(to, op.agent);
    put(to, op.observe);
    for (const int slot : {op.fd, op.fd2, op.dir, op.dir2}) put(to, slot);
    for (const std::int64_t number : {op.a, op.b, op.c, op.d}) put(to, number);
    for (const std::string* text : {&op.path, &op.path2, &op.name}) put_text(to, *text);
  }
}

std::vector<Op> decode_ops(std::string_view from) {
  std::vector<Op> ops;
  while (!from.empty()) {
    Op op;
    op.kind = take<Kind>(from);
    op.agent = take<std::uint8_t>(from);
    op.observe = take<bool>(from);
    for (int* slot : {&op.fd, &op.fd2, &op.dir, &op.dir2}) *slot = take<int>(from);
    for (std::int64_t* number : {&op.a, &op.b, &op.c, &op.d}) *number = take<std::int64_t>(from);
    for (std::string* text : {&op.path, &op.path2, &op.name}) *text = take_text(from);
    ops.push_back(std::move(op));
  }
  return ops;
}

void encode(const Result& result, std::string& to) {
  put(to, result.value);
  put(to, result.error);
  put_text(to, result.detail);
}

std::vector<Result> decode_results(std::string_view from) {
  std::vector<Result> results;
  while (!from.empty()) {
    Result result;
    result.value = take<std::int64_t>(from);
    result.error = take<int>(from);
    result.detail = take_text(from);
    results.push_back(std::move(result));
  }
  return results;
}

bool send_message(int fd, std::string_view payload) {
  std::string message;
  message.reserve(payload.size() + 4);
  put(message, static_cast<std::uint32_t>(payload.size()));
  message += payload;
  std::string_view rest = message;
  while (!rest.empty()) {
    const ssize_t sent = send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool receive_message(int fd, std::string& payload, int timeout_ms) {
  std::uint32_t length = 0;
  char head[sizeof length];
  if (!receive_exactly(fd, head, sizeof head, timeout_ms)) return false;
  std::memcpy(&length, head, sizeof length);
  payload.resize(length);
  return receive_exactly(fd, payload.data(), length, timeout_ms);
}

}  // namespace passthroughfs::difftest
