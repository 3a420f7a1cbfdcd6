// Manifest: which files with many documents (JSONL) are in a collection whole.
//
// A file that holds one document is known by that document's own record. One that holds many is
// complete only when all of them are written, which no single record can say; so the last step of
// taking in such a file is an entry here. The entries are documents without chunks of a collection
// that the engine keeps for itself; losing one costs a second look at the file, nothing else.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "index/store.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

// Names that begin with this are the engine's own and refused from callers.
inline constexpr char kReservedNamePrefix = '_';

struct ManifestEntry {
  std::string content_hash;  // under which the file was last completed
  bool doubtful = false;     // some of its documents may have gone since
};

class Manifest {
 public:
  // Makes the collection when it is missing.
  static Result<Manifest> Open(Store& store);
  // nullopt when nothing was ever ingested.
  static Result<std::optional<Manifest>> OpenExisting(Store& store);

  // nullopt when `path` never was completed.
  Result<std::optional<ManifestEntry>> Find(std::string_view collection,
                                            std::string_view path) const;
  Status Set(std::string_view collection, std::string_view path, std::string_view content_hash);
  // A path that has no entry is fine.
  Status Remove(std::string_view collection, std::string_view path);
  // Documents are about to go that other files of the collection may hold as well.
  Status DoubtAll(std::string_view collection);
  Status RemoveCollection(std::string_view collection);

 private:
  // Of the collection's entries, a thousand at most.
  Status ForEachPage(std::string_view collection,
                     FunctionRef<Status(std::span<const DocumentRecord>)> visit);
  explicit Manifest(std::shared_ptr<Collection> entries) : entries_(std::move(entries)) {}
  std::shared_ptr<Collection> entries_;
};

}  // namespace rag
