// SPDX-License-Identifier: Apache-2.0
//
// Well-formed requests: each field arrives where it belongs. malformed_test.cc has the others.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "support/request_bytes.h"
#include "wire/requests.h"

namespace passthroughfs::wire {
namespace {

namespace requests = test::requests;
using test::Bytes;
using test::join;
using test::RequestBytes;

// Keeps the bytes for as long as what was decoded from them is looked at.
class Parsed {
 public:
  explicit Parsed(const RequestBytes& request, std::uint64_t unique = 2)
      : bytes_(request.encode(unique)) {
    const Result<Request> parsed = parse_request(ByteSpan(bytes_));
    EXPECT_TRUE(parsed);
    if (parsed) request_ = *parsed;
  }
  template <typename T>
  [[nodiscard]] T as(const DecodeOptions& options = {}) const {
    Result<T> decoded = decode<T>(request_, options);
    EXPECT_TRUE(decoded);
    return decoded ? *decoded : T{};
  }
  [[nodiscard]] const Request& request() const { return request_; }

 private:
  Bytes bytes_;
  Request request_{};
};

TEST(ParseRequest, SplitsHeaderBodyAndExtensions) {
  const Parsed parsed(requests::unlink(5, "abc").as(1000, 1001).with_groups({7}), 12);
  const Request& request = parsed.request();
  EXPECT_EQ(request.opcode(), Opcode::unlink);
  EXPECT_EQ(request.unique(), 12U);
  EXPECT_FALSE(request.resent());
  EXPECT_EQ(request.header.nodeid, 5U);
  EXPECT_EQ(request.header.uid, 1000U);
  EXPECT_EQ(request.header.gid, 1001U);
  EXPECT_EQ(text_of(request.body), std::string_view("abc\0", 4));
  EXPECT_EQ(request.extensions.size(), 16U);
}

TEST(ParseRequest, TakesTheResendMarkApart) {
  const Parsed parsed(requests::statfs(), 12 | kUniqueResend);
  EXPECT_EQ(parsed.request().unique(), 12U);
  EXPECT_TRUE(parsed.request().resent());
}

TEST(DecodeInit, JoinsBothFlagWords) {
  const auto in =
      Parsed(requests::init(init_flag::passthrough | init_flag::async_read, 38)).as<InitRequest>();
  EXPECT_EQ(in.major, kMajor);
  EXPECT_EQ(in.minor, 38U);
  EXPECT_EQ(in.max_readahead, 128U * 1024);
  EXPECT_EQ(in.flags, init_flag::passthrough | init_flag::async_read | init_flag::init_ext);
}

TEST(DecodeInit, IgnoresTheSecondWordWithoutItsFlag) {
  InitIn raw{.major = 7, .minor = 36, .max_readahead = 0, .flags = 1, .flags2 = 0xffffffff};
  EXPECT_EQ(Parsed(requests::make(Opcode::init, 0, join(raw))).as<InitRequest>().flags, 1U);
}

TEST(DecodeInit, TakesTheOldShortForm) {
  const Bytes body = join(std::uint32_t{7}, std::uint32_t{31}, std::uint32_t{65536},
                          static_cast<std::uint32_t>(init_flag::init_ext | 1));
  const auto in = Parsed(requests::make(Opcode::init, 0, body)).as<InitRequest>();
  EXPECT_EQ(in.minor, 31U);
  EXPECT_EQ(in.max_readahead, 65536U);
  EXPECT_EQ(in.flags, init_flag::init_ext | 1);
}

TEST(DecodeInit, TakesALongerFormOfALaterKernel) {
  RequestBytes request = requests::init(init_flag::has_resend, 99);
  request.body.resize(request.body.size() + 64, std::byte{0xff});
  const auto in = Parsed(request).as<InitRequest>();
  EXPECT_EQ(in.minor, 99U);
  EXPECT_EQ(in.flags, init_flag::has_resend | init_flag::init_ext);
}

TEST(DecodeLookup, TakesAName) {
  const Parsed parsed(requests::lookup(1, "name"));
  EXPECT_EQ(parsed.as<LookupRequest>().name, "name");
}

TEST(DecodeLookup, TakesDotAndDotDot) {
  for (const char* name : {".", ".."}) {
    const Parsed parsed(requests::lookup(1, name));
    EXPECT_EQ(parsed.as<LookupRequest>().name, name);
  }
}

TEST(DecodeForget, TakesTheCount) {
  EXPECT_EQ(Parsed(requests::forget(2, 3)).as<ForgetRequest>().nlookup, 3U);
}

TEST(DecodeBatchForget, TakesAllPairs) {
  const Parsed parsed(requests::batch_forget({{2, 10}, {3, 11}, {4, 12}}));
  const auto in = parsed.as<BatchForgetRequest>();
  ASSERT_EQ(in.forgets.size(), 3U);
  EXPECT_EQ(in.forgets[2].nodeid, 4U);
  EXPECT_EQ(in.forgets[2].nlookup, 12U);
}

TEST(DecodeBatchForget, MayBeEmpty) {
  EXPECT_TRUE(Parsed(requests::batch_forget({})).as<BatchForgetRequest>().forgets.empty());
}

TEST(DecodeGetattr, HasAHandleOnlyWhenTheFlagSaysSo) {
  EXPECT_EQ(Parsed(requests::getattr(2, 9)).as<GetattrRequest>().fh, 9U);
  EXPECT_FALSE(Parsed(requests::getattr(2)).as<GetattrRequest>().fh.has_value());
  const GetattrIn unflagged{.getattr_flags = 0, .dummy = 0, .fh = 9};
  EXPECT_FALSE(Parsed(requests::make(Opcode::getattr, 2, join(unflagged)))
                   .as<GetattrRequest>()
                   .fh.has_value());
}

TEST(DecodeStatx, TakesFlagsAndMask) {
  const StatxIn raw{
      .getattr_flags = kGetattrFh, .reserved = 0, .fh = 9, .sx_flags = 0x2000, .sx_mask = 0x800};
  const auto in = Parsed(requests::make(Opcode::statx, 2, join(raw))).as<StatxRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.flags, 0x2000U);
  EXPECT_EQ(in.mask, 0x800U);
  EXPECT_FALSE(Parsed(requests::statx(2, 1)).as<StatxRequest>().fh.has_value());
}

TEST(DecodeSetattr, TellsWhatIsSet) {
  const SetattrIn raw{
      .valid = setattr_valid::size | setattr_valid::fh, .fh = 9, .size = 77, .mode = 0600};
  const auto in = Parsed(requests::setattr(2, raw)).as<SetattrRequest>();
  EXPECT_TRUE(in.has(setattr_valid::size));
  EXPECT_FALSE(in.has(setattr_valid::mode));
  EXPECT_EQ(in.in.size, 77U);
  EXPECT_EQ(in.fh(), 9U);
  EXPECT_FALSE(Parsed(requests::setattr(2, {.fh = 9})).as<SetattrRequest>().fh().has_value());
}

TEST(DecodeSymlink, TakesNameThenTarget) {
  const Parsed parsed(requests::symlink(1, "name", "../some/target"));
  const auto in = parsed.as<SymlinkRequest>();
  EXPECT_EQ(in.name, "name");
  EXPECT_EQ(in.target, "../some/target");
}

TEST(DecodeSymlink, TakesTheLongestTarget) {
  const Parsed parsed(requests::symlink(1, "name", std::string(4095, 't')));
  EXPECT_EQ(parsed.as<SymlinkRequest>().target.size(), 4095U);
}

TEST(DecodeMknod, TakesEachField) {
  const MknodIn raw{.mode = S_IFCHR | 0640, .rdev = 0x103, .umask = 027, .padding = 0};
  const Parsed parsed(requests::make(Opcode::mknod, 1, join(raw, "name")));
  const auto in = parsed.as<MknodRequest>();
  EXPECT_EQ(in.name, "name");
  EXPECT_EQ(in.mode, S_IFCHR | 0640U);
  EXPECT_EQ(in.rdev, 0x103U);
  EXPECT_EQ(in.umask, 027U);
}

TEST(DecodeMkdir, TakesEachField) {
  const Parsed parsed(
      requests::make(Opcode::mkdir, 1, join(MkdirIn{.mode = 01777, .umask = 027}, "name")));
  const auto in = parsed.as<MkdirRequest>();
  EXPECT_EQ(in.name, "name");
  EXPECT_EQ(in.mode, 01777U);
  EXPECT_EQ(in.umask, 027U);
}

TEST(DecodeUnlinkAndRmdir, TakeAName) {
  const Parsed unlink(requests::unlink(1, "a"));
  EXPECT_EQ(unlink.as<UnlinkRequest>().name, "a");
  const Parsed rmdir(requests::rmdir(1, "b"));
  EXPECT_EQ(rmdir.as<RmdirRequest>().name, "b");
}

TEST(DecodeRename, HasNoFlags) {
  const Parsed parsed(requests::rename(1, "old", 5, "new"));
  const auto in = parsed.as<RenameRequest>();
  EXPECT_EQ(in.new_parent, 5U);
  EXPECT_EQ(in.flags, 0U);
  EXPECT_EQ(in.old_name, "old");
  EXPECT_EQ(in.new_name, "new");
}

TEST(DecodeRename2, HasFlags) {
  const Parsed parsed(requests::rename2(1, "old", 5, "new", RENAME_EXCHANGE));
  const auto in = parsed.as<RenameRequest>();
  EXPECT_EQ(in.new_parent, 5U);
  EXPECT_EQ(in.flags, static_cast<unsigned>(RENAME_EXCHANGE));
  EXPECT_EQ(in.old_name, "old");
  EXPECT_EQ(in.new_name, "new");
}

TEST(DecodeLink, TakesNodeAndName) {
  const Parsed parsed(requests::link(8, 1, "name"));
  EXPECT_EQ(parsed.as<LinkRequest>().old_nodeid, 8U);
  EXPECT_EQ(parsed.as<LinkRequest>().name, "name");
}

TEST(DecodeOpen, TakesBothFlagWords) {
  const Parsed parsed(
      requests::make(Opcode::open, 2, join(OpenIn{.flags = O_RDWR, .open_flags = 1})));
  EXPECT_EQ(parsed.as<OpenRequest>().flags, static_cast<unsigned>(O_RDWR));
  EXPECT_EQ(parsed.as<OpenRequest>().open_flags, 1U);
}

TEST(DecodeCreate, TakesEachField) {
  const CreateIn raw{.flags = O_EXCL, .mode = 0100600, .umask = 077, .open_flags = 1};
  const Parsed parsed(requests::make(Opcode::create, 1, join(raw, "name")));
  const auto in = parsed.as<CreateRequest>();
  EXPECT_EQ(in.name, "name");
  EXPECT_EQ(in.flags, static_cast<unsigned>(O_EXCL));
  EXPECT_EQ(in.mode, 0100600U);
  EXPECT_EQ(in.umask, 077U);
  EXPECT_EQ(in.open_flags, 1U);
}

TEST(DecodeTmpfile, TakesAnyName) {
  for (const char* name : {"/", "", "#123"}) {
    const Parsed parsed(
        requests::make(Opcode::tmpfile, 1, join(CreateIn{.flags = 2, .mode = 0600}, name)));
    EXPECT_EQ(parsed.as<CreateRequest>().name, name);
  }
}

TEST(DecodeRead, TakesEachField) {
  const ReadIn raw{.fh = 9,
                   .offset = 1ULL << 40,
                   .size = 0xffffffff,
                   .read_flags = kReadLockOwner,
                   .lock_owner = 7,
                   .flags = O_DIRECT,
                   .padding = 0};
  const auto in = Parsed(requests::make(Opcode::read, 2, join(raw))).as<ReadRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.offset, 1ULL << 40);
  EXPECT_EQ(in.size, 0xffffffffU);
  EXPECT_EQ(in.read_flags, kReadLockOwner);
  EXPECT_EQ(in.lock_owner, 7U);
  EXPECT_EQ(in.flags, static_cast<unsigned>(O_DIRECT));
}

TEST(DecodeWrite, TakesFieldsAndData) {
  const WriteIn raw{.fh = 9,
                    .offset = 1ULL << 40,
                    .size = 4,
                    .write_flags = kWriteCache,
                    .lock_owner = 7,
                    .flags = O_APPEND,
                    .padding = 0};
  const Parsed parsed(
      requests::make(Opcode::write, 2, join(raw, bytes_of(std::string_view("data")))));
  const auto in = parsed.as<WriteRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.offset, 1ULL << 40);
  EXPECT_EQ(in.write_flags, kWriteCache);
  EXPECT_EQ(in.lock_owner, 7U);
  EXPECT_EQ(in.flags, static_cast<unsigned>(O_APPEND));
  EXPECT_EQ(text_of(in.data), "data");
}

TEST(DecodeWrite, MayBeEmpty) {
  EXPECT_TRUE(Parsed(requests::write(2, 9, 0, {})).as<WriteRequest>().data.empty());
}

TEST(DecodeRelease, TakesEachField) {
  const ReleaseIn raw{
      .fh = 9, .flags = O_RDWR, .release_flags = kReleaseFlockUnlock, .lock_owner = 7};
  const auto in = Parsed(requests::make(Opcode::release, 2, join(raw))).as<ReleaseRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.flags, static_cast<unsigned>(O_RDWR));
  EXPECT_EQ(in.release_flags, kReleaseFlockUnlock);
  EXPECT_EQ(in.lock_owner, 7U);
}

TEST(DecodeFlush, TakesHandleAndOwner) {
  const auto in = Parsed(requests::flush(2, 9, 7)).as<FlushRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.lock_owner, 7U);
}

TEST(DecodeFsync, TellsDataFromAll) {
  EXPECT_TRUE(Parsed(requests::fsync(2, 9, true)).as<FsyncRequest>().datasync);
  EXPECT_FALSE(Parsed(requests::fsyncdir(2, 9, false)).as<FsyncRequest>().datasync);
  EXPECT_EQ(Parsed(requests::fsync(2, 9)).as<FsyncRequest>().fh, 9U);
}

TEST(DecodeSetxattr, TakesEachField) {
  const SetxattrIn raw{.size = 5, .flags = 1, .setxattr_flags = kSetxattrAclKillSgid, .padding = 0};
  const Parsed parsed(requests::make(
      Opcode::setxattr, 2, join(raw, "user.a/b", bytes_of(std::string_view("v\0lue", 5)))));
  const auto in = parsed.as<SetxattrRequest>();
  EXPECT_EQ(in.name, "user.a/b");
  EXPECT_EQ(text_of(in.value), std::string_view("v\0lue", 5));
  EXPECT_EQ(in.flags, 1U);
  EXPECT_EQ(in.setxattr_flags, kSetxattrAclKillSgid);
}

TEST(DecodeSetxattr, TakesTheShortFormWhenThatWasAgreedOn) {
  const Parsed parsed(
      requests::setxattr_compat(2, "user.a", bytes_of(std::string_view("value")), 2));
  const auto in = parsed.as<SetxattrRequest>({.setxattr_ext = false});
  EXPECT_EQ(in.name, "user.a");
  EXPECT_EQ(text_of(in.value), "value");
  EXPECT_EQ(in.flags, 2U);
  EXPECT_EQ(in.setxattr_flags, 0U);
}

TEST(DecodeSetxattr, TakesAnEmptyValue) {
  EXPECT_TRUE(Parsed(requests::setxattr(2, "user.a", {})).as<SetxattrRequest>().value.empty());
}

TEST(DecodeGetxattr, TakesSizeAndName) {
  const Parsed parsed(requests::getxattr(2, "user.a", 64));
  EXPECT_EQ(parsed.as<GetxattrRequest>().name, "user.a");
  EXPECT_EQ(parsed.as<GetxattrRequest>().size, 64U);
}

TEST(DecodeListxattrAndRemovexattr, TakeTheirArgument) {
  EXPECT_EQ(Parsed(requests::listxattr(2, 64)).as<ListxattrRequest>().size, 64U);
  const Parsed parsed(requests::removexattr(2, "user.a"));
  EXPECT_EQ(parsed.as<RemovexattrRequest>().name, "user.a");
}

TEST(DecodeLock, TellsFlockFromPosix) {
  LkIn raw{.fh = 9,
           .owner = 7,
           .lk = {.start = 10, .end = 20, .type = F_WRLCK, .pid = 5},
           .lk_flags = kLkFlock,
           .padding = 0};
  const auto in = Parsed(requests::lock(Opcode::setlkw, 2, raw)).as<LockRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.owner, 7U);
  EXPECT_EQ(in.lock.start, 10U);
  EXPECT_EQ(in.lock.end, 20U);
  EXPECT_EQ(in.lock.type, static_cast<unsigned>(F_WRLCK));
  EXPECT_EQ(in.lock.pid, 5U);
  EXPECT_TRUE(in.flock);
  raw.lk_flags = 0;
  EXPECT_FALSE(Parsed(requests::lock(Opcode::getlk, 2, raw)).as<LockRequest>().flock);
}

TEST(DecodeSmallOnes, TakeTheirFields) {
  EXPECT_EQ(Parsed(requests::access(2, 4)).as<AccessRequest>().mask, 4U);
  EXPECT_EQ(Parsed(requests::interrupt(44)).as<InterruptRequest>().unique, 44U);
  EXPECT_EQ(Parsed(requests::bmap(2, 5, 512)).as<BmapRequest>().block, 5U);
  EXPECT_EQ(Parsed(requests::bmap(2, 5, 512)).as<BmapRequest>().blocksize, 512U);
}

TEST(DecodeIoctl, TakesFieldsAndData) {
  const IoctlIn raw{.fh = 9,
                    .flags = kIoctlDir,
                    .cmd = 0x40086602,
                    .arg = 0x7fff0000,
                    .in_size = 4,
                    .out_size = 8};
  const Parsed parsed(
      requests::make(Opcode::ioctl, 2, join(raw, bytes_of(std::string_view("data")))));
  const auto in = parsed.as<IoctlRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.flags, kIoctlDir);
  EXPECT_EQ(in.cmd, 0x40086602U);
  EXPECT_EQ(in.arg, 0x7fff0000U);
  EXPECT_EQ(in.out_size, 8U);
  EXPECT_EQ(text_of(in.in), "data");
}

TEST(DecodePoll, TakesEachField) {
  const PollIn raw{.fh = 9, .kh = 6, .flags = 1, .events = 5};
  const auto in = Parsed(requests::make(Opcode::poll, 2, join(raw))).as<PollRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.kh, 6U);
  EXPECT_EQ(in.flags, 1U);
  EXPECT_EQ(in.events, 5U);
}

TEST(DecodeFallocate, TakesEachField) {
  const auto in = Parsed(requests::fallocate(2, 9, 10, 20, 3)).as<FallocateRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.offset, 10U);
  EXPECT_EQ(in.length, 20U);
  EXPECT_EQ(in.mode, 3U);
}

TEST(DecodeLseek, TakesEachField) {
  const auto in = Parsed(requests::lseek(2, 9, 10, 3)).as<LseekRequest>();
  EXPECT_EQ(in.fh, 9U);
  EXPECT_EQ(in.offset, 10U);
  EXPECT_EQ(in.whence, 3U);
}

TEST(DecodeCopyFileRange, IsTheSameForBothWidths) {
  const CopyFileRangeIn raw{
      .fh_in = 1, .off_in = 2, .nodeid_out = 3, .fh_out = 4, .off_out = 5, .len = 6, .flags = 7};
  for (const Opcode opcode : {Opcode::copy_file_range, Opcode::copy_file_range_64}) {
    const auto in = Parsed(requests::copy_file_range(opcode, 2, raw)).as<CopyFileRangeRequest>();
    EXPECT_EQ(in.fh_in, 1U);
    EXPECT_EQ(in.off_in, 2U);
    EXPECT_EQ(in.nodeid_out, 3U);
    EXPECT_EQ(in.fh_out, 4U);
    EXPECT_EQ(in.off_out, 5U);
    EXPECT_EQ(in.len, 6U);
    EXPECT_EQ(in.flags, 7U);
  }
}

TEST(SupplementaryGroups, AreNoneWithoutAnExtension) {
  const auto groups = decode_supplementary_groups(Parsed(requests::unlink(1, "a")).request());
  ASSERT_TRUE(groups);
  EXPECT_TRUE(groups->empty());
}

// The extension follows the name, so it starts at any address.
TEST(SupplementaryGroups, AreReadAtAnyAlignment) {
  for (const char* name : {"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"}) {
    const Parsed parsed(requests::mkdir(1, name, 0755).with_groups({100, 0xfffffffe}));
    const auto groups = decode_supplementary_groups(parsed.request());
    ASSERT_TRUE(groups);
    ASSERT_EQ(groups->size(), 2U);
    EXPECT_EQ((*groups)[0], 100U);
    EXPECT_EQ((*groups)[1], 0xfffffffeU);
    EXPECT_EQ(parsed.as<MkdirRequest>().name, name);
  }
}

TEST(SupplementaryGroups, AreFoundBehindASecurityContext) {
  RequestBytes request = requests::mkdir(1, "name", 0755);
  // A security context header (its "type" is the number of contexts) with 16 bytes behind it.
  request.extensions = join(ExtHeader{.size = 24, .type = 1}, ByteSpan(Bytes(16)));
  const Parsed parsed(request.with_groups({5}));
  const auto groups = decode_supplementary_groups(parsed.request());
  ASSERT_TRUE(groups);
  ASSERT_EQ(groups->size(), 1U);
  EXPECT_EQ((*groups)[0], 5U);
}

TEST(SupplementaryGroups, SkipExtensionsOfUnknownType) {
  RequestBytes request = requests::mkdir(1, "name", 0755);
  request.extensions = join(ExtHeader{.size = 16, .type = 77}, std::uint64_t{0});
  const auto groups = decode_supplementary_groups(Parsed(request.with_groups({5})).request());
  ASSERT_TRUE(groups);
  EXPECT_EQ(groups->size(), 1U);
}

}  // namespace
}  // namespace passthroughfs::wire
