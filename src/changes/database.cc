// SPDX-License-Identifier: Apache-2.0
#include "changes/database.h"

namespace passthroughfs {

Database::Database(const std::string& path) {
  sqlite3* connection = nullptr;
  const int opened = sqlite3_open_v2(
      path.c_str(), &connection,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      nullptr);
  connection_.reset(connection);
  if (opened != SQLITE_OK) {
    throw DatabaseError(
        opened, connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(opened));
  }
}

void Database::fail(int code) const {
  throw DatabaseError(code, sqlite3_errmsg(connection_.get()));
}

void Database::run(const char* sql) {
  const int done = sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr);
  if (done != SQLITE_OK) fail(done);
}

void Database::leave_log_at_close() noexcept {
  (void)sqlite3_db_config(connection_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

Database::Statement::Statement(Database& database, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  const int done = sqlite3_prepare_v3(database.connection_.get(), sql, -1,
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  statement_.reset(statement);
  if (done != SQLITE_OK) database.fail(done);
}

Database::Use& Database::Use::bind(std::int64_t value) {
  if (const int done = sqlite3_bind_int64(statement_, next_++, value); done != SQLITE_OK) {
    database_.fail(done);
  }
  return *this;
}

Database::Use& Database::Use::bind(std::string_view bytes) {
  const int done = sqlite3_bind_blob64(statement_, next_++, bytes.data(), bytes.size(),
                                       SQLITE_STATIC);  // lives until reset
  if (done != SQLITE_OK) database_.fail(done);
  return *this;
}

Database::Use& Database::Use::bind_text(std::string_view text) {
  const int done = sqlite3_bind_text64(statement_, next_++, text.data(), text.size(), SQLITE_STATIC,
                                       SQLITE_UTF8);
  if (done != SQLITE_OK) database_.fail(done);
  return *this;
}

bool Database::Use::step() {
  const int done = sqlite3_step(statement_);
  if (done == SQLITE_ROW) return true;
  if (done != SQLITE_DONE) database_.fail(done);
  return false;
}

std::string_view Database::Use::bytes(int column) const noexcept {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return {static_cast<const char*>(data), data == nullptr ? 0 : static_cast<std::size_t>(size)};
}

}  // namespace passthroughfs
