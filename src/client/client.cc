// SPDX-License-Identifier: Apache-2.0
#include "passthroughfs/client.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <unordered_set>

#include "base/fd.h"
#include "base/fd_passing.h"
#include "proto/changes.h"
#include "proto/framing.h"
#include "proto/messages.h"
#include "proto/mount_point.h"
#include "proto/socket_path.h"

namespace passthroughfs {
namespace {

void set_timeout(int socket, std::chrono::milliseconds timeout) {
  timeval value{};
  value.tv_sec = timeout.count() / 1000;
  value.tv_usec = timeout.count() % 1000 * 1000;
  // connect(2) on a unix socket waits for room in the backlog, as send(2) does.
  (void)setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value);
  (void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value);
}

struct Peer {
  UniqueFd socket;
  ucred credentials{};
};

Result<Peer> connect_in(const std::string& directory, const std::string& name,
                        std::chrono::milliseconds timeout) {
  UniqueFd parent = TRY(own(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)));
  Peer peer;
  peer.socket = TRY(own(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  set_timeout(peer.socket.get(), timeout);
  const sockaddr_un address = address_in(parent.borrow(), name);
  TRY(check(
      connect(peer.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address)));
  socklen_t size = sizeof peer.credentials;
  TRY(check(getsockopt(peer.socket.get(), SOL_SOCKET, SO_PEERCRED, &peer.credentials, &size)));
  return peer;
}

Outcome<Peer> find_daemon(const MountPoint& mount, std::chrono::milliseconds timeout) {
  const uid_t owner = mount.owner_known ? mount.owner : geteuid();
  bool refused = false;  // a socket without a daemon
  bool denied = mount.owner_known && geteuid() != 0 && geteuid() != owner;
  bool silent = false;
  for (const std::string& directory : socket_directories(owner)) {
    auto peer = connect_in(directory, socket_name(mount.device), timeout);
    if (peer) {
      // Directories such as /tmp are open to others, who must not answer in the daemon's place.
      const uid_t uid = peer->credentials.uid;
      if (uid != 0 && uid != owner) continue;
      return std::move(peer).value();
    }
    refused |= peer.error() == ECONNREFUSED;
    denied |= peer.error() == EACCES || peer.error() == EPERM;
    silent |= peer.error() == EAGAIN;
  }
  const bool ours = mount.fs_type == "fuse.passthroughfs" || refused || silent;
  if (!ours && !mount.is_fuse()) {
    return Error{ENOTTY, fmt::format("{} is not a passthroughfs mount, but {}", mount.path,
                                     mount.fs_type.empty() ? "unknown" : mount.fs_type)};
  }
  if (silent) return Error{ETIMEDOUT, fmt::format("the daemon of {} does not answer", mount.path)};
  if (denied && !refused) {
    return Error{EPERM, mount.owner_known
                            ? fmt::format("{} belongs to user {}: only that user and root may ask",
                                          mount.path, owner)
                            : fmt::format("{} belongs to another user", mount.path)};
  }
  if (ours) {
    return Error{ECONNREFUSED,
                 fmt::format("the daemon of {} does not answer: it has no control socket, or has "
                             "died ('passthroughfs umount {}' removes a dead mount)",
                             mount.path, mount.path)};
  }
  return Error{ENOTTY,
               fmt::format("{} is not a passthroughfs mount, but {}", mount.path, mount.fs_type)};
}

// The same while a server that has died is replaced, which takes a moment.
Outcome<Peer> find_daemon_soon(const MountPoint& mount, std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kMoment{500};
  constexpr std::chrono::milliseconds kPause{5};
  const auto deadline = std::chrono::steady_clock::now() + kMoment;
  for (;;) {
    auto peer = find_daemon(mount, timeout);
    if (peer || peer.error().code != ECONNREFUSED || std::chrono::steady_clock::now() > deadline) {
      return peer;
    }
    std::this_thread::sleep_for(kPause);
  }
}

// Lines to and from a daemon.
class Conversation {
 public:
  explicit Conversation(Peer peer) : peer_(std::move(peer)) {}

  [[nodiscard]] int pid() const { return peer_.credentials.pid; }

  // `descriptor`: sent along unless -1.
  Outcome<void> say(const std::string& command, Json arguments, int descriptor = -1) {
    const std::string line =
        encode_request({.command = command, .arguments = std::move(arguments)}) + '\n';
    std::string_view rest = line;
    while (!rest.empty()) {
      const ssize_t n = send_with_fd(peer_.socket.borrow(), rest, descriptor);
      if (n > 0) descriptor = -1;
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return broken(errno);
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

  Outcome<std::string> hear() {
    for (;;) {
      auto line = input_.next();
      if (!line) return Error{EPROTO, "the daemon's answer is too long"};
      if (*line) return std::move(**line);
      std::array<char, 65536> buffer;
      const ssize_t n = recv(peer_.socket.get(), buffer.data(), buffer.size(), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return broken(n == 0 ? EPIPE : errno);
      input_.append({buffer.data(), static_cast<std::size_t>(n)});
    }
  }

  Outcome<Json> ask(const std::string& command, Json arguments = Json::object(),
                    int descriptor = -1) {
    if (auto said = say(command, std::move(arguments), descriptor); !said) return said.error();
    auto line = hear();
    if (!line) return line.error();
    return decode_reply(*line);
  }

  // Waits for answers as long as it takes.
  void wait_for_ever() { set_timeout(peer_.socket.get(), std::chrono::milliseconds(0)); }

 private:
  static Error broken(int error) {
    if (error == EAGAIN) return {ETIMEDOUT, "the daemon does not answer"};
    if (error == EPIPE || error == ECONNRESET) return {EPIPE, "the daemon has ended"};
    return {error, fmt::format("cannot talk to the daemon: {}", std::strerror(error))};
  }

  Peer peer_;
  LineReader input_{kMaxReplyBytes};
};

const Error kNotUnderstood{EPROTO,
                           "the daemon's answer is not understood; is it of another version?"};

Json since_argument(const std::optional<std::string>& since) {
  Json arguments = Json::object();
  if (since) arguments["since"] = *since;
  return arguments;
}

}  // namespace

class Client::Impl {
 public:
  Impl(MountPoint mount, std::chrono::milliseconds timeout, Peer peer)
      : mount_(std::move(mount)), timeout_(timeout), conversation_(std::move(peer)) {}

  [[nodiscard]] int pid() const { return conversation_.pid(); }

  Outcome<Json> ask(const std::string& command) { return conversation_.ask(command); }

  template <typename T>
  Outcome<T> get(const std::string& command, Json arguments = Json::object()) {
    auto result = conversation_.ask(command, std::move(arguments));
    if (!result) return result.error();
    try {
      return result->template get<T>();
    } catch (const Json::exception&) {
      return kNotUnderstood;
    }
  }

  // A conversation of its own, for a command that may take long, and its first answer.
  struct Long {
    Conversation conversation;
    Json result;
  };
  Outcome<Long> begin(const std::string& command, Json arguments, int descriptor = -1) {
    auto peer = find_daemon_soon(mount_, timeout_);
    if (!peer) return peer.error();
    Conversation conversation(std::move(peer).value());
    conversation.wait_for_ever();
    auto result = conversation.ask(command, std::move(arguments), descriptor);
    if (!result) return result.error();
    return Long{std::move(conversation), std::move(result).value()};
  }

  // What the daemon that serves now says; nothing while none does.
  Outcome<Statistics> look() const {
    auto peer = find_daemon_soon(mount_, timeout_);
    if (!peer) return peer.error();
    auto result = Conversation(std::move(peer).value()).ask("stats");
    if (!result) return result.error();
    try {
      return result->get<Statistics>();
    } catch (const Json::exception&) {
      return kNotUnderstood;
    }
  }

  // Whether the mount is there still, and is served again.
  bool find_again() const {
    constexpr std::chrono::seconds kPatience{10};
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto mount = find_mount_point(mount_.path);
      if (!mount || !mount->is_root || mount->device != mount_.device) return false;
      if (find_daemon_soon(mount_, timeout_)) return true;
    }
    return false;
  }

 private:
  const MountPoint mount_;
  const std::chrono::milliseconds timeout_;
  Conversation conversation_;
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

Outcome<Client> Client::connect(const std::string& mountpoint, std::chrono::milliseconds timeout) {
  auto mount = find_mount_point(mountpoint);
  if (!mount) return mount.error();
  if (!mount->is_root) return Error{EINVAL, fmt::format("{} is not a mount point", mount->path)};
  auto peer = find_daemon_soon(*mount, timeout);
  if (!peer) return peer.error();
  return Client(std::make_unique<Impl>(std::move(mount).value(), timeout, std::move(peer).value()));
}

Outcome<void> Client::visit_handles(const std::function<void(const OpenFileInfo&)>& visit) {
  std::uint64_t position = 0;
  do {
    const auto page = impl_->get<OpenFilePage>("handles", Json{{"position", position}});
    if (!page) return page.error();
    for (const OpenFileInfo& file : page->files) visit(file);
    if (page->next != 0 && page->next <= position) {
      return Error{EPROTO, "the daemon's pages do not come to an end"};
    }
    position = page->next;
  } while (position != 0);
  return {};
}
Outcome<std::vector<OpenFileInfo>> Client::handles() {
  std::vector<OpenFileInfo> files;
  auto done = visit_handles([&](const OpenFileInfo& file) { files.push_back(file); });
  if (!done) return done.error();
  return files;
}
Outcome<Statistics> Client::stats() { return impl_->get<Statistics>("stats"); }
Outcome<MountInfo> Client::info() { return impl_->get<MountInfo>("info"); }
Outcome<void> Client::unmount() {
  if (auto done = impl_->ask("unmount"); !done) return done.error();
  return {};
}

Outcome<void> Client::upgrade(int program, const std::string& layout) {
  constexpr std::chrono::seconds kPatience{30};
  const auto before = impl_->look();
  if (!before) return before.error();
  // A server that dies meanwhile says nothing, and its end may be the moment all the same.
  auto begun = impl_->begin("upgrade", Json{{"layout", layout}}, program);
  if (!begun && begun.error().code != EPIPE) return begun.error();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto now = impl_->look();
    if (now && now->server_starts > before->server_starts) {
      if (now->upgrades > before->upgrades) return {};
      return Error{ECANCELED, now->upgrade_failure.empty()
                                  ? "the server died meanwhile; the program before goes on"
                                  : now->upgrade_failure};
    }
    if (!now && !impl_->find_again()) return now.error();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return Error{ETIMEDOUT, "the new program does not answer"};
}

Outcome<std::string> Client::checkpoint() {
  auto answer = impl_->begin("checkpoint", Json::object());
  if (!answer) return answer.error();
  const auto token = answer->result.find("token");
  if (token == answer->result.end() || !token->is_string()) return kNotUnderstood;
  return token->get<std::string>();
}

Outcome<void> Client::forget_before(const std::string& token) {
  if (auto done = impl_->begin("forget", Json{{"before", token}}); !done) return done.error();
  return {};
}

Outcome<ChangeReport> Client::visit_changes(const std::optional<std::string>& since, bool renames,
                                            const std::function<void(const Change&)>& visit) {
  Json arguments = since_argument(since);
  arguments["renames"] = renames;
  auto answer = impl_->begin("dirty", std::move(arguments));
  if (!answer) return answer.error();
  ChangeReport report;
  try {
    report = report_from_head(answer->result);
  } catch (const Json::exception&) {
    return kNotUnderstood;
  }
  for (;;) {
    auto line = answer->conversation.hear();
    if (!line) return line.error();
    const Json json = Json::parse(*line, nullptr, false);
    if (!json.is_object()) return kNotUnderstood;
    if (json.contains("end")) return report;
    if (json.contains("error")) return decode_reply(*line).error();
    const auto changes = json.find("changes");
    if (changes == json.end()) continue;  // of a later version
    std::vector<Change> batch;
    try {
      changes->get_to(batch);
    } catch (const Json::exception&) {
      return kNotUnderstood;
    }
    for (const Change& change : batch) visit(change);
  }
}

Outcome<ChangeReport> Client::changes(const std::optional<std::string>& since, bool renames) {
  std::vector<Change> changes;
  auto report =
      visit_changes(since, renames, [&](const Change& change) { changes.push_back(change); });
  if (report) report->changes = std::move(changes);
  return report;
}

namespace {

// How far a watcher has come, so that after a crash of the server it hears the rest and nothing
// twice. Only the last line about a moment has that moment's token; what was told before it would
// be told again.
class Progress {
 public:
  // False: the line was told before the server died.
  bool note(const std::string& line) {
    Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) return true;
    const auto token = json.find("token");
    if (token == json.end() || !token->is_string()) return true;
    const std::string moment = token->get<std::string>();
    json.erase(token);
    // A report may have a line for each file that there is, so it is known by its hash.
    const std::size_t hash = std::hash<std::string>()(json.dump());
    const bool is_new = told_.insert(hash).second || !resumed_;
    if (moment != token_) {
      token_ = moment;
      told_.clear();
      resumed_ = false;
    }
    return is_new;
  }
  void resume() noexcept { resumed_ = true; }
  [[nodiscard]] const std::string& token() const noexcept { return token_; }

 private:
  std::string token_;
  std::unordered_set<std::size_t> told_;  // since token_
  bool resumed_ = false;                  // since token_
};

}  // namespace

Outcome<void> Client::watch(const std::optional<std::string>& since,
                            const std::function<bool(const std::string& line)>& visit) {
  const auto statistics = stats();
  const bool recovers = statistics && statistics->recover;
  auto answer = impl_->begin("watch", since_argument(since));
  if (!answer) return answer.error();
  std::optional<Conversation> conversation(std::move(answer->conversation));
  Progress progress;
  const std::string first = answer->result.dump();
  (void)progress.note(first);
  bool wanted = visit(first);
  while (wanted) {
    auto line = conversation->hear();
    if (!line && line.error().code == EPIPE && recovers) {
      // The server has died, and there will be another; or it has ended with the mount.
      if (!impl_->find_again()) return line.error();
      auto again = impl_->begin("watch", since_argument(progress.token()));
      // The next one may die as well.
      if (!again && (again.error().code == EPIPE || again.error().code == ECONNREFUSED)) continue;
      if (!again) return again.error();
      conversation.emplace(std::move(again->conversation));
      progress.resume();
      continue;
    }
    if (!line) return line.error();
    if (std::string_view(*line).starts_with("{\"error\"")) return decode_reply(*line).error();
    if (!recovers || progress.note(*line)) wanted = visit(*line);
  }
  return {};
}

int Client::daemon_pid() const noexcept { return impl_->pid(); }

}  // namespace passthroughfs
