// SPDX-License-Identifier: Apache-2.0
#include "changes/change_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <ctime>
#include <functional>
#include <new>
#include <thread>

namespace passthroughfs {
namespace {

constexpr std::array<char, 8> kMagic = {'P', 'F', 'S', 'C', 'H', 'L', 'O', 'G'};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 4096;
constexpr std::size_t kIntents = 512;
constexpr std::size_t kIntentBytes = 1024;
constexpr std::size_t kBytes = kHeaderBytes + kIntents * kIntentBytes + ChangeLog::kRingBytes;

// Before each record its size; this one says that the ring goes on at its beginning.
constexpr std::uint32_t kWrap = 0xffffffff;
constexpr std::size_t kAlign = 8;

constexpr std::uint32_t kFree = 0;
constexpr std::uint32_t kTaken = 1;
constexpr std::uint32_t kArmed = 2;

using BootId = std::array<char, 40>;

// A machine that has been switched off meanwhile has another one.
BootId boot_id() noexcept {
  BootId id{};
  const UniqueFd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  if (fd.valid()) (void)!::read(fd.get(), id.data(), id.size() - 1);
  return id;
}

std::int64_t now() noexcept {
  timespec time{};
  (void)::clock_gettime(CLOCK_REALTIME_COARSE, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

std::size_t room_of(std::size_t record) noexcept {
  return align_up(sizeof(std::uint32_t) + record, kAlign);
}

}  // namespace

struct ChangeLog::Header {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t intents;
  std::uint64_t ring_bytes;
  std::uint64_t journal;
  BootId boot;
  std::atomic<std::uint64_t> epoch;
  std::atomic<std::uint64_t> head;  // positions; the ring's offset is the rest by its size
  std::atomic<std::uint64_t> tail;
  std::atomic<std::uint32_t> spilled;  // records wait in memory
  std::atomic<std::uint32_t> lost;
  std::atomic<std::uint32_t> in_order;  // closed with nothing left to do
  std::atomic<std::int64_t> last_word;
};

struct ChangeLog::Intent::Slot {
  std::atomic<std::uint32_t> state;
  std::uint32_t size;
  std::array<std::byte, kIntentBytes - 8> record;
};

ChangeLog::ChangeLog(UniqueFd file, std::byte* memory, std::size_t bytes) noexcept
    : file_(std::move(file)), memory_(memory), bytes_(bytes) {
  static_assert(sizeof(Header) <= kHeaderBytes);
  static_assert(sizeof(Intent::Slot) == kIntentBytes);
  static_assert(kMaxRecordBytes <= kIntentBytes - 8);
}

ChangeLog::~ChangeLog() { (void)::munmap(memory_, bytes_); }

ChangeLog::Header& ChangeLog::header() const noexcept {
  return *std::launder(reinterpret_cast<Header*>(memory_));
}
ChangeLog::Intent::Slot& ChangeLog::slot(std::size_t index) const noexcept {
  return *std::launder(
      reinterpret_cast<Intent::Slot*>(memory_ + kHeaderBytes + index * kIntentBytes));
}
std::byte* ChangeLog::ring() const noexcept {
  return memory_ + kHeaderBytes + kIntents * kIntentBytes;
}

Result<std::unique_ptr<ChangeLog>> ChangeLog::map(UniqueFd file) {
  void* memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return Errno::last();
  return std::unique_ptr<ChangeLog>(
      new ChangeLog(std::move(file), static_cast<std::byte*>(memory), kBytes));
}

void ChangeLog::reset(std::uint64_t journal) noexcept {
  std::memset(memory_, 0, kHeaderBytes + kIntents * kIntentBytes);
  Header& head = header();
  head.version = kVersion;
  head.intents = kIntents;
  head.ring_bytes = kRingBytes;
  head.journal = journal;
  head.boot = boot_id();
  head.magic = kMagic;
}

Result<std::unique_ptr<ChangeLog>> ChangeLog::open(const std::string& path, std::uint64_t journal) {
  UniqueFd file = TRY(own(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    return errno == EWOULDBLOCK ? Err(EBUSY) : Errno::last();
  }
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return Errno::last();
  const bool empty = st.st_size == 0;
  if (!empty) {
    std::array<char, 8> magic{};
    if (::pread(file.get(), magic.data(), magic.size(), 0) != ssize_t{magic.size()} ||
        (magic != kMagic && magic != std::array<char, 8>{})) {
      return Err(EINVAL);
    }
  }
  // All of it, now: writing to a mapped hole of a full disk would be the end of this process.
  if (const int error = ::posix_fallocate(file.get(), 0, kBytes); error != 0) return Err(error);
  auto log = TRY(map(std::move(file)));
  Header& head = log->header();
  if (head.magic == kMagic && head.version == kVersion) log->last_word_ = head.last_word.load();
  if (head.magic != kMagic || head.version != kVersion || head.ring_bytes != kRingBytes ||
      head.intents != kIntents) {
    // Its making was cut short, or another version made it, whose records nobody can read.
    log->found_ = empty || head.magic != kMagic ? Found::nothing : Found::stale;
    log->reset(journal);
  } else if (head.boot != boot_id()) {
    log->found_ = head.in_order.load() != 0 ? Found::nothing : Found::stale;
    log->reset(journal);
  } else if (head.journal != journal || head.head.load() < head.tail.load() ||
             head.head.load() - head.tail.load() > kRingBytes) {
    log->found_ = Found::stale;
    log->reset(journal);
  } else {
    log->found_ = head.in_order.load() != 0 ? Found::nothing : Found::records;
    if (head.spilled.exchange(0) != 0) head.lost.store(1);
  }
  log->header().in_order.store(0);
  return log;
}

Result<std::unique_ptr<ChangeLog>> ChangeLog::in_memory() {
  UniqueFd file = TRY(own(::memfd_create("passthroughfs-changes", MFD_CLOEXEC)));
  TRY(check_void(::ftruncate(file.get(), kBytes)));
  auto log = TRY(map(std::move(file)));
  log->reset(0);
  return log;
}

bool ChangeLog::lost() const noexcept { return header().lost.load() != 0; }
void ChangeLog::forget_loss() noexcept { header().lost.store(0); }
std::uint64_t ChangeLog::epoch() const noexcept { return header().epoch.load(); }
void ChangeLog::set_epoch(std::uint64_t epoch) noexcept { header().epoch.store(epoch); }

// ---- appending ----------------------------------------------------------------------------------

// False: there is no room.
bool ChangeLog::put(ByteSpan record) noexcept {
  Header& head = header();
  std::uint64_t at = head.head.load(std::memory_order_relaxed);
  const std::uint64_t tail = head.tail.load(std::memory_order_acquire);
  const std::size_t wanted = room_of(record.size());
  std::size_t offset = at % kRingBytes;
  const std::size_t rest = kRingBytes - offset;
  const std::size_t skipped = rest < wanted ? rest : 0;
  if (at + skipped + wanted - tail > kRingBytes) return false;
  if (skipped != 0) {
    std::memcpy(ring() + offset, &kWrap, sizeof kWrap);
    at += skipped;
    offset = 0;
  }
  const auto size = static_cast<std::uint32_t>(record.size());
  std::memcpy(ring() + offset, &size, sizeof size);
  std::memcpy(ring() + offset + sizeof size, record.data(), record.size());
  head.head.store(at + wanted, std::memory_order_release);
  return true;
}

void ChangeLog::append(ByteSpan record) noexcept {
  MutexLock lock(mutex_);
  Header& head = header();
  head.last_word.store(now(), std::memory_order_relaxed);
  if (!spilled_.empty() || !put(record)) {
    if (spilled_bytes_ + record.size() > kMostSpilled) {
      head.lost.store(1);
      return;
    }
    try {
      spilled_.emplace_back(reinterpret_cast<const char*>(record.data()), record.size());
    } catch (const std::bad_alloc&) {
      head.lost.store(1);
      return;
    }
    spilled_bytes_ += record.size();
    head.spilled.store(1);
  }
  if (waiting_ || (gathering_ && head.head.load(std::memory_order_relaxed) -
                                         head.tail.load(std::memory_order_relaxed) >
                                     kRingBytes / 2)) {
    waiting_ = gathering_ = false;
    changed_.notify_all();
  }
}

MutableByteSpan ChangeLog::Intent::room() const noexcept { return slot_->record; }

void ChangeLog::Intent::arm(std::size_t bytes) noexcept {
  slot_->size = static_cast<std::uint32_t>(bytes);
  slot_->state.store(kArmed, std::memory_order_release);
}

void ChangeLog::Intent::end() noexcept {
  if (slot_ != nullptr) slot_->state.store(kFree, std::memory_order_release);
  slot_ = nullptr;
}

ChangeLog::Intent ChangeLog::begin() noexcept {
  // Each thread finds its own slot free, unless it was left by a thread with the same hash.
  thread_local const std::size_t start = std::hash<std::thread::id>()(std::this_thread::get_id());
  for (std::size_t i = 0;; ++i) {
    Intent::Slot& candidate = slot((start + i) % kIntents);
    std::uint32_t free = kFree;
    if (candidate.state.load(std::memory_order_relaxed) == kFree &&
        candidate.state.compare_exchange_strong(free, kTaken, std::memory_order_acquire)) {
      return Intent(&candidate);
    }
    if (i % kIntents == kIntents - 1) std::this_thread::yield();
  }
}

// ---- reading ------------------------------------------------------------------------------------

std::uint64_t ChangeLog::position() const noexcept { return header().tail.load(); }

std::uint64_t ChangeLog::read(std::uint64_t from, const std::function<void(ByteSpan)>& visit) {
  const auto read_ring = [&](std::uint64_t end) {
    while (from < end) {
      const std::size_t offset = from % kRingBytes;
      std::uint32_t size = 0;
      std::memcpy(&size, ring() + offset, sizeof size);
      if (size == kWrap) {
        from += kRingBytes - offset;
        continue;
      }
      // A damaged log must not lead outside of it; what follows cannot be found any more.
      if (size > kMaxRecordBytes || room_of(size) > kRingBytes - offset) {
        header().lost.store(1);
        from = end;
        return;
      }
      visit(ByteSpan(ring() + offset + sizeof size, size));
      from += room_of(size);
    }
  };
  const auto read_taken = [&] {
    for (const std::string& record : taken_) {
      visit(ByteSpan(reinterpret_cast<const std::byte*>(record.data()), record.size()));
    }
  };
  if (!taken_.empty()) {
    read_ring(taken_at_);
    read_taken();
  }
  read_ring(header().head.load(std::memory_order_acquire));
  if (!taken_.empty()) return from;
  {
    MutexLock lock(mutex_);
    // Only when the ring has nothing older.
    if (header().head.load() == from) {
      taken_.swap(spilled_);
      taken_at_ = from;
    }
  }
  read_taken();
  return from;
}

void ChangeLog::release(std::uint64_t position) noexcept {
  MutexLock lock(mutex_);
  header().tail.store(position, std::memory_order_release);
  taken_.clear();
  if (spilled_.empty()) {
    spilled_bytes_ = 0;
    header().spilled.store(0);
  }
}

void ChangeLog::take_intents(const std::function<void(ByteSpan)>& visit) {
  for (std::size_t i = 0; i < kIntents; ++i) {
    Intent::Slot& one = slot(i);
    if (one.state.load() == kArmed && one.size <= kMaxRecordBytes) {
      visit(ByteSpan(one.record).first(one.size));
    }
    one.state.store(kFree);
  }
}

void ChangeLog::close_in_order(std::int64_t now) noexcept {
  header().last_word.store(now);
  header().in_order.store(1);
}

void ChangeLog::wait(std::chrono::steady_clock::time_point deadline) noexcept {
  MutexLock lock(mutex_);
  Header& head = header();
  while (!woken_ && spilled_.empty() && head.head.load() == head.tail.load()) {
    waiting_ = true;
    if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout) break;
  }
  waiting_ = false;
  woken_ = false;
}

void ChangeLog::gather(std::chrono::steady_clock::time_point deadline) noexcept {
  MutexLock lock(mutex_);
  Header& head = header();
  while (!woken_ && spilled_.empty() && head.head.load() - head.tail.load() <= kRingBytes / 2) {
    gathering_ = true;
    if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout) break;
  }
  gathering_ = false;
  woken_ = false;
}

void ChangeLog::wake() noexcept {
  MutexLock lock(mutex_);
  woken_ = true;
  changed_.notify_all();
}

bool ChangeLog::is_empty(std::uint64_t from) noexcept {
  MutexLock lock(mutex_);
  return spilled_.empty() && header().head.load() == from;
}

}  // namespace passthroughfs
