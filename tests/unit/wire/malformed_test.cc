// SPDX-License-Identifier: Apache-2.0
//
// What Linux never sends: each decoder says EINVAL (or that a name is too long) and reads nothing
// outside the request, which the sanitizer builds see because every message here has a heap
// allocation of exactly its size.
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>

#include "support/decode_any.h"
#include "support/request_bytes.h"
#include "wire/requests.h"

namespace passthroughfs::wire {
namespace {

namespace requests = test::requests;
using test::Bytes;
using test::decode_any;
using test::join;
using test::RequestBytes;
using test::Sample;

// The error of parsing and decoding; 0 for success.
int error_of(const RequestBytes& request, const DecodeOptions& options = {}) {
  Bytes bytes = request.encode(2);
  bytes.shrink_to_fit();
  const Result<Request> parsed = parse_request(ByteSpan(bytes));
  if (!parsed) return parsed.error().value();
  const Result<void> decoded = decode_any(*parsed, options);
  return decoded ? 0 : decoded.error().value();
}

int error_of_groups(const RequestBytes& request) {
  const Bytes bytes = request.encode(2);
  const Result<Request> parsed = parse_request(ByteSpan(bytes));
  if (!parsed) return parsed.error().value();
  const auto groups = decode_supplementary_groups(*parsed);
  return groups ? 0 : groups.error().value();
}

// ---- headers
// -------------------------------------------------------------------------------------

TEST(ParseRequest, RefusesLessThanAHeader) {
  const Bytes bytes = requests::statfs().encode(2);
  for (std::size_t size = 0; size < sizeof(InHeader); ++size) {
    const Bytes part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(parse_request(ByteSpan(part)).error(), EINVAL) << size;
  }
}

TEST(ParseRequest, RefusesALengthThatIsNotThatOfTheBytes) {
  const Bytes whole = requests::lookup(1, "name").encode(2);
  for (const std::uint32_t length : {0U, 39U, 40U, 44U, 46U, 0xffffffffU}) {
    Bytes bytes = whole;
    std::memcpy(bytes.data(), &length, sizeof length);
    EXPECT_EQ(parse_request(ByteSpan(bytes)).error(), EINVAL) << length;
  }
}

TEST(ParseRequest, RefusesExtensionsThatReachOutside) {
  for (const std::uint16_t units : {std::uint16_t{1}, std::uint16_t{0xffff}}) {
    Bytes bytes = requests::lookup(1, "name").encode(2);
    std::memcpy(bytes.data() + offsetof(InHeader, total_extlen), &units, sizeof units);
    EXPECT_EQ(parse_request(ByteSpan(bytes)).error(), EINVAL) << units;
  }
}

// An answer to number 0 would be a notification.
TEST(ParseRequest, RefusesNumberZero) {
  EXPECT_EQ(parse_request(ByteSpan(requests::statfs().encode(0))).error(), EINVAL);
}

// ---- all requests
// --------------------------------------------------------------------------------

class EachRequest : public ::testing::TestWithParam<Sample> {};

TEST_P(EachRequest, IsTakenAsItIs) { EXPECT_EQ(error_of(GetParam().request), 0); }

TEST_P(EachRequest, IsRefusedShorter) {
  RequestBytes request = GetParam().request;
  request.extensions.clear();
  while (!request.body.empty()) {
    request.body.pop_back();
    const bool old_init = request.opcode == Opcode::init && request.body.size() >= 16;
    EXPECT_EQ(error_of(request), old_init ? 0 : EINVAL) << request.body.size();
  }
}

TEST_P(EachRequest, IsRefusedLonger) {
  if (GetParam().request.opcode == Opcode::init) return;  // may grow, see decode_test.cc
  for (const std::byte extra : {std::byte{0}, std::byte{'x'}}) {
    RequestBytes request = GetParam().request;
    for (int i = 0; i < 40; ++i) {
      request.body.push_back(extra);
      EXPECT_EQ(error_of(request), EINVAL) << i;
    }
  }
}

TEST_P(EachRequest, SurvivesNonsense) {
  std::mt19937 random(static_cast<unsigned>(GetParam().request.opcode));
  for (int round = 0; round < 2000; ++round) {
    RequestBytes request = GetParam().request;
    if (round % 2 == 0) request.body.resize(random() % 200);
    for (unsigned i = 0; i <= random() % 8 && !request.body.empty(); ++i) {
      request.body[random() % request.body.size()] = static_cast<std::byte>(random());
    }
    if (round % 4 == 0) {
      for (std::byte& byte : request.body) byte = static_cast<std::byte>(random());
    }
    for (const bool ext : {false, true}) {
      const int error = error_of(request, {.setxattr_ext = ext});
      EXPECT_TRUE(error == 0 || error == EINVAL || error == ENAMETOOLONG || error == ERANGE)
          << error;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Decode, EachRequest, ::testing::ValuesIn(test::sample_of_each_request()),
                         [](const auto& each) { return std::string(each.param.name); });

// ---- names
// ---------------------------------------------------------------------------------------

struct NameTaker {
  const char* what;
  std::function<RequestBytes(std::string_view name)> make;
};

void PrintTo(const NameTaker& taker, std::ostream* out) { *out << taker.what; }

class EachName : public ::testing::TestWithParam<NameTaker> {};

TEST_P(EachName, MayBe255Bytes) { EXPECT_EQ(error_of(GetParam().make(std::string(255, 'x'))), 0); }

TEST_P(EachName, IsTooLongWith256) {
  EXPECT_EQ(error_of(GetParam().make(std::string(256, 'x'))), ENAMETOOLONG);
  EXPECT_EQ(error_of(GetParam().make(std::string(4095, 'x'))), ENAMETOOLONG);
}

TEST_P(EachName, MustBeOneComponent) {
  for (const char* name : {"", "/", "a/b", "../a"}) {
    EXPECT_EQ(error_of(GetParam().make(name)), EINVAL) << name;
  }
}

TEST_P(EachName, IsNotDotOrDotDotExceptInLookup) {
  const bool lookup = GetParam().make("a").opcode == Opcode::lookup;
  for (const char* name : {".", ".."}) {
    EXPECT_EQ(error_of(GetParam().make(name)), lookup ? 0 : EINVAL) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Decode, EachName,
    ::testing::Values(
        NameTaker{"lookup", [](std::string_view n) { return requests::lookup(1, n); }},
        NameTaker{"unlink", [](std::string_view n) { return requests::unlink(1, n); }},
        NameTaker{"rmdir", [](std::string_view n) { return requests::rmdir(1, n); }},
        NameTaker{"mknod", [](std::string_view n) { return requests::mknod(1, n, 0100644); }},
        NameTaker{"mkdir", [](std::string_view n) { return requests::mkdir(1, n, 0755); }},
        NameTaker{"create", [](std::string_view n) { return requests::create(1, n, 2, 0644); }},
        NameTaker{"symlink", [](std::string_view n) { return requests::symlink(1, n, "t"); }},
        NameTaker{"link", [](std::string_view n) { return requests::link(2, 1, n); }},
        NameTaker{"rename_from", [](std::string_view n) { return requests::rename(1, n, 2, "a"); }},
        NameTaker{"rename_to", [](std::string_view n) { return requests::rename(1, "a", 2, n); }},
        NameTaker{"rename2_from",
                  [](std::string_view n) { return requests::rename2(1, n, 2, "a", 1); }},
        NameTaker{"rename2_to",
                  [](std::string_view n) { return requests::rename2(1, "a", 2, n, 1); }}),
    [](const auto& each) { return std::string(each.param.what); });

TEST(DecodeXattrName, MayContainSlashesButNotBeEmpty) {
  EXPECT_EQ(error_of(requests::getxattr(2, "user./..", 0)), 0);
  EXPECT_EQ(error_of(requests::getxattr(2, "", 0)), EINVAL);
  EXPECT_EQ(error_of(requests::removexattr(2, "")), EINVAL);
  EXPECT_EQ(error_of(requests::setxattr(2, "", {})), EINVAL);
}

TEST(DecodeXattrName, IsAtMost255BytesAsInSetxattr) {
  const std::string longest(255, 'x');
  const std::string longer(256, 'x');
  EXPECT_EQ(error_of(requests::getxattr(2, longest, 0)), 0);
  EXPECT_EQ(error_of(requests::getxattr(2, longer, 0)), ERANGE);
  EXPECT_EQ(error_of(requests::removexattr(2, longer)), ERANGE);
  EXPECT_EQ(error_of(requests::setxattr(2, longer, {})), ERANGE);
}

TEST(DecodeSymlink, RefusesAnEmptyOrTooLongTarget) {
  EXPECT_EQ(error_of(requests::symlink(1, "a", "")), EINVAL);
  EXPECT_EQ(error_of(requests::symlink(1, "a", std::string(4096, 't'))), ENAMETOOLONG);
}

// ---- counts and sizes
// ----------------------------------------------------------------------------

TEST(DecodeBatchForget, RefusesACountThatIsNotThatOfThePairs) {
  for (const std::uint32_t count : {0U, 1U, 3U, 0x10000002U, 0xffffffffU}) {
    RequestBytes request = requests::batch_forget({{2, 1}, {3, 1}});
    std::memcpy(request.body.data(), &count, sizeof count);
    EXPECT_EQ(error_of(request), EINVAL) << count;
  }
}

TEST(DecodeBatchForget, RefusesPairsThatAreNotAligned) {
  const Bytes bytes = requests::batch_forget({{2, 1}}).encode(2);
  alignas(8) std::array<std::byte, 128> buffer{};
  std::memcpy(buffer.data() + 4, bytes.data(), bytes.size());
  const Result<Request> request = parse_request(ByteSpan(buffer).subspan(4, bytes.size()));
  ASSERT_TRUE(request);
  EXPECT_EQ(decode<BatchForgetRequest>(*request, {}).error(), EINVAL);
}

TEST(DecodeWrite, RefusesASizeThatIsNotThatOfTheData) {
  for (const std::uint32_t size : {0U, 3U, 5U, 0xffffffffU}) {
    RequestBytes request = requests::write(2, 9, 0, bytes_of(std::string_view("data")));
    std::memcpy(request.body.data() + offsetof(WriteIn, size), &size, sizeof size);
    EXPECT_EQ(error_of(request), EINVAL) << size;
  }
}

TEST(DecodeIoctl, RefusesASizeThatIsNotThatOfTheData) {
  for (const std::uint32_t size : {0U, 3U, 5U, 0xffffffffU}) {
    RequestBytes request = requests::ioctl(2, 9, 1, bytes_of(std::string_view("data")), 0);
    std::memcpy(request.body.data() + offsetof(IoctlIn, in_size), &size, sizeof size);
    EXPECT_EQ(error_of(request), EINVAL) << size;
  }
}

TEST(DecodeSetxattr, RefusesASizeThatIsNotThatOfTheValue) {
  for (const std::uint32_t size : {0U, 3U, 5U, 0xffffffffU}) {
    RequestBytes request = requests::setxattr(2, "user.a", bytes_of(std::string_view("data")));
    std::memcpy(request.body.data() + offsetof(SetxattrIn, size), &size, sizeof size);
    EXPECT_EQ(error_of(request), EINVAL) << size;
  }
}

TEST(DecodeSetxattr, RefusesTheFormThatWasNotAgreedOn) {
  const auto value = bytes_of(std::string_view("value"));
  EXPECT_NE(error_of(requests::setxattr(2, "user.a", value), {.setxattr_ext = false}), 0);
  EXPECT_NE(error_of(requests::setxattr_compat(2, "user.a", value), {.setxattr_ext = true}), 0);
}

// ---- extensions
// ----------------------------------------------------------------------------------

TEST(SupplementaryGroups, RefuseACountThatReachesOutside) {
  for (const std::uint32_t count : {2U, 0x40000000U, 0x40000001U, 0xffffffffU}) {
    RequestBytes request = requests::mkdir(1, "name", 0755).with_groups({5});
    std::memcpy(request.extensions.data() + sizeof(ExtHeader), &count, sizeof count);
    EXPECT_EQ(error_of_groups(request), EINVAL) << count;
  }
}

TEST(SupplementaryGroups, RefuseABadExtensionSize) {
  for (const std::uint32_t size : {0U, 1U, 7U, 9U, 12U, 24U, 0xfffffff8U, 0xffffffffU}) {
    RequestBytes request = requests::mkdir(1, "name", 0755).with_groups({5});
    std::memcpy(request.extensions.data(), &size, sizeof size);
    EXPECT_EQ(error_of_groups(request), EINVAL) << size;
  }
}

TEST(SupplementaryGroups, RefuseAnExtensionWithoutRoomForTheCount) {
  RequestBytes request = requests::mkdir(1, "name", 0755);
  request.extensions = join(ExtHeader{.size = 8, .type = kExtGroups});
  EXPECT_EQ(error_of_groups(request), EINVAL);
}

}  // namespace
}  // namespace passthroughfs::wire
