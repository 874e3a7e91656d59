// SPDX-License-Identifier: Apache-2.0
#include "channel/uring_seat.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "support/request_bytes.h"

namespace passthroughfs {
namespace {

namespace requests = test::requests;
using test::Bytes;
using test::RequestBytes;
using wire::Opcode;

constexpr std::size_t kPayload = std::size_t{128} * 1024;

// The kernel's end of one seat.
class UringSeat : public ::testing::Test, public SeatOwner {
 protected:
  UringSeat() : seat_(std::move(Seat::make(*this, kPayload)).value()) {}

  Result<void> answered(Seat& seat) override {
    EXPECT_EQ(&seat, seat_.get());
    ++answers_;
    return travels_;
  }

  wire::UringReqHeader& front() const {
    return *static_cast<wire::UringReqHeader*>(seat_->buffers()[0].iov_base);
  }
  std::byte* payload() const { return static_cast<std::byte*>(seat_->buffers()[1].iov_base); }

  // As the kernel does: header, the request's own struct, and the rest apart from each other.
  void arrive(const RequestBytes& request, std::size_t own, std::uint64_t unique = 100) const {
    const Bytes bytes = request.encode(unique);
    ASSERT_GE(bytes.size(), sizeof(wire::InHeader) + own);
    const ByteSpan all(bytes);
    std::memcpy(front().in_out, all.data(), sizeof(wire::InHeader));
    std::memcpy(front().op_in, all.data() + sizeof(wire::InHeader), own);
    const ByteSpan rest = all.subspan(sizeof(wire::InHeader) + own);
    std::memcpy(payload(), rest.data(), rest.size());
    front().ring_ent_in_out = {};
    front().ring_ent_in_out.commit_id = unique;
    front().ring_ent_in_out.payload_sz = static_cast<std::uint32_t>(rest.size());
  }
  Incoming take() const {
    auto incoming = seat_->take();
    EXPECT_TRUE(incoming);
    return incoming ? std::move(*incoming) : Incoming{};
  }
  wire::OutHeader answer() const {
    wire::OutHeader out{};
    std::memcpy(&out, front().in_out, sizeof out);
    return out;
  }
  std::string answered_bytes() const {
    return std::string(text_of(ByteSpan(payload(), front().ring_ent_in_out.payload_sz)));
  }

  int answers_ = 0;
  Result<void> travels_ = ok();
  std::unique_ptr<Seat> seat_;
};

TEST_F(UringSeat, NameAndStructAreOnePiece) {
  arrive(requests::mkdir(1, "name", 0700), sizeof(wire::MkdirIn));
  Incoming incoming = take();
  EXPECT_EQ(incoming.request.opcode(), Opcode::mkdir);
  const auto mkdir = wire::decode<wire::MkdirRequest>(incoming.request, {});
  ASSERT_TRUE(mkdir);
  EXPECT_EQ(mkdir->name, "name");
  EXPECT_EQ(mkdir->mode, 0700U);
  EXPECT_EQ(seat_->commit_id(), 100U);
  EXPECT_TRUE(incoming.reply.ok());
}

TEST_F(UringSeat, RequestsWithoutAStructOrWithoutMore) {
  arrive(requests::lookup(1, "name"), 0);
  Incoming lookup = take();
  EXPECT_EQ(wire::decode<wire::LookupRequest>(lookup.request, {})->name, "name");
  EXPECT_TRUE(lookup.reply.ok());
  arrive(requests::statfs(), 0);
  Incoming statfs = take();
  EXPECT_TRUE(wire::decode<wire::StatfsRequest>(statfs.request, {}));
  EXPECT_TRUE(statfs.reply.ok());
}

TEST_F(UringSeat, DataOfTheLargestWriteIsPageAlignedAndWhole) {
  const Bytes data(kPayload, std::byte{'d'});
  arrive(requests::write(2, 9, 0, ByteSpan(data)), sizeof(wire::WriteIn));
  Incoming incoming = take();
  const auto write = wire::decode<wire::WriteRequest>(incoming.request, {});
  ASSERT_TRUE(write);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(write->data.data()) % page_size(), 0U);
  EXPECT_EQ(write->data.size(), kPayload);
  EXPECT_TRUE(incoming.reply.ok());
}

TEST_F(UringSeat, ThatNeedsNoAnswerIsCommittedAllTheSame) {
  arrive(requests::forget(2, 1), sizeof(wire::ForgetIn), 4242);
  take().reply.no_answer();
  EXPECT_EQ(answers_, 1);
  EXPECT_EQ(answer().unique, 4242U);
  EXPECT_EQ(answer().error, 0);
  EXPECT_EQ(front().ring_ent_in_out.payload_sz, 0U);
}

TEST_F(UringSeat, AnswerHasNumberErrorAndSize) {
  arrive(requests::statfs(), 0, 4242);
  EXPECT_TRUE(take().reply.value(std::uint64_t{5}));
  EXPECT_EQ(answer().unique, 4242U);
  EXPECT_EQ(answer().error, 0);
  EXPECT_EQ(front().ring_ent_in_out.payload_sz, sizeof(std::uint64_t));
  EXPECT_EQ(answers_, 1);

  arrive(requests::statfs(), 0, 4244);
  EXPECT_TRUE(take().reply.error(Err(ENOENT)));
  EXPECT_EQ(answer().error, -ENOENT);
  EXPECT_EQ(front().ring_ent_in_out.payload_sz, 0U);

  arrive(requests::statfs(), 0, 4246);
  EXPECT_TRUE(take().reply.error(Err(524)));  // the kernel refuses it
  EXPECT_EQ(answer().error, -EIO);
}

TEST_F(UringSeat, DroppedAnswerIsEio) {
  arrive(requests::statfs(), 0);
  { const Incoming incoming = take(); }
  EXPECT_EQ(answer().error, -EIO);
  EXPECT_EQ(answers_, 1);
}

TEST_F(UringSeat, AnswersCanBeBuiltInTheBufferWithoutACopy) {
  arrive(requests::read(2, 9, 0, 4096), sizeof(wire::ReadIn));
  Incoming incoming = take();
  EXPECT_EQ(incoming.buffer.data(), payload()) << "nothing of the request is there";
  EXPECT_GE(incoming.buffer.size(), kPayload);
  std::memcpy(incoming.buffer.data(), "data", 4);
  EXPECT_TRUE(incoming.reply.data(incoming.buffer.first(4)));
  EXPECT_EQ(answered_bytes(), "data");
}

// The name is read while the value is already being written.
TEST_F(UringSeat, BufferDoesNotOverlapTheRequest) {
  arrive(requests::getxattr(2, "user.name", 100), sizeof(wire::GetxattrIn));
  Incoming incoming = take();
  const auto request = wire::decode<wire::GetxattrRequest>(incoming.request, {});
  ASSERT_TRUE(request);
  ASSERT_GE(incoming.buffer.size(), kPayload);
  std::memset(incoming.buffer.data(), 'v', kPayload);
  EXPECT_EQ(request->name, "user.name");
  EXPECT_TRUE(incoming.reply.data(incoming.buffer.first(3)));
  EXPECT_EQ(answered_bytes(), "vvv");
}

TEST_F(UringSeat, PartsAreGatheredInOrderWhereverTheyLie) {
  const std::string head = "head-";
  const std::string tail = "-tail";
  arrive(requests::read(2, 9, 0, 4096), sizeof(wire::ReadIn));
  Incoming incoming = take();
  std::memcpy(incoming.buffer.data(), "middle", 6);
  const std::array parts{bytes_of(std::string_view(head)), ByteSpan(incoming.buffer.first(6)),
                         bytes_of(std::string_view(tail))};
  EXPECT_TRUE(incoming.reply.parts(parts));
  EXPECT_EQ(answered_bytes(), "head-middle-tail");
}

TEST_F(UringSeat, LargestAnswerFitsAndALargerOneIsAnError) {
  const Bytes data(kPayload + 1, std::byte{'d'});
  arrive(requests::read(2, 9, 0, 4096), sizeof(wire::ReadIn));
  EXPECT_TRUE(take().reply.data(ByteSpan(data).first(kPayload)));
  EXPECT_EQ(front().ring_ent_in_out.payload_sz, kPayload);
  arrive(requests::read(2, 9, 0, 4096), sizeof(wire::ReadIn));
  EXPECT_EQ(take().reply.data(ByteSpan(data)).error(), EINVAL);
  EXPECT_EQ(answer().error, -EIO) << "who asked is answered all the same";
  EXPECT_EQ(answers_, 2);
}

TEST_F(UringSeat, TellsWhenTheAnswerCannotTravel) {
  travels_ = Err(ENODEV);
  arrive(requests::statfs(), 0);
  EXPECT_EQ(take().reply.ok().error(), ENODEV);
}

TEST_F(UringSeat, RefusesSizesThatDoNotFitTogether) {
  const auto refused = [&] {
    const bool taken = seat_->take().has_value();
    return !taken && seat_->refuse(EINVAL) && answer().error == -EINVAL && answer().unique == 100U;
  };
  for (const std::uint32_t size : {std::uint32_t{5}, std::uint32_t{kPayload} + 1, ~0U}) {
    arrive(requests::lookup(1, "nam"), 0);
    front().ring_ent_in_out.payload_sz = size;
    EXPECT_TRUE(refused()) << size;
  }
  for (const std::uint32_t length : {0U, 39U, 40U + 4U + 129U, ~0U}) {
    arrive(requests::lookup(1, "nam"), 0);
    std::memcpy(front().in_out + offsetof(wire::InHeader, len), &length, sizeof length);
    EXPECT_TRUE(refused()) << length;
  }
}

}  // namespace
}  // namespace passthroughfs
