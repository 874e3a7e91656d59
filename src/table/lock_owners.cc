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

void LockDescriptor::note_held(bool held) noexcept {
  const std::uint8_t value = held ? 1 : 0;
  if (record_ == nullptr || record_->held.load(std::memory_order_relaxed) == value) return;
  record_->held.store(value, std::memory_order_release);
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
  record.held.store(0, std::memory_order_relaxed);
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
    if (found.ranges.empty() && record.held.load(std::memory_order_relaxed) != 0 &&
        (!ranges || may_hide_locks(BorrowedFd(record.fd)))) {
      // Or the process died when it had just unlocked: then the request comes again and settles it.
      found.ranges.push_back({0, kLockToEnd, F_RDLCK, pid});
      found.origin.inexact = true;
    }
    if (found.ranges.empty()) {
      others.emplace_back(record.fd);
      return Fate::ends;
    }
    record.held.store(1, std::memory_order_relaxed);
    out.push_back(std::move(found));
    records.push_back(&record);
    return Fate::goes_on;
  }));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].descriptor = LockDescriptor(UniqueFd(records[i]->fd), *this, *records[i]);
  }
  return out;
}

}  // namespace passthroughfs
