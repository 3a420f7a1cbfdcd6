#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "index/store.h"
#include "index/store/collection_impl.h"
#include "index/store/collection_records.h"
#include "index/store/database.h"

namespace rag {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxNameBytes = 128;
constexpr const char* kNamePrefix = "name:";
constexpr const char* kNextNumberKey = "next";
constexpr const char* kFormatKey = "format";

// Held while the store is open for writing. The kernel frees the lock when the process ends,
// however it ends, so that there is no stale one; the file's content only says who has it.
class ProcessLock {
 public:
  static Result<ProcessLock> Take(const fs::path& store) {
    const std::string path = (store / "rag.lock").string();
    ProcessLock lock;
    lock.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock.fd_ < 0)
      return PermissionDeniedError("cannot open '", path, "': ", std::strerror(errno));
    if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
      char text[32] = {};
      const ssize_t got = ::pread(lock.fd_, text, sizeof(text) - 1, 0);
      const std::string owner(text, got > 0 ? static_cast<size_t>(got) : 0);
      return UnavailableError("the store '", store.string(), "' is in use by pid ",
                              owner.empty() ? "unknown" : owner.substr(0, owner.find('\n')));
    }
    const std::string pid = StrCat(static_cast<long long>(::getpid()), "\n");
    if (::ftruncate(lock.fd_, 0) != 0 ||
        ::pwrite(lock.fd_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
      return IoError("cannot write '", path, "': ", std::strerror(errno));
    }
    return lock;
  }

  ProcessLock() = default;
  ProcessLock(ProcessLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ProcessLock& operator=(ProcessLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~ProcessLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  int fd_ = -1;
};

Status CheckName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (name.empty() || name.size() > kMaxNameBytes || name[0] == '.') {
    return InvalidArgumentError("a collection's name has 1 to ", kMaxNameBytes,
                                " bytes and does not begin with a dot; '",
                                name.substr(0, kMaxNameBytes), "' is none");
  }
  for (const char c : name) {
    if (!allowed(c)) {
      return InvalidArgumentError("the collection's name '", name,
                                  "' holds something besides letters, digits, '.', '_' and '-'");
    }
  }
  return OkStatus();
}

class StoreImpl final : public Store {
 public:
  StoreImpl(std::string path, const StoreOptions& options, const Runtime& runtime)
      : path_(std::move(path)), options_(options), runtime_(runtime) {}
  ~StoreImpl() override { Close().Ignore(); }

  Status Open() {
    std::error_code error;
    if (!fs::exists(fs::path(path_) / "CURRENT", error)) {
      if (!options_.create_if_missing || options_.read_only) {
        return NotFoundError("there is no store '", path_, "'");
      }
      fs::create_directories(path_, error);
      if (error) return IoError("cannot make the folder '", path_, "': ", error.message());
    }
    if (!options_.read_only) {
      RAG_ASSIGN_OR_RETURN(lock_, ProcessLock::Take(path_));
      fs::create_directories(GraphFolder(), error);
      if (error) return IoError("cannot make '", GraphFolder(), "': ", error.message());
    }
    RAG_ASSIGN_OR_RETURN(database_, Database::Open(path_, options_));
    RAG_RETURN_IF_ERROR(CheckFormat());
    for (PrefixScan scan = database_->Scan(Family::kDefault, kNamePrefix); scan.Valid();
         scan.Next()) {
      Entry entry;
      RAG_ASSIGN_OR_RETURN(entry.config, DecodeConfig(scan.key(), scan.value(), entry.number));
      entries_.emplace(scan.key(), std::move(entry));
    }
    return OkStatus();
  }

  Result<std::shared_ptr<Collection>> CreateCollection(const CollectionConfig& config) override {
    std::lock_guard lock(mutex_);
    RAG_RETURN_IF_ERROR(CheckOpen());
    RAG_RETURN_IF_ERROR(CheckName(config.name));
    if (entries_.contains(config.name)) {
      return AlreadyExistsError("collection '", config.name, "' exists already");
    }
    if (!config.properties.is_null() && !config.properties.is_object()) {
      return InvalidArgumentError("the properties of collection '", config.name, "' are ",
                                  config.properties.type_name(), ", not an object");
    }
    if (config.vectors.dim != 0) {
      // Checks the options before anything is stored under them.
      RAG_RETURN_IF_ERROR(VectorIndex::Create(config.vectors, runtime_).status());
    }
    const Result<std::string> next = database_->Get(Family::kDefault, kNextNumberKey);
    uint32_t number = 1;
    if (next.ok()) {
      const auto end = std::from_chars(next->data(), next->data() + next->size(), number);
      if (end.ec != std::errc())
        return DataLossError("the store's next collection number is damaged");
    } else if (next.status().code() != StatusCode::kNotFound) {
      return next.status();
    }
    Batch batch;
    batch.Put(Family::kDefault, StrCat(kNamePrefix, config.name), EncodeConfig(number, config));
    batch.Put(Family::kDefault, StateKey(number), CollectionState().Encode());
    batch.Put(Family::kDefault, kNextNumberKey, StrCat(number + 1));
    RAG_RETURN_IF_ERROR(database_->Write(batch));
    Entry& entry = entries_[config.name];
    entry.number = number;
    entry.config = config;
    return OpenEntry(entry);
  }

  Result<std::shared_ptr<Collection>> OpenCollection(std::string_view name) override {
    std::lock_guard lock(mutex_);
    RAG_RETURN_IF_ERROR(CheckOpen());
    const auto found = entries_.find(name);
    if (found == entries_.end()) {
      std::string known;
      for (const auto& [other, entry] : entries_) known += StrCat(known.empty() ? "" : ", ", other);
      return NotFoundError("there is no collection '", name, "'; ",
                           known.empty() ? "the store has none" : StrCat("there are: ", known));
    }
    return OpenEntry(found->second);
  }

  std::vector<std::string> ListCollections() const override {
    std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_) names.push_back(name);
    return names;
  }

  Status DropCollection(std::string_view name) override {
    std::lock_guard lock(mutex_);
    RAG_RETURN_IF_ERROR(CheckOpen());
    const auto found = entries_.find(name);
    if (found == entries_.end()) return NotFoundError("there is no collection '", name, "'");
    const uint32_t number = found->second.number;
    if (found->second.open != nullptr) {
      RAG_RETURN_IF_ERROR(found->second.open->Close(/*save=*/false, "was dropped"));
    }
    Batch batch;
    batch.Delete(Family::kDefault, StrCat(kNamePrefix, name));
    batch.Delete(Family::kDefault, StateKey(number));
    const std::string prefix = CollectionPrefix(number);
    static constexpr Family kHolding[] = {Family::kRecords, Family::kBodies, Family::kVectors,
                                          Family::kPostings};
    for (const Family family : kHolding) batch.DeletePrefix(family, prefix);
    RAG_RETURN_IF_ERROR(database_->Write(batch));
    entries_.erase(found);
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(GraphFolder(), ignored)) {
      if (entry.path().filename().string().starts_with(StrCat(number, "-"))) {
        fs::remove(entry.path(), ignored);
      }
    }
    for (const Family family : kHolding) RAG_RETURN_IF_ERROR(database_->Compact(family, prefix));
    return OkStatus();
  }

  Status Close() override {
    std::lock_guard lock(mutex_);
    if (database_ == nullptr) return OkStatus();
    Status first;
    for (auto& [name, entry] : entries_) {
      if (entry.open == nullptr) continue;
      Status closed = entry.open->Close(/*save=*/true, "is closed");
      if (first.ok())
        first = std::move(closed).WithContext(StrCat("closing collection '", name, "'"));
    }
    // Before the lock goes, so that the next process finds everything written.
    database_.reset();
    lock_ = ProcessLock();
    return first;
  }

  const std::string& path() const override { return path_; }

 private:
  struct Entry {
    uint32_t number = 0;
    CollectionConfig config;
    std::shared_ptr<CollectionImpl> open;
  };

  std::string GraphFolder() const { return (fs::path(path_) / "graphs").string(); }

  Status CheckOpen() const {
    if (database_ == nullptr) return FailedPreconditionError("the store '", path_, "' is closed");
    return OkStatus();
  }

  Status CheckFormat() {
    const Result<std::string> stored = database_->Get(Family::kDefault, kFormatKey);
    if (!stored.ok()) {
      if (stored.status().code() != StatusCode::kNotFound) return stored.status();
      if (options_.read_only) return OkStatus();
      Batch batch;
      batch.Put(Family::kDefault, kFormatKey, StrCat(kFormatVersion));
      return database_->Write(batch);
    }
    int version = 0;
    const auto end = std::from_chars(stored->data(), stored->data() + stored->size(), version);
    if (end.ec != std::errc() || version < 1) {
      return DataLossError("the format version of '", path_, "' is damaged");
    }
    if (version > kFormatVersion) {
      return FailedPreconditionError("the store '", path_, "' has format version ", version,
                                     ", newer than this program's ", kFormatVersion);
    }
    return OkStatus();
  }

  Result<std::shared_ptr<Collection>> OpenEntry(Entry& entry) {
    if (entry.open == nullptr) {
      RAG_ASSIGN_OR_RETURN(
          entry.open, CollectionImpl::Open(*database_, entry.number, entry.config, GraphFolder(),
                                           options_.read_only, runtime_));
    }
    return std::shared_ptr<Collection>(entry.open);
  }

  const std::string path_;
  const StoreOptions options_;
  const Runtime& runtime_;
  mutable std::mutex mutex_;  // guards everything below
  ProcessLock lock_;
  std::unique_ptr<Database> database_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const std::string& path, const StoreOptions& options,
                                           const Runtime& runtime) {
  if (path.empty()) return InvalidArgumentError("the store's path is empty");
  auto store = std::make_unique<StoreImpl>(path, options, runtime);
  RAG_RETURN_IF_ERROR(store->Open());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace rag
