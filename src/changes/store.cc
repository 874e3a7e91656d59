// SPDX-License-Identifier: Apache-2.0
#include "changes/store.h"

#include <fmt/core.h>

#include <cerrno>
#include <ctime>

#include "changes/journal_file.h"

namespace passthroughfs {
namespace {

constexpr const char* kInMemory = ":memory:";
constexpr std::size_t kMostCachedIds = 1U << 18;

Stamp stamp_at(const Database::Use& row, int column) {
  Stamp stamp;
  stamp.mode = static_cast<std::uint32_t>(row.integer(column));
  stamp.uid = static_cast<std::uint32_t>(row.integer(column + 1));
  stamp.gid = static_cast<std::uint32_t>(row.integer(column + 2));
  stamp.size = row.number(column + 3);
  stamp.mtime = row.integer(column + 4);
  stamp.ctime = row.integer(column + 5);
  stamp.racy = static_cast<std::uint32_t>(row.integer(column + 6));
  return stamp;
}

Database::Use& bind(Database::Use& use, const Stamp& stamp) {
  return use.bind(stamp.mode)
      .bind(stamp.uid)
      .bind(stamp.gid)
      .bind(stamp.size)
      .bind(stamp.mtime)
      .bind(stamp.ctime)
      .bind(stamp.racy);
}

}  // namespace

struct ChangeStore::Statements {
  explicit Statements(Database& db) : database(db) {}

  Database& database;
#define PFS_STATEMENT(name, text) \
  Database::Statement name { database, text }
  PFS_STATEMENT(begin, "BEGIN IMMEDIATE");
  PFS_STATEMENT(commit, "COMMIT");
  PFS_STATEMENT(rollback, "ROLLBACK");
  PFS_STATEMENT(get_meta, "SELECT value FROM meta WHERE key = ?");
  PFS_STATEMENT(set_meta, "INSERT OR REPLACE INTO meta VALUES (?, ?)");
  // A boundary that somebody has a token of stays one, whatever else it is.
  PFS_STATEMENT(add_epoch,
                "INSERT INTO epochs VALUES (?, ?, ?) ON CONFLICT (epoch) DO UPDATE SET kind = "
                "CASE WHEN excluded.kind = 1 OR kind = 0 THEN excluded.kind ELSE kind END");
  PFS_STATEMENT(boundary, "SELECT max(epoch) FROM epochs WHERE epoch <= ?");
  PFS_STATEMENT(newest, "SELECT max(epoch) FROM epochs");
  PFS_STATEMENT(of_kind, "SELECT 1 FROM epochs WHERE kind = ? LIMIT 1");
  PFS_STATEMENT(forget_epochs, "DELETE FROM epochs WHERE epoch < ?");
  PFS_STATEMENT(forget_names, "DELETE FROM names WHERE epoch < ?");
  PFS_STATEMENT(forget_inodes, "DELETE FROM inodes WHERE epoch < ?");
  PFS_STATEMENT(count_reports, "SELECT count(*) FROM epochs WHERE kind = 2");
  PFS_STATEMENT(oldest_reports, "SELECT epoch FROM epochs WHERE kind = 2 ORDER BY epoch LIMIT ?");
  PFS_STATEMENT(drop_epoch, "DELETE FROM epochs WHERE epoch = ?");
  PFS_STATEMENT(merge_names,
                "INSERT OR IGNORE INTO names SELECT ?, directory, name, before, mode, uid, gid, "
                "size, mtime, ctime, racy, xattrs FROM names WHERE epoch = ?");
  PFS_STATEMENT(drop_names, "DELETE FROM names WHERE epoch = ?");
  PFS_STATEMENT(inodes_of,
                "SELECT object, marks, mode, uid, gid, size, mtime, ctime, racy, "
                "xattrs, content FROM inodes WHERE epoch = ?");
  PFS_STATEMENT(drop_inodes, "DELETE FROM inodes WHERE epoch = ?");
  PFS_STATEMENT(find, "SELECT id, sure FROM objects WHERE ino = ? AND device = ? AND current = 1");
  PFS_STATEMENT(insert_root,
                "INSERT INTO objects (id, device, ino, current, sure, born, mode) "
                "VALUES (1, ?, ?, 1, 1, 0, 16384)");  // S_IFDIR
  PFS_STATEMENT(new_device, "UPDATE objects SET device = ? WHERE device = ?");
  PFS_STATEMENT(insert_object,
                "INSERT INTO objects (device, ino, current, sure, born, mode) "
                "VALUES (?, ?, 1, ?, ?, ?)");
  PFS_STATEMENT(make_sure, "UPDATE objects SET sure = 1 WHERE id = ? AND sure = 0");
  PFS_STATEMENT(now_born, "UPDATE objects SET sure = 1, born = ?, mode = ? WHERE id = ?");
  PFS_STATEMENT(ended, "UPDATE objects SET current = 0 WHERE id = ?");
  PFS_STATEMENT(is_current, "SELECT current FROM objects WHERE id = ?");
  PFS_STATEMENT(birth, "SELECT born FROM objects WHERE id = ?");
  PFS_STATEMENT(key, "SELECT device, ino FROM objects WHERE id = ?");
  PFS_STATEMENT(drop_object, "DELETE FROM objects WHERE id = ?");
  PFS_STATEMENT(drop_inode_row, "DELETE FROM inodes WHERE epoch = ? AND object = ?");
  PFS_STATEMENT(link, "INSERT OR REPLACE INTO links VALUES (?, ?, ?)");
  PFS_STATEMENT(unlink_all, "DELETE FROM links WHERE object = ?");
  PFS_STATEMENT(unlink, "DELETE FROM links WHERE directory = ? AND name = ?");
  PFS_STATEMENT(at, "SELECT object FROM links WHERE directory = ? AND name = ?");
  PFS_STATEMENT(places, "SELECT directory, name FROM links WHERE object = ?");
  PFS_STATEMENT(children, "SELECT name, object FROM links WHERE directory = ?");
  PFS_STATEMENT(set_known,
                "UPDATE objects SET mode = ?, uid = ?, gid = ?, size = ?, mtime = ?, ctime = ?, "
                "racy = ?, xattrs = ?, birth = ?, known = 1 WHERE id = ?");
  PFS_STATEMENT(known,
                "SELECT mode, uid, gid, size, mtime, ctime, racy, xattrs, birth FROM objects "
                "WHERE id = ? AND known = 1");
  PFS_STATEMENT(stale_object, "INSERT OR IGNORE INTO stale_objects VALUES (?)");
  PFS_STATEMENT(stale_place, "INSERT OR IGNORE INTO stale_places VALUES (?, ?)");
  PFS_STATEMENT(stale_objects_in,
                "INSERT OR IGNORE INTO stale_objects SELECT object FROM inodes WHERE epoch = ?");
  PFS_STATEMENT(stale_places_in,
                "INSERT OR IGNORE INTO stale_places SELECT directory, name FROM names WHERE "
                "epoch = ?");
  PFS_STATEMENT(stale_objects, "SELECT object FROM stale_objects");
  PFS_STATEMENT(stale_places, "SELECT directory, name FROM stale_places");
  PFS_STATEMENT(clear_stale_objects, "DELETE FROM stale_objects");
  PFS_STATEMENT(clear_stale_places, "DELETE FROM stale_places");
  PFS_STATEMENT(add_name,
                "INSERT OR IGNORE INTO names VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  PFS_STATEMENT(add_inode,
                "INSERT INTO inodes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) "
                "ON CONFLICT (epoch, object) DO UPDATE SET marks = marks | ?3, "
                "xattrs = CASE xattrs WHEN 0 THEN ?11 ELSE xattrs END, "
                "content = CASE content WHEN 0 THEN ?12 ELSE content END");
  PFS_STATEMENT(drop_transient,
                "DELETE FROM names WHERE epoch = ? AND directory = ? AND name = ? AND before = 0");
  PFS_STATEMENT(names_since,
                "SELECT epoch, directory, name, before, mode, uid, gid, size, mtime, "
                "ctime, racy, xattrs FROM names WHERE epoch >= ? ORDER BY epoch");
  PFS_STATEMENT(inodes_since,
                "SELECT epoch, object, marks, mode, uid, gid, size, mtime, ctime, "
                "racy, xattrs, content FROM inodes WHERE epoch >= ? ORDER BY epoch");
  PFS_STATEMENT(any_name, "SELECT 1 FROM names WHERE epoch = ? LIMIT 1");
  PFS_STATEMENT(any_inode, "SELECT 1 FROM inodes WHERE epoch = ? LIMIT 1");
#undef PFS_STATEMENT
};

ChangeStore::ChangeStore(const std::string& path) : database_(path) {
  // Written behind: what a commit has not brought to the disk yet outlives this process, and the
  // log outlives it, too. Only a power loss is different, and then the database is whole but older.
  database_.run(
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL; "
      "PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;");
  if (path == kInMemory) make_journal_tables(database_);
  database_.run("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 4000;");
  database_.leave_log_at_close();
  sql_ = std::make_unique<Statements>(database_);
  identity_ = std::strtoull(meta("identity").c_str(), nullptr, 16);
}

ChangeStore::~ChangeStore() = default;

Outcome<std::unique_ptr<ChangeStore>> ChangeStore::open(const std::string& path) {
  if (auto checked = check_journal_file(path); !checked) return checked.error();
  try {
    if (!path.empty()) make_journal_file(path);
    return std::unique_ptr<ChangeStore>(new ChangeStore(path.empty() ? kInMemory : path));
  } catch (const DatabaseError& error) {
    const int code = errno_of_database(error.code());
    if (code == EBUSY) {
      return Error{code, fmt::format("journal '{}' is in use by another mount", path)};
    }
    return Error{code, fmt::format("journal '{}': {}", path, error.what())};
  }
}

std::string ChangeStore::meta(const char* key) {
  Database::Use use(database_, sql_->get_meta);
  use.bind_text(key);
  return use.step() ? std::string(use.bytes(0)) : std::string();
}

void ChangeStore::set_meta(const char* key, const std::string& value) {
  Database::Use(database_, sql_->set_meta).bind_text(key).bind_text(value).finish();
}

void ChangeStore::begin(bool durable) {
  if (durable != durable_) {
    database_.run(durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    durable_ = durable;
  }
  Database::Use(database_, sql_->begin).finish();
}

void ChangeStore::commit() { Database::Use(database_, sql_->commit).finish(); }

void ChangeStore::abandon() noexcept {
  ids_.clear();
  try {
    Database::Use(database_, sql_->rollback).finish();
  } catch (const DatabaseError&) {
    // SQLite has done so already.
  }
}

// ---- epochs -------------------------------------------------------------------------------------

void ChangeStore::add_epoch(std::uint64_t epoch, EpochKind kind) {
  Database::Use(database_, sql_->add_epoch)
      .bind(epoch)
      .bind(static_cast<std::uint32_t>(kind))
      .bind(std::int64_t{::time(nullptr)})
      .finish();
}

std::uint64_t ChangeStore::boundary(std::uint64_t epoch) {
  Database::Use use(database_, sql_->boundary);
  return use.bind(epoch).step() ? use.number(0) : 0;
}

std::uint64_t ChangeStore::newest_epoch() {
  Database::Use use(database_, sql_->newest);
  return use.step() ? use.number(0) : 0;
}

bool ChangeStore::has_epoch_of(EpochKind kind) {
  return Database::Use(database_, sql_->of_kind).bind(static_cast<std::uint32_t>(kind)).step();
}

void ChangeStore::forget_before(std::uint64_t epoch) {
  Database::Use(database_, sql_->forget_epochs).bind(epoch).finish();
  Database::Use(database_, sql_->forget_names).bind(epoch).finish();
  Database::Use(database_, sql_->forget_inodes).bind(epoch).finish();
}

// The rows of a boundary that goes are told of the one before it, whose own rows are older.
void ChangeStore::thin_out(std::size_t most) {
  std::size_t count = 0;
  {
    Database::Use use(database_, sql_->count_reports);
    if (use.step()) count = static_cast<std::size_t>(use.integer(0));
  }
  if (count <= most) return;
  std::vector<std::uint64_t> going;
  {
    Database::Use use(database_, sql_->oldest_reports);
    use.bind(static_cast<std::uint64_t>(count - most / 2));
    while (use.step()) going.push_back(use.number(0));
  }
  for (const std::uint64_t epoch : going) {
    const std::uint64_t earlier = boundary(epoch - 1);
    if (earlier == 0) continue;
    Database::Use(database_, sql_->merge_names).bind(earlier).bind(epoch).finish();
    Database::Use(database_, sql_->drop_names).bind(epoch).finish();
    std::vector<InodeRow> rows;
    {
      Database::Use use(database_, sql_->inodes_of);
      use.bind(epoch);
      while (use.step()) {
        rows.push_back({earlier, use.integer(0), static_cast<std::uint8_t>(use.integer(1)),
                        stamp_at(use, 2), use.number(9), use.number(10)});
      }
    }
    for (const InodeRow& row : rows) add(row);
    Database::Use(database_, sql_->drop_inodes).bind(epoch).finish();
    Database::Use(database_, sql_->drop_epoch).bind(epoch).finish();
  }
}

// ---- objects ------------------------------------------------------------------------------------

void ChangeStore::set_root(ObjectKey key) {
  const ObjectKey before = key_of(kRoot);
  if (before == key) return;
  if (!before.exists()) {
    Database::Use(database_, sql_->insert_root).bind(key.device).bind(key.ino).finish();
  } else {
    Database::Use(database_, sql_->new_device).bind(key.device).bind(before.device).finish();
  }
  ids_.clear();
}

ChangeStore::Found ChangeStore::look_up(ObjectKey key) {
  if (const auto known = ids_.find(key); known != ids_.end()) return known->second;
  Database::Use use(database_, sql_->find);
  if (!use.bind(key.ino).bind(key.device).step()) return {};
  if (ids_.size() >= kMostCachedIds) ids_.clear();
  return ids_[key] = {use.integer(0), use.integer(1) != 0};
}

ObjectId ChangeStore::find(ObjectKey key) { return look_up(key).id; }

ObjectId ChangeStore::ensure(ObjectKey key, std::uint32_t mode, bool sure) {
  if (const Found known = look_up(key); known.id != 0) {
    if (sure && !known.sure) {
      Database::Use(database_, sql_->make_sure).bind(known.id).finish();
      ids_[key].sure = true;
    }
    return known.id;
  }
  Database::Use(database_, sql_->insert_object)
      .bind(key.device)
      .bind(key.ino)
      .bind(std::int64_t{sure})
      .bind(std::int64_t{0})
      .bind(mode)
      .finish();
  ids_[key] = {database_.last_row(), sure};
  return ids_[key].id;
}

ObjectId ChangeStore::born(ObjectKey key, std::uint32_t mode, std::uint64_t epoch) {
  if (const Found known = look_up(key); known.id != 0) {
    if (!known.sure) {
      // Seen before this record of its birth was read.
      Database::Use(database_, sql_->now_born).bind(epoch).bind(mode).bind(known.id).finish();
      ids_[key].sure = true;
      return known.id;
    }
    Database::Use(database_, sql_->ended).bind(known.id).finish();
    Database::Use(database_, sql_->unlink_all).bind(known.id).finish();
    ids_.erase(key);
  }
  Database::Use(database_, sql_->insert_object)
      .bind(key.device)
      .bind(key.ino)
      .bind(std::int64_t{1})
      .bind(epoch)
      .bind(mode)
      .finish();
  if (ids_.size() >= kMostCachedIds) ids_.clear();
  ids_[key] = {database_.last_row(), true};
  return ids_[key].id;
}

std::uint64_t ChangeStore::birth(ObjectId object) {
  Database::Use use(database_, sql_->birth);
  return use.bind(object).step() ? use.number(0) : 0;
}

ObjectKey ChangeStore::key_of(ObjectId object) {
  Database::Use use(database_, sql_->key);
  return use.bind(object).step() ? ObjectKey{use.number(0), use.number(1)} : ObjectKey{};
}

void ChangeStore::nameless(ObjectId object, std::uint64_t epoch) {
  // Born in this epoch, no row can refer to it as what was before.
  if (birth(object) != epoch || has_place(object)) return;
  const ObjectKey key = key_of(object);
  Database::Use(database_, sql_->drop_object).bind(object).finish();
  Database::Use(database_, sql_->drop_inode_row).bind(epoch).bind(object).finish();
  if (const auto known = ids_.find(key); known != ids_.end() && known->second.id == object) {
    ids_.erase(known);
  }
}

void ChangeStore::end(ObjectId object) {
  ids_.erase(key_of(object));
  Database::Use(database_, sql_->ended).bind(object).finish();
  Database::Use(database_, sql_->unlink_all).bind(object).finish();
}

bool ChangeStore::is_current(ObjectId object) {
  Database::Use use(database_, sql_->is_current);
  return use.bind(object).step() && use.integer(0) != 0;
}

void ChangeStore::link(const Place& place, ObjectId object, bool is_directory) {
  if (is_directory) Database::Use(database_, sql_->unlink_all).bind(object).finish();
  Database::Use(database_, sql_->link)
      .bind(place.directory)
      .bind(std::string_view(place.name))
      .bind(object)
      .finish();
}

void ChangeStore::unlink(const Place& place) {
  Database::Use(database_, sql_->unlink)
      .bind(place.directory)
      .bind(std::string_view(place.name))
      .finish();
}

ObjectId ChangeStore::at(const Place& place) {
  Database::Use use(database_, sql_->at);
  return use.bind(place.directory).bind(std::string_view(place.name)).step() ? use.integer(0) : 0;
}

std::vector<Place> ChangeStore::places(ObjectId object) {
  std::vector<Place> found;
  Database::Use use(database_, sql_->places);
  use.bind(object);
  while (use.step()) found.push_back({use.integer(0), std::string(use.bytes(1))});
  return found;
}

bool ChangeStore::has_place(ObjectId object) {
  return Database::Use(database_, sql_->places).bind(object).step();
}

void ChangeStore::children(ObjectId directory,
                           const std::function<void(std::string_view, ObjectId)>& visit) {
  Database::Use use(database_, sql_->children);
  use.bind(directory);
  while (use.step()) visit(use.bytes(0), use.integer(1));
}

void ChangeStore::set_known(ObjectId object, const Known& known) {
  Database::Use use(database_, sql_->set_known);
  bind(use, known.stamp).bind(known.xattrs).bind(known.birth).bind(object).finish();
}

ChangeStore::Known ChangeStore::known(ObjectId object) {
  Database::Use use(database_, sql_->known);
  return use.bind(object).step() ? Known{stamp_at(use, 0), use.number(7), use.integer(8)} : Known{};
}

void ChangeStore::add_stale(ObjectId object) {
  Database::Use(database_, sql_->stale_object).bind(object).finish();
}

void ChangeStore::add_stale(const Place& place) {
  Database::Use(database_, sql_->stale_place)
      .bind(place.directory)
      .bind(std::string_view(place.name))
      .finish();
}

void ChangeStore::add_stale_in(std::uint64_t epoch) {
  Database::Use(database_, sql_->stale_objects_in).bind(epoch).finish();
  Database::Use(database_, sql_->stale_places_in).bind(epoch).finish();
}

std::vector<ObjectId> ChangeStore::take_stale_objects() {
  std::vector<ObjectId> found;
  {
    Database::Use use(database_, sql_->stale_objects);
    while (use.step()) found.push_back(use.integer(0));
  }
  if (!found.empty()) Database::Use(database_, sql_->clear_stale_objects).finish();
  return found;
}

std::vector<Place> ChangeStore::take_stale_places() {
  std::vector<Place> found;
  {
    Database::Use use(database_, sql_->stale_places);
    while (use.step()) found.push_back({use.integer(0), std::string(use.bytes(1))});
  }
  if (!found.empty()) Database::Use(database_, sql_->clear_stale_places).finish();
  return found;
}

// ---- rows ---------------------------------------------------------------------------------------

void ChangeStore::add(const NameRow& row) {
  Database::Use use(database_, sql_->add_name);
  use.bind(row.epoch).bind(row.directory).bind(std::string_view(row.name)).bind(row.before);
  bind(use, row.stamp).bind(row.xattrs).finish();
}

void ChangeStore::add(const InodeRow& row) {
  Database::Use use(database_, sql_->add_inode);
  use.bind(row.epoch).bind(row.object).bind(std::uint32_t{row.marks});
  bind(use, row.stamp).bind(row.xattrs).bind(row.content).finish();
}

void ChangeStore::drop_if_transient(std::uint64_t epoch, const Place& place) {
  Database::Use(database_, sql_->drop_transient)
      .bind(epoch)
      .bind(place.directory)
      .bind(std::string_view(place.name))
      .finish();
}

void ChangeStore::names_since(std::uint64_t epoch,
                              const std::function<void(const NameRow&)>& visit) {
  Database::Use use(database_, sql_->names_since);
  use.bind(epoch);
  while (use.step()) {
    visit({use.number(0), use.integer(1), std::string(use.bytes(2)), use.integer(3),
           stamp_at(use, 4), use.number(11)});
  }
}

void ChangeStore::inodes_since(std::uint64_t epoch,
                               const std::function<void(const InodeRow&)>& visit) {
  Database::Use use(database_, sql_->inodes_since);
  use.bind(epoch);
  while (use.step()) {
    visit({use.number(0), use.integer(1), static_cast<std::uint8_t>(use.integer(2)),
           stamp_at(use, 3), use.number(10), use.number(11)});
  }
}

bool ChangeStore::has_names(std::uint64_t epoch) {
  return Database::Use(database_, sql_->any_name).bind(epoch).step();
}

bool ChangeStore::has_inodes(std::uint64_t epoch) {
  return Database::Use(database_, sql_->any_inode).bind(epoch).step();
}

}  // namespace passthroughfs
