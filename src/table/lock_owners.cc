// SPDX-License-Identifier: Apache-2.0
#include "table/lock_owners.h"

#include <fcntl.h>
#include <sys/vfs.h>

#include <array>
#include <charconv>
#include <sstream>
#include <string>
#include <utility>

#include "base/log.h"

namespace passthroughfs {
namespace {

Result<std::string> read_fdinfo(BorrowedFd fd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(fd.get());
  const UniqueFd file = TRY(own(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
  std::string text;
  std::array<char, 4096> part{};
  while (const ssize_t size = TRY(check(::read(file.get(), part.data(), part.size())))) {
    text.append(part.data(), static_cast<std::size_t>(size));
  }
  return text;
}

// A FUSE file system that keeps locks itself, or we do not know.
bool may_hide_locks(BorrowedFd fd) noexcept {
  constexpr long kFuseMagic = 0x65735546;
  struct statfs fs;
  return ::fstatfs(fd.get(), &fs) < 0 || fs.f_type == kFuseMagic;
}

}  // namespace

// "lock:	1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 10 19", "EOF" for a range without an end.
Result<std::vector<LockRange>> locked_ranges(BorrowedFd fd, std::uint32_t pid) {
  std::istringstream lines(TRY(read_fdinfo(fd)));
  std::vector<LockRange> out;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string tag, number, kind, how, type, nobody, inode, end;
    LockRange range{0, kLockToEnd, F_RDLCK, pid};
    words >> tag >> number >> kind >> how >> type >> nobody >> inode >> range.start >> end;
    if (tag != "lock:" || kind != "OFDLCK" || !words) continue;
    if (type == "WRITE") range.type = F_WRLCK;
    if (end != "EOF") (void)std::from_chars(end.data(), end.data() + end.size(), range.end);
    out.push_back(range);
  }
  return out;
}

LockDescriptor& LockDescriptor::operator=(LockDescriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::move(other.fd_);
    owners_ = other.owners_;
    record_ = std::exchange(other.record_, nullptr);
  }
  return *this;
}

// The record first: a successor must not take whatever has the number by then for this.
void LockDescriptor::reset() noexcept {
  if (record_ != nullptr) owners_->remove(*std::exchange(record_, nullptr));
  fd_.reset();
}

void LockDescriptor::note_claim(std::uint64_t fh, std::uint32_t pid) noexcept {
  if (record_ == nullptr) return;
  if (record_->fh.load(std::memory_order_relaxed) != fh) record_->fh.store(fh);
  if (record_->pid.load(std::memory_order_relaxed) != pid) record_->pid.store(pid);
}

void LockDescriptor::note_ranges(const std::vector<LockRange>& ranges) noexcept {
  if (record_ == nullptr) return;
  if (ranges.empty() && record_->ranges.load(std::memory_order_relaxed) == 0) return;
  record_->ranges.store(LockOwnerRecord::kMany);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (ranges.size() > LockOwnerRecord::kMostRanges) return;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    record_->types[i] = static_cast<std::uint8_t>(ranges[i].type);
    record_->starts[i] = ranges[i].start;
    record_->ends[i] = ranges[i].end;
  }
  record_->ranges.store(static_cast<std::uint8_t>(ranges.size()), std::memory_order_release);
}

Result<std::unique_ptr<LockOwners>> LockOwners::create(std::uint32_t capacity, Regions& regions) {
  Region region = TRY(regions.make("passthroughfs-locks",
                                   SlotTable<LockOwnerRecord>::bytes_for(kFirst + capacity)));
  std::unique_ptr<LockOwners> owners(new LockOwners(std::move(region)));
  TRY(owners->slots_.check());
  return owners;
}

Result<LockDescriptor> LockOwners::add(UniqueFd fd, const Origin& origin) noexcept {
  const auto number = slots_.allocate();
  if (!number) return Err(ENOLCK);
  LockOwnerRecord& record = slots_.at(SlotNumber::slot(*number));
  record.fd = fd.get();
  record.node = origin.node;
  record.owner = origin.owner;
  record.fh.store(origin.fh, std::memory_order_relaxed);
  record.pid.store(origin.pid, std::memory_order_relaxed);
  record.ranges.store(0, std::memory_order_relaxed);
  record.inexact = origin.inexact ? 1 : 0;
  slots_.publish(record, 0);
  return LockDescriptor(std::move(fd), *this, record);
}

void LockOwners::remove(LockOwnerRecord& record) noexcept {
  const std::uint64_t number = slots_.number_of(record, slots_.slot_of(record));
  (void)slots_.retire(record, SlotNumber::generation(number));
  slots_.free(record);
}

Result<std::vector<LockOwners::Found>> LockOwners::recover(const IsOpenOn& is_open_on) {
  using Fate = SlotTable<LockOwnerRecord>::Fate;
  std::vector<Found> out;
  std::vector<LockOwnerRecord*> records;  // of these
  std::vector<UniqueFd> others;           // closed when their records have ended
  TRY(slots_.rebuild([&](LockOwnerRecord& record, bool live) {
    if (!live) return Fate::unused;
    if (record.fd < 0) return Fate::goes_on;
    if (!is_open_on(record.fd, record.node)) {
      log_error("locks of node {:#x} are damaged in memory, and gone", record.node);
      return Fate::ends;
    }
    const std::uint32_t pid = record.pid.load(std::memory_order_relaxed);
    auto ranges = locked_ranges(BorrowedFd(record.fd), pid);
    if (!ranges && ranges.error() == ENOENT) return Fate::ends;  // it is not open
    Found found{{record.node, record.owner, record.fh.load(std::memory_order_relaxed), pid,
                 record.inexact != 0},
                {},
                {}};
    if (ranges) found.ranges = std::move(*ranges);
    if (found.ranges.empty() && record.ranges.load(std::memory_order_relaxed) != 0 &&
        (!ranges || may_hide_locks(BorrowedFd(record.fd)))) {
      // Or the process died when it had just unlocked: then the request comes again and settles it.
      found.ranges.push_back({0, kLockToEnd, F_RDLCK, pid});
      found.origin.inexact = true;
    }
    if (found.ranges.empty()) {
      others.emplace_back(record.fd);
      return Fate::ends;
    }
    out.push_back(std::move(found));
    records.push_back(&record);
    return Fate::goes_on;
  }));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].descriptor = LockDescriptor(UniqueFd(records[i]->fd), *this, *records[i]);
    out[i].descriptor.note_ranges(out[i].ranges);
  }
  return out;
}

// ---- after the end of all processes -------------------------------------------------------------

void LockOwners::forget_descriptors() noexcept {
  for (std::uint32_t slot = kFirst; slot < slots_.high_water(); ++slot) slots_.at(slot).fd = -1;
}

std::vector<LockOwners::Found> LockOwners::take_again(const Open& open, std::vector<Origin>& lost) {
  std::vector<Found> out;
  for (std::uint32_t slot = kFirst; slot < slots_.high_water(); ++slot) {
    LockOwnerRecord& record = slots_.at(slot);
    if (!slots_.is_live(record) || record.fd >= 0) continue;
    const std::uint32_t pid = record.pid.load(std::memory_order_relaxed);
    Found found{
        {record.node, record.owner, record.fh.load(std::memory_order_relaxed), pid, false}, {}, {}};
    const std::uint8_t count = record.ranges.load(std::memory_order_acquire);
    bool taken = count <= LockOwnerRecord::kMostRanges;
    auto fd = taken && count != 0 ? open(found.origin) : Result<UniqueFd>(Err(ENOENT));
    taken = taken && fd;
    for (std::size_t i = 0; taken && i < count; ++i) {
      const LockRange range{record.starts[i], record.ends[i], record.types[i], pid};
      const bool sane =
          range.start <= range.end && (range.type == F_RDLCK || range.type == F_WRLCK);
      struct flock native = {};
      native.l_type = static_cast<short>(range.type);
      native.l_whence = SEEK_SET;
      native.l_start = static_cast<off_t>(range.start);
      native.l_len = range.end >= kLockToEnd ? 0 : static_cast<off_t>(range.end - range.start + 1);
      taken = sane && ::fcntl(fd->get(), F_OFD_SETLK, &native) == 0;
      found.ranges.push_back(range);
    }
    if (!taken) {
      if (count != 0) lost.push_back(found.origin);
      remove(record);
      continue;
    }
    record.fd = fd->get();
    record.inexact = 0;
    found.descriptor = LockDescriptor(std::move(*fd), *this, record);
    out.push_back(std::move(found));
  }
  return out;
}

}  // namespace passthroughfs
