// SPDX-License-Identifier: Apache-2.0
#include "table_fixture.h"

#include <cerrno>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "source/file_handle.h"

namespace passthroughfs::test {

std::size_t open_descriptors() {
  // One of them is the iterator's own.
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries))) - 1;
}

TableTree::TableTree(std::uint64_t descriptor_limit, TempTree::Medium medium,
                     std::uint32_t capacity)
    : tree_(medium), budget_(descriptor_limit) {
  std::string message;
  auto source = SourceTree::open(tree_.path(), message);
  if (!source) throw std::system_error(source.error().value(), std::generic_category(), message);
  source_ = std::make_unique<SourceTree>(std::move(*source));
  auto inodes = InodeTable::create(*source_, budget_, capacity);
  if (!inodes) throw std::system_error(inodes.error().value(), std::generic_category());
  inodes_ = std::move(*inodes);
}

void TableTree::make_file(const std::string& name) const {
  auto fd = own(::open(path(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  if (!fd) throw std::system_error(fd.error().value(), std::generic_category(), name);
}

void TableTree::make_files(int count) const {
  for (int i = 0; i < count; ++i) make_file(file(i));
}

Result<InodeRef> TableTree::look_up(const std::string& name) {
  UniqueFd fd = TRY(source_->child(source_->root(), name.c_str()));
  const struct statx st = TRY(sys::stat_at(fd.borrow()));
  return inodes_->lookup(std::move(fd),
                         {device_number(st.stx_dev_major, st.stx_dev_minor), st.stx_ino},
                         static_cast<std::uint16_t>(st.stx_mode & S_IFMT));
}

NodeId TableTree::node(const std::string& name) {
  auto inode = look_up(name);
  EXPECT_TRUE(inode.has_value()) << name << ": " << inode.error().to_string();
  return inode ? inode->id() : 0;
}

std::uint64_t TableTree::ino_of(const InodeRef& inode) {
  auto st = sys::stat_at(inode.fd());
  EXPECT_TRUE(st.has_value());
  return st ? st->stx_ino : 0;
}

std::uint64_t TableTree::ino_of(const std::string& name) const {
  auto st = sys::stat_at(source_->root(), name.c_str());
  EXPECT_TRUE(st.has_value()) << name;
  return st ? st->stx_ino : 0;
}

bool TableTree::can_evict() {
  auto handle = FileHandle::of(source_->root());
  return handle && source_->mounts().knows(handle->mount_id);
}

bool TableTree::evict(NodeId id) {
  auto inode = inodes_->get(id);
  if (!inode) return false;
  // Not through the reference: as long as it is there the descriptor stays.
  Inode& record = **inode;
  inode->reset();
  for (int round = 0; round < 1000 && record.fd.load() >= 0; ++round) (void)inodes_->relieve();
  return record.fd.load() < 0;
}

}  // namespace passthroughfs::test
