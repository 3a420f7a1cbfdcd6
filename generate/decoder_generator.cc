// Generator over a Decoder, whose batch a scheduler runs.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <mutex>

#include "generate/cache_file.h"
#include "generate/cache_fingerprint.h"
#include "generate/chat_prompt.h"
#include "generate/constraint/constraint_cache.h"
#include "generate/decoder.h"
#include "generate/draft_model.h"
#include "generate/generation_task.h"
#include "generate/generator.h"
#include "generate/lora/adapter_table.h"
#include "generate/open_decoder.h"
#include "generate/scheduler.h"

namespace rag {
namespace {

constexpr size_t kDefaultContext = 8192;
constexpr size_t kMaxContext = size_t{1} << 24;
constexpr size_t kMaxSequences = 256;
constexpr size_t kMaxDraftTokens = 16;
constexpr size_t kModelDraftTokens = 8;  // where a draft model is named and no number
constexpr size_t kMaxCacheBytes = size_t{256} << 30;
constexpr size_t kMaxTopLogprobs = 20;
constexpr unsigned kCacheFileMode = 0600;  // it holds users' texts

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

size_t MachineBytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return 0;
  return static_cast<size_t>(pages) * static_cast<size_t>(page_bytes);
}

// Blocks that the cache may have. block_bytes: of a block here and one of the draft model's, which
// has as many.
Result<size_t> CacheBlocks(const GeneratorOptions& options, size_t block_bytes, size_t context,
                           size_t sequences) {
  const size_t blocks = KvPool::BlocksFor(context);
  const size_t limit = options.cache_bytes != 0 ? options.cache_bytes : kMaxCacheBytes;
  if (blocks > limit / block_bytes) {
    return ResourceExhaustedError("a context of ", context, " tokens takes ", blocks, " blocks of ",
                                  block_bytes, " bytes of keys and values, over the limit of ",
                                  limit, " bytes");
  }
  if (options.cache_bytes != 0) return options.cache_bytes / block_bytes;
  return std::max(blocks, std::min(blocks * sequences, MachineBytes() / 4 / block_bytes));
}

class DecoderGenerator final : public Generator {
 public:
  static Result<std::unique_ptr<Generator>> Load(const std::string& path,
                                                 const GeneratorOptions& options,
                                                 const Runtime& runtime);

  Result<GenerateResult> Generate(const GenerateRequest& request, const TokenCallback* on_text,
                                  const CancelToken* cancel) override;
  Result<std::shared_ptr<const CompiledConstraint>> CompileConstraint(
      const OutputConstraint& constraint) override {
    return constraints_->Compile(constraint);
  }
  Result<std::vector<TokenId>> RenderChat(std::span<const ChatMessage> messages,
                                          bool add_generation_prompt) const override {
    return prompt_->Render(messages, add_generation_prompt);
  }
  Result<std::vector<TokenId>> EncodePrompt(std::string_view text) const override {
    return prompt_->Encode(text);
  }
  Result<std::vector<float>> Score(std::span<const TokenId> tokens,
                                   std::span<const AdapterUse> adapters) override;
  Result<CacheSaveReport> SaveCache() override;
  bool CacheChanged() override;
  GeneratorActivity activity() const override {
    GeneratorActivity activity = scheduler_->activity();
    activity.constraint_bytes = constraints_->memory_bytes();
    return activity;
  }
  const GeneratorInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }

 private:
  DecoderGenerator(GgufFile file, const Runtime& runtime)
      : file_(std::move(file)), runtime_(runtime) {}
  Status Initialize(const GeneratorOptions& options);
  Status StartDecoder(const GeneratorOptions& options, const DecoderConfig& config, size_t context);
  Status LoadDraft(const GeneratorOptions& options, size_t context);
  Status LoadCache(const GeneratorOptions& options);
  Status CheckTokens(std::span<const TokenId> tokens) const;
  Status CheckRequest(const GenerateRequest& request) const;
  void FindDryBreaks();

  const GgufFile file_;
  const Runtime& runtime_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<ChatPrompt> prompt_;
  DecoderWeights weights_;
  AdapterTable adapters_;
  GeneratorInfo info_;
  std::unique_ptr<ConstraintCache> constraints_;
  size_t draft_tokens_ = 0;
  std::once_flag found_dry_breaks_;
  std::vector<bool> dry_breaks_;  // by id; empty until a request asks for it
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<DraftModel> draft_;  // null: there is none
  std::string cache_path_;
  uint64_t cache_fingerprint_ = 0;
  std::mutex cache_mutex_;    // guards the next, once loaded, and the writing of the file
  size_t saved_changes_ = 0;  // the tree's, when the file was read or written
  std::unique_ptr<BatchScheduler> scheduler_;  // last: its thread uses everything above
};

Result<std::unique_ptr<Generator>> DecoderGenerator::Load(const std::string& path,
                                                          const GeneratorOptions& options,
                                                          const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(GgufFile file, OpenDecoder(path));
  std::unique_ptr<DecoderGenerator> generator(new DecoderGenerator(std::move(file), runtime));
  RAG_RETURN_IF_ERROR(generator->Initialize(options));
  return std::unique_ptr<Generator>(std::move(generator));
}

Status DecoderGenerator::Initialize(const GeneratorOptions& options) {
  RAG_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(file_));
  RAG_ASSIGN_OR_RETURN(weights_, ReadDecoderWeights(file_, config));
  RAG_ASSIGN_OR_RETURN(tokenizer_, OpenTokenizer(file_, config));
  prompt_ = std::make_unique<ChatPrompt>(file_, *tokenizer_);
  size_t context = options.context_tokens;
  if (context == 0) context = std::min(config.file_context, kDefaultContext);
  if (context > kMaxContext) {
    return InvalidArgumentError("context_tokens ", context, " is over the limit of ", kMaxContext);
  }
  if (context > config.file_context) {
    runtime_.Log(LogLevel::kWarning,
                 StrCat(file_.path(), ": a context of ", context,
                        " tokens is longer than the file's ", config.file_context));
  }
  RAG_RETURN_IF_ERROR(adapters_.Load(options.adapters, config, weights_));
  if (!options.mapped_weights) {
    RAG_RETURN_IF_ERROR(PackDecoderWeights(file_, runtime_, weights_));
  }
  constraints_ = std::make_unique<ConstraintCache>(*tokenizer_, ConstraintCache::kMaxBytes,
                                                   prompt_->end_tokens());
  RAG_RETURN_IF_ERROR(StartDecoder(options, config, context));
  if (!options.cache_path.empty()) RAG_RETURN_IF_ERROR(LoadCache(options));

  const Value* name = file_.FindMetadata("general.name");
  info_.name = name != nullptr && name->is_string() && !name->as_string().empty()
                   ? name->as_string()
                   : std::filesystem::path(file_.path()).filename().string();
  info_.architecture = config.architecture;
  info_.quantization = weights_.commonest_type;
  info_.parameters = weights_.parameters;
  info_.layers = config.layers;
  info_.heads = config.heads;
  info_.kv_heads = config.kv_heads;
  info_.width = config.width;
  info_.vocab_size = tokenizer_->vocab_size();
  info_.context_tokens = context;
  info_.trained_context = config.file_context;
  info_.largest_context = config.learned_positions ? config.file_context : kMaxContext;
  info_.weight_bytes = weights_.bytes;
  info_.token_bytes = weights_.token_bytes;
  info_.has_chat_template = prompt_->has_template();
  info_.adapters = adapters_.infos();
  return OkStatus();
}

Status DecoderGenerator::StartDecoder(const GeneratorOptions& options, const DecoderConfig& config,
                                      size_t context) {
  if (!IsKvType(options.cache_type)) {
    return InvalidArgumentError("cache_type ", GetDTypeInfo(options.cache_type).name,
                                " is not F32, F16, Q8_0 or Q4_0");
  }
  if (options.draft_tokens > kMaxDraftTokens) {
    return InvalidArgumentError("draft_tokens ", options.draft_tokens, " is over the limit of ",
                                kMaxDraftTokens);
  }
  draft_tokens_ = options.draft_tokens;
  if (draft_tokens_ == 0 && !options.draft_model.empty()) draft_tokens_ = kModelDraftTokens;
  const size_t sequences = options.max_sequences;
  if (sequences == 0 || sequences > kMaxSequences) {
    return InvalidArgumentError("max_sequences ", sequences, " is not between 1 and ",
                                kMaxSequences);
  }
  const KvShape shape = {.layers = config.layers,
                         .heads = config.kv_heads,
                         .head_dim = config.head_dim,
                         .type = options.cache_type};
  size_t block_bytes = KvPool::BlockBytes(shape);
  if (!options.draft_model.empty()) {
    RAG_RETURN_IF_ERROR(LoadDraft(options, context));
    block_bytes += KvPool::BlockBytes(draft_->cache_shape());
  }
  RAG_ASSIGN_OR_RETURN(const size_t blocks, CacheBlocks(options, block_bytes, context, sequences));
  RAG_ASSIGN_OR_RETURN(pool_, KvPool::Create(shape, blocks * KvPool::BlockBytes(shape)));
  if (draft_ != nullptr) RAG_RETURN_IF_ERROR(draft_->Start(blocks));
  RAG_ASSIGN_OR_RETURN(decoder_, Decoder::Create(config, weights_, *pool_, context,
                                                 sequences + Decoder::kChunkTokens, runtime_));
  scheduler_ = std::make_unique<BatchScheduler>(*decoder_, *pool_, tokenizer_->vocab_size(),
                                                sequences, runtime_, draft_.get());
  return OkStatus();
}

Status DecoderGenerator::LoadDraft(const GeneratorOptions& options, size_t context) {
  if (!(options.draft_min_probability >= 0 && options.draft_min_probability < 1)) {
    return InvalidArgumentError("draft_min_probability ", options.draft_min_probability,
                                " is not in [0, 1)");
  }
  auto draft = DraftModel::Load(options.draft_model, *tokenizer_,
                                {.context = context,
                                 .max_sequences = options.max_sequences,
                                 .tokens = draft_tokens_,
                                 .min_probability = options.draft_min_probability,
                                 .cache_type = options.cache_type,
                                 .mapped_weights = options.mapped_weights},
                                runtime_);
  if (!draft.ok()) return std::move(draft).status().WithContext("the draft model");
  draft_ = std::move(draft).value();
  return OkStatus();
}

Status DecoderGenerator::LoadCache(const GeneratorOptions& options) {
  cache_path_ = options.cache_path;
  // Told now, and not when there is something to lose.
  RAG_RETURN_IF_ERROR(AtomicFile::Create(cache_path_, kCacheFileMode).status());
  RAG_ASSIGN_OR_RETURN(cache_fingerprint_, CacheFingerprint(file_, *decoder_, *pool_,
                                                            options.mapped_weights, runtime_));
  const auto start = std::chrono::steady_clock::now();
  const auto read = [&](PrefixTree& tree) {
    const Result<CacheContents> contents =
        ReadCacheFile(cache_path_, cache_fingerprint_, tokenizer_->vocab_size(), *pool_, tree);
    if (contents.ok()) {
      saved_changes_ = tree.changes();
      if (contents->blocks > 0) {
        runtime_.Log(LogLevel::kInfo,
                     StrCat("the cache '", cache_path_, "' gave the keys and values of ",
                            contents->tokens, " tokens in ", SecondsSince(start), " s"));
      }
      return OkStatus();
    }
    const StatusCode code = contents.status().code();
    // What may be something else than a cache must not be written over.
    if (code != StatusCode::kDataLoss && code != StatusCode::kFailedPrecondition) {
      return contents.status();
    }
    runtime_.Log(LogLevel::kWarning, StrCat(contents.status().message(),
                                            "; it is not used, and written anew when it is saved"));
    return OkStatus();
  };
  return scheduler_->WithCache(BatchScheduler::CacheWork(read));
}

Result<CacheSaveReport> DecoderGenerator::SaveCache() {
  if (cache_path_.empty()) {
    return FailedPreconditionError("the decoder was loaded without a file for its cache");
  }
  const auto start = std::chrono::steady_clock::now();
  std::lock_guard lock(cache_mutex_);
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file,
                       AtomicFile::Create(cache_path_, kCacheFileMode));
  std::optional<CacheSnapshot> snapshot;
  size_t changes = 0;
  const auto take = [&](PrefixTree& tree) {
    changes = tree.changes();
    snapshot.emplace(tree, *pool_);
    return OkStatus();
  };
  RAG_RETURN_IF_ERROR(scheduler_->WithCache(BatchScheduler::CacheWork(take)));
  RAG_ASSIGN_OR_RETURN(const CacheContents written, snapshot->Write(cache_fingerprint_, *file));
  RAG_RETURN_IF_ERROR(file->Commit());
  saved_changes_ = changes;
  return CacheSaveReport{.blocks = written.blocks,
                         .tokens = written.tokens,
                         .bytes = written.bytes,
                         .seconds = SecondsSince(start)};
}

bool DecoderGenerator::CacheChanged() {
  std::lock_guard lock(cache_mutex_);
  bool changed = false;
  const auto compare = [&](PrefixTree& tree) {
    changed = tree.changes() != saved_changes_;
    return OkStatus();
  };
  return !cache_path_.empty() && scheduler_->WithCache(BatchScheduler::CacheWork(compare)).ok() &&
         changed;
}

Status DecoderGenerator::CheckTokens(std::span<const TokenId> tokens) const {
  if (tokens.empty()) return InvalidArgumentError("there are no tokens");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || static_cast<size_t>(tokens[i]) >= info_.vocab_size) {
      return InvalidArgumentError("token ", i, " has id ", tokens[i],
                                  ", which is not in the vocabulary of ", info_.vocab_size);
    }
  }
  if (tokens.size() > info_.context_tokens) {
    return OutOfRangeError(tokens.size(), " tokens do not fit in the context of ",
                           info_.context_tokens, LargerContext(info_));
  }
  return OkStatus();
}

// What DRY's author takes as the ends of repetitions: dialogues and lists repeat them for a reason.
void DecoderGenerator::FindDryBreaks() {
  for (size_t i = 0; i < tokenizer_->vocab_size(); ++i) {
    const TokenId id = static_cast<TokenId>(i);
    dry_breaks_.push_back(tokenizer_->IsSpecial(id) ||
                          tokenizer_->TokenBytes(id).find_first_of("\n:\"*") != std::string::npos);
  }
}

Status DecoderGenerator::CheckRequest(const GenerateRequest& request) const {
  RAG_RETURN_IF_ERROR(ValidateSampling(request.sampling));
  RAG_RETURN_IF_ERROR(ValidateStops(request.stop));
  if (request.top_logprobs > kMaxTopLogprobs) {
    return InvalidArgumentError("top_logprobs ", request.top_logprobs, " is over ",
                                kMaxTopLogprobs);
  }
  return CheckTokens(request.prompt).WithContext("the prompt");
}

Result<GenerateResult> DecoderGenerator::Generate(const GenerateRequest& request,
                                                  const TokenCallback* on_text,
                                                  const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(CheckRequest(request));
  RAG_ASSIGN_OR_RETURN(std::vector<LoraUse> adapters, adapters_.Find(request.adapters));
  GenerateResult none;
  none.prompt_tokens = request.prompt.size();
  none.finish_reason = FinishReason::kLength;
  if (request.max_tokens == 0) return none;
  none.finish_reason = FinishReason::kCancelled;
  if (cancel != nullptr && cancel->cancelled()) return none;

  const size_t limit =
      std::min(request.max_tokens, info_.context_tokens - request.prompt.size() + 1);
  std::unique_ptr<TokenConstraint> constraint;
  if (request.constraint.kind != OutputConstraint::Kind::kNone) {
    RAG_ASSIGN_OR_RETURN(constraint, constraints_->Take(request.constraint));
    if (constraint->shortest() > limit) {
      return InvalidArgumentError("the shortest output that the constraint allows may take ",
                                  constraint->shortest(), " tokens, and there is room for ", limit);
    }
  }
  if (request.sampling.dry_multiplier > 0) {
    std::call_once(found_dry_breaks_, [&] { FindDryBreaks(); });
  }
  const auto task = std::make_shared<GenerationTask>(
      request,
      GenerationTask::Model{.tokenizer = tokenizer_.get(),
                            .end_tokens = &prompt_->end_tokens(),
                            .dry_breaks = &dry_breaks_,
                            .draft_tokens = draft_tokens_},
      std::move(adapters), limit, std::move(constraint), on_text != nullptr);
  RAG_RETURN_IF_ERROR(scheduler_->Submit(task));
  Result<GenerateResult> result = task->Wait(on_text, cancel);
  if (auto used = task->TakeConstraint()) {
    constraints_->GiveBack(request.constraint, std::move(used));
  }
  return result;
}

Result<std::vector<float>> DecoderGenerator::Score(std::span<const TokenId> tokens,
                                                   std::span<const AdapterUse> adapters) {
  RAG_RETURN_IF_ERROR(CheckTokens(tokens));
  RAG_ASSIGN_OR_RETURN(std::vector<LoraUse> uses, adapters_.Find(adapters));
  if (tokens.size() == 1) return std::vector<float>();
  const auto task = std::make_shared<ScoreTask>(tokens, std::move(uses));
  RAG_RETURN_IF_ERROR(scheduler_->Submit(task));
  return task->Wait();
}

}  // namespace

Result<std::unique_ptr<Generator>> Generator::Load(const std::string& path,
                                                   const GeneratorOptions& options,
                                                   const Runtime& runtime) {
  return DecoderGenerator::Load(path, options, runtime);
}

}  // namespace rag
