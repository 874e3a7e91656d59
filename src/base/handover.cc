// SPDX-License-Identifier: Apache-2.0
#include "base/handover.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>

namespace passthroughfs {
namespace {

// A line that names the format, then three strings per entry, each ended by NUL: kind, name, value.
constexpr std::string_view kMagic = "passthroughfs handover 1\n";
constexpr std::size_t kMostBytes = 1U << 20;

template <typename Number>
std::optional<Number> parse(const std::string* text) {
  if (text == nullptr) return std::nullopt;
  Number value{};
  const char* const end = text->data() + text->size();
  const auto [stopped, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

std::optional<std::string_view> next_string(std::string_view& rest) {
  const std::size_t end = rest.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view found = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return found;
}

}  // namespace

void Handover::put(Kind kind, std::string_view name, std::string value) {
  entries_.insert_or_assign({std::string(name), kind}, std::move(value));
}
void Handover::put_descriptor(std::string_view name, int fd) {
  put(Kind::descriptor, name, std::to_string(fd));
}
void Handover::put_number(std::string_view name, std::uint64_t value) {
  put(Kind::number, name, std::to_string(value));
}
void Handover::put_text(std::string_view name, std::string_view text) {
  put(Kind::text, name, std::string(text));
}

const std::string* Handover::find(Kind kind, std::string_view name) const {
  const auto found = entries_.find(std::pair(std::string(name), kind));
  return found == entries_.end() ? nullptr : &found->second;
}
std::optional<int> Handover::descriptor(std::string_view name) const {
  const auto fd = parse<int>(find(Kind::descriptor, name));
  return fd && *fd >= 0 ? fd : std::nullopt;
}
std::optional<std::uint64_t> Handover::number(std::string_view name) const {
  return parse<std::uint64_t>(find(Kind::number, name));
}
std::optional<std::string> Handover::text(std::string_view name) const {
  const std::string* const found = find(Kind::text, name);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

std::vector<int> Handover::descriptors() const {
  std::vector<int> out;
  for (const auto& [key, value] : entries_) {
    if (key.second != Kind::descriptor) continue;
    if (const auto fd = descriptor(key.first)) out.push_back(*fd);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::map<std::string, int> Handover::named_descriptors() const {
  std::map<std::string, int> out;
  for (const auto& [key, value] : entries_) {
    if (key.second != Kind::descriptor) continue;
    if (const auto fd = descriptor(key.first)) out.emplace(key.first, *fd);
  }
  return out;
}

Result<UniqueFd> Handover::write() const {
  std::string bytes(kMagic);
  for (const auto& [key, value] : entries_) {
    bytes += static_cast<char>(key.second);
    bytes += '\0';
    bytes += key.first;
    bytes += '\0';
    bytes += value;
    bytes += '\0';
  }
  UniqueFd file = TRY(own(::memfd_create("passthroughfs-handover", MFD_CLOEXEC)));
  const ssize_t written = ::pwrite(file.get(), bytes.data(), bytes.size(), 0);
  if (written < 0) return Errno::last();
  if (static_cast<std::size_t>(written) != bytes.size()) return Err(ENOSPC);
  return file;
}

Result<Handover> Handover::read(BorrowedFd file) {
  std::string bytes(kMostBytes, '\0');
  const ssize_t got = ::pread(file.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) return Errno::last();
  std::string_view rest(bytes.data(), static_cast<std::size_t>(got));
  if (!rest.starts_with(kMagic)) return Err(EPROTO);
  rest.remove_prefix(kMagic.size());
  Handover out;
  while (!rest.empty()) {
    const auto kind = next_string(rest);
    const auto name = next_string(rest);
    const auto value = next_string(rest);
    if (!kind || !name || !value || kind->size() != 1) return Err(EPROTO);
    out.put(static_cast<Kind>(kind->front()), *name, std::string(*value));
  }
  return out;
}

}  // namespace passthroughfs
