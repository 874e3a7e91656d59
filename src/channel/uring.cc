// SPDX-License-Identifier: Apache-2.0
#include "channel/uring.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "base/cpu_list.h"
#include "base/log.h"
#include "channel/uring_lane.h"

namespace passthroughfs {
namespace {

// The kernel's FUSE_MIN_READ_BUFFER.
constexpr std::size_t kSmallestPayload = 8192;
// In pages of 4 KiB: SETXATTR carries up to 64 KiB and a name.
constexpr std::uint32_t kSmallestMaxPages = 20;

constexpr const char* kParameter = "/sys/module/fuse/parameters/enable_uring";

std::string first_word_of(const char* path) {
  std::array<char, 64> text{};
  const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  const ssize_t size = fd.valid() ? ::read(fd.get(), text.data(), text.size() - 1) : 0;
  const std::string all(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  return all.substr(0, all.find_first_of(" \n"));
}

std::string ring_obstacle(Errno error) {
  if (error == EPERM) {
    const std::string forbidden = first_word_of("/proc/sys/kernel/io_uring_disabled");
    return forbidden == "0" || forbidden.empty()
               ? "io_uring is forbidden here (by a sandbox)"
               : fmt::format("io_uring is forbidden (sysctl kernel.io_uring_disabled={})",
                             forbidden);
  }
  if (error == ENOSYS) return "this kernel, or a sandbox, has no io_uring";
  if (error == ENOMEM) return "no memory for rings (see the limits on memory and locked memory)";
  return "io_uring cannot be had: " + error.to_string();
}

// The CPUs that need a queue: all that may ever run a client.
Result<std::vector<int>> lanes_wanted(std::string& why) {
  auto possible = system_cpus("possible");
  auto online = system_cpus("online");
  if (!possible || !online) {
    why = "/sys does not tell which CPUs there are";
    return Err(ENOENT);
  }
  // The kernel counts them and takes the CPU's number as the queue's.
  if (possible->back() + 1 != static_cast<int>(possible->size())) {
    why = "the numbers of this machine's CPUs have gaps";
    return Err(ENOTSUP);
  }
  const std::vector<int> usable = usable_cpus();
  if (!std::includes(usable.begin(), usable.end(), online->begin(), online->end())) {
    why = "this process may not use every CPU";
    return Err(ENOTSUP);
  }
  return possible;
}

struct PreparedQueue {
  std::unique_ptr<Ring> ring;
  UniqueFd event;
};

Result<PreparedQueue> prepare_queue() {
  PreparedQueue out;
  out.ring = TRY(Ring::make());
  // Blocking: a read of it waits in the ring.
  out.event = TRY(own(::eventfd(0, EFD_CLOEXEC)));
  return out;
}

struct Plan final : UringPlan {
  std::vector<int> cpus;
  std::vector<PreparedQueue> queues;  // of cpus
};

class UringChannel final : public Channel {
 public:
  UringChannel(Plan plan, std::unique_ptr<Channel> rest, UniqueFd device, std::size_t payload)
      : rest_(std::move(rest)),
        device_(std::move(device)),
        payload_(payload),
        cpus_(std::move(plan.cpus)),
        prepared_(std::move(plan.queues)) {
    for (const int cpu : cpus_) lanes_.push_back(std::make_unique<Lane>(*rest_, cpu, payload));
  }

  [[nodiscard]] std::span<const int> bound_cpus() const noexcept override {
    return bound_.load() ? std::span<const int>(cpus_) : std::span<const int>();
  }
  using Channel::open_queue;
  Result<std::unique_ptr<Queue>> open_queue(int cpu, MutableByteSpan room) override;
  void set_file_finder(FileFinder finder, void* context) noexcept override {
    for (const auto& lane : lanes_) lane->set_file_finder(finder, context);
  }
  void unbind() noexcept override;
  Result<void> notify(wire::Notify code, std::span<const ByteSpan> parts) override {
    return rest_->notify(code, parts);
  }
  Result<std::int32_t> open_backing(BorrowedFd fd) override { return rest_->open_backing(fd); }
  Result<void> close_backing(std::int32_t id) override { return rest_->close_backing(id); }
  void wake_all() noexcept override;
  [[nodiscard]] int descriptor() const noexcept override { return rest_->descriptor(); }
  [[nodiscard]] const char* name() const noexcept override {
    return bound_.load() ? "uring" : rest_->name();
  }

 private:
  const std::unique_ptr<Channel> rest_;
  const UniqueFd device_;
  const std::size_t payload_;
  const std::vector<int> cpus_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // of cpus_
  std::atomic<bool> bound_{true};
  std::atomic<bool> stop_{false};
  Mutex mutex_;
  std::vector<PreparedQueue> prepared_ PFS_GUARDED_BY(mutex_);  // of cpus_; taken one by one
};

Result<std::unique_ptr<Queue>> UringChannel::open_queue(int cpu, MutableByteSpan room) {
  if (cpu < 0 || !bound_.load()) return rest_->open_queue(cpu, room);
  const auto at = static_cast<std::size_t>(cpu);
  if (at >= lanes_.size()) return Err(EINVAL);
  PreparedQueue queue;
  {
    const MutexLock lock(mutex_);
    queue = std::move(prepared_[at]);
  }
  if (!queue.ring) queue = TRY(prepare_queue());
  return std::unique_ptr<Queue>(std::make_unique<UringQueue>(
      *lanes_[at], std::move(queue.ring), std::move(queue.event), device_.borrow(), stop_));
}

// Until every CPU has a seat the kernel lets all requests wait, and only a registration that fails
// makes it turn back.
void UringChannel::unbind() noexcept {
  bound_.store(false);
  constexpr int kNoSuchQueue = 0xffff;
  auto ring = Ring::make();
  Lane nowhere(*rest_, kNoSuchQueue, payload_);
  auto seat = nowhere.add_seat();
  if (!ring || !seat) return;
  if ((*ring)->enable(device_.borrow()) && (*ring)->register_seat(**seat, kNoSuchQueue)) {
    (void)(*ring)->submit();
  }
}

void UringChannel::wake_all() noexcept {
  stop_.store(true);
  for (const auto& lane : lanes_) lane->wake_all();
  rest_->wake_all();
}

}  // namespace

std::uint32_t uring_max_pages(std::size_t max_write) noexcept {
  return std::max(static_cast<std::uint32_t>(max_write / 4096), kSmallestMaxPages);
}

std::string uring_obstacle() {
  const std::string enabled = first_word_of(kParameter);
  if (enabled.empty()) return "this kernel has no FUSE over io_uring";
  if (enabled != "Y" && enabled != "1") {
    return fmt::format("disabled in the kernel ({} is {})", kParameter, enabled);
  }
  std::string why;
  if (!lanes_wanted(why)) return why;
  if (auto ring = Ring::make(); !ring) return ring_obstacle(ring.error());
  return {};
}

std::unique_ptr<UringPlan> plan_uring(std::string& why) {
  auto cpus = lanes_wanted(why);
  if (!cpus) return nullptr;
  auto plan = std::make_unique<Plan>();
  plan->cpus = std::move(*cpus);
  for (std::size_t i = 0; i < plan->cpus.size(); ++i) {
    auto queue = prepare_queue();
    if (!queue) {
      why = ring_obstacle(queue.error());
      return nullptr;
    }
    plan->queues.push_back(std::move(*queue));
  }
  return plan;
}

std::unique_ptr<Channel> make_uring_channel(std::unique_ptr<UringPlan> plan,
                                            std::unique_ptr<Channel> rest, UniqueFd device,
                                            std::size_t max_write) {
  const std::size_t payload =
      std::max({kSmallestPayload, max_write, uring_max_pages(max_write) * page_size()});
  return std::make_unique<UringChannel>(std::move(static_cast<Plan&>(*plan)), std::move(rest),
                                        std::move(device), align_up(payload, page_size()));
}

}  // namespace passthroughfs
