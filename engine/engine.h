// Engine: documents in, ranked passages and cited answers out. The whole of rag behind one class;
// the command line, the daemon and the C library only parse input, call this, and print.
//
//   auto runtime = rag::Runtime::Create();
//   auto engine = rag::Engine::Open({.db_path = "notes.db"}, **runtime);
//   (*engine)->Ingest("notes", {"docs/"}, {});
//   rag::AskRequest request;
//   request.search.query = "How do I rotate the key?";
//   auto answer = (*engine)->Ask("notes", request);
//
// The way of the data: Ingest = parse -> chunk -> encode -> Collection::Replace. Ask = encode ->
// Collection::Search -> fuse -> prompt -> generate -> check citations. ARCHITECTURE.md says more.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "embed/encoder.h"
#include "embed/reranker.h"
#include "embed/sparse_encoder.h"
#include "embed/token_classifier.h"
#include "engine/answer.h"
#include "engine/classify.h"
#include "engine/evaluate.h"
#include "engine/ingest.h"
#include "engine/models.h"
#include "engine/search.h"
#include "generate/generator.h"
#include "index/index_spec.h"
#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/image/image.h"
#include "lib/runtime/runtime.h"

namespace rag {

struct EngineOptions {
  std::string db_path;                    // folder of the store; made when missing
  std::string models_folder;              // "": DefaultModelsFolder()
  std::string encoder = kDefaultEncoder;  // name or folder; "none": lexical search only
  std::string sparse;                     // name or folder of a sparse encoder; "": none. A new
                                          // collection gets its vectors too
  std::string reranker;                   // name or folder of a cross-encoder or late interaction
                                          // model; "": none
  std::string classifier;                 // name or folder of a model that labels texts or their
                                          // tokens; "": none
  std::string reader;                     // name or folder of a question answering model; "": none
  EncoderOptions encoding;                // of the encoder; the precision is the others' too
  std::string llm;                        // name or GGUF file; "": answers are extractive
  GeneratorOptions decoder;               // of the decoder; its draft_model is a name too
  StoreOptions store;
};

// Settings of a new collection.
struct CollectionOptions {
  ChunkOptions chunk;
  // dim is the encoder's, and so is the metric unless another than cosine is named here.
  VectorIndexOptions vectors{.hnsw = {.codes = CodeKind::kPca8}};
  // The index follows from this instead, once there are enough vectors: Ingest tunes it when it
  // ends, and again whenever there are four times as many.
  std::optional<TuneGoal> goal;
  // Keep the token vectors of each chunk by the engine's reranker, which is one of late
  // interaction: its searches then compare with them instead of reading the passages again.
  bool token_vectors = false;
};

struct CollectionInfo {
  CollectionConfig config;
  CollectionStats stats;
};

struct StoredDocument {
  std::string key;
  std::string title;
  std::string source;
  std::string media_type;
  std::string text;
  Value metadata;
  std::vector<ChunkId> chunk_ids;
};

// Threads: all methods may be called at once. Models are loaded at their first use and then shared.
// Errors of every method that takes a collection: not_found when there is no such collection
// (Ingest and AddDocument make it), failed_precondition when the fingerprint of a model that the
// call needs is not the one it was made with: writing needs the encoder, the sparse encoder and the
// reranker of token vectors, a search those of its mode. Of every one that writes: those of
// CheckWrites.
class Engine {
 public:
  static Result<std::unique_ptr<Engine>> Open(const EngineOptions& options, const Runtime& runtime);
  ~Engine();

  // --- collections ---
  // Names that begin with '_' are the engine's own. Errors: already_exists, invalid_argument.
  Status CreateCollection(std::string_view name, const CollectionOptions& options = {});
  Status DropCollection(std::string_view name);
  Result<std::vector<CollectionInfo>> ListCollections() const;
  Result<CollectionInfo> GetCollection(std::string_view name) const;

  // --- documents ---
  // Files, folders (walked), or "-" for standard input. A picture becomes a document of one chunk
  // with its vector, if the encoder encodes images; else it is reported as failed_precondition.
  // Files whose content is known already are skipped; a bad file is reported and the rest goes on.
  // `create` holds for a collection that is not there yet.
  Result<IngestReport> Ingest(std::string_view collection, std::span<const std::string> paths,
                              const IngestOptions& options, const CollectionOptions& create = {},
                              IngestProgress* progress = nullptr,
                              const CancelToken* cancel = nullptr);
  // One document from memory: text of media type text/plain or text/markdown (blocks are found), or
  // with blocks given; or an image, whose text is a caption or, when empty, the key. Durable on
  // return.
  Result<DocumentStatus> AddDocument(std::string_view collection, Document document,
                                     const CollectionOptions& create = {});
  // Many, encoded together and written with one sync for some hundred chunks: how each went, a bad
  // one without harm to the others. Where a key stands twice the later document replaces the
  // earlier one. Once `cancel` is cancelled, those that are not under way are cancelled. Errors:
  // what keeps all of them out.
  Result<std::vector<Result<DocumentStatus>>> AddDocuments(std::string_view collection,
                                                           std::vector<Document> documents,
                                                           const CollectionOptions& create = {},
                                                           const CancelToken* cancel = nullptr);
  Result<StoredDocument> GetDocument(std::string_view collection, std::string_view key) const;
  Result<Hit> GetChunk(std::string_view collection, ChunkId id) const;
  // Keys in order from `after` (exclusive).
  Result<std::vector<std::string>> ListDocuments(std::string_view collection,
                                                 std::string_view after, size_t limit) const;
  // Errors: not_found.
  Status RemoveDocument(std::string_view collection, std::string_view key);

  // --- questions ---
  // Texts are UTF-8: another is invalid_argument, naming it and the byte where it is broken.
  // Errors: cancelled, besides those above.
  Result<SearchResponse> Search(std::string_view collection, const SearchRequest& request,
                                const CancelToken* cancel = nullptr) const;
  // With a reader and no decoder the answer is what the reader finds in the sources.
  // on_text gets the answer's text as it is made (never the reasoning); null: not streamed.
  Result<Answer> Ask(std::string_view collection, const AskRequest& request,
                     const Generator::TokenCallback* on_text = nullptr,
                     const CancelToken* cancel = nullptr) const;
  // The decoder alone, without retrieval. Errors: failed_precondition when no decoder is
  // configured.
  Result<GenerateResult> Chat(std::span<const ChatMessage> messages, const ChatOptions& options,
                              const Generator::TokenCallback* on_text = nullptr,
                              const CancelToken* cancel = nullptr) const;
  // As Generator::CompileConstraint, for Ask and Chat. Errors: failed_precondition when no decoder
  // is configured.
  Result<std::shared_ptr<const CompiledConstraint>> CompileConstraint(
      const OutputConstraint& constraint) const;
  // With the role's prompt before each text: kQuery and kDocument give what search and ingestion
  // use. Errors: invalid_argument naming an empty text.
  Result<Embeddings> Embed(std::span<const std::string_view> texts,
                           TextRole role = TextRole::kPlain,
                           const CancelToken* cancel = nullptr) const;

  // Pictures in the space of the texts' vectors. Errors: failed_precondition when the encoder does
  // not encode images, or there is none; those of Encoder::EncodeImages.
  Result<Embeddings> EmbedImages(std::span<const Image> images,
                                 const CancelToken* cancel = nullptr) const;
  // Which label each picture shows. Errors: as EmbedImages; invalid_argument naming what the
  // request breaks.
  Result<std::vector<Classification>> Classify(std::span<const Image> images,
                                               const ClassifyRequest& request,
                                               const CancelToken* cancel = nullptr) const;

  // The labels of each text. Errors: failed_precondition when no classifier is configured, or
  // labels are given and it is none for natural language inference; invalid_argument naming what
  // the request breaks, or when the classifier labels tokens; cancelled.
  Result<std::vector<Classification>> ClassifyTexts(std::span<const std::string_view> texts,
                                                    const ClassifyTextsRequest& request,
                                                    const CancelToken* cancel = nullptr) const;
  // The places in each text that the classifier of tokens labels. Errors: failed_precondition when
  // none is configured; invalid_argument when it labels whole texts; cancelled.
  Result<std::vector<std::vector<LabelledRange>>> LabelRanges(
      std::span<const std::string_view> texts, const CancelToken* cancel = nullptr) const;

  // How well each passage answers the query, by the reranker alone. Errors: failed_precondition
  // when no reranker is configured.
  Result<RerankScores> Rerank(std::string_view query, std::span<const std::string_view> passages,
                              const CancelToken* cancel = nullptr) const;

  // --- care ---
  // Indexes the folder's corpus under `collection`, which is made for it (without vectors when the
  // mode is lexical) and afterwards holds this corpus alone, then measures. Errors:
  // failed_precondition when the collection holds documents of another kind; invalid_argument with
  // file and line.
  Result<EvaluateReport> Evaluate(std::string_view collection, const EvaluateRequest& request,
                                  IngestProgress* progress = nullptr,
                                  const CancelToken* cancel = nullptr);
  // Everything Collection::Verify checks, and every chunk's range against its document's text.
  Result<VerifyReport> Verify(std::string_view collection,
                              const CancelToken* cancel = nullptr) const;
  // As Collection::MeasureRecall.
  Result<RecallReport> MeasureRecall(std::string_view collection, size_t sample, size_t k,
                                     const CancelToken* cancel = nullptr) const;
  // As Collection::Tune.
  Result<TuneReport> Tune(std::string_view collection, const TuneGoal& goal, bool apply,
                          CareProgress* progress = nullptr, const CancelToken* cancel = nullptr);
  // As the Store's methods of these names; Restore makes what Open then opens.
  Result<BackupReport> Backup(const std::string& destination, CareProgress* progress = nullptr,
                              const CancelToken* cancel = nullptr);
  static Result<BackupReport> Restore(const std::string& backup, const std::string& db_path,
                                      CareProgress* progress = nullptr,
                                      const CancelToken* cancel = nullptr);
  Result<VacuumReport> Vacuum(CareProgress* progress = nullptr,
                              const CancelToken* cancel = nullptr);
  // As Generator::SaveCache, of decoder.cache_path. Errors: failed_precondition without a decoder
  // or a path.
  Result<CacheSaveReport> SaveGeneratorCache();
  Result<EncoderInfo> GetEncoderInfo() const;                             // loads it
  Result<std::optional<SparseEncoderInfo>> GetSparseEncoderInfo() const;  // likewise; nullopt: none
  Result<std::optional<RerankerInfo>> GetRerankerInfo() const;            // loads it; nullopt: none
  Result<std::optional<GeneratorInfo>> GetGeneratorInfo() const;          // loads it; nullopt: none
  // Loads it, as what its files say that it is; nullopt: none.
  Result<std::optional<ClassifierInfo>> GetClassifierInfo() const;
  Status LoadReader() const;                                      // where there is one
  std::optional<GeneratorActivity> GetGeneratorActivity() const;  // nullopt: none is loaded
  // Ok, or why no document can be written: failed_precondition when the store is open for reading
  // alone, io_error after a failed write, until the engine is opened again.
  Status CheckWrites() const;
  // As Store::Refresh: an engine that is open for reading sees what another process has written.
  Result<bool> Refresh();
  const EngineOptions& options() const;
  // Saves the indexes, closes the store, and writes the decoder's cache if it has a path and holds
  // anything new. Also done by the destructor, which cannot report errors, but for
  // the cache.
  Status Close();

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rag
