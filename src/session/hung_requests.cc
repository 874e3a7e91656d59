// SPDX-License-Identifier: Apache-2.0
#include "session/hung_requests.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <iterator>
#include <utility>

#include "session/openers.h"
#include "session/worker_pool.h"
#include "source/sys.h"
#include "wire/dump.h"

namespace passthroughfs {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
// A disk that hangs takes hundreds of requests with it, and some of them say as much as all.
constexpr std::size_t kMostNamed = 16;

// ---- paths --------------------------------------------------------------------------------------

std::string link_of(BorrowedFd fd) {
  std::string text(PATH_MAX, '\0');
  const ssize_t size = ::readlink(sys::ProcFdPath(fd).c_str(), text.data(), text.size());
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

// Not SourceTree::path_of(), which asks the source for attributes. A name that is gone ends in
// " (deleted)", as the kernel has it. "" for the source itself.
std::string path_of_node(NodeId node, MountState& state) {
  const auto inode = state.inodes->pin(node);
  if (!inode || !inode->fd().valid()) return fmt::format("node {:#x}", node);
  std::string path = link_of(inode->fd());
  const std::string root = link_of(state.source.root());
  if (path == root) return "";
  if (path.starts_with(root) && path.size() > root.size()) {
    path.erase(0, root.size() + (root.ends_with('/') ? 0 : 1));
  }
  return path;
}

std::string join(std::string path, std::string_view name) {
  if (!path.empty()) path += '/';
  return path.append(name);
}

template <typename Request>
std::string_view name_in(const wire::Request& request, const wire::DecodeOptions& decode) {
  const auto decoded = wire::decode<Request>(request, decode);
  return decoded ? decoded->name : std::string_view();
}

std::string_view name_in(const wire::Request& request, const wire::DecodeOptions& decode) {
  using enum wire::Opcode;
  switch (request.opcode()) {
    case lookup: return name_in<wire::LookupRequest>(request, decode);
    case symlink: return name_in<wire::SymlinkRequest>(request, decode);
    case mknod: return name_in<wire::MknodRequest>(request, decode);
    case mkdir: return name_in<wire::MkdirRequest>(request, decode);
    case unlink: return name_in<wire::UnlinkRequest>(request, decode);
    case rmdir: return name_in<wire::RmdirRequest>(request, decode);
    case link: return name_in<wire::LinkRequest>(request, decode);
    case create: return name_in<wire::CreateRequest>(request, decode);
    default: return {};
  }
}

std::string names_of(const wire::Request& request, MountState& state,
                     const wire::DecodeOptions& decode) {
  std::string path = path_of_node(request.header.nodeid, state);
  const wire::Opcode opcode = request.opcode();
  if (opcode == wire::Opcode::rename || opcode == wire::Opcode::rename2) {
    if (const auto rename = wire::decode<wire::RenameRequest>(request, decode)) {
      const std::string to = path_of_node(rename->new_parent, state);
      return wire::quoted(join(std::move(path), rename->old_name)) + " to " +
             wire::quoted(join(to, rename->new_name));
    }
  }
  const std::string_view name = name_in(request, decode);
  if (!name.empty()) path = join(std::move(path), name);
  return wire::quoted(path.empty() ? "." : path);
}

// ---- what a thread waits for --------------------------------------------------------------------

std::string read_about(pid_t thread, const char* what) {
  const UniqueFd file(
      ::open(fmt::format("/proc/self/task/{}/{}", thread, what).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text{};
  const ssize_t got = file.valid() ? ::read(file.get(), text.data(), text.size()) : 0;
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

// The calls that operations make and that may wait for the source, and the one that waits for
// another thread.
std::string call_name(long number) {
  switch (number) {
    case SYS_openat: return "openat";
    case SYS_openat2: return "openat2";
    case SYS_open_by_handle_at: return "open_by_handle_at";
    case SYS_statx: return "statx";
    case SYS_pread64: return "pread64";
    case SYS_preadv2: return "preadv2";
    case SYS_pwrite64: return "pwrite64";
    case SYS_pwritev: return "pwritev";
    case SYS_pwritev2: return "pwritev2";
    case SYS_splice: return "splice";
    case SYS_copy_file_range: return "copy_file_range";
    case SYS_fsync: return "fsync";
    case SYS_fdatasync: return "fdatasync";
    case SYS_syncfs: return "syncfs";
    case SYS_close: return "close";
    case SYS_ftruncate: return "ftruncate";
    case SYS_fallocate: return "fallocate";
    case SYS_fchmod: return "fchmod";
    case SYS_fchmodat: return "fchmodat";
    case SYS_fchownat: return "fchownat";
    case SYS_utimensat: return "utimensat";
    case SYS_mkdirat: return "mkdirat";
    case SYS_mknodat: return "mknodat";
    case SYS_symlinkat: return "symlinkat";
    case SYS_linkat: return "linkat";
    case SYS_unlinkat: return "unlinkat";
    case SYS_renameat2: return "renameat2";
    case SYS_readlinkat: return "readlinkat";
    case SYS_getdents64: return "getdents64";
    case SYS_fcntl: return "fcntl";
    case SYS_flock: return "flock";
    case SYS_ioctl: return "ioctl";
    case SYS_futex: return "futex: another thread";
    default: return fmt::format("system call {}", number);
  }
}

}  // namespace

std::string describe_wait(pid_t thread) {
  std::string place = read_about(thread, "wchan");
  if (place == "0") place.clear();
  // "running", or the number and the arguments.
  const std::string call = read_about(thread, "syscall");
  long number = -1;
  const bool in_call =
      std::from_chars(call.data(), call.data() + call.size(), number).ec == std::errc() &&
      number >= 0;
  if (!in_call && place.empty()) {
    return call.starts_with("running") ? "is running" : "is busy";
  }
  if (place.empty()) return fmt::format("waits in {}", call_name(number));
  return in_call ? fmt::format("waits in {} ({})", place, call_name(number)) : "waits in " + place;
}

std::string describe_request(const RequestInHand& request, MountState& state,
                             const wire::DecodeOptions& decode) {
  const wire::Request view = request.request();
  std::string text =
      fmt::format("{} of {}", wire::opcode_name(view.opcode()), names_of(view, state, decode));
  // The number may be another's by now only if the client was killed.
  const std::uint32_t client = Openers().process_of(request.client, INT64_MAX - 1);
  if (client != 0) text += fmt::format(" for process {}", client);
  if (request.interrupted) text += ", which does not want it any more";
  return text;
}

void HungRequests::look(WorkerPool& pool, std::uint64_t now) {
  Lines lines;
  {
    MutexLock lock(mutex_);
    for (auto& [unique, hung] : hung_) hung.seen = false;
    find(pool, now, lines);
    drop_answered(now, lines);
  }
  for (const auto& [level, line] : lines) log_line(level, line);
}

void HungRequests::find(WorkerPool& pool, std::uint64_t now, Lines& lines) {
  const std::uint64_t begun_before = now > limit_ns_ ? now - limit_ns_ : 0;
  std::size_t not_named = 0;
  for (std::size_t i = 0; i < pool.worker_count(); ++i) {
    Worker& worker = pool.worker(i);
    const std::uint64_t unique = worker.has_long_in_hand(begun_before);
    if (unique == 0) continue;
    if (const auto found = hung_.find(unique); found != hung_.end()) {
      found->second.seen = true;
      continue;
    }
    if (!worker.copy_request(unique, copy_)) continue;
    Hung& hung = hung_[unique];
    hung.begin = copy_.begin;
    hung.seen = true;
    if (lines.size() == kMostNamed) {
      ++not_named;
      continue;
    }
    hung.what = describe_request(copy_, state_, decode_);
    lines.emplace_back(LogLevel::warning, fmt::format("{} has had no answer for {} s: thread {} {}",
                                                      hung.what, (now - copy_.begin) / kSecond,
                                                      copy_.thread, describe_wait(copy_.thread)));
  }
  if (not_named == 0) return;
  lines.emplace_back(LogLevel::warning, fmt::format("{} more requests have had no answer for {} s",
                                                    not_named, limit_ns_ / kSecond));
}

void HungRequests::drop_answered(std::uint64_t now, Lines& lines) {
  std::size_t others = 0;
  for (auto at = hung_.begin(); at != hung_.end();) {
    const Hung& hung = at->second;
    if (hung.seen) {
      ++at;
      continue;
    }
    if (hung.what.empty()) {
      ++others;
    } else {
      lines.emplace_back(LogLevel::info, fmt::format("{} was answered after {} s", hung.what,
                                                     (now - hung.begin) / kSecond));
    }
    at = hung_.erase(at);
  }
  if (others == 0) return;
  lines.emplace_back(LogLevel::info,
                     fmt::format("{} more requests that had waited long were answered", others));
}

HungRequests::Summary HungRequests::summary(std::uint64_t now) const {
  MutexLock lock(mutex_);
  Summary out;
  const Hung* longest = nullptr;
  for (const auto& [unique, hung] : hung_) {
    if (longest == nullptr || hung.begin < longest->begin) longest = &hung;
  }
  if (longest == nullptr) return out;
  out.count = hung_.size();
  out.note = fmt::format("{} {} no answer for longer than {} s, the longest for {} s{}", out.count,
                         out.count == 1 ? "request has had" : "requests have had",
                         limit_ns_ / kSecond, (now - std::min(now, longest->begin)) / kSecond,
                         longest->what.empty() ? "" : ": " + longest->what);
  return out;
}

}  // namespace passthroughfs
