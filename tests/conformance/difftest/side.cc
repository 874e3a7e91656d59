// SPDX-License-Identifier: Apache-2.0
#include "side.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <new>

#include "codec.h"
#include "users.h"

namespace passthroughfs::difftest {
namespace {

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::_Exit(2);
}

void check(int result, const char* what) {
  if (result != 0) fail(what);
}

void become(const User& user) {
  if (user.uid == 0) {
    check(setgroups(0, nullptr), "setgroups");
    return;
  }
  check(setgroups(user.groups.size(), user.groups.data()), "setgroups");
  check(setresgid(user.gid, user.gid, user.gid), "setresgid");
  check(setresuid(user.uid, user.uid, user.uid), "setresuid");
}

// The other agents' channels must not stay open here, or an agent would outlive its coordinator.
void close_others(const std::vector<int>& keep) {
  for (int fd = 3; fd < 256; ++fd) {
    if (std::find(keep.begin(), keep.end(), fd) == keep.end()) close(fd);
  }
}

[[noreturn]] void serve(Agent& agent, int channel) {
  std::string message, answer;
  if (!send_message(channel, "")) std::_Exit(0);  // ready
  while (receive_message(channel, message, -1)) {
    answer.clear();
    for (const Op& op : decode_ops(message)) encode(execute(agent, op), answer);
    if (!send_message(channel, answer)) break;
  }
  std::_Exit(0);
}

[[noreturn]] void run_agent(const SideConfig& config, Agent& agent, int channel) {
  std::vector<int> keep(agent.outboxes.begin(), agent.outboxes.end());
  keep.push_back(agent.inbox);
  keep.push_back(channel);
  close_others(keep);
  (void)std::signal(SIGPIPE, SIG_IGN);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  const rlimit no_core{0, 0};
  (void)setrlimit(RLIMIT_CORE, &no_core);
  rlimit files{};  // remember() holds some open
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
  }
  prepare_agent(agent);
  check(chdir(config.base.c_str()), config.base.c_str());
  if (config.confine) check(chroot("."), "chroot");
  struct stat root {};
  check(stat(".", &root), "stat");
  agent.root_dev = root.st_dev;
  umask(agent.number == 0 ? 022 : 0);
  if (config.users) become(kUsers[static_cast<std::size_t>(agent.number)]);
  // After the change of user, which resets it.
  check(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
  serve(agent, channel);
}

}  // namespace

Side::Side(const SideConfig& config) {
  void* shared =
      mmap(nullptr, sizeof(SideBoard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) fail("mmap");
  board_ = new (shared) SideBoard;

  std::array<int, kMaxAgents> inboxes{}, outboxes{};
  inboxes.fill(-1);
  outboxes.fill(-1);
  for (std::size_t i = 0; i < static_cast<std::size_t>(config.agents); ++i) {
    int pair[2];
    check(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    inboxes[i] = pair[0];
    outboxes[i] = pair[1];
  }
  for (int number = 0; number < config.agents; ++number) {
    int pair[2];
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    const pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
      static Agent agent;
      agent.number = number;
      agent.board = board_;
      agent.fault = config.fault;
      agent.profile = config.profile;
      agent.patient = config.patient;
      agent.exact_blocks = config.exact_blocks;
      agent.compare_atime = config.compare_atime;
      agent.inbox = inboxes[static_cast<std::size_t>(number)];
      agent.outboxes = outboxes;
      agent.start = time(nullptr);
      run_agent(config, agent, pair[1]);
    }
    close(pair[1]);
    board_->pids[static_cast<std::size_t>(number)] = pid;
    processes_.push_back({pid, pair[0]});
  }
  // What the agents look at first must not run beside the first calls.
  for (const Process& process : processes_) {
    if (!receive_message(process.channel, buffer_, kPatienceMs)) std::exit(2);
  }
  for (const int fd : inboxes) {
    if (fd >= 0) close(fd);
  }
  for (const int fd : outboxes) {
    if (fd >= 0) close(fd);
  }
}

Side::~Side() {
  for (const Process& process : processes_) {
    close(process.channel);
    (void)kill(process.pid, SIGKILL);
  }
  for (const Process& process : processes_) {
    // An agent that hangs in a dead mount cannot be waited for; it is left to init.
    for (int i = 0; i < 5000 && waitpid(process.pid, nullptr, WNOHANG) == 0; ++i) {
      const timespec moment{0, 1'000'000};
      (void)nanosleep(&moment, nullptr);
    }
  }
  (void)munmap(board_, sizeof(SideBoard));
}

bool Side::send(int agent, std::span<const Op> ops) {
  buffer_.clear();
  encode(ops, buffer_);
  return send_message(processes_[static_cast<std::size_t>(agent)].channel, buffer_);
}

bool Side::receive(int agent, std::vector<Result>& results) {
  if (!receive_message(processes_[static_cast<std::size_t>(agent)].channel, buffer_, kPatienceMs)) {
    return false;
  }
  results = decode_results(buffer_);
  return true;
}

}  // namespace passthroughfs::difftest
