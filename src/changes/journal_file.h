// SPDX-License-Identifier: Apache-2.0
//
// The file that a journal's database is in (docs/journal-format.md): what tells it from others',
// and how a new one comes to be.
#pragma once

#include <string>

#include "changes/database.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// Before the database is opened: SQLite would take an empty file and anything with its magic, and
// opening some of those writes. Success for "", for a file that is not there, and for an empty one.
// Errors, one line each: EINVAL: not a journal, or another version's; what open(2) says.
Outcome<void> check_journal_file(const std::string& path);

// Makes the file unless it is there: whole or not at all, whenever the power fails, and with one
// wait for the disk only. Throws DatabaseError.
void make_journal_file(const std::string& path);

// All tables of a new journal, and its identity. Throws DatabaseError.
void make_journal_tables(Database& database);

// For a DatabaseError's code: ENOSPC, EBUSY, EACCES, EINVAL (not a database, or a broken one),
// ENOMEM, EIO.
[[nodiscard]] int errno_of_database(int code) noexcept;

}  // namespace passthroughfs
