#include "index/vector/snapshot.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "lib/base/descriptor.h"
#include "lib/base/hash.h"

namespace rag {
namespace {

uint64_t HeaderHash(const SnapshotHeader& header) {
  return Hash64(std::as_bytes(std::span(&header, 1)).first(offsetof(SnapshotHeader, header_hash)));
}

uint64_t Aligned(uint64_t at) { return (at + kSectionAlign - 1) / kSectionAlign * kSectionAlign; }

Status WriteAll(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("cannot write", path);
    }
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return OkStatus();
}

Status WriteTemporary(const std::string& path, const SnapshotHeader& header,
                      std::span<const SnapshotSection> table,
                      std::span<const std::span<const std::byte>> sections,
                      const SnapshotRows& rows) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) return ErrnoError("cannot create", path);
  uint64_t at = 0;
  const SnapshotRows::Put put = [&](std::span<const std::byte> bytes) {
    at += bytes.size();
    return WriteAll(file.get(), bytes, path);
  };
  RAG_RETURN_IF_ERROR(put(std::as_bytes(std::span(&header, 1))));
  RAG_RETURN_IF_ERROR(put(std::as_bytes(table)));
  static constexpr std::byte kZeros[kSectionAlign] = {};
  for (size_t i = 0; i < sections.size(); ++i) {
    RAG_RETURN_IF_ERROR(put(std::span(kZeros).first(Aligned(at) - at)));
    const uint64_t begin = at;
    RAG_RETURN_IF_ERROR(i == kRowsSection ? rows.write(put) : put(sections[i]));
    if (at - begin != table[i].bytes) {
      return InternalError("section ", i, " has ", at - begin, " bytes, not ", table[i].bytes);
    }
  }
  if (::fsync(file.get()) != 0) return ErrnoError("cannot sync", path);
  return OkStatus();
}

}  // namespace

SnapshotHeader MakeSnapshotHeader(const VectorIndexOptions& options, uint64_t tag) {
  SnapshotHeader header;
  header.kind = static_cast<uint32_t>(options.kind);
  header.metric = static_cast<uint32_t>(options.metric);
  header.dim = static_cast<uint32_t>(options.dim);
  header.element = static_cast<uint32_t>(options.element);
  header.tag = tag;
  if (options.kind == IndexKind::kHnsw) {
    header.m = options.hnsw.m;
    header.ef_construction = options.hnsw.ef_construction;
    header.seed = options.hnsw.seed;
    header.codes = static_cast<uint32_t>(options.hnsw.codes);
    header.code_dims = options.hnsw.code_dims;
  } else if (options.kind == IndexKind::kIvf) {
    header.m = options.ivf.lists;
    header.codes = static_cast<uint32_t>(options.ivf.codes);
    header.code_dims = options.ivf.pq_bytes;
    header.ef_construction = options.ivf.rotate ? 1 : 0;
    header.seed = options.ivf.seed;
  }
  return header;
}

Result<uint64_t> WriteSnapshot(const std::string& path, SnapshotHeader header,
                               std::span<const std::span<const std::byte>> sections,
                               const SnapshotRows& rows) {
  std::vector<SnapshotSection> table;
  table.reserve(sections.size());
  header.file_bytes = sizeof(header) + sections.size() * sizeof(SnapshotSection);
  uint64_t rows_at = 0;
  for (size_t i = 0; i < sections.size(); ++i) {
    header.file_bytes = Aligned(header.file_bytes);
    if (i == kRowsSection) {
      table.push_back({rows.bytes, 0});
      rows_at = header.file_bytes;
    } else {
      table.push_back({sections[i].size(), Hash64(sections[i])});
    }
    header.file_bytes += table.back().bytes;
  }
  header.section_count = sections.size();
  header.table_hash = Hash64(std::as_bytes(std::span(table)));
  header.header_hash = HeaderHash(header);

  const std::string temporary = StrCat(path, ".tmp.", static_cast<long long>(::getpid()));
  Status status = WriteTemporary(temporary, header, table, sections, rows);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoError("cannot rename to", path);
  }
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  RAG_RETURN_IF_ERROR(SyncFolder(folder.empty() ? "." : folder));
  return rows_at;
}

Status SnapshotFile::Damaged(std::string_view what) const {
  return DataLossError("'", file_->path(), "' is damaged: ", what);
}

Result<SnapshotFile> SnapshotFile::Open(const std::string& path,
                                        const VectorIndexOptions& options) {
  SnapshotFile file;
  RAG_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  file.file_ = std::make_shared<const MappedFile>(std::move(mapped));
  const std::span<const std::byte> bytes = file.file_->bytes();
  SnapshotHeader& header = file.header_;
  if (bytes.size() < sizeof(header)) return file.Damaged("it ends within its header");
  const SnapshotHeader expected = MakeSnapshotHeader(options, 0);
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, expected.magic, sizeof(header.magic)) != 0) {
    return file.Damaged("it does not begin as a vector index does");
  }
  if (header.header_hash != HeaderHash(header)) return file.Damaged("checksum of the header");
  if (header.version != kSnapshotVersion) {
    return FailedPreconditionError("'", path, "' has format version ", header.version,
                                   "; this program knows ", kSnapshotVersion);
  }
  const auto differs = [&](std::string_view name, const auto& there, const auto& asked) {
    return FailedPreconditionError("'", path, "' was saved with ", name, " ", there, ", not ",
                                   asked);
  };
  if (header.kind != expected.kind) {
    return differs("kind", IndexKindName(static_cast<IndexKind>(header.kind)),
                   IndexKindName(options.kind));
  }
  if (header.metric != expected.metric) {
    return differs("metric", MetricName(static_cast<Metric>(header.metric)),
                   MetricName(options.metric));
  }
  if (header.dim != expected.dim) return differs("dimension", header.dim, expected.dim);
  if (header.element != expected.element) {
    return differs("element type", ElementTypeName(static_cast<ElementType>(header.element)),
                   ElementTypeName(options.element));
  }
  const bool ivf = options.kind == IndexKind::kIvf;
  if (header.codes != expected.codes) {
    const auto name = [ivf](uint32_t codes) {
      return ivf ? IvfCodesName(static_cast<IvfCodes>(codes))
                 : CodeKindName(static_cast<CodeKind>(codes));
    };
    return differs("codes", name(header.codes), name(expected.codes));
  }
  if (header.code_dims != expected.code_dims) {
    return differs(ivf ? "pq_bytes" : "code_dims", header.code_dims, expected.code_dims);
  }
  if (header.m != expected.m) return differs(ivf ? "lists" : "m", header.m, expected.m);
  if (header.ef_construction != expected.ef_construction) {
    return differs(ivf ? "rotate" : "ef_construction", header.ef_construction,
                   expected.ef_construction);
  }
  if (header.seed != expected.seed) return differs("seed", header.seed, expected.seed);

  if (header.file_bytes != bytes.size()) {
    return file.Damaged(StrCat("it has ", bytes.size(), " bytes, not ", header.file_bytes));
  }
  const std::span<const std::byte> after = bytes.subspan(sizeof(header));
  if (header.section_count < kFixedSections ||
      header.section_count > after.size() / sizeof(SnapshotSection)) {
    return file.Damaged(StrCat("it cannot have ", header.section_count, " sections"));
  }
  const size_t table_bytes = header.section_count * sizeof(SnapshotSection);
  if (Hash64(after.first(table_bytes)) != header.table_hash) {
    return file.Damaged("checksum of the table of sections");
  }
  uint64_t at = sizeof(header) + table_bytes;
  for (size_t i = 0; i < header.section_count; ++i) {
    SnapshotSection section;
    std::memcpy(&section, after.data() + i * sizeof(section), sizeof(section));
    const uint64_t begin = Aligned(at);
    if (begin > bytes.size() || section.bytes > bytes.size() - begin) {
      return file.Damaged(StrCat("section ", i, " ends past it"));
    }
    for (; at < begin; ++at) {
      if (bytes[at] != std::byte{0}) return file.Damaged(StrCat("bytes before section ", i));
    }
    file.sections_.push_back(bytes.subspan(begin, section.bytes));
    file.hashes_.push_back(section.hash);
    at = begin + section.bytes;
  }
  if (at != bytes.size()) return file.Damaged("bytes after the last section");
  return file;
}

Status SnapshotFile::CheckSection(size_t i) const {
  if (Hash64(sections_[i]) != hashes_[i]) return Damaged(StrCat("checksum of section ", i));
  return OkStatus();
}

}  // namespace rag
