#include "generate/cache_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "lib/base/descriptor.h"
#include "lib/base/hash.h"

namespace rag {
namespace {

constexpr size_t kBlock = KvPool::kBlockTokens;
constexpr char kMagic[8] = {'R', 'A', 'G', 'K', 'V', 'B', 'L', 'K'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kNoParent = std::numeric_limits<uint32_t>::max();

// The file: a header, then a RecordHead and a block's bytes for each node, parents before their
// children. Numbers are little-endian, as in the memory of every processor that we run on.
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t block_tokens;
  uint64_t fingerprint;
  uint64_t block_bytes;
  uint64_t blocks;
  uint64_t hash;  // of what stands before it
};

struct RecordHead {
  uint32_t parent;  // index of its record
  uint32_t count;   // of tokens
  TokenId tokens[kBlock];
  uint64_t hash;  // RecordHash
};

uint64_t HeaderHash(const Header& header) {
  return Hash64(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, hash)));
}

// Of the record's place too.
uint64_t RecordHash(const RecordHead& head, size_t index, std::span<const std::byte> block) {
  const auto bytes = std::as_bytes(std::span(&head, 1)).first(offsetof(RecordHead, hash));
  return Hash64(block, Hash64(bytes, index));
}

Status Damaged(const std::string& path, std::string_view what) {
  return DataLossError("the cache '", path, "' is damaged: ", what);
}

class Reader {
 public:
  Reader(const std::string& path, KvPool& pool, PrefixTree& tree)
      : path_(path), pool_(pool), tree_(tree), root_(tree.Enter({})) {}
  ~Reader() { tree_.Leave(root_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Result<CacheContents> Read(uint64_t fingerprint, size_t vocab_size) {
    file_.Reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file_.get() < 0 && errno == ENOENT) return CacheContents();
    if (file_.get() < 0) return ErrnoError("cannot open", path_);
    RAG_RETURN_IF_ERROR(ReadHeader(fingerprint));
    CacheContents contents;
    for (size_t i = 0; i < header_.blocks; ++i) {
      RAG_ASSIGN_OR_RETURN(const size_t tokens, ReadRecord(i, vocab_size));
      if (tokens == 0) break;
      ++contents.blocks;
      contents.tokens += tokens;
    }
    contents.bytes = contents.blocks * pool_.block_bytes();
    return contents;
  }

 private:
  // False where the file ends before.
  Result<bool> ReadBytes(size_t at, std::span<std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t got = ::pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError("cannot read", path_);
      if (got == 0) return false;
      at += static_cast<size_t>(got);
      bytes = bytes.subspan(static_cast<size_t>(got));
    }
    return true;
  }

  // An empty file leaves the header without blocks.
  Status ReadHeader(uint64_t fingerprint) {
    struct stat info;
    if (::fstat(file_.get(), &info) != 0) return ErrnoError("cannot stat", path_);
    const auto foreign = [&] {
      return InvalidArgumentError("'", path_,
                                  "' is no cache of keys and values; name another file, or one "
                                  "that is not there");
    };
    if (!S_ISREG(info.st_mode)) return foreign();
    const size_t size = static_cast<size_t>(info.st_size);
    if (size == 0) return OkStatus();
    RAG_ASSIGN_OR_RETURN(const bool whole,
                         ReadBytes(0, std::as_writable_bytes(std::span(&header_, 1))));
    if (size < sizeof(kMagic) || std::memcmp(header_.magic, kMagic, sizeof(kMagic)) != 0) {
      return foreign();
    }
    if (!whole) return Damaged(path_, "it ends within its header");
    if (header_.hash != HeaderHash(header_)) return Damaged(path_, "checksum of the header");
    if (header_.version != kVersion) {
      return FailedPreconditionError("the cache '", path_, "' has format version ", header_.version,
                                     "; this program knows ", kVersion);
    }
    if (header_.fingerprint != fingerprint || header_.block_tokens != kBlock ||
        header_.block_bytes != pool_.block_bytes()) {
      return FailedPreconditionError("the cache '", path_,
                                     "' was written for another model, type of cache, instruction "
                                     "set or version of the program");
    }
    const size_t records = (size - sizeof(Header)) / RecordBytes();
    if (header_.blocks != records || size != sizeof(Header) + records * RecordBytes()) {
      return Damaged(path_,
                     StrCat("it has ", size, " bytes, which are not ", header_.blocks, " blocks"));
    }
    return OkStatus();
  }

  // Gives its tokens; 0 when the pool is full.
  Result<size_t> ReadRecord(size_t index, size_t vocab_size) {
    const size_t at = sizeof(Header) + index * RecordBytes();
    const auto damaged = [&](std::string_view what) {
      return Damaged(path_, StrCat("block ", index, ": ", what));
    };
    RecordHead head;
    RAG_ASSIGN_OR_RETURN(const bool has_head,
                         ReadBytes(at, std::as_writable_bytes(std::span(&head, 1))));
    if (!has_head) return damaged("the file ends here");
    const std::optional<KvPool::BlockId> block = pool_.Take();
    if (!block) return size_t{0};
    const std::span<std::byte> bytes = pool_.bytes(*block);
    const Result<bool> has_block = ReadBytes(at + sizeof(head), bytes);
    Status status = has_block.status();
    if (status.ok() && !*has_block) status = damaged("the file ends here");
    if (status.ok() && head.hash != RecordHash(head, index, bytes)) status = damaged("checksum");
    if (status.ok() && !Restore(head, *block, vocab_size)) status = damaged("its tokens");
    pool_.Release(*block);  // the tree has a share
    if (!status.ok()) return status;
    return static_cast<size_t>(head.count);
  }

  bool Restore(const RecordHead& head, KvPool::BlockId block, size_t vocab_size) {
    const bool has_parent = head.parent != kNoParent;
    if (has_parent &&
        (head.parent >= nodes_.size() || nodes_[head.parent]->tokens->size() != kBlock)) {
      return false;
    }
    if (head.count == 0 || head.count > kBlock) return false;
    const std::span<const TokenId> tokens(head.tokens, head.count);
    for (const TokenId token : tokens) {
      if (token < 0 || static_cast<size_t>(token) >= vocab_size) return false;
    }
    nodes_.push_back(tree_.Restore(has_parent ? nodes_[head.parent] : root_, tokens, block));
    return nodes_.back() != nullptr;
  }

  size_t RecordBytes() const { return sizeof(RecordHead) + pool_.block_bytes(); }

  const std::string& path_;
  KvPool& pool_;
  PrefixTree& tree_;
  PrefixTree::Node* const root_;
  Descriptor file_;
  Header header_ = {};
  std::vector<PrefixTree::Node*> nodes_;  // by record
};

}  // namespace

// Whatever is thrown here, the destructor runs, since another constructor is done.
CacheSnapshot::CacheSnapshot(const PrefixTree& tree, KvPool& pool) : CacheSnapshot(pool) {
  const std::vector<const PrefixTree::Node*> nodes = tree.Ordered({});
  records_.reserve(nodes.size());
  lent_.reserve(nodes.size());
  std::unordered_map<const PrefixTree::Node*, uint32_t> indices;
  for (const PrefixTree::Node* node : nodes) {
    const auto parent = indices.find(node->parent);
    Record record = {
        .parent = parent == indices.end() ? kNoParent : parent->second,  // the root has no record
        .tokens = *node->tokens,
        .block = node->block,
        .bytes = {},
        .is_copy = node->tokens->size() < kBlock && pool.shared(node->block)};
    if (record.is_copy) {
      const std::optional<KvPool::BlockId> copy = pool.LendCopy(node->block);
      if (!copy) continue;  // nothing stands on a begun block
      record.block = *copy;
    } else {
      pool.Lend(node->block);
    }
    record.bytes = pool.bytes(record.block);
    lent_.push_back(records_.size());
    records_.push_back(std::move(record));
    indices[node] = static_cast<uint32_t>(lent_.back());
  }
  // A copy has no other use: its block is free for all once it is written.
  std::stable_partition(lent_.begin(), lent_.end(),
                        [this](size_t index) { return !records_[index].is_copy; });
}

CacheSnapshot::~CacheSnapshot() {
  while (!lent_.empty()) GiveBackLast();
}

void CacheSnapshot::GiveBackLast() {
  pool_.GiveBack(records_[lent_.back()].block);
  lent_.pop_back();
}

Result<CacheContents> CacheSnapshot::Write(uint64_t fingerprint, AtomicFile& file) {
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.block_tokens = kBlock;
  header.fingerprint = fingerprint;
  header.block_bytes = pool_.block_bytes();
  header.blocks = records_.size();
  header.hash = HeaderHash(header);
  RAG_RETURN_IF_ERROR(file.WriteAt(0, std::as_bytes(std::span(&header, 1))));
  CacheContents contents;
  for (; !lent_.empty(); GiveBackLast()) {
    const size_t index = lent_.back();
    const Record& record = records_[index];
    RecordHead head = {};
    head.parent = record.parent;
    head.count = static_cast<uint32_t>(record.tokens.size());
    std::copy(record.tokens.begin(), record.tokens.end(), head.tokens);
    head.hash = RecordHash(head, index, record.bytes);
    const size_t at = sizeof(Header) + index * (sizeof(head) + record.bytes.size());
    RAG_RETURN_IF_ERROR(file.WriteAt(at, std::as_bytes(std::span(&head, 1))));
    RAG_RETURN_IF_ERROR(file.Write(record.bytes));
    ++contents.blocks;
    contents.tokens += head.count;
    contents.bytes += record.bytes.size();
  }
  return contents;
}

Result<CacheContents> ReadCacheFile(const std::string& path, uint64_t fingerprint,
                                    size_t vocab_size, KvPool& pool, PrefixTree& tree) {
  Result<CacheContents> contents = Reader(path, pool, tree).Read(fingerprint, vocab_size);
  // What stands in the tree of a damaged file may be sound, but who can tell.
  while (!contents.ok() && tree.Evict()) {
  }
  return contents;
}

}  // namespace rag
