// SPDX-License-Identifier: Apache-2.0
#include "changes/journal.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <ctime>
#include <vector>

#include "base/log.h"
#include "base/shared_cpu.h"
#include "base/thread.h"
#include "changes/altered.h"
#include "changes/net_difference.h"
#include "changes/source_traits.h"

namespace passthroughfs {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// How long changes are gathered before they are brought into the database.
constexpr milliseconds kGather{100};
// How long until the next try after a failure, or the next look at files that were mapped.
constexpr milliseconds kRetry{1000};
// How often files are looked at that may be written unseen, while somebody waits for changes.
constexpr milliseconds kLook{500};
constexpr std::size_t kMostReports = 4096;
// How long a mount waits for the first look at its source.
constexpr milliseconds kFirstLook{200};
// After a power loss epochs are not what tokens say that were given out last.
constexpr std::uint64_t kEpochLeap = 1U << 20;

constexpr std::string_view kTokenPrefix = "p1:";

bool parse(std::string_view text, std::uint64_t& value, int base) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

ChangeJournal::ChangeJournal(Options options, const Subject& subject,
                             std::unique_ptr<ChangeStore> store, std::unique_ptr<ChangeLog> log,
                             std::unique_ptr<ChangeTracker> tracker)
    : options_(std::move(options)),
      source_(subject.source),
      store_(std::move(store)),
      log_(std::move(log)),
      tracker_(std::move(tracker)),
      places_(*store_, source_, subject.inodes),
      census_(*store_, places_, source_, *tracker_),
      recorder_(*store_, places_, subject.inodes, census_),
      unseen_(source_, subject.inodes, subject.handles, *tracker_) {}

ChangeJournal::~ChangeJournal() { stop(); }

Outcome<std::unique_ptr<ChangeJournal>> ChangeJournal::open(const Options& options,
                                                            const Subject& subject) {
  // The database first, whose lock lasts as long as it is open: the log of another journal's
  // mount is never touched.
  const std::string& file = options.file.empty() ? options.memory_file : options.file;
  auto store = ChangeStore::open(file);
  if (!store) return store.error();
  const auto failed = [&](Errno error) {
    if (error == EBUSY) {
      return Error{EBUSY, fmt::format("journal '{}' is in use by another mount", file)};
    }
    if (error == EINVAL) {
      return Error{EINVAL, fmt::format("'{}-log' is not a change log of passthroughfs; it was left "
                                       "untouched",
                                       file)};
    }
    return Error{error.value(), fmt::format("journal '{}-log': {}", file, error.to_string())};
  };
  auto opened =
      file.empty() ? ChangeLog::in_memory() : ChangeLog::open(file + "-log", (*store)->identity());
  if (!opened) return failed(opened.error());
  auto tracker = ChangeTracker::create(**opened, subject.inodes, subject.inode_capacity,
                                       probe_source(subject.source));
  if (!tracker) return failed(tracker.error());
  std::unique_ptr<ChangeJournal> journal(new ChangeJournal(
      options, subject, std::move(*store), std::move(*opened), std::move(*tracker)));
  if (auto taken = journal->take_over(); !taken) return taken.error();
  return journal;
}

// What an earlier process has left, and the beginning of this mount's first epoch.
Outcome<void> ChangeJournal::take_over() {
  MutexLock lock(mutex_);
  try {
    const auto root = look_at(source_.root(), "");
    if (!root) return Error{EIO, "the source cannot be looked at"};
    const ObjectKey before = store_->key_of(ChangeStore::kRoot);
    if (before.exists() &&
        (store_->meta("source") != options_.source || before.ino != key_of(*root).ino)) {
      return Error{EINVAL, fmt::format("journal '{}' belongs to another source, '{}'; it was left "
                                       "untouched",
                                       options_.file, store_->meta("source"))};
    }
    store_->begin();
    store_->set_root(key_of(*root));
    store_->set_meta("source", options_.source);
    std::uint64_t epoch = std::max(store_->newest_epoch(), log_->epoch());
    auto found = log_->found();
    std::uint64_t closed = 0;
    (void)parse(store_->meta("closed"), closed, 10);
    if (found == ChangeLog::Found::nothing &&
        closed != static_cast<std::uint64_t>(log_->last_word())) {
      found = ChangeLog::Found::stale;
    }
    store_->set_meta("closed", "");
    const bool asked = store_->has_epoch_of(ChangeStore::EpochKind::checkpoint) ||
                       store_->has_epoch_of(ChangeStore::EpochKind::report);
    recorder_.keep_known(asked);
    asked_ = asked;
    std::uint64_t taken = log_->position();
    if (found == ChangeLog::Found::records) {
      recorder_.from_dead_process(true);
      std::uint64_t applied = 0;
      (void)parse(store_->meta("applied"), applied, 10);
      const auto record = [this](ByteSpan bytes) PFS_NO_THREAD_SAFETY_ANALYSIS {
        if (!decode(bytes, recorder_)) log_warning("the change log has a record that is none");
      };
      taken = log_->read(std::max(applied, log_->position()), record);
      log_->take_intents([this](ByteSpan bytes)
                             PFS_NO_THREAD_SAFETY_ANALYSIS { recorder_.intent(bytes); });
      store_->set_meta("applied", fmt::format("{}", taken));
      if (log_->lost()) {
        note_gap(epoch, "the daemon was killed while changes waited to be recorded");
        log_->forget_loss();
      }
      recorder_.from_dead_process(false);
    } else {
      store_->set_meta("applied", "0");
      if (found == ChangeLog::Found::stale) epoch += kEpochLeap;
    }
    const std::uint64_t ended = epoch;
    const bool counted = store_->meta("census") == "done";
    if (options_.mount_epoch != 0) {
      // The mount was there all the time.
      mount_epoch_ = options_.mount_epoch;
      if (found != ChangeLog::Found::records) {
        note_gap(ended, "the log of changes was lost with the process that served the mount");
      }
      if (store_->meta("comparing") == "yes") {
        note_gap(ended, "a process died before it had looked through the source");
      }
      store_->set_meta("comparing", "");
      store_->commit();
      log_->release(taken);
      log_->set_epoch(epoch);
      return {};
    }
    store_->set_meta("census", "");
    mount_epoch_ = epoch + 1;
    if (!asked) {
      // Nobody has a token, so nobody can ask about what was before.
      store_->forget_before(mount_epoch_);
    } else if (counted) {
      census_.begin_comparing(ended);
    } else if (log_->last_word() != 0 && found != ChangeLog::Found::stale) {
      checked_epoch_ = ended;
      census_.begin_checking(ended, log_->last_word());
    } else {
      note_gap(ended,
               "the source may have been changed while it was not mounted, and it was not known "
               "completely before");
      census_.begin_counting();
    }
    // A small source is looked through before anybody can change it here.
    const auto patience = Clock::now() + kFirstLook;
    while (census_.is_walking() && Clock::now() < patience) {
      if (!census_.step()) end_census();
    }
    store_->add_epoch(mount_epoch_, ChangeStore::EpochKind::mount);
    store_->set_meta("comparing", census_.is_finding() ? "yes" : "");
    store_->commit();
    log_->release(taken);
    log_->set_epoch(mount_epoch_);
    census_runs_ = census_.is_walking();
    return {};
  } catch (const DatabaseError& error) {
    store_->abandon();
    return Error{EIO, fmt::format("journal '{}': {}", options_.file, error.what())};
  }
}

void ChangeJournal::start(std::uint64_t own_device) {
  {
    MutexLock lock(mutex_);
    places_.set_own_device(own_device);
    if (options_.mount_epoch != 0) go_on();
  }
  thread_ = start_thread([this] { run(); });
}

// The tracker of the process that died knew what it had said in its epoch; this one does not, so it
// begins another. Nobody serves yet.
void ChangeJournal::go_on() {
  try {
    unseen_.adopt(options_.mapped);
    (void)begin_epoch(ChangeStore::EpochKind::mount);
    // What the last one was looking through is looked through again.
    if (asked_ && store_->meta("census") != "done") begin_census();
  } catch (const std::exception& error) {
    store_->abandon();
    log_error("the journal cannot be written: {}", error.what());
    trouble_ = fmt::format("the journal cannot be written: {}", error.what());
  }
}

void ChangeJournal::run() noexcept {
  (void)pthread_setname_np(pthread_self(), "journal");
  // It has time: whoever makes changes goes first.
  const sched_param none{};
  (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
  std::optional<KeepingAway> keeping_away;
  try {
    keeping_away.emplace();
  } catch (const std::bad_alloc&) {
    log_warning("no memory to keep the journal's work away from a client's CPU");
  }
  bool failed = false;
  while (!stop_) {
    const bool census = census_runs_;
    const bool look = failed || unseen_.is_watching();
    if (!census) log_->wait(Clock::now() + (look ? kRetry : std::chrono::hours(24)));
    if (stop_) break;
    log_->gather(Clock::now() + (failed ? kRetry : census ? milliseconds(0) : kGather));
    if (keeping_away) keeping_away->look();
    MutexLock lock(mutex_);
    try {
      drain();
      if (census_runs_) census_step();
      if (failed) log_info("the journal can be written again");
      failed = false;
      trouble_.clear();
    } catch (const DatabaseError& error) {
      store_->abandon();
      if (!failed) log_error("the journal cannot be written: {}", error.what());
      failed = true;
      trouble_ = fmt::format("the journal cannot be written: {}", error.what());
    } catch (const std::bad_alloc&) {
      store_->abandon();
      failed = true;
      trouble_ = "no memory for the journal";
    }
    changed_.notify_all();
    // Soon, because they are held: a file that is removed meanwhile keeps its room.
    unseen_.look_at_mapped(false);
  }
}

// Everything that the log has, in one transaction.
void ChangeJournal::drain() {
  const std::uint64_t from = log_->position();
  if (untold_.exchange(false)) {
    store_->begin();
    note_gap(log_->epoch(), "an operation did not say what it changed");
    store_->commit();
  }
  if (log_->is_empty(from)) return;
  store_->begin();
  std::uint64_t ordinal = drained_;
  const std::uint64_t end = log_->read(from, [&](ByteSpan bytes) PFS_NO_THREAD_SAFETY_ANALYSIS {
    recorder_.once_more(ordinal < ordinal_);
    if (!decode(bytes, recorder_)) log_warning("the change log has a record that is none");
    ++ordinal;
    if (ordinal > ordinal_) ordinal_ = ordinal;
  });
  store_->set_meta("applied", fmt::format("{}", end));
  if (log_->lost()) note_gap(log_->epoch(), "there was no room for all changes");
  store_->commit();
  if (log_->lost()) log_->forget_loss();
  log_->release(end);
  drained_ = ordinal;
}

// ---- what is known of the whole source ----------------------------------------------------------

void ChangeJournal::begin_census() {
  if (options_.file.empty() || census_.is_walking() || store_->meta("census") == "done") return;
  recorder_.keep_known(true);
  census_.begin_counting();
  census_runs_ = true;
  log_->wake();
}

void ChangeJournal::census_step() {
  store_->begin();
  const bool more = census_.step();
  if (!more) end_census();
  store_->commit();
  if (!more) census_runs_ = false;
}

void ChangeJournal::end_census() {
  store_->set_meta("comparing", "");
  store_->set_meta("census", "done");
  if (census_.unknown_changes().empty()) return;
  note_gap(checked_epoch_,
           fmt::format("names in '{}' were changed while it was not mounted, and it "
                       "was not known before which there were",
                       census_.unknown_changes()));
}

void ChangeJournal::wait_until_compared() {
  while (census_.is_finding() && !stop_ && !interrupted_) changed_.wait(mutex_);
}

// ---- epochs -------------------------------------------------------------------------------------

// Whether this epoch, the last one, may have brought a difference. Files that are only open for
// writing have not.
bool ChangeJournal::is_changed_in(std::uint64_t epoch) {
  if (store_->has_names(epoch)) return true;
  if (!store_->has_inodes(epoch)) return false;
  store_->begin();
  places_.refresh();
  const bool changed = !altered_since(*store_, places_, source_, epoch).empty();
  store_->commit();
  return changed;
}

// Begins an epoch, unless the last one says the same; gives its number. The log is drained.
std::uint64_t ChangeJournal::turn(ChangeStore::EpochKind kind) {
  const std::uint64_t before = log_->epoch();
  if (!is_changed_in(before)) {
    store_->begin(kind == ChangeStore::EpochKind::checkpoint);
    store_->add_epoch(before, kind);
    store_->commit();
    begin_census();
    return before;
  }
  const std::uint64_t epoch = begin_epoch(kind);
  begin_census();
  return epoch;
}

std::uint64_t ChangeJournal::begin_epoch(ChangeStore::EpochKind kind) {
  const std::uint64_t epoch = log_->epoch() + 1;
  log_->set_epoch(epoch);
  unseen_.ask_open();
  unseen_.look_at_mapped(true);
  drain();
  store_->begin(kind == ChangeStore::EpochKind::checkpoint);
  census_.refresh(options_.file.empty() ? 0 : epoch);  // in memory nothing is kept for later
  store_->add_epoch(epoch, kind);
  store_->thin_out(kMostReports);
  store_->commit();
  return epoch;
}

void ChangeJournal::note_gap(std::uint64_t epoch, const std::string& reason) {
  // Every token up to the newest gap is affected, and an older gap than that changes nothing.
  std::uint64_t known = 0;
  if (parse(store_->meta("gap"), known, 10) && known > epoch) return;
  store_->set_meta("gap", fmt::format("{}", epoch));
  store_->set_meta("gap_reason", reason);
}

// ---- tokens -------------------------------------------------------------------------------------

std::string ChangeJournal::token(std::uint64_t epoch) const {
  return fmt::format("{}{:016x}:{}", kTokenPrefix, store_->identity(), epoch);
}

// The boundary from which rows count. Errors as ChangeQueries::since.
Outcome<std::uint64_t> ChangeJournal::epoch_of(std::string_view token) {
  std::uint64_t identity = 0;
  std::uint64_t epoch = 0;
  const std::string_view rest =
      token.starts_with(kTokenPrefix) ? token.substr(kTokenPrefix.size()) : std::string_view();
  const std::size_t colon = rest.find(':');
  if (colon != 16 || !parse(rest.substr(0, colon), identity, 16) ||
      !parse(rest.substr(colon + 1), epoch, 10)) {
    return Error{EINVAL, fmt::format("'{}' is not a token", token)};
  }
  if (identity != store_->identity()) {
    return Error{EINVAL, fmt::format("the token '{}' is of another journal", token)};
  }
  if (epoch > log_->epoch()) {
    return Error{EINVAL, fmt::format("the token '{}' was never given out", token)};
  }
  const std::uint64_t boundary = store_->boundary(epoch);
  if (boundary == 0) {
    return Error{ENOENT, fmt::format("what the token '{}' needs has been forgotten", token)};
  }
  return boundary;
}

// ---- questions ----------------------------------------------------------------------------------

template <typename T, typename Work>
Outcome<T> ChangeJournal::answer(Work&& work) {
  try {
    drain();
    auto answer = work();
    answered_ = drained_;
    return answer;
  } catch (const DatabaseError& error) {
    store_->abandon();
    return Error{EIO, fmt::format("the journal cannot be used: {}", error.what())};
  } catch (const std::bad_alloc&) {
    store_->abandon();
    return Error{ENOMEM, "no memory for the answer"};
  }
}

template <typename T, typename Work>
Outcome<T> ChangeJournal::ask(Work&& work) {
  MutexLock lock(mutex_);
  wait_until_compared();
  if (stopping_ || interrupted_) return Error{ESHUTDOWN, "the mount is ending"};
  return answer<T>(work);
}

Outcome<std::string> ChangeJournal::checkpoint() {
  return ask<std::string>([this]() PFS_NO_THREAD_SAFETY_ANALYSIS -> Outcome<std::string> {
    return token(turn(ChangeStore::EpochKind::checkpoint));
  });
}

Outcome<std::uint64_t> ChangeJournal::beginning(std::optional<std::string_view> token) {
  if (token) return epoch_of(*token);
  if (store_->boundary(mount_epoch_) != mount_epoch_) {
    return Error{ENOENT, "what this mount began with has been forgotten; give a token"};
  }
  return mount_epoch_;
}

void ChangeJournal::compare(ChangeReport& report, std::uint64_t from, bool renames) {
  store_->begin();
  report.changes = net_difference(*store_, places_, source_, from, renames);
  store_->commit();
  std::uint64_t gap = 0;
  if (parse(store_->meta("gap"), gap, 10) && from <= gap) {
    report.complete = false;
    report.reason = store_->meta("gap_reason");
  }
  if (!trouble_.empty()) {
    report.complete = false;
    report.reason = trouble_;
  }
}

Outcome<ChangeReport> ChangeJournal::since(std::optional<std::string_view> since, bool renames) {
  return ask<ChangeReport>([&]() PFS_NO_THREAD_SAFETY_ANALYSIS -> Outcome<ChangeReport> {
    const auto from = beginning(since);
    if (!from) return from.error();
    ChangeReport report;
    report.since = since ? std::string(*since) : token(*from);
    report.token = token(turn(ChangeStore::EpochKind::report));
    compare(report, *from, renames);
    return report;
  });
}

Outcome<ChangeReport> ChangeJournal::until_end(std::optional<std::string_view> since) {
  MutexLock lock(mutex_);
  while (stop_ && !stopping_) changed_.wait(mutex_);
  if (!stopping_ || census_.is_finding()) return Error{ESHUTDOWN, "the mount is ending"};
  return answer<ChangeReport>([&]() PFS_NO_THREAD_SAFETY_ANALYSIS -> Outcome<ChangeReport> {
    const auto from = beginning(since);
    if (!from) return from.error();
    // The journal has been closed, so no epoch begins: the next mount's does.
    ChangeReport report;
    report.token = token(log_->epoch());
    report.since = since ? std::string(*since) : token(*from);
    compare(report, *from, true);
    return report;
  });
}

Outcome<void> ChangeJournal::forget_before(std::string_view token) {
  auto done = ask<bool>([&]() PFS_NO_THREAD_SAFETY_ANALYSIS -> Outcome<bool> {
    const auto epoch = epoch_of(token);
    if (!epoch) return epoch.error();
    store_->begin();
    store_->forget_before(*epoch);
    store_->commit();
    return true;
  });
  if (!done) return done.error();
  return {};
}

bool ChangeJournal::wait_for_change(std::string_view token, Clock::time_point deadline) {
  MutexLock lock(mutex_);
  for (;;) {
    if (interrupted_ || stopping_) return false;
    try {
      const auto epoch = epoch_of(token);
      if (!epoch || *epoch < log_->epoch()) return true;
      if (drained_ != answered_) return true;
      const auto now = Clock::now();
      if (now >= deadline) return false;
      // Writes to files that are open in passthrough come to nobody's ears.
      const bool unseen = store_->has_inodes(*epoch);
      const auto until = unseen ? std::min(deadline, now + kLook) : deadline;
      if (changed_.wait_until(mutex_, until) == std::cv_status::timeout && unseen &&
          until < deadline) {
        return true;
      }
    } catch (const DatabaseError&) {
      return true;
    }
  }
}

void ChangeJournal::interrupt() {
  interrupted_ = true;
  MutexLock lock(mutex_);
  changed_.notify_all();
}

void ChangeJournal::may_be_mapped(const InodeRef& inode) noexcept {
  if (unseen_.may_be_mapped(inode)) log_->wake();
}

std::string ChangeJournal::trouble() {
  MutexLock lock(mutex_);
  return trouble_;
}

bool ChangeJournal::knows_source() {
  MutexLock lock(mutex_);
  try {
    return store_->meta("census") == "done";
  } catch (const DatabaseError&) {
    return false;
  }
}

void ChangeJournal::stop() noexcept {
  stop_ = true;
  interrupted_ = true;
  log_->wake();
  if (thread_.joinable()) {
    {
      MutexLock lock(mutex_);
      changed_.notify_all();
    }
    thread_.join();
  }
  MutexLock lock(mutex_);
  if (stopping_) return;
  stopping_ = true;
  try {
    drain();
    store_->begin();
    census_.refresh(0);
    // A comparison that was not finished cannot be made up for.
    if (census_.is_finding()) {
      note_gap(log_->epoch(), "the mount ended before the source had been looked through");
    }
    // Both have the same word of it: if only one of them reaches the disk, the next start knows.
    timespec time{};
    (void)::clock_gettime(CLOCK_REALTIME, &time);
    const std::int64_t now = time.tv_sec * 1'000'000'000 + time.tv_nsec;
    store_->set_meta("closed", fmt::format("{}", now));
    store_->commit();
    log_->close_in_order(now);
  } catch (const std::exception& error) {
    store_->abandon();
    log_error("the journal could not be closed: {}", error.what());
  }
  changed_.notify_all();
  unseen_.look_at_mapped(false);
}

}  // namespace passthroughfs
