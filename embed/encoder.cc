#include "embed/encoder.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <numeric>
#include <utility>

#include "embed/encoder_config.h"
#include "embed/encoder_forward.h"
#include "embed/encoder_weights.h"
#include "lib/base/file.h"
#include "lib/base/hash.h"
#include "lib/text/unicode.h"

namespace rag {
namespace {

// Part of every fingerprint: raised when the same files begin to give other vectors.
constexpr int kFingerprintVersion = 1;
// Tokens of a batch: enough that a product's weights, read once for each block of rows, cost little
// against its arithmetic, and small enough that the activations (7 kB a token for MiniLM) stay
// near.
constexpr size_t kBatchTokens = 512;
// Texts that a worker tokenizes between two looks at the cancel token.
constexpr size_t kTokenizeGrain = 8;

class FolderEncoder final : public Encoder {
 public:
  FolderEncoder(EncoderConfig config, EncoderWeights weights, std::unique_ptr<Tokenizer> tokenizer,
                EncoderInfo info, std::array<size_t, kTextRoles> prompt_ends,
                const Runtime& runtime)
      : config_(std::move(config)),
        weights_(std::move(weights)),
        tokenizer_(std::move(tokenizer)),
        info_(std::move(info)),
        prompt_ends_(prompt_ends),
        runtime_(runtime),
        forward_(config_, weights_, runtime) {}

  Result<Embeddings> Encode(std::span<const std::string_view> texts, TextRole role,
                            const CancelToken* cancel) const override;
  const EncoderInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }

 private:
  const EncoderConfig config_;
  const EncoderWeights weights_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const EncoderInfo info_;
  // Where a text's own tokens begin after a role's prompt; 0 without one.
  const std::array<size_t, kTextRoles> prompt_ends_;
  const Runtime& runtime_;
  const EncoderForward forward_;
};

bool IsCancelled(const CancelToken* cancel) { return cancel != nullptr && cancel->cancelled(); }

// Sequences in order of length, longest first, cut into runs of at most `budget` tokens (a single
// sequence may be longer): the long ones start early, and a run's members are alike.
std::vector<std::span<const TokenSequence>> CutBatches(std::span<const TokenSequence> sequences,
                                                       size_t budget) {
  std::vector<std::span<const TokenSequence>> batches;
  size_t first = 0;
  size_t tokens = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const size_t length = sequences[i].ids.size();
    if (i > first && tokens + length > budget) {
      batches.push_back(sequences.subspan(first, i - first));
      first = i;
      tokens = 0;
    }
    tokens += length;
  }
  if (first < sequences.size()) batches.push_back(sequences.subspan(first));
  return batches;
}

Result<Embeddings> FolderEncoder::Encode(std::span<const std::string_view> texts, TextRole role,
                                         const CancelToken* cancel) const {
  ThreadPool& pool = runtime_.pool();
  Embeddings result;
  result.vectors = Matrix(texts.size(), info_.dim);
  result.truncated.resize(texts.size());

  std::vector<Encoding> encodings(texts.size());
  const EncodeOptions options{.max_tokens = config_.max_tokens};
  const EncoderPrompt& prompt = info_.prompt(role);
  const size_t pool_begin = config_.pool_prompt ? 0 : prompt_ends_[static_cast<size_t>(role)];
  pool.ParallelFor(texts.size(), kTokenizeGrain, [&](size_t begin, size_t end, int) {
    if (IsCancelled(cancel)) return;
    std::string prompted;
    for (size_t i = begin; i < end; ++i) {
      std::string_view text = texts[i];
      if (!prompt.text.empty()) {
        prompted = prompt.text;
        prompted += text;
        text = prompted;
      }
      encodings[i] = config_.lower_case ? tokenizer_->Encode(ToLower(text), options)
                                        : tokenizer_->Encode(text, options);
    }
  });
  if (IsCancelled(cancel)) return CancelledError("encoding was cancelled");

  std::vector<TokenSequence> sequences(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (encodings[i].ids.size() > config_.max_tokens) {
      return InternalError("the tokenizer gave ", encodings[i].ids.size(), " tokens, more than ",
                           config_.max_tokens);
    }
    sequences[i] = {encodings[i].ids, encodings[i].type_ids, result.vectors.row(i).data(),
                    std::min(pool_begin, std::max<size_t>(encodings[i].ids.size(), 1) - 1)};
    result.truncated[i] = static_cast<uint32_t>(encodings[i].truncated);
    result.stats.tokens += encodings[i].ids.size();
    result.stats.truncated_texts += encodings[i].truncated > 0;
    result.stats.truncated_tokens += encodings[i].truncated;
  }
  result.stats.texts = texts.size();
  std::stable_sort(
      sequences.begin(), sequences.end(),
      [](const TokenSequence& a, const TokenSequence& b) { return a.ids.size() > b.ids.size(); });

  const size_t workers = static_cast<size_t>(pool.size());
  std::vector<EncoderWorkspace> workspaces(workers);
  std::vector<EncoderScratch> scratch(workers);
  for (EncoderScratch& each : scratch) each = forward_.MakeScratch();
  std::atomic<bool> stopped = false;
  if (texts.size() < workers) {
    // Too few texts for a worker each: all work on one batch.
    if (!forward_.EncodeBatch(sequences, workspaces[0], scratch, cancel)) stopped = true;
  } else {
    const size_t share = (result.stats.tokens + workers - 1) / workers;
    const auto batches = CutBatches(sequences, std::clamp<size_t>(share, 1, kBatchTokens));
    pool.ParallelFor(batches.size(), 1, [&](size_t begin, size_t end, int worker) {
      for (size_t i = begin; i < end && !stopped; ++i) {
        if (!forward_.EncodeBatch(batches[i], workspaces[static_cast<size_t>(worker)], scratch,
                                  cancel)) {
          stopped = true;
        }
      }
    });
  }
  if (stopped) return CancelledError("encoding was cancelled");
  return result;
}

// The files that Tokenizer::Load reads from a folder, in its order of preference.
std::vector<std::string> TokenizerFiles(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path base(folder);
  if (fs::exists(base / "tokenizer.json", error)) return {(base / "tokenizer.json").string()};
  if (fs::exists(base / "vocab.txt", error)) return {(base / "vocab.txt").string()};
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(base, error)) {
    if (entry.path().extension() == ".model") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// tokenizer_config.json is among the config's source bytes only where it sets the length, and it
// sets the casing of a vocab.txt: it is hashed here in any case.
Result<uint64_t> HashTokenizer(const std::string& folder) {
  std::vector<std::string> files = TokenizerFiles(folder);
  const std::filesystem::path settings = std::filesystem::path(folder) / "tokenizer_config.json";
  std::error_code error;
  if (std::filesystem::exists(settings, error)) files.push_back(settings.string());
  uint64_t hash = 0;
  for (const std::string& path : files) {
    RAG_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
    hash = Hash64(file.bytes(), hash);
  }
  return hash;
}

std::string MakeFingerprint(const EncoderConfig& config, const EncoderWeights& weights,
                            uint64_t tokenizer_hash) {
  const uint64_t parts[] = {kFingerprintVersion, Hash64(config.source_bytes), tokenizer_hash,
                            weights.hash};
  return StrCat(config.model_type, '-', config.hidden, '-', PoolingName(config.pooling), '-',
                HashToHex(Hash64(std::as_bytes(std::span(parts)))));
}

}  // namespace

Result<std::unique_ptr<Encoder>> Encoder::Load(const std::string& folder, const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(EncoderConfig config, ReadEncoderConfig(folder));
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(config.folder));
  if (tokenizer->vocab_size() > config.vocab) {
    return InvalidArgumentError(config.folder, ": the tokenizer has ", tokenizer->vocab_size(),
                                " pieces and config.json's 'vocab_size' is ", config.vocab);
  }
  RAG_ASSIGN_OR_RETURN(EncoderWeights weights, EncoderWeights::Load(config, runtime));
  RAG_ASSIGN_OR_RETURN(const uint64_t tokenizer_hash, HashTokenizer(config.folder));
  EncoderInfo info{
      .model_type = config.model_type,
      .dim = config.hidden,
      .layers = config.layers,
      .heads = config.heads,
      .max_tokens = config.max_tokens,
      .pooling = config.pooling,
      .normalize = config.normalize,
      .fingerprint = MakeFingerprint(config, weights, tokenizer_hash),
      .weight_bytes = weights.bytes,
  };
  std::array<size_t, kTextRoles> prompt_ends = {};
  const size_t special = tokenizer->Encode("").ids.size();
  for (size_t role = 0; role < kTextRoles; ++role) {
    const std::string& prompt = config.prompts[role];
    if (prompt.empty()) continue;
    const Encoding encoding = tokenizer->Encode(config.lower_case ? ToLower(prompt) : prompt);
    const size_t tokens = encoding.ids.size();
    if (tokens >= config.max_tokens) {
      return InvalidArgumentError(folder, ": the prompt of role '",
                                  TextRoleName(static_cast<TextRole>(role)), "' has ", tokens,
                                  " tokens, and the encoder reads ", config.max_tokens);
    }
    info.prompts[role] = {prompt, tokens - std::min(special, tokens)};
    // As sentence-transformers counts them: what the tokenizer adds in front is the prompt's too.
    prompt_ends[role] = tokens - (tokens > 0 && tokenizer->IsSpecial(encoding.ids.back()) ? 1 : 0);
  }
  return std::unique_ptr<Encoder>(
      std::make_unique<FolderEncoder>(std::move(config), std::move(weights), std::move(tokenizer),
                                      std::move(info), prompt_ends, runtime));
}

}  // namespace rag
