// SPDX-License-Identifier: Apache-2.0
//
// START HERE: one row per request of the protocol.
#include "ops/op_table.h"

#include <array>
#include <cstring>

#include "base/log.h"
#include "ops/handlers.h"
#include "ops/open_file.h"

namespace passthroughfs {
namespace {

using wire::Opcode;

// ---- answering: one overload per kind of result ------------------------------------------------

void give_up_entry(MountState& state, const wire::EntryOut& entry) {
  if (entry.nodeid != 0) (void)state.inodes->forget(entry.nodeid, 1);
}

void answer(OpContext&, wire::Reply& reply) { (void)reply.ok(); }
void answer(OpContext&, wire::Reply& reply, ByteSpan bytes) { (void)reply.data(bytes); }

template <typename T>
requires std::is_trivially_copyable_v<T>
void answer(OpContext&, wire::Reply& reply, const T& out) { (void)reply.value(out); }

void answer(OpContext& context, wire::Reply& reply, const EntryReply& entry) {
  if (!reply.value(entry.out)) give_up_entry(context.state, entry.out);
}

void answer(OpContext& context, wire::Reply& reply, const OpenReply& opened) {
  if (!reply.value(opened.out)) {
    (void)close_handle(context.state, context.node_id(), opened.out.fh);
  }
}

void answer(OpContext& context, wire::Reply& reply, const CreateReply& created) {
  const std::array parts{bytes_of(created.entry), bytes_of(created.open)};
  if (!reply.parts(parts)) {
    (void)close_handle(context.state, created.entry.nodeid, created.open.fh);
    give_up_entry(context.state, created.entry);
  }
}

void answer(OpContext& context, wire::Reply& reply, const DirentPlusReply& list) {
  if (reply.data(list.entries)) return;
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

template <auto Function>
struct Adapter;

template <typename Request, typename T, Result<T> (*Function)(OpContext&, const Request&)>
struct Adapter<Function> {
  static void run(OpContext& context, wire::Reply reply) {
    auto request = wire::decode<Request>(context.request, context.decode);
    if (!request) {
      (void)reply.error(request.error());
      return;
    }
    auto result = Function(context, *request);
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

// Requests without an answer.
template <typename Request, void (*Function)(OpContext&, const Request&)>
struct Adapter<Function> {
  static void run(OpContext& context, wire::Reply reply) {
    reply.none();
    if (auto request = wire::decode<Request>(context.request, context.decode)) {
      Function(context, *request);
    }
  }
};

// Requests that may be answered later.
template <typename Request, void (*Function)(OpContext&, const Request&, wire::Reply)>
struct Adapter<Function> {
  static void run(OpContext& context, wire::Reply reply) {
    auto request = wire::decode<Request>(context.request, context.decode);
    if (!request) {
      (void)reply.error(request.error());
    } else {
      Function(context, *request, std::move(reply));
    }
  }
};

template <auto Function>
constexpr Operation row(Opcode opcode, Effect effect) {
  return {opcode, &Adapter<Function>::run, effect, false};
}
constexpr Operation by_session(Opcode opcode) { return {opcode, nullptr, Effect::none, false}; }
// ENOSYS on purpose: the kernel then does it itself, or never asks again.
constexpr Operation declined(Opcode opcode) { return {opcode, nullptr, Effect::none, true}; }

constexpr std::array kOperations{
    row<&ops::lookup>(Opcode::lookup, Effect::none),
    row<&ops::forget>(Opcode::forget, Effect::none),
    row<&ops::getattr>(Opcode::getattr, Effect::none),
    row<&ops::setattr>(Opcode::setattr, Effect::attributes),
    row<&ops::readlink>(Opcode::readlink, Effect::none),
    row<&ops::symlink>(Opcode::symlink, Effect::names),
    row<&ops::mknod>(Opcode::mknod, Effect::names),
    row<&ops::mkdir>(Opcode::mkdir, Effect::names),
    row<&ops::unlink>(Opcode::unlink, Effect::names),
    row<&ops::rmdir>(Opcode::rmdir, Effect::names),
    row<&ops::rename>(Opcode::rename, Effect::names),
    row<&ops::link>(Opcode::link, Effect::names),
    row<&ops::open>(Opcode::open, Effect::opens),
    row<&ops::read>(Opcode::read, Effect::none),
    row<&ops::write>(Opcode::write, Effect::content),
    row<&ops::statfs>(Opcode::statfs, Effect::none),
    row<&ops::release>(Opcode::release, Effect::none),
    row<&ops::fsync>(Opcode::fsync, Effect::none),
    row<&ops::setxattr>(Opcode::setxattr, Effect::attributes),
    row<&ops::getxattr>(Opcode::getxattr, Effect::none),
    row<&ops::listxattr>(Opcode::listxattr, Effect::none),
    row<&ops::removexattr>(Opcode::removexattr, Effect::attributes),
    row<&ops::flush>(Opcode::flush, Effect::none),
    by_session(Opcode::init),
    row<&ops::opendir>(Opcode::opendir, Effect::none),
    row<&ops::readdir>(Opcode::readdir, Effect::none),
    row<&ops::releasedir>(Opcode::releasedir, Effect::none),
    row<&ops::fsyncdir>(Opcode::fsyncdir, Effect::none),
    row<&ops::getlk>(Opcode::getlk, Effect::none),
    row<&ops::setlk>(Opcode::setlk, Effect::none),
    row<&ops::setlkw>(Opcode::setlkw, Effect::none),
    row<&ops::access>(Opcode::access, Effect::none),
    row<&ops::create>(Opcode::create, Effect::names),
    by_session(Opcode::interrupt),
    declined(Opcode::bmap),  // block numbers of the source mean nothing through the mount
    row<&ops::destroy>(Opcode::destroy, Effect::none),
    row<&ops::ioctl>(Opcode::ioctl, Effect::attributes),
    declined(Opcode::poll),  // files and directories are always ready, which the kernel then says
    declined(Opcode::notify_reply),  // answers a kick (ADR 0005); the channel keeps it
    row<&ops::batch_forget>(Opcode::batch_forget, Effect::none),
    row<&ops::fallocate>(Opcode::fallocate, Effect::content),
    row<&ops::readdirplus>(Opcode::readdirplus, Effect::none),
    row<&ops::rename>(Opcode::rename2, Effect::names),
    row<&ops::lseek>(Opcode::lseek, Effect::none),
    row<&ops::copy_file_range>(Opcode::copy_file_range, Effect::content),
    declined(Opcode::setupmapping),  // DAX, virtiofs only
    declined(Opcode::removemapping),
    row<&ops::syncfs>(Opcode::syncfs, Effect::none),
    row<&ops::tmpfile>(Opcode::tmpfile, Effect::names),
    row<&ops::statx>(Opcode::statx, Effect::none),
    row<&ops::copy_file_range_64>(Opcode::copy_file_range_64, Effect::content),
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
