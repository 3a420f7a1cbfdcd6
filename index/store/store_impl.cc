#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "index/store.h"
#include "index/store/backup.h"
#include "index/store/collection_impl.h"
#include "index/store/collection_records.h"
#include "index/store/database.h"
#include "index/store/seal.h"
#include "lib/base/folder.h"
#include "lib/base/partial_folder.h"
#include "lib/base/process_lock.h"

namespace rag {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxNameBytes = 128;
constexpr const char* kNextNumberKey = "next";
// Of a reader beside a writer that changes the files.
constexpr std::chrono::seconds kMostOpening(10);
constexpr std::chrono::milliseconds kOpenPause(10);

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

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
      : path_(std::move(path)),
        reads_(options.read_only),
        options_(options),
        runtime_(runtime),
        sparse_cache_(options.sparse_cache_bytes) {}
  ~StoreImpl() override { Close().Ignore(); }

  Status Open(ProcessLock::Holder holder = ProcessLock::Holder::kWorks) {
    std::error_code error;
    if (!fs::exists(fs::path(path_) / "CURRENT", error)) {
      RAG_RETURN_IF_ERROR(CheckNew());
      if (!options_.create_if_missing || options_.read_only) {
        return NotFoundError("there is no store in '", path_, "'");
      }
      RAG_RETURN_IF_ERROR(MakeFolders(path_));
      RAG_RETURN_IF_ERROR(SyncNames(path_));
    }
    if (options_.read_only) return OpenToRead();
    RAG_ASSIGN_OR_RETURN(lock_,
                         ProcessLock::Take(path_, StrCat("the store '", path_, "'"), holder));
    RAG_RETURN_IF_ERROR(MakeFolders(GraphFolder()));
    RemoveLeftovers();
    RAG_RETURN_IF_ERROR(OpenDatabase());
    TellDamage();
    return OkStatus();
  }

  Status OpenDatabase() {
    RAG_ASSIGN_OR_RETURN(SealCheck seal, CheckSeal(path_));
    if (seal.records.ok()) {
      Result<std::unique_ptr<Database>> database = Database::Open(path_, options_, runtime_);
      if (database.ok()) {
        database_ = std::move(database).value();
        if (!options_.read_only) RemoveSeal(path_);
      } else if (seal.sealed && database.status().code() == StatusCode::kDataLoss) {
        seal.records = database.status();
      } else {
        return database.status();
      }
    }
    if (!seal.records.ok()) {
      // The seal says that log and manifest are whole: what the damaged file does not hold is
      // served, and nothing is written, so that the seal stays good.
      RAG_ASSIGN_OR_RETURN(database_, Database::OpenDamaged(path_, options_, runtime_));
      options_.read_only = true;
    }
    damage_ = seal.records;
    RAG_ASSIGN_OR_RETURN(entries_, ReadEntries(*database_));
    return OkStatus();
  }

  Status OpenToRead() {
    Recover();
    RAG_RETURN_IF_ERROR(OpenBesideWriter([this] {
      entries_.clear();
      database_.reset();
      return OpenDatabase();
    }));
    TellDamage();
    return OkStatus();
  }

  // What `open` says, once no writer has changed the files meanwhile: then those that it read
  // belong together.
  Status OpenBesideWriter(FunctionRef<Status()> open) {
    const auto end = std::chrono::steady_clock::now() + kMostOpening;
    do {
      const std::string manifest = CurrentManifest(path_);
      const Result<std::string> written = WrittenSoFar(path_);
      Status opened = open();
      if (CurrentManifest(path_) == manifest) {
        if (opened.ok()) written_ = written.ok() ? *written : "";
        return opened;
      }
      std::this_thread::sleep_for(kOpenPause);
    } while (std::chrono::steady_clock::now() < end);
    return UnavailableError("the store '", path_,
                            "' is changed by another process again and again while it is opened");
  }

  Result<bool> Refresh() override {
    std::lock_guard care(care_mutex_);
    {
      std::lock_guard lock(mutex_);
      RAG_RETURN_IF_ERROR(CheckOpen());
    }
    if (!reads_) return false;
    RAG_ASSIGN_OR_RETURN(const std::string written, WrittenSoFar(path_));
    if (written == written_) {
      RAG_RETURN_IF_ERROR(damage_);
      return false;
    }
    std::unique_ptr<Database> newer;
    Entries entries;
    RAG_RETURN_IF_ERROR(OpenBesideWriter([&]() -> Status {
      RAG_ASSIGN_OR_RETURN(const SealCheck seal, CheckSeal(path_));
      RAG_RETURN_IF_ERROR(seal.records);
      RAG_ASSIGN_OR_RETURN(newer, database_->OpenAgain(runtime_));
      RAG_ASSIGN_OR_RETURN(entries, ReadEntries(*newer));
      return OkStatus();
    }));
    const bool continues = damage_.ok() && newer->Identity() == database_->Identity();
    damage_ = OkStatus();
    std::shared_ptr<const void> before;  // closed without the lock
    struct Kept {
      std::shared_ptr<CollectionImpl> collection;
      CollectionConfig config;
    };
    std::vector<Kept> kept;
    std::vector<std::shared_ptr<CollectionImpl>> dropped;
    {
      std::unique_lock lock(mutex_);
      // A collection that is being opened has read of the old files.
      changed_.wait(lock, [this] { return working_ == 0; });
      for (const auto& [name, entry] : entries_) {
        if (entry.open != nullptr) sparse_cache_.BeginWrite(entry.number);
      }
      before = database_->ReadFrom(std::move(newer));
      for (auto& [name, entry] : entries_) {
        if (entry.open == nullptr) continue;
        const auto now = entries.find(name);
        if (now != entries.end() && now->second.number == entry.number) {
          now->second.open = entry.open;
          kept.push_back({entry.open, now->second.config});
        } else {
          dropped.push_back(entry.open);
        }
      }
      entries_.swap(entries);
    }
    Status first;
    const auto note = [&](const CollectionImpl& collection, Status status) {
      if (!first.ok()) return;
      first = std::move(status).WithContext(StrCat("collection '", collection.config().name, "'"));
    };
    for (const auto& [collection, config] : kept) {
      note(*collection, collection->TakeRecords(config, continues));
      sparse_cache_.Forget(collection->number());
    }
    for (const auto& collection : dropped) {
      note(*collection, collection->Close(/*save=*/false, "was dropped"));
    }
    for (const Kept& one : kept) note(*one.collection, one.collection->FollowRecords());
    if (!first.ok()) {
      written_.clear();  // the next call tries again
      return first;
    }
    return true;
  }

  // Closes a store in order that a killed process left, unless somebody has it or may not write it.
  void Recover() const {
    const Result<SealCheck> seal = CheckSeal(path_);
    if (!seal.ok() || seal->sealed) return;
    StoreOptions options = options_;
    options.read_only = false;
    StoreImpl writer(path_, options, runtime_);
    Status status = writer.Open(ProcessLock::Holder::kRecovers);
    if (status.ok()) status = writer.SaveEach();
    if (status.ok()) status = writer.Close();
    if (status.ok()) return;
    runtime_.Log(LogLevel::kDebug,
                 StrCat("the store '", path_, "' is read as it was left: ", status.ToString()));
  }

  // Brings the vector indexes up to date and saves them, one after another.
  Status SaveEach() {
    for (const std::string& name : ListCollections()) {
      std::unique_lock lock(mutex_);
      RAG_ASSIGN_OR_RETURN(const std::shared_ptr<CollectionImpl> collection, OpenEntry(name, lock));
      RAG_RETURN_IF_ERROR(collection->Close(/*save=*/true, "is closed"));
      entries_.find(name)->second.open.reset();
    }
    return OkStatus();
  }

  Result<std::shared_ptr<Collection>> CreateCollection(const CollectionConfig& config) override {
    std::unique_lock lock(mutex_);
    RAG_RETURN_IF_ERROR(CheckOpenToWrite());
    RAG_RETURN_IF_ERROR(CheckName(config.name));
    if (entries_.contains(config.name)) {
      return AlreadyExistsError("collection '", config.name, "' exists already");
    }
    if (!config.properties.is_null() && !config.properties.is_object()) {
      return InvalidArgumentError("the properties of collection '", config.name, "' are ",
                                  config.properties.type_name(), ", not an object");
    }
    if (config.sparse_dim > kMaxSparseDim) {
      return InvalidArgumentError("sparse_dim ", config.sparse_dim, " is over ", kMaxSparseDim);
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
    batch.Put(Family::kDefault, ConfigKey(config.name), EncodeConfig(number, config));
    batch.Put(Family::kDefault, StateKey(number), CollectionState().Encode());
    batch.Put(Family::kDefault, kNextNumberKey, StrCat(number + 1));
    RAG_RETURN_IF_ERROR(database_->Write(batch));
    Entry& entry = entries_[config.name];
    entry.number = number;
    entry.config = config;
    RAG_ASSIGN_OR_RETURN(std::shared_ptr<Collection> opened, OpenEntry(config.name, lock));
    return opened;
  }

  Result<std::shared_ptr<Collection>> OpenCollection(std::string_view name) override {
    std::unique_lock lock(mutex_);
    RAG_ASSIGN_OR_RETURN(std::shared_ptr<Collection> opened, OpenEntry(name, lock));
    return opened;
  }

  std::vector<std::string> ListCollections() const override {
    std::lock_guard lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_) names.push_back(name);
    return names;
  }

  Status DropCollection(std::string_view name) override {
    std::unique_lock lock(mutex_);
    RAG_RETURN_IF_ERROR(CheckOpenToWrite());
    RAG_ASSIGN_OR_RETURN(const auto found, FindEntry(name, lock));
    const uint32_t number = found->second.number;
    Work work(*this, found->second, lock);
    if (found->second.open != nullptr) {
      RAG_RETURN_IF_ERROR(found->second.open->Close(/*save=*/false, "was dropped"));
      found->second.open = nullptr;
    }
    Batch batch;
    batch.Delete(Family::kDefault, ConfigKey(name));
    batch.Delete(Family::kDefault, StateKey(number));
    const std::string prefix = CollectionPrefix(number);
    static constexpr Family kHolding[] = {Family::kRecords, Family::kBodies, Family::kVectors,
                                          Family::kPostings};
    for (const Family family : kHolding) batch.DeletePrefix(family, prefix);
    RAG_RETURN_IF_ERROR(database_->Write(batch));
    // What cannot be listed or removed is passed over by opening.
    RemoveSnapshots([prefix = StrCat(number, "-")](const std::string& name) {
      return name.starts_with(prefix);
    });
    work.Erase(found);
    for (const Family family : kHolding) RAG_RETURN_IF_ERROR(database_->Compact(family, prefix));
    return OkStatus();
  }

  Result<BackupReport> Backup(const std::string& destination, CareProgress* progress,
                              const CancelToken* cancel) override {
    const auto start = std::chrono::steady_clock::now();
    std::lock_guard care(care_mutex_);
    RAG_RETURN_IF_ERROR(CheckCare());
    RAG_RETURN_IF_ERROR(CheckOutside(destination));
    RAG_ASSIGN_OR_RETURN(PartialFolder folder, PartialFolder::Create(destination));
    const auto remove_staging = [&] {
      std::error_code ignored;
      fs::remove_all(StagingFolder(), ignored);
    };
    BackupReport report;
    Status status = Stage();
    if (status.ok()) {
      status = WriteBackup(StagingFolder() / "store", folder.path(), report, progress, cancel);
    }
    remove_staging();
    RAG_RETURN_IF_ERROR(std::move(status).WithContext(StrCat("backup to '", destination, "'")));
    RAG_RETURN_IF_ERROR(folder.Finish());
    report.seconds = SecondsSince(start);
    return report;
  }

  Result<VacuumReport> Vacuum(CareProgress* progress, const CancelToken* cancel) override {
    const auto start = std::chrono::steady_clock::now();
    std::lock_guard care(care_mutex_);
    RAG_RETURN_IF_ERROR(CheckCare());
    VacuumReport report;
    report.bytes_before = FolderBytes(path_);
    const std::vector<std::string> names = ListCollections();
    if (progress != nullptr) progress->total = names.size() + Database::kVacuumSteps;
    // Snapshots first: saving one drops the tail of the log before it.
    for (const std::string& name : names) {
      if (cancel != nullptr && cancel->cancelled()) return CancelledError("vacuum was cancelled");
      RAG_RETURN_IF_ERROR(RewriteSnapshot(name));
      if (progress != nullptr) ++progress->done;
    }
    RAG_RETURN_IF_ERROR(database_->Vacuum(progress, cancel));
    report.bytes_after = FolderBytes(path_);
    report.seconds = SecondsSince(start);
    return report;
  }

  Status CheckWrites() const override {
    std::lock_guard lock(mutex_);
    return CheckOpenToWrite();
  }

  Status Close() override {
    std::lock_guard care(care_mutex_);
    {
      std::unique_lock lock(mutex_);
      if (!CheckOpen().ok()) return OkStatus();
      closed_ = true;
      changed_.wait(lock, [this] { return working_ == 0; });
    }
    // Nobody else uses what follows any more.
    Status first;
    for (auto& [name, entry] : entries_) {
      if (entry.open == nullptr) continue;
      Status closed = entry.open->Close(/*save=*/true, "is closed");
      if (first.ok())
        first = std::move(closed).WithContext(StrCat("closing collection '", name, "'"));
    }
    // An empty log cannot end too early.
    Status flushed = options_.read_only ? OkStatus() : database_->Flush();
    if (first.ok()) first = std::move(flushed);
    // Before the lock goes, so that the next process finds everything written.
    database_.reset();
    if (first.ok() && !options_.read_only) first = WriteSeal(path_);
    lock_ = ProcessLock();
    return first;
  }

  const std::string& path() const override { return path_; }

 private:
  struct Entry {
    uint32_t number = 0;
    CollectionConfig config;
    std::shared_ptr<CollectionImpl> open;
    bool busy = false;  // being opened or dropped, by one caller without mutex_
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  // What takes long with an entry, while others have theirs: it is busy, the store is not closed,
  // and `lock` is open until the end.
  class Work {
   public:
    Work(StoreImpl& store, Entry& entry, std::unique_lock<std::mutex>& lock)
        : store_(store), entry_(&entry), lock_(lock) {
      entry_->busy = true;
      ++store_.working_;
      lock_.unlock();
    }
    ~Work() {
      lock_.lock();
      if (entry_ != nullptr) entry_->busy = false;
      --store_.working_;
      store_.changed_.notify_all();
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    // The entry goes before the end.
    void Erase(Entries::iterator entry) {
      std::lock_guard lock(store_.mutex_);
      entry_ = nullptr;
      store_.entries_.erase(entry);
      store_.changed_.notify_all();
    }

   private:
    StoreImpl& store_;
    Entry* entry_;
    std::unique_lock<std::mutex>& lock_;
  };

  std::string GraphFolder() const { return (fs::path(path_) / "graphs").string(); }
  // Where a backup's files are linked together before they are copied.
  fs::path StagingFolder() const { return fs::path(path_) / "backup.staging"; }

  // What a killed process left: half-written snapshots and a backup's links.
  void RemoveLeftovers() const {
    std::error_code ignored;
    fs::remove_all(StagingFolder(), ignored);
    RemoveSnapshots(
        [](const std::string& name) { return name.find(".vectors.tmp.") != std::string::npos; });
  }

  // Those of the folder's files whose names `chosen` takes, as far as that can be done.
  void RemoveSnapshots(FunctionRef<bool(const std::string& name)> chosen) const {
    const Result<std::vector<fs::path>> paths = ListFolder(GraphFolder());
    if (!paths.ok()) return;
    std::error_code ignored;
    for (const fs::path& path : *paths) {
      if (chosen(path.filename().string())) fs::remove(path, ignored);
    }
  }

  // A folder without the database's first file has none of its others.
  Status CheckNew() const {
    std::error_code error;
    if (!fs::is_directory(path_, error)) return OkStatus();
    RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(path_));
    for (const fs::path& path : paths) {
      const std::string name = path.filename().string();
      if (name.starts_with("MANIFEST-") || name.ends_with(".sst")) {
        return DataLossError("'", path_, "' holds ", name, " of a store, but no CURRENT");
      }
    }
    return OkStatus();
  }

  Status CheckCare() const {
    std::lock_guard lock(mutex_);
    RAG_RETURN_IF_ERROR(CheckOpen());
    if (options_.read_only) return FailedPreconditionError("the store was opened read-only");
    return OkStatus();
  }

  void TellDamage() const {
    if (damage_.ok()) return;
    runtime_.Log(LogLevel::kError, StrCat("the store '", path_,
                                          "' is damaged and opened read-only; restore a backup: ",
                                          damage_.message()));
  }

  Status CheckOutside(const std::string& destination) const {
    if (IsBelow(destination, path_)) {
      return InvalidArgumentError("the backup's folder '", destination, "' lies inside the store '",
                                  path_, "'");
    }
    return OkStatus();
  }

  // The database's checkpoint and the snapshots, as links: files of both are never changed once
  // they are written. The moment of the backup is the checkpoint's. A snapshot that is saved around
  // it is linked as it was before or after; one that is newer than the records then is passed over
  // by opening.
  Status Stage() {
    std::error_code error;
    fs::remove_all(StagingFolder(), error);
    const fs::path snapshots = StagingFolder() / "graphs";
    fs::create_directories(snapshots, error);
    if (error) return IoError("cannot make '", snapshots.string(), "': ", error.message());
    RAG_RETURN_IF_ERROR(LinkSnapshots(snapshots));
    RAG_RETURN_IF_ERROR(database_->Checkpoint((StagingFolder() / "store").string()));
    RAG_RETURN_IF_ERROR(LinkSnapshots(snapshots));
    fs::rename(snapshots, StagingFolder() / "store" / "graphs", error);
    if (error) return IoError("cannot fill '", StagingFolder().string(), "': ", error.message());
    return OkStatus();
  }

  Status LinkSnapshots(const fs::path& folder) const {
    RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(GraphFolder()));
    for (const fs::path& path : paths) {
      if (path.extension() != ".vectors") continue;
      const fs::path link = folder / path.filename();
      std::error_code failed;
      if (fs::exists(link, failed)) continue;
      fs::create_hard_link(path, link, failed);
      if (!failed || failed == std::errc::no_such_file_or_directory) continue;
      // A file system without links.
      failed.clear();
      fs::copy_file(path, link, failed);
      if (failed && failed != std::errc::no_such_file_or_directory) {
        return IoError("cannot copy '", path.string(), "': ", failed.message());
      }
    }
    return OkStatus();
  }

  Status RewriteSnapshot(const std::string& name) {
    std::shared_ptr<CollectionImpl> collection;
    {
      std::unique_lock lock(mutex_);
      if (!entries_.contains(name)) return OkStatus();  // dropped meanwhile
      RAG_ASSIGN_OR_RETURN(collection, OpenEntry(name, lock));
    }
    Status saved = collection->RewriteSnapshot();
    std::lock_guard lock(mutex_);
    if (!saved.ok() && !entries_.contains(name)) return OkStatus();
    return std::move(saved).WithContext(StrCat("collection '", name, "'"));
  }

  Status CheckOpen() const {
    if (closed_ || database_ == nullptr)
      return FailedPreconditionError("the store '", path_, "' is closed");
    return OkStatus();
  }

  // The collections that the database names.
  Result<Entries> ReadEntries(Database& database) const {
    const std::string context = StrCat("the store '", path_, "'");
    RAG_RETURN_IF_ERROR(CheckFormat(database).WithContext(context));
    Entries entries;
    PrefixScan scan = database.Scan(Family::kDefault, kNamePrefix);
    for (; scan.Valid(); scan.Next()) {
      Entry entry;
      RAG_ASSIGN_OR_RETURN(entry.config, DecodeConfig(scan.key(), scan.value(), entry.number));
      entries.emplace(scan.key(), std::move(entry));
    }
    RAG_RETURN_IF_ERROR(scan.status().WithContext(context));
    return entries;
  }

  Status CheckFormat(Database& database) const {
    const Result<std::string> stored = database.Get(Family::kDefault, kFormatKey);
    if (!stored.ok()) {
      if (stored.status().code() != StatusCode::kNotFound) return stored.status();
      if (options_.read_only) return OkStatus();
      Batch batch;
      batch.Put(Family::kDefault, kFormatKey, StrCat(kFormatVersion));
      return database.Write(batch);
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

  Status CheckOpenToWrite() const {
    RAG_RETURN_IF_ERROR(CheckOpen());
    return database_->CheckWrites();
  }

  // The entry, once nobody else is busy with it. Errors: those of CheckOpen; not_found naming the
  // collections that exist.
  Result<Entries::iterator> FindEntry(std::string_view name, std::unique_lock<std::mutex>& lock) {
    while (true) {
      RAG_RETURN_IF_ERROR(CheckOpen());
      const auto found = entries_.find(name);
      if (found == entries_.end()) {
        std::string known;
        for (const auto& [other, entry] : entries_) {
          known += StrCat(known.empty() ? "" : ", ", other);
        }
        return NotFoundError("there is no collection '", name, "'; ",
                             known.empty() ? "the store has none" : StrCat("there are: ", known));
      }
      if (!found->second.busy) return found;
      changed_.wait(lock);
    }
  }

  Result<std::shared_ptr<CollectionImpl>> OpenEntry(std::string_view name,
                                                    std::unique_lock<std::mutex>& lock) {
    RAG_ASSIGN_OR_RETURN(const auto found, FindEntry(name, lock));
    Entry& entry = found->second;
    if (entry.open != nullptr) return entry.open;
    Result<std::shared_ptr<CollectionImpl>> opened = [&] {
      const Work work(*this, entry, lock);
      return CollectionImpl::Open(*database_, sparse_cache_, entry.number, entry.config,
                                  GraphFolder(), options_.read_only, runtime_);
    }();
    if (!opened.ok()) {
      return opened.status().WithContext(StrCat("collection '", entry.config.name, "'"));
    }
    entry.open = *opened;
    return opened;
  }

  const std::string path_;
  const bool reads_;      // is to be open for reading alone
  StoreOptions options_;  // read_only also when the store is damaged
  const Runtime& runtime_;
  SparseListCache sparse_cache_;
  // Held by a backup, a vacuum or a refresh, so that they wait for each other and closing for them;
  // taken before mutex_.
  std::mutex care_mutex_;
  Status damage_;        // of the files of records; guarded by care_mutex_
  std::string written_;  // of a reader: WrittenSoFar before it read; guarded by care_mutex_
  // Guards everything below, but for what a caller that works or closes has for itself. Held for
  // moments alone.
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  size_t working_ = 0;  // callers with a Work
  bool closed_ = false;
  ProcessLock lock_;
  std::unique_ptr<Database> database_;
  Entries entries_;
};

}  // namespace

Result<BackupReport> Store::Restore(const std::string& backup, const std::string& path,
                                    CareProgress* progress, const CancelToken* cancel) {
  const auto start = std::chrono::steady_clock::now();
  RAG_ASSIGN_OR_RETURN(PartialFolder folder, PartialFolder::Create(path));
  BackupReport report;
  RAG_RETURN_IF_ERROR(ReadBackup(backup, folder.path(), report, progress, cancel));
  RAG_RETURN_IF_ERROR(folder.Finish());
  report.seconds = SecondsSince(start);
  return report;
}

Result<std::unique_ptr<Store>> Store::Open(const std::string& path, const StoreOptions& options,
                                           const Runtime& runtime) {
  if (path.empty()) return InvalidArgumentError("the store's path is empty");
  auto store = std::make_unique<StoreImpl>(path, options, runtime);
  RAG_RETURN_IF_ERROR(store->Open());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace rag
