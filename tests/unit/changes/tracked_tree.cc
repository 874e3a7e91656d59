// SPDX-License-Identifier: Apache-2.0
#include "tracked_tree.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "changes/look.h"

namespace passthroughfs::test {
namespace {

constexpr std::uint32_t kCapacity = 1U << 16;

std::string above(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
std::string last(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

TrackedTree::TrackedTree(bool journal_file, TempTree::Medium medium, bool background)
    : tree_(medium), journal_file_(journal_file) {
  (void)tree_.make_dir("source");
  open_tables(background);
}

TrackedTree::~TrackedTree() {
  if (journal_) journal_->stop();
}

void TrackedTree::open_tables(bool background) {
  std::string message;
  budget_ = std::make_unique<FdBudget>(4096);
  auto source = SourceTree::open(tree_ / "source", message);
  if (!source) throw std::runtime_error(message);
  source_ = std::make_unique<SourceTree>(std::move(*source));
  inodes_ = std::move(InodeTable::create(*source_, *budget_, kCapacity).value());
  handles_ = std::move(HandleTable::create(*inodes_, kCapacity).value());
  auto journal = ChangeJournal::open({journal_file_ ? journal_file() : "", tree_ / "source"},
                                     {*source_, *inodes_, *handles_, kCapacity});
  if (!journal) throw std::runtime_error(journal.error().message);
  journal_ = std::move(*journal);
  if (background) journal_->start(0);
}

std::string TrackedTree::path(const std::string& name) const { return tree_ / ("source/" + name); }

InodeRef TrackedTree::node(const std::string& path) {
  UniqueFd fd(::openat(source_->root().get(), path.empty() ? "." : path.c_str(),
                       O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return {};
  const auto st = look_at(fd.borrow(), "");
  auto inode =
      inodes_->lookup(std::move(fd), {key_of(*st).device, key_of(*st).ino}, st->stx_mode & S_IFMT);
  return inode ? std::move(*inode) : InodeRef();
}

bool TrackedTree::create(const std::string& name, const std::string& content) {
  const InodeRef parent = node(above(name));
  const std::string leaf = last(name);
  NamesChange change(&journal_->tracker());
  change.creates(parent, leaf);
  const UniqueFd fd(
      ::openat(parent.fd().get(), leaf.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  if (!fd.valid()) return false;
  change.made(node(name));
  return content.empty() || write(name, content);
}

bool TrackedTree::mkdir(const std::string& name) {
  const InodeRef parent = node(above(name));
  const std::string leaf = last(name);
  NamesChange change(&journal_->tracker());
  change.creates(parent, leaf);
  if (::mkdirat(parent.fd().get(), leaf.c_str(), 0755) != 0) return false;
  change.made(node(name));
  return true;
}

bool TrackedTree::write(const std::string& name, const std::string& content) {
  const InodeRef inode = node(name);
  const UniqueFd fd(::open(path(name).c_str(), O_WRONLY | O_CLOEXEC));
  const InodeChange change(&journal_->tracker(), inode, fd.borrow(), mark::kData);
  return ::ftruncate(fd.get(), 0) == 0 &&
         ::pwrite(fd.get(), content.data(), content.size(), 0) == ssize_t(content.size());
}

bool TrackedTree::remove(const std::string& name) {
  const InodeRef parent = node(above(name));
  const std::string leaf = last(name);
  const bool directory = std::filesystem::is_directory(std::filesystem::symlink_status(path(name)));
  NamesChange change(&journal_->tracker());
  change.removes(parent, leaf);
  if (::unlinkat(parent.fd().get(), leaf.c_str(), directory ? AT_REMOVEDIR : 0) != 0) return false;
  change.happened();
  return true;
}

bool TrackedTree::rename(const std::string& from, const std::string& to, unsigned flags) {
  const InodeRef old_parent = node(above(from));
  const InodeRef new_parent = node(above(to));
  const std::string old_name = last(from);
  const std::string new_name = last(to);
  NamesChange change(&journal_->tracker());
  change.moves(old_parent, old_name, new_parent, new_name, flags);
  if (::renameat2(old_parent.fd().get(), old_name.c_str(), new_parent.fd().get(), new_name.c_str(),
                  flags) != 0) {
    return false;
  }
  change.happened();
  return true;
}

bool TrackedTree::link(const std::string& from, const std::string& to) {
  const InodeRef parent = node(above(to));
  const std::string leaf = last(to);
  const InodeRef inode = node(from);
  NamesChange change(&journal_->tracker());
  change.links(parent, leaf);
  if (::link(path(from).c_str(), path(to).c_str()) != 0) return false;
  change.made(inode);
  return true;
}

bool TrackedTree::chmod(const std::string& name, mode_t mode) {
  const InodeRef inode = node(name);
  const InodeChange change(&journal_->tracker(), inode, inode.fd(), mark::kAttributes);
  return ::chmod(path(name).c_str(), mode) == 0;
}

void TrackedTree::opens(const std::string& name, bool mappable) {
  const InodeRef inode = node(name);
  UniqueFd fd(::open(path(name).c_str(), (mappable ? O_RDWR : O_WRONLY) | O_CLOEXEC));
  journal_->tracker().opens(inode, fd.borrow(), mappable);
  HandleTable::Opened opened;
  opened.fd = std::move(fd);
  opened.flags = mappable ? O_RDWR : O_WRONLY;
  opened.io = HandleIo::passthrough;
  if (!handles_->add(inode, std::move(opened))) throw std::runtime_error("no handle");
}

void TrackedTree::restart() {
  journal_.reset();
  handles_.reset();
  inodes_.reset();
  source_.reset();
  open_tables();
}

void TrackedTree::kill(bool lose_log) {
  // What a killed process leaves on the disk is copied while it lives, because the locks that it
  // has go with it only.
  const std::string saved = tree_ / "saved";
  std::filesystem::create_directory(saved);
  for (const char* end : {"", "-wal", "-log"}) {
    if (!std::filesystem::exists(journal_file() + end)) continue;
    std::filesystem::copy_file(journal_file() + end, saved + "/journal" + end,
                               std::filesystem::copy_options::overwrite_existing);
  }
  journal_.reset();
  handles_.reset();
  inodes_.reset();
  source_.reset();
  for (const char* end : {"", "-wal", "-log"}) {
    std::filesystem::remove(journal_file() + end);
    if (lose_log && std::string(end) == "-log") continue;
    if (std::filesystem::exists(saved + "/journal" + end)) {
      std::filesystem::rename(saved + "/journal" + end, journal_file() + end);
    }
  }
  open_tables();
}

std::string TrackedTree::checkpoint() {
  auto token = journal_->checkpoint();
  if (!token) throw std::runtime_error(token.error().message);
  return *token;
}

ChangeReport TrackedTree::report(const std::optional<std::string>& token, bool renames) {
  auto report = journal_->since(token, renames);
  if (!report) throw std::runtime_error(report.error().message);
  return *report;
}

std::map<std::string, std::string> TrackedTree::since(const std::optional<std::string>& token,
                                                      bool renames) {
  std::map<std::string, std::string> found;
  for (const Change& change : report(token, renames).changes) {
    std::string kinds;
    const auto add = [&](bool is, const std::string& kind) {
      if (is) kinds += (kinds.empty() ? "" : ",") + kind;
    };
    add(change.created, "created");
    add(change.deleted, "deleted");
    add(change.data, "data");
    add(change.attributes, "attributes");
    add(change.xattr, "xattr");
    add(change.renamed, "renamed from " + change.from);
    found[change.path] = kinds;
  }
  return found;
}

}  // namespace passthroughfs::test
