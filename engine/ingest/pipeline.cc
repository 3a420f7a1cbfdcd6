#include "engine/ingest/pipeline.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engine/ingest/prepare.h"
#include "engine/ingest/queue.h"
#include "engine/record.h"

namespace rag {
namespace {

// A batch is encoded together and written with one sync. 256 chunks keep every core busy for a
// second or two; what is lost by a kill is never more than the batches under way.
constexpr size_t kBatchChunks = 256;
constexpr size_t kBatchDocuments = 1'024;
constexpr size_t kBatchBytes = size_t{16} << 20;
constexpr size_t kQueuedBatches = 2;
constexpr size_t kPage = 1'000;

// The end of a file: what is done once its last document is durable.
struct FileEnd {
  uint64_t file = 0;  // its number in this run
  std::string path;
  uint64_t bytes = 0;
  bool unchanged = false;
  bool many = false;
  bool tracked = false;
  std::string content_hash;
  std::vector<IngestFailure> problems;
  uint64_t stored = 0;                   // documents that the collection had already
  std::unordered_set<std::string> keys;  // of its documents, when `many`
};

struct Batch {
  std::vector<UnencodedDocument> documents;
  std::vector<uint64_t> files;  // [documents] the file each came from
  std::vector<std::pair<uint64_t, IngestFailure>>
      refused;                // documents that were taken out, by file
  std::vector<FileEnd> ends;  // files whose last document is in this batch or before
  size_t chunks = 0;
  size_t bytes = 0;
};

bool IsCancelled(const CancelToken* cancel) { return cancel != nullptr && cancel->cancelled(); }

ChunkBudget BudgetOf(const PipelineContext& context) {
  const auto& [encoder, sparse, late_interaction] = context.models;
  // In the tokens of the first that there is; the others' are about as many.
  ChunkBudget budget;
  const auto add = [&budget](const Tokenizer& tokenizer, size_t max_tokens) {
    if (budget.tokenizer == nullptr) {
      budget = {&tokenizer, max_tokens};
    } else {
      budget.max_tokens = std::min(budget.max_tokens, max_tokens);
    }
  };
  if (encoder != nullptr) {
    const EncoderInfo& info = encoder->info();
    add(encoder->tokenizer(), info.max_tokens - info.prompt(TextRole::kDocument).tokens);
  }
  if (sparse != nullptr) add(sparse->tokenizer(), sparse->info().max_tokens);
  if (late_interaction != nullptr) {
    add(late_interaction->tokenizer(), late_interaction->info().max_tokens);
  }
  return budget;
}

// "file.jsonl:12" when the message begins with it, else the path.
std::string ProblemPlace(const std::string& path, const Status& problem) {
  const std::string& message = problem.message();
  if (!message.starts_with(path + ":")) return path;
  const size_t digits = path.size() + 1;
  size_t end = digits;
  while (end < message.size() && message[end] >= '0' && message[end] <= '9') ++end;
  return end == digits ? path : message.substr(0, end);
}

// Whether the stored document of this key equals it, by content hash, or is there with any content;
// `source_hash` is compared for files of one document, whose record also stands for the file.
Result<bool> IsStored(const Collection& collection, const std::string& key,
                      std::string_view content_hash, std::string_view source_hash,
                      bool any_content = false) {
  const Result<DocumentRecord> record = collection.GetDocument(key);
  if (!record.ok()) {
    if (record.status().code() == StatusCode::kNotFound) return false;
    return record.status();
  }
  if (any_content) return true;
  RAG_ASSIGN_OR_RETURN(const DocumentPayload payload, UnpackDocument(record->payload));
  return payload.content_hash == content_hash && payload.source_hash == source_hash;
}

// Whether the document is a text, or a picture that this collection's encoder can encode.
Status CheckImages(const Document& document, const PipelineContext& context) {
  if (document.image.empty()) return OkStatus();
  if (context.models.encoder == nullptr) {
    return FailedPreconditionError("collection '", context.collection.config().name,
                                   "' has no vectors, so images cannot be indexed");
  }
  const EncoderInfo& info = context.models.encoder->info();
  if (info.images.has_value()) return OkStatus();
  return FailedPreconditionError("encoder ", info.fingerprint, " does not encode images");
}

// Source path -> keys of the stored documents that came from it.
using SourceIndex = std::unordered_map<std::string, std::vector<std::string>>;
Result<SourceIndex> IndexSources(const Collection& collection) {
  SourceIndex index;
  std::string after;
  while (true) {
    RAG_ASSIGN_OR_RETURN(const std::vector<DocumentRecord> page,
                         collection.ListDocuments(after, kPage));
    for (const DocumentRecord& record : page) {
      RAG_ASSIGN_OR_RETURN(const DocumentPayload payload, UnpackDocument(record.payload));
      if (!payload.source.empty()) index[payload.source].push_back(record.key);
    }
    if (page.size() < kPage) return index;
    after = page.back().key;
  }
}

// Whether the document is there and from `source` (another file may have taken its key).
Result<bool> ComesFrom(const Collection& collection, const std::string& key,
                       const std::string& source) {
  const Result<DocumentRecord> record = collection.GetDocument(key);
  if (!record.ok()) {
    if (record.status().code() == StatusCode::kNotFound) return false;
    return record.status();
  }
  RAG_ASSIGN_OR_RETURN(const DocumentPayload payload, UnpackDocument(record->payload));
  return payload.source == source;
}

// Removes those of `keys` that come from `source` still, but for those in `kept`; counts them.
Result<uint64_t> RemoveFrom(Collection& collection, Manifest& manifest,
                            std::span<const std::string> keys, const std::string& source,
                            const std::unordered_set<std::string>& kept,
                            const CancelToken* cancel) {
  uint64_t removed = 0;
  bool doubted = false;
  for (const std::string& key : keys) {
    if (IsCancelled(cancel)) break;
    if (kept.contains(key)) continue;
    RAG_ASSIGN_OR_RETURN(const bool comes, ComesFrom(collection, key, source));
    if (!comes) continue;
    // Before the document goes, so that a killed run is made good by the next one.
    if (key != source && !doubted) RAG_RETURN_IF_ERROR(manifest.DoubtAll(collection.config().name));
    doubted = doubted || key != source;
    const Status status = collection.Remove(key).status();
    if (status.code() == StatusCode::kNotFound) continue;
    RAG_RETURN_IF_ERROR(status);
    ++removed;
  }
  return removed;
}

class Pipeline {
 public:
  Pipeline(DocumentSource& source, const PipelineContext& context, IngestReport& report,
           IngestProgress* progress, const CancelToken* cancel)
      : source_(source),
        context_(context),
        budget_(BudgetOf(context)),
        report_(report),
        progress_(progress),
        cancel_(cancel) {}

  Status Run() {
    std::thread prepare([this] {
      Fail(PrepareAll());
      prepared_.Close();
    });
    std::thread write([this] { Fail(WriteAll()); });
    Fail(EncodeAll());
    // Lets a producer that waits for room go on to its end.
    prepared_.Close();
    encoded_.Close();
    prepare.join();
    write.join();
    if (IsCancelled(cancel_)) report_.cancelled = true;
    std::lock_guard lock(error_mutex_);
    return error_;
  }

 private:
  // Keeps the first error; every stage looks at it and ends.
  void Fail(Status status) {
    if (status.ok()) return;
    if (status.code() == StatusCode::kCancelled && IsCancelled(cancel_)) return;
    std::lock_guard lock(error_mutex_);
    if (error_.ok()) error_ = std::move(status);
    failed_.store(true, std::memory_order_relaxed);
    prepared_.Close();
    encoded_.Close();
  }
  bool Stopped() const { return failed_.load(std::memory_order_relaxed) || IsCancelled(cancel_); }

  // --- prepare ---

  Status PrepareAll() {
    Batch batch;
    for (uint64_t number = 0; !Stopped(); ++number) {
      std::optional<SourceFile> file = source_.Next();
      if (!file.has_value()) break;
      RAG_RETURN_IF_ERROR(PrepareFile(number, std::move(*file), batch));
    }
    Flush(batch);
    return OkStatus();
  }

  Status PrepareFile(uint64_t number, SourceFile file, Batch& batch) {
    FileEnd end;
    end.file = number;
    end.path = file.path;
    end.bytes = file.bytes;
    end.unchanged = file.unchanged;
    end.many = file.many;
    end.tracked = file.tracked;
    end.content_hash = file.content_hash;
    if (!file.error.ok()) {
      end.problems.push_back({file.path, std::move(file.error)});
    }
    for (Status& problem : file.problems) {
      std::string place = ProblemPlace(file.path, problem);
      end.problems.push_back({std::move(place), std::move(problem)});
    }
    for (Document& document : file.documents) {
      if (Stopped()) return OkStatus();
      if (!end.keys.insert(document.key).second) {
        end.problems.push_back(
            {file.path, InvalidArgumentError("document '", document.key,
                                             "' occurs more than once; the first one is kept")});
        continue;
      }
      RAG_RETURN_IF_ERROR(PrepareOne(document, file, end, batch));
      document = Document();  // its text is in the batch now
    }
    batch.ends.push_back(std::move(end));
    if (batch.ends.size() >= kBatchDocuments) Flush(batch);
    return OkStatus();
  }

  Status PrepareOne(Document& document, const SourceFile& file, FileEnd& end, Batch& batch) {
    std::string hash = HashDocument(document);
    std::string source_hash = file.many ? std::string() : file.content_hash;
    if (document.key.size() <= kMaxHashedKey) {
      RAG_ASSIGN_OR_RETURN(const bool stored, IsStored(context_.collection, document.key, hash,
                                                       source_hash, file.only_missing));
      if (stored) {
        ++end.stored;
        return OkStatus();
      }
    }
    if (Status images = CheckImages(document, context_); !images.ok()) {
      end.problems.push_back({file.path, std::move(images)});
      return OkStatus();
    }
    Result<DocumentInput> input =
        PrepareDocument(document, context_.chunk, budget_, std::move(hash), std::move(source_hash));
    if (!input.ok()) {
      end.problems.push_back({file.path, input.status()});
      return OkStatus();
    }
    // One document may come from two files of a run; a batch holds a key once.
    if (!batch_keys_.insert(document.key).second) {
      Flush(batch);
      batch_keys_.insert(document.key);
    }
    batch.chunks += input->chunks.size();
    batch.bytes += 2 * document.text.size() + document.image.size();
    batch.documents.push_back({std::move(input).value(), std::move(document.image)});
    batch.files.push_back(end.file);
    if (batch.chunks >= kBatchChunks || batch.bytes >= kBatchBytes ||
        batch.documents.size() >= kBatchDocuments) {
      Flush(batch);
    }
    return OkStatus();
  }

  void Flush(Batch& batch) {
    batch_keys_.clear();
    if (batch.documents.empty() && batch.ends.empty()) return;
    prepared_.Push(std::move(batch));
    batch = Batch();
  }

  // --- encode ---

  Status EncodeAll() {
    while (std::optional<Batch> batch = prepared_.Pop()) {
      // After a cancel nothing new is begun; batches that wait are dropped, and with them the ends
      // of their files, so that the next run takes these up again.
      if (Stopped()) continue;
      RAG_ASSIGN_OR_RETURN(
          EncodeReport encoded,
          EncodeDocuments(batch->documents, context_.models, context_.pool, progress_, cancel_));
      truncated_ += encoded.truncated;
      TakeOut(encoded.refused, *batch);
      if (!encoded_.Push(std::move(*batch))) break;
    }
    return OkStatus();
  }

  // Documents that got no vector; the last ones first, since numbers move.
  static void TakeOut(std::vector<std::pair<size_t, Status>>& refused, Batch& batch) {
    for (auto entry = refused.rbegin(); entry != refused.rend(); ++entry) {
      const auto at = static_cast<std::ptrdiff_t>(entry->first);
      batch.refused.push_back(
          {batch.files[entry->first],
           {batch.documents[entry->first].input.key, std::move(entry->second)}});
      batch.documents.erase(batch.documents.begin() + at);
      batch.files.erase(batch.files.begin() + at);
    }
  }

  // --- write ---

  Status WriteAll() {
    const Status status = WriteBatches();
    report_.truncated += truncated_.load();
    return status;
  }

  Status WriteBatches() {
    while (std::optional<Batch> batch = encoded_.Pop()) {
      if (failed_.load(std::memory_order_relaxed)) return OkStatus();
      RAG_RETURN_IF_ERROR(WriteBatch(*batch));
      for (FileEnd& end : batch->ends) RAG_RETURN_IF_ERROR(EndFile(end));
    }
    return OkStatus();
  }

  Status WriteBatch(Batch& batch) {
    for (auto& [file, failure] : batch.refused) {
      tallies_[file].refused.push_back(std::move(failure));
    }
    if (batch.documents.empty()) return OkStatus();
    std::vector<DocumentInput> documents;
    documents.reserve(batch.documents.size());
    for (UnencodedDocument& document : batch.documents) {
      documents.push_back(std::move(document.input));
    }
    const Result<std::vector<WriteResult>> written = context_.collection.ReplaceMany(documents);
    if (written.ok()) {
      for (size_t i = 0; i < documents.size(); ++i) {
        CountWritten(batch.files[i], documents[i], (*written)[i].chunks_added);
      }
      return OkStatus();
    }
    if (written.status().code() != StatusCode::kInvalidArgument) return written.status();
    // One of them is refused: the others must not suffer for it.
    for (size_t i = 0; i < documents.size(); ++i) {
      const Result<WriteResult> one = context_.collection.Replace(documents[i]);
      if (one.ok()) {
        CountWritten(batch.files[i], documents[i], one->chunks_added);
      } else if (one.status().code() == StatusCode::kInvalidArgument) {
        tallies_[batch.files[i]].refused.push_back({documents[i].key, one.status()});
      } else {
        return one.status();
      }
    }
    return OkStatus();
  }

  void CountWritten(uint64_t file, const DocumentInput& document, size_t chunks) {
    Tally& tally = tallies_[file];
    ++tally.documents;
    ++report_.documents;
    report_.chunks += chunks;
    if (progress_ != nullptr) {
      const uint64_t bytes = document.body.size();
      tally.bytes += bytes;
      progress_->bytes_done.fetch_add(bytes, std::memory_order_relaxed);
    }
  }

  Status EndFile(FileEnd& end) {
    Tally tally;
    if (const auto found = tallies_.find(end.file); found != tallies_.end()) {
      tally = std::move(found->second);
      tallies_.erase(found);
    }
    ++report_.files;
    if (tally.documents != 0) ++report_.indexed;
    if (end.unchanged) ++report_.unchanged;
    const bool whole = end.problems.empty() && tally.refused.empty();
    std::move(end.problems.begin(), end.problems.end(), std::back_inserter(report_.failed));
    std::move(tally.refused.begin(), tally.refused.end(), std::back_inserter(report_.failed));
    if (progress_ != nullptr) {
      progress_->files_done.fetch_add(1, std::memory_order_relaxed);
      // What a document's text had less (or more) than the file itself.
      progress_->bytes_done.fetch_add(end.bytes - tally.bytes, std::memory_order_relaxed);
    }
    // Of a file that could not be read whole, what is missing may only be unreadable.
    if (end.unchanged) return OkStatus();
    if (!whole || !end.tracked) {
      if (tally.documents == 0 && end.stored != 0) ++report_.unchanged;
      return OkStatus();
    }
    const uint64_t removed_before = report_.removed;
    RAG_RETURN_IF_ERROR(RemoveLeft(end));
    if (!end.many) return OkStatus();
    // A run that was killed between the last document and this entry did all the work.
    if (tally.documents == 0 && report_.removed == removed_before) ++report_.unchanged;
    return context_.manifest.Set(context_.collection.config().name, end.path, end.content_hash);
  }

  // Removes the documents that were in the file and are not any more.
  Status RemoveLeft(const FileEnd& end) {
    if (!end.many && end.keys.contains(end.path)) {
      // One document, keyed by the file: there can be others only if the file held many before.
      RAG_ASSIGN_OR_RETURN(const std::optional<ManifestEntry> entry,
                           context_.manifest.Find(context_.collection.config().name, end.path));
      if (!entry.has_value()) return OkStatus();
      RAG_RETURN_IF_ERROR(context_.manifest.Remove(context_.collection.config().name, end.path));
    }
    if (!sources_.has_value()) {
      RAG_ASSIGN_OR_RETURN(SourceIndex sources, IndexSources(context_.collection));
      sources_ = std::move(sources);
    }
    const auto found = sources_->find(end.path);
    if (found == sources_->end()) return OkStatus();
    RAG_ASSIGN_OR_RETURN(const uint64_t removed,
                         RemoveFrom(context_.collection, context_.manifest, found->second, end.path,
                                    end.keys, /*cancel=*/nullptr));
    report_.removed += removed;
    return OkStatus();
  }

  // Longer keys are refused by PrepareDocument; they are not looked up before.
  static constexpr size_t kMaxHashedKey = 4'096;

  struct Tally {
    uint64_t documents = 0;
    uint64_t bytes = 0;
    std::vector<IngestFailure> refused;
  };

  DocumentSource& source_;
  const PipelineContext& context_;
  const ChunkBudget budget_;
  IngestReport& report_;  // the write thread's
  IngestProgress* const progress_;
  const CancelToken* const cancel_;
  BoundedQueue<Batch> prepared_{kQueuedBatches};
  BoundedQueue<Batch> encoded_{kQueuedBatches};
  std::unordered_set<std::string> batch_keys_;  // the prepare thread's
  std::map<uint64_t, Tally> tallies_;           // the write thread's
  std::optional<SourceIndex> sources_;          // the write thread's
  std::atomic<uint64_t> truncated_{0};
  std::atomic<bool> failed_{false};
  std::mutex error_mutex_;  // guards error_
  Status error_;
};

// Some of WriteDocuments' documents; `results` gets one for each that is added, known once it is
// written.
class DocumentBatch {
 public:
  DocumentBatch(const PipelineContext& context, std::vector<Result<DocumentStatus>>& results)
      : context_(context), budget_(BudgetOf(context)), results_(results) {}

  bool Takes(const Document& document) const {
    return chunks_ < kBatchChunks && bytes_ < kBatchBytes && !keys_.contains(document.key);
  }

  void Add(const Document& document) {
    const Result<DocumentStatus> prepared = Prepare(document);
    if (prepared.ok() && !prepared->unchanged) {
      places_.push_back(results_.size());
      keys_.insert(document.key);
      chunks_ += unencoded_.back().input.chunks.size();
      bytes_ += document.text.size() + document.image.size();
    }
    results_.push_back(prepared);
  }

  void Write() {
    const Result<EncodeReport> encoded =
        EncodeDocuments(unencoded_, context_.models, context_.pool, nullptr, nullptr);
    if (!encoded.ok()) return Fail(encoded.status());
    std::vector<DocumentInput> inputs;
    std::vector<size_t> places;
    auto refused = encoded->refused.begin();
    for (size_t i = 0; i < unencoded_.size(); ++i) {
      if (refused != encoded->refused.end() && refused->first == i) {
        results_[places_[i]] = (refused++)->second;
        continue;
      }
      inputs.push_back(std::move(unencoded_[i].input));
      places.push_back(places_[i]);
    }
    places_ = std::move(places);
    if (inputs.empty()) return;
    const Result<std::vector<WriteResult>> written = context_.collection.ReplaceMany(inputs);
    if (!written.ok() &&
        (inputs.size() == 1 || written.status().code() != StatusCode::kInvalidArgument)) {
      return Fail(written.status());
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      // Where one of them is refused the others must not suffer for it.
      const Result<WriteResult> one = written.ok() ? Result<WriteResult>((*written)[i])
                                                   : context_.collection.Replace(inputs[i]);
      if (one.ok()) {
        results_[places_[i]] =
            DocumentStatus{.replaced = one->replaced, .chunks = one->chunks_added};
      } else {
        results_[places_[i]] = one.status();
      }
    }
  }

 private:
  // Of one that is not stored already, unencoded_ gets what is to be written.
  Result<DocumentStatus> Prepare(const Document& document) {
    DocumentStatus status;
    RAG_RETURN_IF_ERROR(CheckImages(document, context_));
    std::string hash = HashDocument(document);
    UnencodedDocument unencoded{.input = {}, .image = document.image};
    RAG_ASSIGN_OR_RETURN(unencoded.input,
                         PrepareDocument(document, context_.chunk, budget_, hash, ""));
    RAG_ASSIGN_OR_RETURN(status.unchanged, IsStored(context_.collection, document.key, hash, ""));
    if (!status.unchanged) unencoded_.push_back(std::move(unencoded));
    return status;
  }

  void Fail(const Status& status) {
    for (const size_t place : places_) results_[place] = status;
  }

  const PipelineContext& context_;
  const ChunkBudget budget_;
  std::vector<Result<DocumentStatus>>& results_;
  std::vector<UnencodedDocument> unencoded_;
  std::vector<size_t> places_;  // of their results
  std::unordered_set<std::string> keys_;
  size_t chunks_ = 0;
  size_t bytes_ = 0;
};

bool IsGone(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

}  // namespace

bool IsUnder(std::string_view path, std::string_view folder) {
  if (!path.starts_with(folder)) return false;
  return path.size() == folder.size() || folder == "/" || path[folder.size()] == '/';
}

Status RunPipeline(DocumentSource& source, const PipelineContext& context, IngestReport& report,
                   IngestProgress* progress, const CancelToken* cancel) {
  return Pipeline(source, context, report, progress, cancel).Run();
}

std::vector<Result<DocumentStatus>> WriteDocuments(std::span<const Document> documents,
                                                   const PipelineContext& context,
                                                   const CancelToken* cancel) {
  std::vector<Result<DocumentStatus>> results;
  results.reserve(documents.size());
  while (results.size() < documents.size()) {
    if (!results.empty() && IsCancelled(cancel)) {
      results.emplace_back(CancelledError("cancelled before it was written"));
      continue;
    }
    DocumentBatch batch(context, results);
    while (results.size() < documents.size() && batch.Takes(documents[results.size()])) {
      batch.Add(documents[results.size()]);
    }
    batch.Write();
  }
  return results;
}

Result<PruneReport> PruneVanished(std::span<const std::string> paths, Collection& collection,
                                  Manifest& manifest, const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(const SourceIndex sources, IndexSources(collection));
  PruneReport report;
  for (const auto& [source, keys] : sources) {
    const bool given =
        std::any_of(paths.begin(), paths.end(),
                    [&source = source](const std::string& path) { return IsUnder(source, path); });
    if (!given || !IsGone(source)) continue;
    report.sources.push_back(source);
    RAG_ASSIGN_OR_RETURN(const uint64_t removed,
                         RemoveFrom(collection, manifest, keys, source, {}, cancel));
    report.removed += removed;
    if (IsCancelled(cancel)) return report;
    RAG_RETURN_IF_ERROR(manifest.Remove(collection.config().name, source));
  }
  return report;
}

}  // namespace rag
