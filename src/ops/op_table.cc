// SPDX-License-Identifier: Apache-2.0
//
// START HERE: one row per request of the protocol.
#include "ops/op_table.h"

#include <array>
#include <cstring>

#include "base/fault.h"
#include "base/log.h"
#include "ops/handlers.h"
#include "ops/open_file.h"

namespace passthroughfs {
namespace {

using wire::Opcode;

// ---- answering: one overload per kind of result ------------------------------------------------

// What an answer handed over that could not be sent comes back. A successor of this process goes on
// with it.
void begin_taking_back() noexcept {
  if (Ledger* const ledger = ledger_in_hand().ledger) ledger->phase.store(Ledger::kTakingBack);
}

void give_up_entry(MountState& state, const wire::EntryOut& entry) {
  if (entry.nodeid != 0) (void)state.inodes->forget(entry.nodeid, 1);
}

void answer(OpContext&, wire::Reply& reply) { (void)reply.ok(); }
void answer(OpContext&, wire::Reply& reply, ByteSpan bytes) { (void)reply.data(bytes); }

template <typename T>
requires std::is_trivially_copyable_v<T>
void answer(OpContext&, wire::Reply& reply, const T& out) { (void)reply.value(out); }

void answer(OpContext& context, wire::Reply& reply, const EntryReply& entry) {
  if (reply.value(entry.out)) return;
  begin_taking_back();
  give_up_entry(context.state, entry.out);
}

void answer(OpContext& context, wire::Reply& reply, const OpenReply& opened) {
  if (!reply.value(opened.out)) {
    begin_taking_back();
    (void)close_handle(context.state, context.node_id(), opened.out.fh);
  }
}

void answer(OpContext& context, wire::Reply& reply, const CreateReply& created) {
  const std::array parts{bytes_of(created.entry), bytes_of(created.open)};
  if (!reply.parts(parts)) {
    begin_taking_back();
    (void)close_handle(context.state, created.entry.nodeid, created.open.fh);
    give_up_entry(context.state, created.entry);
  }
}

void answer(OpContext& context, wire::Reply& reply, const DirentPlusReply& list) {
  if (reply.data(list.entries)) return;
  begin_taking_back();
  ByteSpan rest = list.entries;
  while (rest.size() >= sizeof(wire::DirentPlus)) {
    wire::DirentPlus entry;
    std::memcpy(&entry, rest.data(), sizeof entry);
    give_up_entry(context.state, entry.entry);
    const std::size_t size = align_up(sizeof entry + entry.dirent.namelen, 8);
    rest = rest.subspan(std::min(size, rest.size()));
  }
}

// ---- from a typed operation to a handler -------------------------------------------------------

// A change that nobody told would be missing in the record for ever.
void check_told(OpContext& context, Effect effect) {
  if (context.state.changes == nullptr || (context.told & bit_of(effect)) != 0) return;
  log_error("{} has changed something without saying so",
            wire::opcode_name(context.request.opcode()));
  context.state.journal->untold();
}

template <auto Function, Effect kEffect>
struct Adapter;

template <typename Request, typename T, Result<T> (*Function)(OpContext&, const Request&),
          Effect kEffect>
struct Adapter<Function, kEffect> {
  static void run(OpContext& context, wire::Reply reply) {
    auto request = wire::decode<Request>(context.request, context.decode);
    if (!request) {
      (void)reply.error(request.error());
      return;
    }
    if constexpr (kEffect != Effect::none) fault_point(Fault::intent);
    auto result = Function(context, *request);
    if constexpr (must_tell(kEffect)) {
      if (result && !context.moving()) check_told(context, kEffect);
    }
    if (context.moving()) {
      context.move_elsewhere(std::move(reply));
    } else if (!result) {
      (void)reply.error(result.error());
    } else if constexpr (std::is_void_v<T>) {
      answer(context, reply);
    } else {
      answer(context, reply, *result);
    }
  }
};

// Requests that may be answered at once.
template <typename Request, typename T,
          Result<T> (*Function)(OpContext&, const Request&, wire::Reply&), Effect kEffect>
requires(!must_tell(kEffect)) struct Adapter<Function, kEffect> {
  static void run(OpContext& context, wire::Reply reply) {
    auto request = wire::decode<Request>(context.request, context.decode);
    if (!request) {
      (void)reply.error(request.error());
      return;
    }
    auto result = Function(context, *request, reply);
    if (!reply.pending()) return;
    if (context.moving()) {
      context.move_elsewhere(std::move(reply));
    } else if (!result) {
      (void)reply.error(result.error());
    } else {
      answer(context, reply, *result);
    }
  }
};

// Requests without an answer.
template <typename Request, void (*Function)(OpContext&, const Request&), Effect kEffect>
struct Adapter<Function, kEffect> {
  static void run(OpContext& context, wire::Reply reply) {
    if (auto request = wire::decode<Request>(context.request, context.decode)) {
      Function(context, *request);
    }
    reply.no_answer();
  }
};

// Requests that may be answered later.
template <typename Request, void (*Function)(OpContext&, const Request&, wire::Reply),
          Effect kEffect>
struct Adapter<Function, kEffect> {
  static void run(OpContext& context, wire::Reply reply) {
    auto request = wire::decode<Request>(context.request, context.decode);
    if (!request) {
      (void)reply.error(request.error());
    } else {
      Function(context, *request, std::move(reply));
    }
  }
};

template <auto Function, Effect kEffect>
constexpr Operation row(Opcode opcode) {
  return {opcode, &Adapter<Function, kEffect>::run, kEffect, false};
}
constexpr Operation by_session(Opcode opcode) { return {opcode, nullptr, Effect::none, false}; }
// ENOSYS on purpose: the kernel then does it itself, or never asks again.
constexpr Operation declined(Opcode opcode) { return {opcode, nullptr, Effect::none, true}; }

constexpr std::array kOperations{
    row<&ops::lookup, Effect::none>(Opcode::lookup),
    row<&ops::forget, Effect::none>(Opcode::forget),
    row<&ops::getattr, Effect::none>(Opcode::getattr),
    row<&ops::setattr, Effect::attributes>(Opcode::setattr),
    row<&ops::readlink, Effect::none>(Opcode::readlink),
    row<&ops::symlink, Effect::names>(Opcode::symlink),
    row<&ops::mknod, Effect::names>(Opcode::mknod),
    row<&ops::mkdir, Effect::names>(Opcode::mkdir),
    row<&ops::unlink, Effect::names>(Opcode::unlink),
    row<&ops::rmdir, Effect::names>(Opcode::rmdir),
    row<&ops::rename, Effect::names>(Opcode::rename),
    row<&ops::link, Effect::names>(Opcode::link),
    row<&ops::open, Effect::opens>(Opcode::open),
    row<&ops::read, Effect::none>(Opcode::read),
    row<&ops::write, Effect::content>(Opcode::write),
    row<&ops::statfs, Effect::none>(Opcode::statfs),
    row<&ops::release, Effect::none>(Opcode::release),
    row<&ops::fsync, Effect::none>(Opcode::fsync),
    row<&ops::setxattr, Effect::attributes>(Opcode::setxattr),
    row<&ops::getxattr, Effect::none>(Opcode::getxattr),
    row<&ops::listxattr, Effect::none>(Opcode::listxattr),
    row<&ops::removexattr, Effect::attributes>(Opcode::removexattr),
    row<&ops::flush, Effect::none>(Opcode::flush),
    by_session(Opcode::init),
    row<&ops::opendir, Effect::none>(Opcode::opendir),
    row<&ops::readdir, Effect::none>(Opcode::readdir),
    row<&ops::releasedir, Effect::none>(Opcode::releasedir),
    row<&ops::fsyncdir, Effect::none>(Opcode::fsyncdir),
    row<&ops::getlk, Effect::none>(Opcode::getlk),
    row<&ops::setlk, Effect::none>(Opcode::setlk),
    row<&ops::setlkw, Effect::none>(Opcode::setlkw),
    row<&ops::access, Effect::none>(Opcode::access),
    row<&ops::create, Effect::names>(Opcode::create),
    by_session(Opcode::interrupt),
    declined(Opcode::bmap),  // block numbers of the source mean nothing through the mount
    row<&ops::destroy, Effect::none>(Opcode::destroy),
    row<&ops::ioctl, Effect::attributes>(Opcode::ioctl),
    declined(Opcode::poll),  // files and directories are always ready, which the kernel then says
    declined(Opcode::notify_reply),  // answers a kick (ADR 0005); the channel keeps it
    row<&ops::batch_forget, Effect::none>(Opcode::batch_forget),
    row<&ops::fallocate, Effect::content>(Opcode::fallocate),
    row<&ops::readdirplus, Effect::none>(Opcode::readdirplus),
    row<&ops::rename, Effect::names>(Opcode::rename2),
    row<&ops::lseek, Effect::none>(Opcode::lseek),
    row<&ops::copy_file_range, Effect::content>(Opcode::copy_file_range),
    declined(Opcode::setupmapping),  // DAX, virtiofs only
    declined(Opcode::removemapping),
    row<&ops::syncfs, Effect::none>(Opcode::syncfs),
    row<&ops::tmpfile, Effect::names>(Opcode::tmpfile),
    row<&ops::statx, Effect::none>(Opcode::statx),
    row<&ops::copy_file_range_64, Effect::content>(Opcode::copy_file_range_64),
};

constexpr auto kByOpcode = [] {
  std::array<const Operation*, wire::kOpcodeCount> table{};
  for (const Operation& operation : kOperations) {
    table[static_cast<std::size_t>(operation.opcode)] = &operation;
  }
  return table;
}();

}  // namespace

const Operation* find_operation(std::uint32_t opcode) noexcept {
  return opcode < kByOpcode.size() ? kByOpcode[opcode] : nullptr;
}

}  // namespace passthroughfs
