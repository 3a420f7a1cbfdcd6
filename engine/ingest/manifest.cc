#include "engine/ingest/manifest.h"

#include <algorithm>
#include <vector>

#include "engine/record.h"

namespace rag {
namespace {

constexpr const char* kManifestCollection = "_manifest";
constexpr size_t kPage = 1'000;

// Collection names have no '/', so the first one ends it; the hash keeps long paths in bounds.
std::string EntryKey(std::string_view collection, std::string_view path) {
  return StrCat(collection, "/", HashContent(path));
}

// Stands before the hash of a doubtful entry.
constexpr char kDoubt = '?';

bool HasManifest(const Store& store) {
  const std::vector<std::string> names = store.ListCollections();
  return std::find(names.begin(), names.end(), kManifestCollection) != names.end();
}

Status IgnoreNotFound(Status status) {
  return status.code() == StatusCode::kNotFound ? OkStatus() : std::move(status);
}

}  // namespace

Result<Manifest> Manifest::Open(Store& store) {
  if (!HasManifest(store)) {
    CollectionConfig config;
    config.name = kManifestCollection;
    config.vectors.kind = IndexKind::kFlat;
    config.vectors.dim = 0;
    config.properties = Value(Value::Object());
    Result<std::shared_ptr<Collection>> created = store.CreateCollection(config);
    if (created.ok()) return Manifest(std::move(created).value());
    // Another caller may have been first.
    if (created.status().code() != StatusCode::kAlreadyExists) return created.status();
  }
  RAG_ASSIGN_OR_RETURN(std::shared_ptr<Collection> entries,
                       store.OpenCollection(kManifestCollection));
  return Manifest(std::move(entries));
}

Result<std::optional<Manifest>> Manifest::OpenExisting(Store& store) {
  if (!HasManifest(store)) return std::optional<Manifest>();
  RAG_ASSIGN_OR_RETURN(Manifest manifest, Open(store));
  return std::optional<Manifest>(std::move(manifest));
}

Result<std::optional<ManifestEntry>> Manifest::Find(std::string_view collection,
                                                    std::string_view path) const {
  const Result<DocumentRecord> record = entries_->GetDocument(EntryKey(collection, path));
  if (!record.ok()) {
    if (record.status().code() == StatusCode::kNotFound) return std::optional<ManifestEntry>();
    return record.status();
  }
  RAG_ASSIGN_OR_RETURN(DocumentPayload payload, UnpackDocument(record->payload));
  ManifestEntry entry;
  entry.doubtful = payload.source_hash.starts_with(kDoubt);
  entry.content_hash = payload.source_hash.substr(entry.doubtful ? 1 : 0);
  return std::optional<ManifestEntry>(std::move(entry));
}

Status Manifest::Set(std::string_view collection, std::string_view path,
                     std::string_view content_hash) {
  DocumentPayload payload;
  payload.source = path;
  payload.source_hash = content_hash;
  DocumentInput input;
  input.key = EntryKey(collection, path);
  input.payload = PackDocument(payload);
  return entries_->Replace(input).status();
}

Status Manifest::Remove(std::string_view collection, std::string_view path) {
  return IgnoreNotFound(entries_->Remove(EntryKey(collection, path)).status());
}

Status Manifest::DoubtAll(std::string_view collection) {
  return ForEachPage(collection, [this](std::span<const DocumentRecord> page) -> Status {
    std::vector<DocumentInput> doubtful;
    for (const DocumentRecord& record : page) {
      RAG_ASSIGN_OR_RETURN(DocumentPayload payload, UnpackDocument(record.payload));
      if (payload.source_hash.starts_with(kDoubt)) continue;
      payload.source_hash.insert(0, 1, kDoubt);
      DocumentInput input;
      input.key = record.key;
      input.payload = PackDocument(payload);
      doubtful.push_back(std::move(input));
    }
    return doubtful.empty() ? OkStatus() : entries_->ReplaceMany(doubtful).status();
  });
}

Status Manifest::RemoveCollection(std::string_view collection) {
  return ForEachPage(collection, [this](std::span<const DocumentRecord> page) {
    std::vector<std::string_view> keys;
    for (const DocumentRecord& record : page) keys.push_back(record.key);
    return entries_->RemoveMany(keys).status();
  });
}

Status Manifest::ForEachPage(std::string_view collection,
                             FunctionRef<Status(std::span<const DocumentRecord>)> visit) {
  const std::string prefix = StrCat(collection, "/");
  std::string after = prefix;
  while (true) {
    RAG_ASSIGN_OR_RETURN(std::vector<DocumentRecord> page, entries_->ListDocuments(after, kPage));
    std::erase_if(page,
                  [&](const DocumentRecord& record) { return !record.key.starts_with(prefix); });
    if (page.empty()) return OkStatus();
    RAG_RETURN_IF_ERROR(visit(page));
    after = page.back().key;
  }
}

}  // namespace rag
