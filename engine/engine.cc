#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "engine/ask.h"
#include "engine/check_text.h"
#include "engine/classify/classify.h"
#include "engine/classify/texts.h"
#include "engine/evaluate/measure.h"
#include "engine/ingest/manifest.h"
#include "engine/ingest/pipeline.h"
#include "engine/ingest/walk.h"
#include "engine/record.h"
#include "engine/search/rank.h"

namespace rag {
namespace {

constexpr const char* kNoEncoder = "none";
constexpr size_t kPage = 1'000;
constexpr size_t kMaxProblems = 1'000;
// Threads that read and parse; more of them only compete with the encoder.
constexpr int kMaxReaders = 4;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Status CheckName(std::string_view name) {
  if (!name.empty() && name.front() == kReservedNamePrefix) {
    return InvalidArgumentError("collection name '", name, "' begins with '_', which is reserved");
  }
  return OkStatus();
}

// The bounds of ChunkOptions, before anything is stored under them.
Status CheckChunkOptions(const ChunkOptions& options) {
  if (options.chunk_tokens < 8 || options.chunk_tokens > 8'192) {
    return InvalidArgumentError("chunk_tokens ", options.chunk_tokens,
                                " is not between 8 and 8192");
  }
  if (options.overlap_tokens * 2 >= options.chunk_tokens) {
    return InvalidArgumentError("overlap_tokens ", options.overlap_tokens,
                                " is not less than half of chunk_tokens ", options.chunk_tokens);
  }
  return OkStatus();
}

// Chunks whose range does not give their text in their document's body.
Status VerifyRanges(const Collection& collection, VerifyReport& report, const CancelToken* cancel) {
  std::string after;
  while (true) {
    RAG_ASSIGN_OR_RETURN(const std::vector<DocumentRecord> page,
                         collection.ListDocuments(after, kPage));
    for (const DocumentRecord& document : page) {
      if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
      const Result<std::string> body = collection.GetBody(document.key);
      if (!body.ok()) {
        // One that was removed meanwhile is no problem.
        if (body.status().code() != StatusCode::kNotFound) {
          report.problems.push_back(
              StrCat("document '", document.key, "': ", body.status().ToString()));
        }
        continue;
      }
      for (const ChunkId id : document.chunk_ids) {
        if (report.problems.size() >= kMaxProblems) return OkStatus();
        Result<ChunkRecord> record = collection.GetChunk(id);
        if (!record.ok()) {
          if (record.status().code() != StatusCode::kNotFound) {
            report.problems.push_back(StrCat("document '", document.key, "': chunk ", id, ": ",
                                             record.status().ToString()));
          }
          continue;
        }
        const Result<Hit> hit = UnpackHit(std::move(record).value());
        if (!hit.ok()) {
          report.problems.push_back(
              StrCat("document '", document.key, "': chunk ", id, ": ", hit.status().ToString()));
        } else if (hit->end > body->size() ||
                   std::string_view(*body).substr(hit->start, hit->end - hit->start) != hit->text) {
          report.problems.push_back(StrCat("document '", document.key, "': chunk ", id,
                                           " is not the text at bytes ", hit->start, " to ",
                                           hit->end));
        }
      }
    }
    if (page.size() < kPage) return OkStatus();
    after = page.back().key;
  }
}

// Removes the documents that are not in `kept`.
Status RemoveOthers(Collection& collection, const std::unordered_set<std::string>& kept) {
  std::string after;
  while (true) {
    RAG_ASSIGN_OR_RETURN(const std::vector<DocumentRecord> page,
                         collection.ListDocuments(after, kPage));
    std::vector<std::string_view> others;
    for (const DocumentRecord& document : page) {
      if (!kept.contains(document.key)) others.push_back(document.key);
    }
    RAG_RETURN_IF_ERROR(collection.RemoveMany(others).status());
    if (page.size() < kPage) return OkStatus();
    after = page.back().key;
  }
}

// The metric that an encoder's vectors are meant for, unless the caller named another than the
// default.
void CompareAs(Similarity similarity, VectorIndexOptions& vectors) {
  if (vectors.metric != VectorIndexOptions().metric) return;
  switch (similarity) {
    case Similarity::kCosine:
      vectors.metric = Metric::kCosine;
      return;
    case Similarity::kDot:
      vectors.metric = Metric::kInnerProduct;
      return;
    case Similarity::kEuclidean:
      vectors.metric = Metric::kL2;
      return;
    case Similarity::kManhattan:
      vectors.metric = Metric::kManhattan;
      // No codes go with it.
      vectors.hnsw.codes = CodeKind::kNone;
      vectors.hnsw.code_dims = 0;
      return;
  }
}

struct NamedModel {
  std::string name;
  std::string fingerprint;  // "": none
};

Status CheckMessages(std::string_view name, std::span<const ChatMessage> messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    RAG_RETURN_IF_ERROR(CheckUtf8(StrCat(name, "[", i, "]"), messages[i].content));
  }
  return OkStatus();
}

// A collection that was made with another model than the engine's.
Status OtherModel(std::string_view collection, std::string_view kind, const NamedModel& made_with,
                  const NamedModel& ours) {
  return FailedPreconditionError(
      "collection '", collection, "' was made with ", kind, " '", made_with.name, "' (",
      made_with.fingerprint, "), but this engine has ",
      ours.fingerprint.empty() ? std::string("none")
                               : StrCat("'", ours.name, "' (", ours.fingerprint, ")"),
      "; use that ", kind, ", or index into another collection");
}

// What a collection is made for. Evaluation makes its own: it removes what is not in its corpus,
// and has the vectors alone that its mode reads.
struct Use {
  bool evaluation = false;
  bool dense = true;
  bool sparse = true;
};

}  // namespace

struct Engine::Impl {
  EngineOptions options;
  const Runtime& runtime;
  std::unique_ptr<Store> store;

  std::mutex model_mutex;  // guards the ones below until they are set; then they only are read
  std::unique_ptr<const Encoder> encoder;
  std::unique_ptr<const SparseEncoder> sparse;
  std::unique_ptr<const Reranker> reranker;
  std::unique_ptr<const TextClassifier> text_classifier;
  std::unique_ptr<const TokenClassifier> token_classifier;
  std::unique_ptr<const AnswerExtractor> reader;
  std::unique_ptr<Generator> generator;

  bool has_encoder() const { return options.encoder != kNoEncoder; }
  HasModels has_models() const { return {has_encoder(), !options.sparse.empty()}; }

  // Null in an engine without an encoder.
  Result<const Encoder*> LoadEncoder() {
    if (!has_encoder()) return static_cast<const Encoder*>(nullptr);
    std::lock_guard lock(model_mutex);
    if (encoder == nullptr) {
      RAG_ASSIGN_OR_RETURN(const ModelEntry entry,
                           FindModel(options.models_folder, options.encoder));
      if (entry.kind != "encoder") {
        return InvalidArgumentError("'", options.encoder, "' is a ", entry.kind,
                                    ", not an encoder");
      }
      RAG_ASSIGN_OR_RETURN(encoder, Encoder::Load(entry.path, runtime, options.encoding));
    }
    return encoder.get();
  }

  // Errors: failed_precondition in an engine without one.
  Result<const Encoder*> NeedEncoder() {
    RAG_ASSIGN_OR_RETURN(const Encoder* loaded, LoadEncoder());
    if (loaded == nullptr) {
      return FailedPreconditionError("this engine was opened without an encoder (encoder 'none')");
    }
    return loaded;
  }

  // The model of a folder that a setting names, loaded at its first use; null when it names none.
  // `what` is what the folder should be.
  template <class Model>
  Result<const Model*> LoadFolder(const std::string& name, std::string_view what,
                                  std::unique_ptr<const Model>& model) {
    if (name.empty()) return static_cast<const Model*>(nullptr);
    std::lock_guard lock(model_mutex);
    if (model == nullptr) {
      RAG_ASSIGN_OR_RETURN(const ModelEntry entry, FindModel(options.models_folder, name));
      if (entry.kind != "encoder") {
        return InvalidArgumentError("'", name, "' is a ", entry.kind, ", not a ", what,
                                    "'s folder");
      }
      RAG_ASSIGN_OR_RETURN(model, Model::Load(entry.path, runtime, options.encoding.precision));
    }
    return model.get();
  }
  Result<const SparseEncoder*> LoadSparse() {
    return LoadFolder(options.sparse, "sparse encoder", sparse);
  }
  Result<const Reranker*> LoadReranker() {
    return LoadFolder(options.reranker, "reranker", reranker);
  }
  Result<const AnswerExtractor*> LoadReader() {
    return LoadFolder(options.reader, "reader", reader);
  }

  // Of texts or of tokens. Errors: failed_precondition without one.
  template <class Model>
  Result<const Model*> NeedClassifier(std::unique_ptr<const Model>& model) {
    RAG_ASSIGN_OR_RETURN(const Model* loaded, LoadFolder(options.classifier, "classifier", model));
    if (loaded == nullptr) {
      return FailedPreconditionError(
          "no classifier is configured: name the folder of a model that labels texts as "
          "classifier");
    }
    return loaded;
  }

  // For a request that wants its passages reranked. Errors: failed_precondition.
  Result<const Reranker*> NeedReranker() {
    RAG_ASSIGN_OR_RETURN(const Reranker* loaded, LoadReranker());
    if (loaded == nullptr) {
      return FailedPreconditionError(
          "no reranker is configured: name a cross-encoder's folder as reranker");
    }
    return loaded;
  }

  // Errors: failed_precondition when no decoder is configured.
  Result<Generator*> NeedGenerator() {
    RAG_ASSIGN_OR_RETURN(Generator * loaded, LoadGenerator());
    if (loaded == nullptr) {
      return FailedPreconditionError("no decoder is configured: name a GGUF file as llm");
    }
    return loaded;
  }

  // Null when no decoder is configured.
  Result<Generator*> LoadGenerator() {
    if (options.llm.empty()) return static_cast<Generator*>(nullptr);
    std::lock_guard lock(model_mutex);
    if (generator == nullptr) {
      GeneratorOptions decoder = options.decoder;
      RAG_ASSIGN_OR_RETURN(const std::string path, FindDecoder(options.models_folder, options.llm));
      if (!decoder.draft_model.empty()) {
        RAG_ASSIGN_OR_RETURN(decoder.draft_model,
                             FindDecoder(options.models_folder, decoder.draft_model));
      }
      RAG_ASSIGN_OR_RETURN(generator, Generator::Load(path, decoder, runtime));
    }
    return generator.get();
  }

  // The encoder whose vectors the collection holds; null when it holds none.
  Result<const Encoder*> EncoderFor(const CollectionConfig& config) {
    if (config.vectors.dim == 0) return static_cast<const Encoder*>(nullptr);
    RAG_ASSIGN_OR_RETURN(const Encoder* loaded, LoadEncoder());
    if (loaded != nullptr && loaded->info().fingerprint == config.encoder_fingerprint) {
      return loaded;
    }
    RAG_ASSIGN_OR_RETURN(const CollectionProperties properties, UnpackProperties(config));
    return OtherModel(config.name, "encoder", {properties.encoder_name, config.encoder_fingerprint},
                      {options.encoder, loaded == nullptr ? "" : loaded->info().fingerprint});
  }

  // The encoder of the collection's sparse vectors; null when it has none.
  Result<const SparseEncoder*> SparseFor(const CollectionConfig& config) {
    if (config.sparse_dim == 0) return static_cast<const SparseEncoder*>(nullptr);
    RAG_ASSIGN_OR_RETURN(const SparseEncoder* loaded, LoadSparse());
    if (loaded != nullptr && loaded->info().fingerprint == config.sparse_fingerprint) {
      return loaded;
    }
    RAG_ASSIGN_OR_RETURN(const CollectionProperties properties, UnpackProperties(config));
    return OtherModel(config.name, "sparse encoder",
                      {properties.sparse_name, config.sparse_fingerprint},
                      {options.sparse, loaded == nullptr ? "" : loaded->info().fingerprint});
  }

  // What documents of the collection are encoded with.
  Result<IngestModels> ModelsFor(const CollectionConfig& config) {
    IngestModels models;
    RAG_ASSIGN_OR_RETURN(models.encoder, EncoderFor(config));
    RAG_ASSIGN_OR_RETURN(models.sparse, SparseFor(config));
    RAG_ASSIGN_OR_RETURN(models.tokens, TokensFor(config));
    return models;
  }

  // The model of the collection's token vectors; null when it keeps none.
  Result<const LateInteraction*> TokensFor(const CollectionConfig& config) {
    if (!config.attachments) return static_cast<const LateInteraction*>(nullptr);
    RAG_ASSIGN_OR_RETURN(const Reranker* loaded, LoadReranker());
    RAG_ASSIGN_OR_RETURN(const CollectionProperties properties, UnpackProperties(config));
    const auto* late = dynamic_cast<const LateInteraction*>(loaded);
    if (late != nullptr && late->info().fingerprint == properties.token_fingerprint) return late;
    return OtherModel(config.name, "reranker",
                      {properties.token_name, properties.token_fingerprint},
                      {options.reranker, loaded == nullptr ? ""
                                         : late == nullptr ? "which is none of late interaction"
                                                           : late->info().fingerprint});
  }

  Result<std::shared_ptr<Collection>> OpenCollection(std::string_view name) {
    RAG_RETURN_IF_ERROR(CheckName(name));
    Result<std::shared_ptr<Collection>> opened = store->OpenCollection(name);
    if (!opened.ok()) {
      if (opened.status().code() != StatusCode::kNotFound) return opened.status();
      std::string known;
      for (const std::string& other : Names()) known += (known.empty() ? "" : ", ") + other;
      return NotFoundError("no collection '", name, "' in '", options.db_path, "' (",
                           known.empty() ? "which holds none" : "it holds " + known, ")");
    }
    RAG_RETURN_IF_ERROR(UnpackProperties((*opened)->config()).status());
    return opened;
  }

  Result<std::shared_ptr<Collection>> CreateCollection(std::string_view name,
                                                       const CollectionOptions& create,
                                                       const Use& use) {
    RAG_RETURN_IF_ERROR(CheckName(name));
    RAG_RETURN_IF_ERROR(CheckChunkOptions(create.chunk));
    const ElementType element = create.vectors.element;
    if (element != ElementType::kF32 && element != ElementType::kF16 &&
        element != ElementType::kBF16) {
      return InvalidArgumentError("element ", ElementTypeName(element),
                                  " cannot hold an encoder's vectors; f32, f16 and bf16 can");
    }
    CollectionConfig config;
    config.name = name;
    config.vectors = create.vectors;
    config.goal = create.goal;
    config.vectors.dim = 0;
    CollectionProperties properties;
    properties.chunk = create.chunk;
    properties.evaluation = use.evaluation;
    if (use.dense && has_encoder()) {
      RAG_ASSIGN_OR_RETURN(const Encoder* loaded, LoadEncoder());
      config.vectors.dim = loaded->info().dim;
      config.encoder_fingerprint = loaded->info().fingerprint;
      CompareAs(loaded->info().similarity, config.vectors);
      properties.encoder_name = options.encoder;
    }
    if (use.sparse && !options.sparse.empty()) {
      RAG_ASSIGN_OR_RETURN(const SparseEncoder* loaded, LoadSparse());
      config.sparse_dim = static_cast<uint32_t>(loaded->info().vocab);
      config.sparse_fingerprint = loaded->info().fingerprint;
      properties.sparse_name = options.sparse;
    }
    if (create.token_vectors) {
      RAG_ASSIGN_OR_RETURN(const Reranker* loaded, NeedReranker());
      if (!loaded->info().late_interaction) {
        return InvalidArgumentError("reranker '", options.reranker,
                                    "' makes no token vectors: it is none of late interaction");
      }
      config.attachments = true;
      properties.token_name = options.reranker;
      properties.token_fingerprint = loaded->info().fingerprint;
    }
    config.properties = PackProperties(properties);
    return store->CreateCollection(config);
  }

  Result<std::shared_ptr<Collection>> OpenOrCreate(std::string_view name,
                                                   const CollectionOptions& create,
                                                   const Use& use = {}) {
    Result<std::shared_ptr<Collection>> opened = OpenCollection(name);
    if (opened.status().code() != StatusCode::kNotFound) return opened;
    Result<std::shared_ptr<Collection>> created = CreateCollection(name, create, use);
    // Another caller may have made it since.
    if (created.status().code() == StatusCode::kAlreadyExists) return OpenCollection(name);
    return created;
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names = store->ListCollections();
    std::erase_if(names, [](const std::string& name) { return !CheckName(name).ok(); });
    return names;
  }

  Result<SearchResponse> Search(const Collection& collection, const SearchRequest& request,
                                const CancelToken* cancel) {
    RAG_RETURN_IF_ERROR(CheckSearchRequest(request));
    // A picture's words are unknown.
    const SearchMode wanted = request.image.empty() ? request.mode : SearchMode::kDense;
    RAG_ASSIGN_OR_RETURN(const SearchPlan plan,
                         PlanSearch(collection.config(), has_models(), wanted));
    SearchModels models;
    if (plan.dense) {
      RAG_ASSIGN_OR_RETURN(models.encoder, EncoderFor(collection.config()));
    }
    if (plan.sparse) {
      RAG_ASSIGN_OR_RETURN(models.sparse, SparseFor(collection.config()));
    }
    if (request.rerank_top != 0) {
      RAG_ASSIGN_OR_RETURN(models.reranker, NeedReranker());
    }
    return SearchCollection(collection, models, request, plan, cancel);
  }
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options, const Runtime& runtime) {
  if (options.db_path.empty()) return InvalidArgumentError("the database folder's path is empty");
  auto impl = std::unique_ptr<Impl>(new Impl{.options = options, .runtime = runtime});
  if (impl->options.models_folder.empty()) impl->options.models_folder = DefaultModelsFolder();
  RAG_ASSIGN_OR_RETURN(impl->store, Store::Open(options.db_path, options.store, runtime));
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

// --- collections ---

Status Engine::CreateCollection(std::string_view name, const CollectionOptions& options) {
  return impl_->CreateCollection(name, options, {}).status();
}

Status Engine::DropCollection(std::string_view name) {
  RAG_RETURN_IF_ERROR(CheckName(name));
  RAG_RETURN_IF_ERROR(CheckWrites());
  // First: a drop that is broken off leaves files that look new, never files that look known.
  RAG_ASSIGN_OR_RETURN(std::optional<Manifest> manifest, Manifest::OpenExisting(*impl_->store));
  if (manifest.has_value()) RAG_RETURN_IF_ERROR(manifest->RemoveCollection(name));
  return impl_->store->DropCollection(name);
}

Result<std::vector<CollectionInfo>> Engine::ListCollections() const {
  std::vector<CollectionInfo> infos;
  for (const std::string& name : impl_->Names()) {
    RAG_ASSIGN_OR_RETURN(CollectionInfo info, GetCollection(name));
    infos.push_back(std::move(info));
  }
  return infos;
}

Result<CollectionInfo> Engine::GetCollection(std::string_view name) const {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> collection, impl_->OpenCollection(name));
  RAG_ASSIGN_OR_RETURN(const CollectionStats stats, collection->Stats());
  return CollectionInfo{collection->config(), stats};
}

// --- documents ---

namespace {

// A collection with a goal gets its index when there are enough vectors to measure, and another
// when there are so many times as many.
void TuneGrown(Collection& collection, IngestReport& report, const CancelToken* cancel) {
  constexpr uint64_t kGrowth = 4;
  const CollectionConfig& config = collection.config();
  if (!config.goal.has_value() || config.vectors.dim == 0) return;
  const Result<CollectionStats> stats = collection.Stats();
  if (!stats.ok() || stats->chunks < kLeastTuneRows) return;
  if (stats->chunks < kGrowth * config.tuned_chunks) return;
  Result<TuneReport> tuned = collection.Tune(*config.goal, /*apply=*/true, nullptr, cancel);
  if (tuned.ok()) {
    report.tuned = std::move(tuned).value();
  } else if (tuned.status().code() == StatusCode::kCancelled) {
    report.cancelled = true;
  } else {
    report.tune_error = tuned.status();
  }
}

}  // namespace

Result<IngestReport> Engine::Ingest(std::string_view collection, std::span<const std::string> paths,
                                    const IngestOptions& options, const CollectionOptions& create,
                                    IngestProgress* progress, const CancelToken* cancel) {
  const auto start = std::chrono::steady_clock::now();
  if (!options.metadata.is_null() && !options.metadata.is_object()) {
    return InvalidArgumentError("metadata is of type ", options.metadata.type_name(),
                                ", not an object");
  }
  RAG_RETURN_IF_ERROR(CheckWrites());
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened,
                       impl_->OpenOrCreate(collection, create));
  RAG_ASSIGN_OR_RETURN(const IngestModels models, impl_->ModelsFor(opened->config()));
  RAG_ASSIGN_OR_RETURN(const CollectionProperties properties, UnpackProperties(opened->config()));
  RAG_ASSIGN_OR_RETURN(Manifest manifest, Manifest::Open(*impl_->store));
  const PipelineContext context{*opened, manifest, models, properties.chunk, impl_->runtime.pool()};

  IngestReport report;
  WalkResult walked =
      WalkPaths(paths, options.follow_hidden, impl_->options.db_path, progress, cancel);
  const int readers = std::clamp(impl_->runtime.pool().size(), 1, kMaxReaders);
  const auto run = [&](const std::vector<std::string>& files, IngestReport& into,
                       IngestProgress* shown) {
    const std::unique_ptr<DocumentSource> source =
        ReadFiles(files, options, *opened, manifest, readers, cancel);
    return RunPipeline(*source, context, into, shown, cancel);
  };
  RAG_RETURN_IF_ERROR(run(walked.files, report, progress));
  if (options.prune && !report.cancelled) {
    std::vector<std::string> given;
    for (const std::string& path : paths) {
      if (path != kStandardInput && !path.empty()) given.push_back(AbsolutePath(path));
    }
    RAG_ASSIGN_OR_RETURN(const PruneReport pruned, PruneVanished(given, *opened, manifest, cancel));
    report.removed += pruned.removed;
    // A path that is gone was given so that its documents go: no mistake when it had some.
    std::erase_if(walked.failures, [&](const IngestFailure& failure) {
      return failure.error.code() == StatusCode::kNotFound &&
             std::any_of(pruned.sources.begin(), pruned.sources.end(),
                         [&](const std::string& gone) { return IsUnder(gone, failure.path); });
    });
  }
  if (report.removed > 0 && !report.cancelled) {
    // What went may stand in a file that was read before.
    std::vector<std::string> doubtful;
    for (const std::string& file : walked.files) {
      RAG_ASSIGN_OR_RETURN(const std::optional<ManifestEntry> entry,
                           manifest.Find(opened->config().name, file));
      if (entry.has_value() && entry->doubtful) doubtful.push_back(file);
    }
    IngestReport again;
    RAG_RETURN_IF_ERROR(run(doubtful, again, nullptr));
    report.documents += again.documents;
    report.chunks += again.chunks;
    report.truncated += again.truncated;
    report.cancelled = again.cancelled;
    for (IngestFailure& failure : again.failed) {
      const bool known = std::any_of(
          report.failed.begin(), report.failed.end(), [&failure](const IngestFailure& told) {
            return told.path == failure.path && told.error.message() == failure.error.message();
          });
      if (!known) report.failed.push_back(std::move(failure));
    }
  }
  report.failed.insert(report.failed.begin(), walked.failures.begin(), walked.failures.end());
  report.cancelled = report.cancelled || (cancel != nullptr && cancel->cancelled());
  if (!report.cancelled) TuneGrown(*opened, report, cancel);
  report.seconds = SecondsSince(start);
  return report;
}

namespace {

// What a file's name and bytes say of a picture that came without one.
Status DescribeImage(Document& document) {
  const std::optional<ImageFormat> format = DetectImageFormat(document.image);
  if (!format.has_value()) {
    return InvalidArgumentError("the image of '", document.key,
                                "' is no JPEG, PNG, WebP or GIF image");
  }
  document.media_type = ImageFormatMediaType(*format);
  if (document.text.empty()) document.text = document.key;
  document.blocks = {{.begin = 0, .end = static_cast<uint32_t>(document.text.size())}};
  return OkStatus();
}

// Checks a document from memory, and finds what its caller left out.
Status Complete(Document& document) {
  if (!document.metadata.is_null() && !document.metadata.is_object()) {
    return InvalidArgumentError("metadata is of type ", document.metadata.type_name(),
                                ", not an object");
  }
  if (document.key.empty()) return InvalidArgumentError("the document's key is empty");
  if (!document.image.empty()) RAG_RETURN_IF_ERROR(DescribeImage(document));
  if (document.media_type.empty()) document.media_type = "text/plain";
  if (document.blocks.empty()) {
    const bool markdown = document.media_type == "text/markdown";
    if (!markdown && document.media_type != "text/plain") {
      return InvalidArgumentError("media type '", document.media_type, "' of '", document.key,
                                  "' is neither text/plain nor text/markdown");
    }
    RAG_ASSIGN_OR_RETURN(
        ParsedFile parsed,
        ParseContent(document.text, document.key, markdown ? Format::kMarkdown : Format::kText));
    if (parsed.documents.size() != 1) {
      return InvalidArgumentError("'", document.key, "' holds no text");
    }
    Document& found = parsed.documents.front();
    document.text = std::move(found.text);
    document.blocks = std::move(found.blocks);
    if (document.title.empty() && markdown) document.title = std::move(found.title);
  }
  if (document.metadata.is_null()) document.metadata = Value(Value::Object());
  return OkStatus();
}

}  // namespace

Result<DocumentStatus> Engine::AddDocument(std::string_view collection, Document document,
                                           const CollectionOptions& create) {
  std::vector<Document> one;
  one.push_back(std::move(document));
  RAG_ASSIGN_OR_RETURN(std::vector<Result<DocumentStatus>> added,
                       AddDocuments(collection, std::move(one), create));
  return std::move(added.front());
}

Result<std::vector<Result<DocumentStatus>>> Engine::AddDocuments(std::string_view collection,
                                                                 std::vector<Document> documents,
                                                                 const CollectionOptions& create,
                                                                 const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(CheckWrites());
  std::vector<Result<DocumentStatus>> results(documents.size(), DocumentStatus());
  std::vector<Document> complete;
  std::vector<size_t> places;
  for (size_t i = 0; i < documents.size(); ++i) {
    if (Status status = Complete(documents[i]); !status.ok()) {
      results[i] = std::move(status);
      continue;
    }
    complete.push_back(std::move(documents[i]));
    places.push_back(i);
  }
  if (complete.empty()) return results;
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened,
                       impl_->OpenOrCreate(collection, create));
  RAG_ASSIGN_OR_RETURN(const IngestModels models, impl_->ModelsFor(opened->config()));
  RAG_ASSIGN_OR_RETURN(const CollectionProperties properties, UnpackProperties(opened->config()));
  RAG_ASSIGN_OR_RETURN(Manifest manifest, Manifest::Open(*impl_->store));
  std::vector<Result<DocumentStatus>> written = WriteDocuments(
      complete, {*opened, manifest, models, properties.chunk, impl_->runtime.pool()}, cancel);
  for (size_t i = 0; i < places.size(); ++i) results[places[i]] = std::move(written[i]);
  return results;
}

Result<StoredDocument> Engine::GetDocument(std::string_view collection,
                                           std::string_view key) const {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  RAG_ASSIGN_OR_RETURN(DocumentRecord record, opened->GetDocument(key));
  RAG_ASSIGN_OR_RETURN(std::string body, opened->GetBody(key));
  return UnpackStoredDocument(std::move(record), std::move(body));
}

Result<Hit> Engine::GetChunk(std::string_view collection, ChunkId id) const {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  RAG_ASSIGN_OR_RETURN(ChunkRecord record, opened->GetChunk(id));
  return UnpackHit(std::move(record));
}

Result<std::vector<std::string>> Engine::ListDocuments(std::string_view collection,
                                                       std::string_view after, size_t limit) const {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  RAG_ASSIGN_OR_RETURN(std::vector<DocumentRecord> records, opened->ListDocuments(after, limit));
  std::vector<std::string> keys;
  keys.reserve(records.size());
  for (DocumentRecord& record : records) keys.push_back(std::move(record.key));
  return keys;
}

Status Engine::RemoveDocument(std::string_view collection, std::string_view key) {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  RAG_ASSIGN_OR_RETURN(const DocumentRecord record, opened->GetDocument(key));
  RAG_ASSIGN_OR_RETURN(const DocumentPayload payload, UnpackDocument(record.payload));
  if (!payload.source.empty()) {
    // Its file is not in the collection whole any more; indexing it again brings the document back.
    RAG_ASSIGN_OR_RETURN(std::optional<Manifest> manifest, Manifest::OpenExisting(*impl_->store));
    if (manifest.has_value()) RAG_RETURN_IF_ERROR(manifest->Remove(collection, payload.source));
  }
  return opened->Remove(key).status();
}

// --- questions ---

Result<SearchResponse> Engine::Search(std::string_view collection, const SearchRequest& request,
                                      const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  return impl_->Search(*opened, request, cancel);
}

Result<Answer> Engine::Ask(std::string_view collection, const AskRequest& request,
                           const Generator::TokenCallback* on_text,
                           const CancelToken* cancel) const {
  const auto start = std::chrono::steady_clock::now();
  if (!request.search.image.empty()) {
    return InvalidArgumentError("a question is a text; only a search takes an image");
  }
  if (IsBlank(request.search.query)) return InvalidArgumentError("the question is empty");
  RAG_RETURN_IF_ERROR(CheckUtf8("the question", request.search.query));
  RAG_RETURN_IF_ERROR(CheckUtf8("the system message", request.prompt.system));
  RAG_RETURN_IF_ERROR(CheckMessages("history", request.history));
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  RAG_ASSIGN_OR_RETURN(SearchResponse sources, impl_->Search(*opened, request.search, cancel));
  RAG_ASSIGN_OR_RETURN(const Encoder* encoder, impl_->LoadEncoder());
  RAG_ASSIGN_OR_RETURN(Generator * generator, impl_->LoadGenerator());
  const AnswerExtractor* reader = nullptr;
  if (generator == nullptr) {
    RAG_ASSIGN_OR_RETURN(reader, impl_->LoadReader());
  }
  const double search_ms = sources.took_ms;
  RAG_ASSIGN_OR_RETURN(Answer answer,
                       AnswerQuestion(request, std::move(sources),
                                      {*opened, encoder, generator, reader}, on_text, cancel));
  answer.search_ms = search_ms;
  answer.total_ms = SecondsSince(start) * 1e3;
  return answer;
}

Result<GenerateResult> Engine::Chat(std::span<const ChatMessage> messages,
                                    const ChatOptions& options,
                                    const Generator::TokenCallback* on_text,
                                    const CancelToken* cancel) const {
  RAG_RETURN_IF_ERROR(CheckMessages("messages", messages));
  RAG_ASSIGN_OR_RETURN(Generator * generator, impl_->NeedGenerator());
  GenerateRequest request;
  RAG_ASSIGN_OR_RETURN(request.prompt, generator->RenderChat(messages));
  request.max_tokens = options.max_tokens;
  request.sampling = options.sampling;
  request.stop = options.stop;
  request.constraint = options.constraint;
  request.adapters = options.adapters;
  request.priority = options.priority;
  request.logprobs = options.logprobs;
  request.top_logprobs = options.top_logprobs;
  return generator->Generate(request, on_text, cancel);
}

Result<std::shared_ptr<const CompiledConstraint>> Engine::CompileConstraint(
    const OutputConstraint& constraint) const {
  RAG_ASSIGN_OR_RETURN(Generator * generator, impl_->NeedGenerator());
  return generator->CompileConstraint(constraint);
}

Result<Embeddings> Engine::Embed(std::span<const std::string_view> texts, TextRole role,
                                 const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const Encoder* encoder, impl_->NeedEncoder());
  // The vector of no text at all says nothing, and most often stands for a mistake.
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) return InvalidArgumentError("texts[", i, "] is empty");
  }
  RAG_RETURN_IF_ERROR(CheckUtf8("texts", texts));
  return encoder->Encode(texts, role, cancel);
}

Result<Embeddings> Engine::EmbedImages(std::span<const Image> images,
                                       const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const Encoder* encoder, impl_->NeedEncoder());
  return encoder->EncodeImages(images, cancel);
}

Result<std::vector<Classification>> Engine::Classify(std::span<const Image> images,
                                                     const ClassifyRequest& request,
                                                     const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const Encoder* encoder, impl_->NeedEncoder());
  return ClassifyImages(*encoder, images, request, cancel);
}

Result<std::vector<Classification>> Engine::ClassifyTexts(std::span<const std::string_view> texts,
                                                          const ClassifyTextsRequest& request,
                                                          const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const TextClassifier* classifier,
                       impl_->NeedClassifier(impl_->text_classifier));
  RAG_RETURN_IF_ERROR(CheckUtf8("texts", texts));
  return rag::ClassifyTexts(*classifier, texts, request, cancel);
}

Result<std::vector<std::vector<LabelledRange>>> Engine::LabelRanges(
    std::span<const std::string_view> texts, const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const TokenClassifier* classifier,
                       impl_->NeedClassifier(impl_->token_classifier));
  RAG_RETURN_IF_ERROR(CheckUtf8("texts", texts));
  return classifier->Find(texts, cancel);
}

Result<RerankScores> Engine::Rerank(std::string_view query,
                                    std::span<const std::string_view> passages,
                                    const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const Reranker* reranker, impl_->NeedReranker());
  RAG_RETURN_IF_ERROR(CheckUtf8("the query", query));
  RAG_RETURN_IF_ERROR(CheckUtf8("passages", passages));
  return reranker->Score(query, passages, cancel);
}

// --- care ---

Result<EvaluateReport> Engine::Evaluate(std::string_view collection, const EvaluateRequest& request,
                                        IngestProgress* progress, const CancelToken* cancel) {
  const auto start = std::chrono::steady_clock::now();
  RAG_RETURN_IF_ERROR(CheckWrites());
  EvaluateReport report;
  // Before the corpus, which takes long: mistakes in the request and the small files are told at
  // once.
  RAG_RETURN_IF_ERROR(CheckEvaluation(request));
  const Reranker* reranker = nullptr;
  if (request.search.rerank_top != 0) {
    RAG_ASSIGN_OR_RETURN(reranker, impl_->NeedReranker());
  }
  RAG_ASSIGN_OR_RETURN(const std::vector<BeirQuery> queries, ReadBeirQueries(request.folder));
  std::unordered_set<std::string> keys;
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<BeirCorpus> corpus,
                       BeirCorpus::Open(request.folder, &keys, cancel));
  const SearchMode mode = request.search.mode;
  const bool dense = mode == SearchMode::kDense || mode == SearchMode::kHybrid;
  const bool sparse = mode == SearchMode::kSparse || mode == SearchMode::kHybrid;
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened,
                       impl_->OpenOrCreate(collection, {}, {true, dense, sparse}));
  const CollectionConfig& config = opened->config();
  RAG_ASSIGN_OR_RETURN(const CollectionProperties properties, UnpackProperties(config));
  if (!properties.evaluation) {
    return FailedPreconditionError("collection '", config.name,
                                   "' holds documents; name another one for the evaluation");
  }
  const HasModels has = impl_->has_models();
  const bool no_dense = dense && has.encoder && config.vectors.dim == 0;
  if (no_dense || (sparse && has.sparse && config.sparse_dim == 0)) {
    return FailedPreconditionError("collection '", config.name, "' was made without ",
                                   no_dense ? "" : "sparse ", "vectors; drop it or name another");
  }
  RAG_ASSIGN_OR_RETURN(const SearchPlan plan, PlanSearch(config, has, mode));
  RAG_ASSIGN_OR_RETURN(const IngestModels models, impl_->ModelsFor(config));
  RAG_ASSIGN_OR_RETURN(Manifest manifest, Manifest::Open(*impl_->store));

  IngestReport ingested;
  const PipelineContext context{*opened, manifest, models, properties.chunk, impl_->runtime.pool()};
  if (progress != nullptr) {
    progress->files_total.store(1);
    progress->bytes_total.store(corpus->bytes());
    progress->walking.store(false);
  }
  RAG_RETURN_IF_ERROR(RunPipeline(*corpus, context, ingested, progress, cancel));
  RAG_RETURN_IF_ERROR(corpus->error());
  if (ingested.cancelled) return CancelledError("cancelled while indexing the corpus");
  if (!ingested.failed.empty()) return ingested.failed.front().error;
  RAG_RETURN_IF_ERROR(RemoveOthers(*opened, keys));
  report.documents = keys.size();
  report.index_seconds = SecondsSince(start);
  RAG_RETURN_IF_ERROR(MeasureCollection(queries, *opened, {models.encoder, models.sparse, reranker},
                                        request, plan, report, cancel));
  report.seconds = SecondsSince(start);
  return report;
}

Result<VerifyReport> Engine::Verify(std::string_view collection, const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  RAG_ASSIGN_OR_RETURN(VerifyReport report, opened->Verify(cancel));
  RAG_RETURN_IF_ERROR(VerifyRanges(*opened, report, cancel));
  return report;
}

Result<RecallReport> Engine::MeasureRecall(std::string_view collection, size_t sample, size_t k,
                                           const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  return opened->MeasureRecall(sample, k, cancel);
}

Result<TuneReport> Engine::Tune(std::string_view collection, const TuneGoal& goal, bool apply,
                                CareProgress* progress, const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<Collection> opened, impl_->OpenCollection(collection));
  return opened->Tune(goal, apply, progress, cancel);
}

Result<BackupReport> Engine::Backup(const std::string& destination, CareProgress* progress,
                                    const CancelToken* cancel) {
  return impl_->store->Backup(destination, progress, cancel);
}

Result<BackupReport> Engine::Restore(const std::string& backup, const std::string& db_path,
                                     CareProgress* progress, const CancelToken* cancel) {
  return Store::Restore(backup, db_path, progress, cancel);
}

Result<VacuumReport> Engine::Vacuum(CareProgress* progress, const CancelToken* cancel) {
  return impl_->store->Vacuum(progress, cancel);
}

Result<EncoderInfo> Engine::GetEncoderInfo() const {
  RAG_ASSIGN_OR_RETURN(const Encoder* encoder, impl_->LoadEncoder());
  if (encoder == nullptr) {
    return FailedPreconditionError("this engine was opened without an encoder (encoder 'none')");
  }
  return encoder->info();
}

Result<std::optional<SparseEncoderInfo>> Engine::GetSparseEncoderInfo() const {
  RAG_ASSIGN_OR_RETURN(const SparseEncoder* sparse, impl_->LoadSparse());
  if (sparse == nullptr) return std::optional<SparseEncoderInfo>();
  return std::optional<SparseEncoderInfo>(sparse->info());
}

Result<std::optional<RerankerInfo>> Engine::GetRerankerInfo() const {
  RAG_ASSIGN_OR_RETURN(const Reranker* reranker, impl_->LoadReranker());
  if (reranker == nullptr) return std::optional<RerankerInfo>();
  return std::optional<RerankerInfo>(reranker->info());
}

Result<std::optional<ClassifierInfo>> Engine::GetClassifierInfo() const {
  if (impl_->options.classifier.empty()) return std::optional<ClassifierInfo>();
  const auto of_texts = impl_->NeedClassifier(impl_->text_classifier);
  if (of_texts.ok()) return std::optional(ClassifierInfo{false, (*of_texts)->labels()});
  const auto of_tokens = impl_->NeedClassifier(impl_->token_classifier);
  if (of_tokens.ok()) return std::optional(ClassifierInfo{true, (*of_tokens)->labels()});
  // One of the two says only that the model is of the other kind.
  const StatusCode code = of_tokens.status().code();
  return Status(code == StatusCode::kInvalidArgument ? of_texts.status().code() : code,
                StrCat("as a model that labels texts: ", of_texts.status().message(),
                       "; as one that labels places in them: ", of_tokens.status().message()));
}

Status Engine::LoadReader() const { return impl_->LoadReader().status(); }

std::optional<GeneratorActivity> Engine::GetGeneratorActivity() const {
  std::lock_guard lock(impl_->model_mutex);
  if (impl_->generator == nullptr) return std::nullopt;
  return impl_->generator->activity();
}

Result<std::optional<GeneratorInfo>> Engine::GetGeneratorInfo() const {
  RAG_ASSIGN_OR_RETURN(const Generator* generator, impl_->LoadGenerator());
  if (generator == nullptr) return std::optional<GeneratorInfo>();
  return std::optional<GeneratorInfo>(generator->info());
}

Status Engine::CheckWrites() const { return impl_->store->CheckWrites(); }

Result<bool> Engine::Refresh() { return impl_->store->Refresh(); }

const EngineOptions& Engine::options() const { return impl_->options; }

Result<CacheSaveReport> Engine::SaveGeneratorCache() {
  RAG_ASSIGN_OR_RETURN(Generator * generator, impl_->LoadGenerator());
  if (generator == nullptr) return FailedPreconditionError("no decoder is configured");
  return generator->SaveCache();
}

Status Engine::Close() {
  const Status closed = impl_->store->Close();
  Generator* generator = nullptr;
  {
    std::lock_guard lock(impl_->model_mutex);
    generator = impl_->generator.get();
  }
  Status saved;
  if (generator != nullptr && generator->CacheChanged()) saved = generator->SaveCache().status();
  return closed.ok() ? saved : closed;
}

}  // namespace rag
