// SPDX-License-Identifier: Apache-2.0
#include "support/mount_fixture.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <thread>

#include "base/fd.h"
#include "support/starter.h"

#ifndef PFS_PROGRAM
#define PFS_PROGRAM "passthroughfs"
#endif

namespace passthroughfs::test {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

bool is_mount_point(const std::string& path) {
  // Not stat(): that asks the daemon, which may be the one that hangs.
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point;
    fields >> id >> parent >> device >> root >> point;
    if (point == path) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) {
    if (!part.empty()) {
      parts.push_back(part);
    }
  }
  return parts;
}

std::string option_name(const std::string& option) { return option.substr(0, option.find('=')); }

void abort_connection(const std::string& mnt) {
  // MNT_FORCE aborts the connection even when the mount is busy and the unmount itself fails.
  (void)umount2(mnt.c_str(), MNT_FORCE | UMOUNT_NOFOLLOW);
}

// The watchdog's whole life. It is no child of the test, so that whoever kills the test's process
// group or tree (ctest on a timeout) does not kill it too, and holds nothing of the test's open.
[[noreturn]] void watch(int from_test, const std::string& mnt, const std::string& tree) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    signal(number, SIG_IGN);
  }
  setsid();
  if (from_test != STDERR_FILENO + 1) {
    dup2(from_test, STDERR_FILENO + 1);
  }
  close_range(STDERR_FILENO + 2, ~0U, 0);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    dup2(null, fd);
  }
  (void)chdir("/");

  const char* text = std::getenv("PFS_TEST_DEADLINE");
  const int seconds = text != nullptr ? std::atoi(text) : 90;
  const auto patience_left = patience(std::chrono::seconds(seconds > 0 ? seconds : 90));
  pollfd test{STDERR_FILENO + 1, POLLIN, 0};
  if (poll(&test, 1, static_cast<int>(patience_left.count())) == 0) {
    abort_connection(mnt);
    while (poll(&test, 1, -1) < 0) {
    }
  }
  char byte = 0;
  if (read(STDERR_FILENO + 1, &byte, 1) == 1) {
    _exit(0);
  }
  // The test died without stopping the mount. The daemon dies with the connection.
  while (is_mount_point(mnt) && umount2(mnt.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  abort_connection(mnt);
  TempTree::remove(tree);
  _exit(0);
}

}  // namespace

bool native_run() {
  const char* value = std::getenv("PFS_TEST_NATIVE");
  return value != nullptr && *value == '1';
}

std::string enable_fuse_over_uring() {
  constexpr const char* kParameter = "/sys/module/fuse/parameters/enable_uring";
  const auto enabled = [] {
    std::ifstream in(kParameter);
    char value = 0;
    return in >> value && (value == 'Y' || value == '1');
  };
  if (enabled()) {
    return {};
  }
  std::ofstream(kParameter) << 'Y' << std::flush;
  return enabled() ? "" : std::string("FUSE over io_uring is not enabled: ") + kParameter;
}

std::string program_path() {
  const char* path = std::getenv("PFS_PROGRAM");
  return path != nullptr ? path : PFS_PROGRAM;
}

Mount::Mount(const MountSettings& settings)
    : tree_(settings.medium),
      broken_on_purpose_(settings.broken_on_purpose),
      server_dies_(settings.server_dies) {
  source_ = settings.source.empty() ? tree_.make_dir("source") : settings.source;
  mnt_ = tree_.make_dir("mnt");
  native_ = tree_.make_dir("native");
  environment_ = {"XDG_STATE_HOME=" + tree_.make_dir("state"),
                  "XDG_RUNTIME_DIR=" + tree_.make_dir("run")};
  environment_.insert(environment_.end(), settings.environment.begin(), settings.environment.end());
  if (native_run()) {
    mnt_ = source_;
    ok_ = true;
    return;
  }
  ok_ = start(settings);
}

Mount::~Mount() {
  try {
    stop();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "stopping the mount: " << error.what();
  }
}

bool Mount::start(const MountSettings& settings) {
  options_ = settings.options;
  if (settings.allow_other && geteuid() == 0) {
    options_.emplace_back("allow_other");
  }
  const char* extra = std::getenv("PFS_TEST_OPTIONS");
  for (const std::string& option : split(extra != nullptr ? extra : "", ',')) {
    if (std::none_of(options_.begin(), options_.end(), [&](const std::string& own) {
          return option_name(own) == option_name(option);
        })) {
      options_.push_back(option);
    }
  }
  if (std::none_of(options_.begin(), options_.end(),
                   [](const std::string& own) { return option_name(own) == "transport"; })) {
    options_.emplace_back("transport=dev");
  }
  if (has_option("transport=uring")) {
    const std::string why = enable_fuse_over_uring();
    if (!why.empty()) {
      fprintf(stderr, "note: this runs over /dev/fuse, %s\n", why.c_str());
    }
  }
  arguments_ = {program_path(), source_, mnt_, "-f"};
  std::string list;
  for (const std::string& option : options_) {
    list += (list.empty() ? "" : ",") + option;
  }
  if (!list.empty()) {
    arguments_.insert(arguments_.end(), {"-o", list});
  }

  start_watchdog();
  if (settings.starts_again) {
    starter_ = std::make_unique<Starter>(arguments_, environment_, tree_ / "log");
  }
  (void)fflush(nullptr);
  pid_ = fork();
  if (pid_ < 0) {
    fail("fork");
  }
  if (pid_ == 0) {
    take_daemon_streams(tree_ / "log");
    if (settings.descriptors != 0) {
      const rlimit limit{settings.descriptors, settings.descriptors};
      setrlimit(RLIMIT_NOFILE, &limit);
    }
    umask(022);
    (void)chdir("/");
    exec_program(arguments_, environment_);
  }

  int status = 0;
  bool gone = false;
  const bool there = wait_until([&] {
    gone = waitpid(pid_, &status, WNOHANG) == pid_;
    // The mount appears a moment before everything else of the daemon is there.
    return gone || (mounted() && log().find("serving ") != std::string::npos);
  });
  struct stat st {};
  if (gone || !there || ::stat(mnt_.c_str(), &st) != 0) {
    ADD_FAILURE() << "the daemon does not mount " << source_ << (gone ? " (it ended)" : "")
                  << "; it said:\n"
                  << log();
    if (gone) {
      pid_ = -1;
    }
    broken_on_purpose_ = true;  // one failure is enough
    return false;
  }
  return true;
}

void Mount::start_watchdog() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    fail("pipe");
  }
  (void)fflush(nullptr);
  const pid_t middle = fork();
  if (middle < 0) {
    fail("fork");
  }
  if (middle == 0) {
    close(ends[1]);
    if (fork() == 0) {
      watch(ends[0], mnt_, tree_.path());
    }
    _exit(0);
  }
  close(ends[0]);
  waitpid(middle, nullptr, 0);
  watchdog_ = ends[1];
}

bool Mount::mounted() const { return is_mount_point(mnt_); }

void Mount::stop() {
  if (watchdog_ < 0) {
    return;
  }
  if (pid_ > 0) {
    int error = 0;
    // A killed child's files are closed a moment after it is gone, hence the retry on EBUSY.
    const bool unmounted = wait_until(patience(std::chrono::seconds(3)), [&] {
      if (!mounted() || umount2(mnt_.c_str(), UMOUNT_NOFOLLOW) == 0) {
        return true;
      }
      error = errno;
      return error != EBUSY;
    });
    if (!unmounted || mounted()) {
      if (!broken_on_purpose_) {
        ADD_FAILURE() << "cannot unmount " << mnt_ << ": " << errno_name(error);
      }
      umount2(mnt_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    const std::optional<int> code = wait_for_exit();
    if (!broken_on_purpose_) {
      EXPECT_TRUE(code.has_value()) << "the daemon is still there after the unmount";
      if (code.has_value()) {
        EXPECT_EQ(*code, 0) << "exit status of the daemon; it said:\n" << log();
      }
      judge_log();
    }
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
  }
  while (mounted() && umount2(mnt_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  (void)!write(watchdog_, "q", 1);
  close(watchdog_);
  watchdog_ = -1;
}

std::optional<int> Mount::wait_for_exit() {
  if (pid_ < 0) {
    return std::nullopt;
  }
  int status = 0;
  if (!wait_until([&] { return waitpid(pid_, &status, WNOHANG) == pid_; })) {
    return std::nullopt;
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Mount::abort() const { abort_connection(mnt_); }

void Mount::judge_log() const {
  const std::string text = log();
  if (!server_dies_ && text.find("starting another") != std::string::npos) {
    ADD_FAILURE() << "the server died:\n" << text;
  }
  for (const char* sign :
       {"AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error:", "Assertion `"}) {
    if (text.find(sign) != std::string::npos) {
      ADD_FAILURE() << "the daemon reported:\n" << text;
      return;
    }
  }
}

namespace {

// A killed process. Its thread that tells the kernel to drop pages may wait for the next server to
// answer, while nothing else is left.
bool is_over(pid_t process) {
  std::error_code gone;
  const std::filesystem::path tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& thread : std::filesystem::directory_iterator(tasks, gone)) {
    const std::string text = read_all(thread.path() / "stat");
    const std::size_t name = text.find('(');
    if (name == std::string::npos || text.find(") Z") != std::string::npos) continue;
    if (text.compare(name, 16, "(pfs-notifier) D") != 0) return false;
  }
  return true;
}

}  // namespace

void Mount::kill_all() {
  // While it is stopped it starts nobody in the place of those that it loses.
  EXPECT_EQ(kill(pid_, SIGSTOP), 0);
  int status = 0;
  EXPECT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
  EXPECT_TRUE(WIFSTOPPED(status)) << status;
  const std::vector<pid_t> killed = children();
  for (const pid_t child : killed) EXPECT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(kill(pid_, SIGKILL), 0);
  EXPECT_EQ(wait_for_exit(), -1);
  for (const pid_t child : killed) {
    EXPECT_TRUE(wait_until([&] { return is_over(child); })) << child;
  }
}

void Mount::start_again(const std::vector<std::pair<std::string, int>>& kept) {
  pid_ = starter_->start(kept);
  EXPECT_GT(pid_, 0);
}

std::vector<pid_t> Mount::children() const {
  const std::string task = "/proc/" + std::to_string(pid_) + "/task/" + std::to_string(pid_);
  std::istringstream text(read_all(task + "/children"));
  std::vector<pid_t> out;
  for (pid_t child = 0; text >> child;) out.push_back(child);
  return out;
}

// The child that shares its descriptors is the one with the same executable and threads of its own;
// a deputy, and a helper that unmounts, have one thread.
pid_t Mount::server_pid() const {
  for (const pid_t child : children()) {
    std::error_code gone;
    const auto tasks =
        std::filesystem::directory_iterator("/proc/" + std::to_string(child) + "/task", gone);
    if (!gone && std::distance(begin(tasks), end(tasks)) > 1) return child;
  }
  return pid_;
}

std::size_t Mount::descriptors() const {
  std::size_t count = 0;
  std::size_t pipes = 0;
  std::error_code gone;
  const std::string fds = "/proc/" + std::to_string(pid_) + "/fd";
  for (const auto& entry : std::filesystem::directory_iterator(fds, gone)) {
    const std::string what = std::filesystem::read_symlink(entry.path(), gone).string();
    if (what.starts_with("pipe:")) {
      ++pipes;
    } else {
      count += what == "anon_inode:[io_uring]" || what == "anon_inode:[eventfd]" ? 0 : 1;
    }
  }
  // Each reader that is pinned makes one when it first needs it.
  const std::size_t of_readers = std::size_t{2} * std::thread::hardware_concurrency();
  return count + (pipes > of_readers ? pipes - of_readers : 0);
}

std::string Mount::log() const { return read_all(tree_ / "log"); }

bool Mount::has_option(std::string_view option) const {
  return std::find(options_.begin(), options_.end(), option) != options_.end();
}

ProgramResult Mount::command(const std::vector<std::string>& arguments,
                             const std::string& program) const {
  std::vector<std::string> all = {program.empty() ? program_path() : program};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run_program(all, environment_);
}

std::uint64_t Mount::requests(std::string_view operation) const {
  std::istringstream lines(command({"stats", mnt_}).out);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t count = 0;
    if (words >> name >> count && name == operation) return count;
  }
  return 0;
}

Trace expect_same(const Mount& mount, const Scenario& scenario) {
  Trace native;
  Trace mounted;
  scenario(native, mount.native());
  scenario(mounted, mount.mnt());
  EXPECT_EQ(native.text(), mounted.text()) << "native above, mounted below";
  return native;
}

void MountTest::SetUp() {
  mount_ = std::make_unique<Mount>(settings());
  ASSERT_TRUE(mount_->ok());
}

void MountTest::TearDown() { mount_.reset(); }

void write_file(const std::string& path, std::string_view content, mode_t mode) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) {
    fail(path);
  }
  while (!content.empty()) {
    const ssize_t n = write(fd, content.data(), content.size());
    if (n <= 0) {
      close(fd);
      fail(path);
    }
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  if (close(fd) != 0) {
    fail(path);
  }
}

std::string read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    fail(path);
  }
  std::string text;
  std::array<char, 65536> buffer{};
  ssize_t n = 0;
  while ((n = read(fd, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  const int error = errno;
  close(fd);
  if (n < 0) {
    errno = error;
    fail(path);
  }
  return text;
}

int try_openat(int dir, const char* name, int flags, mode_t mode) {
  const int fd = openat(dir, name, flags | O_CLOEXEC, mode);
  if (fd < 0) {
    return -1;
  }
  close(fd);
  return 0;
}

int try_open(const std::string& path, int flags, mode_t mode) {
  return try_openat(AT_FDCWD, path.c_str(), flags, mode);
}

std::string make_dir(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 || chmod(path.c_str(), mode) != 0) {
    fail(path);
  }
  return path;
}

}  // namespace passthroughfs::test
