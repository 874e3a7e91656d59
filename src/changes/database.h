// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace passthroughfs {

// The journal's database cannot be read or written. What SQLite says, for people.
class DatabaseError : public std::runtime_error {
 public:
  DatabaseError(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  // SQLite's extended result code.
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  int code_;
};

// One connection to an SQLite database. Used by one thread at a time. All calls throw
// DatabaseError.
class Database {
 public:
  // ":memory:" is one of its own in memory.
  explicit Database(const std::string& path);

  void run(const char* sql);
  // Closing it leaves its write-ahead log as it is, so that it waits for no disk.
  void leave_log_at_close() noexcept;

  // A statement that is prepared once. reset() happens in its scope object, Use.
  class Statement {
   public:
    Statement(Database& database, const char* sql);

   private:
    friend class Database;
    struct Finalize {
      void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
    };
    std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  };

  // One run of a statement: bind in order, step, read columns.
  class Use {
   public:
    Use(Database& database, Statement& statement) noexcept
        : database_(database), statement_(statement.statement_.get()) {}
    ~Use() {
      (void)sqlite3_reset(statement_);
      (void)sqlite3_clear_bindings(statement_);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    Use& bind(std::int64_t value);
    Use& bind(std::uint64_t value) { return bind(static_cast<std::int64_t>(value)); }
    Use& bind(std::uint32_t value) { return bind(static_cast<std::int64_t>(value)); }
    // A blob. Must live until the end of this use.
    Use& bind(std::string_view bytes);
    Use& bind_text(std::string_view text);  // the same for a column of text
    // The next row; false: there is none.
    bool step();
    // For statements without rows.
    void finish() { (void)step(); }

    [[nodiscard]] std::int64_t integer(int column) const noexcept {
      return sqlite3_column_int64(statement_, column);
    }
    [[nodiscard]] std::uint64_t number(int column) const noexcept {
      return static_cast<std::uint64_t>(integer(column));
    }
    // Valid until the next step.
    [[nodiscard]] std::string_view bytes(int column) const noexcept;

   private:
    Database& database_;
    sqlite3_stmt* statement_;
    int next_ = 1;
  };

  [[nodiscard]] std::int64_t last_row() const noexcept {
    return sqlite3_last_insert_rowid(connection_.get());
  }
  [[nodiscard]] std::int64_t changes() const noexcept { return sqlite3_changes(connection_.get()); }
  [[noreturn]] void fail(int code) const;

 private:
  struct Close {
    void operator()(sqlite3* connection) const noexcept { (void)sqlite3_close_v2(connection); }
  };
  std::unique_ptr<sqlite3, Close> connection_;
};

}  // namespace passthroughfs
