// SPDX-License-Identifier: Apache-2.0
//
// What fanotify tells, as bytes: also bytes that no kernel would write.
#include <gtest/gtest.h>
#include <linux/fanotify.h>

#include <string>
#include <string_view>
#include <vector>

#include "source/change_events.h"

namespace passthroughfs {
namespace {

using Bytes = std::string;

template <typename Struct>
void put(Bytes& out, const Struct& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// A record of an event: the inode by a handle of these bytes, and a name for some kinds.
Bytes record(std::uint8_t type, std::string_view handle, std::string_view name = {}) {
  Bytes rest;
  put(rest, __kernel_fsid_t{});
  put(rest, static_cast<unsigned>(handle.size()));
  put(rest, 7);  // the handle's type
  rest += handle;
  if (type == FAN_EVENT_INFO_TYPE_DFID_NAME) rest.append(name).push_back('\0');
  while ((rest.size() + sizeof(fanotify_event_info_header)) % 4 != 0) rest += '\0';
  Bytes out;
  put(out,
      fanotify_event_info_header{
          type, 0, static_cast<std::uint16_t>(sizeof(fanotify_event_info_header) + rest.size())});
  return out + rest;
}

Bytes event(std::uint64_t mask, const std::vector<Bytes>& records, int process = 42) {
  Bytes all;
  for (const Bytes& one : records) all += one;
  fanotify_event_metadata head{};
  head.event_len = static_cast<std::uint32_t>(sizeof head + all.size());
  head.vers = FANOTIFY_METADATA_VERSION;
  head.metadata_len = sizeof head;
  head.mask = mask;
  head.fd = FAN_NOFD;
  head.pid = process;
  Bytes out;
  put(out, head);
  return out + all;
}

std::string text_of(const std::optional<FileHandle>& handle) {
  return handle ? std::string(reinterpret_cast<const char*>(handle->data), handle->bytes) : "none";
}

ByteSpan span_of(const Bytes& bytes) {
  return {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};
}

std::optional<ChangeEvent> only(const Bytes& bytes) {
  ByteSpan rest = span_of(bytes);
  auto first = next_change(rest);
  EXPECT_TRUE(rest.empty());
  return first;
}

TEST(ChangeEvent, ANameComesWithItsDirectoryAndWhatItNames) {
  const Bytes bytes =
      event(FAN_CREATE, {record(FAN_EVENT_INFO_TYPE_DFID_NAME, "directory", "a name"),
                         record(FAN_EVENT_INFO_TYPE_FID, "child")});
  const auto found = only(bytes);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->names);
  EXPECT_FALSE(found->lost || found->data || found->attributes);
  EXPECT_EQ(found->process, 42);
  EXPECT_EQ(text_of(found->directory), "directory");
  EXPECT_EQ(text_of(found->object), "child");
  EXPECT_EQ(found->object->type, 7);
  EXPECT_EQ(found->name, "a name");
  EXPECT_EQ(found->name.data()[found->name.size()], '\0');
}

TEST(ChangeEvent, WhatWasDoneToAnInodeIsToldApart) {
  const auto kinds = [](std::uint64_t mask) {
    const auto found = only(event(mask, {record(FAN_EVENT_INFO_TYPE_DFID_NAME, "d", "n"),
                                         record(FAN_EVENT_INFO_TYPE_FID, "object")}));
    if (!found || text_of(found->object) != "object") return std::string("none");
    return std::string(found->names ? "names " : "") + (found->data ? "data " : "") +
           (found->attributes ? "attributes" : "");
  };
  EXPECT_EQ(kinds(FAN_MODIFY), "data ");
  EXPECT_EQ(kinds(FAN_CLOSE_WRITE), "data ");
  EXPECT_EQ(kinds(FAN_ATTRIB), "attributes");
  EXPECT_EQ(kinds(FAN_DELETE), "names ");
  EXPECT_EQ(kinds(FAN_MOVED_FROM), "names ");
  EXPECT_EQ(kinds(FAN_MOVED_TO | FAN_ATTRIB | FAN_MODIFY), "names data attributes");
}

TEST(ChangeEvent, ADirectoryItselfIsToldOfByADotInIt) {
  const auto found = only(
      event(FAN_ATTRIB | FAN_ONDIR, {record(FAN_EVENT_INFO_TYPE_DFID_NAME, "the directory", ".")}));
  ASSERT_TRUE(found);
  EXPECT_EQ(text_of(found->object), "the directory");
}

TEST(ChangeEvent, EventsFollowEachOther) {
  const Bytes bytes = event(FAN_MODIFY, {record(FAN_EVENT_INFO_TYPE_FID, "one")}, 1) +
                      event(FAN_ATTRIB, {record(FAN_EVENT_INFO_TYPE_FID, "two")}, 2) +
                      Bytes(100, '\0');  // nothing was read to there
  ByteSpan rest = span_of(bytes);
  EXPECT_EQ(next_change(rest)->process, 1);
  EXPECT_EQ(text_of(next_change(rest)->object), "two");
  EXPECT_FALSE(next_change(rest));
  EXPECT_FALSE(next_change(rest));
}

TEST(ChangeEvent, AnOverflowIsALoss) {
  const auto found = only(event(FAN_Q_OVERFLOW, {}));
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->lost);
}

TEST(ChangeEvent, WhatCannotBeUnderstoodIsALoss) {
  const Bytes good = event(FAN_CREATE, {record(FAN_EVENT_INFO_TYPE_DFID_NAME, "directory", "n")});
  EXPECT_FALSE(only(good)->lost);
  Bytes version = good;
  version[4] = 'v';
  EXPECT_TRUE(only(version)->lost);
  const Bytes cut = good.substr(0, good.size() - 1);
  EXPECT_TRUE(only(cut)->lost) << "longer than what is there";
  EXPECT_TRUE(only(event(FAN_CREATE, {}))->lost) << "a name nowhere";
  EXPECT_TRUE(
      only(event(FAN_MODIFY, {record(FAN_EVENT_INFO_TYPE_FID, std::string(41, 'h'))}))->lost)
      << "a handle that we have no room for";
  Bytes endless = record(FAN_EVENT_INFO_TYPE_DFID_NAME, "d", "name");
  while (endless.back() == '\0') endless.pop_back();
  endless[2] = static_cast<char>(endless.size());
  EXPECT_TRUE(only(event(FAN_CREATE, {endless}))->lost) << "a name without an end";
  Bytes nothing = record(FAN_EVENT_INFO_TYPE_FID, "object");
  nothing[2] = '\0';
  EXPECT_TRUE(only(event(FAN_MODIFY, {nothing}))->lost) << "a record without a length";
}

TEST(ChangeEvent, WhatNewerKernelsAddIsPassedOver) {
  const auto found =
      only(event(FAN_MODIFY, {record(77, "something"), record(FAN_EVENT_INFO_TYPE_FID, "object")}));
  ASSERT_TRUE(found);
  EXPECT_EQ(text_of(found->object), "object");
}

}  // namespace
}  // namespace passthroughfs
