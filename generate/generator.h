// Generator: a decoder language model from a GGUF file: prompt tokens -> tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "generate/output_constraint.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"
#include "lib/template/chat_template.h"
#include "lib/tensor/tensor.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// "f32", "f16", "q8_0" or "q4_0": GeneratorOptions::cache_type. Errors: invalid_argument.
Result<DType> ParseKvType(std::string_view name);

// A LoRA adapter (Hu et al. 2022) that requests may name: a GGUF file as llama.cpp's converter
// writes it, or a folder of PEFT's.
struct AdapterOptions {
  std::string name;  // of at most 128 bytes, unlike the others'
  std::string path;
  double scale = 1;  // where a request gives none: how much of it is added, within [-100, 100]
};

struct GeneratorOptions {
  size_t context_tokens = 0;  // of one sequence; 0: what the file says, at most 8,192
  size_t max_sequences = 8;   // generated side by side, 1 to 256; more wait
  // Tokens that are guessed at most, from what a text has said before or by a draft model, and run
  // together with the next one, up to 16; 0: none, or 8 with a draft model. What comes out is the
  // same; an answer that copies takes fewer steps, and a wrong guess costs a part of one.
  size_t draft_tokens = 0;
  // A smaller model of the same vocabulary, as Load takes them, which guesses what the text itself
  // does not; "": none. A guess ends before a token to which it gives less than
  // draft_min_probability, which is in [0, 1).
  std::string draft_model;
  double draft_min_probability = 0.5;
  // How keys and values are kept: kF32, kF16, kQ8_0 or kQ4_0; the draft model's too.
  DType cache_type = DType::kF32;
  // Of all keys and values, taken from the system as needed; 0: max_sequences contexts, but no more
  // than a quarter of the machine's memory or, where that is more, one context.
  size_t cache_bytes = 0;
  // A file that SaveCache writes the keys and values of earlier texts to, and Load reads them from,
  // so that they need not be run again; "": none. It holds the texts' tokens, and only its owner
  // may read it. One that is damaged, or of another model, type of cache, instruction set or
  // version of the program, is not used, and the log says why.
  std::string cache_path;
  // Weights are left where they are in the mapped file, which other processes share, instead of
  // being laid out anew in memory of our own for faster products.
  bool mapped_weights = false;
  std::vector<AdapterOptions> adapters;  // at most 64
};

// What a generator is doing.
struct GeneratorActivity {
  size_t running = 0;  // sequences in the batch
  size_t waiting = 0;
  // All of it with the draft model's.
  size_t cache_bytes = 0;  // taken from the system; never more than
  size_t cache_max_bytes = 0;
  // Blocks of 32 tokens: of the sequences in the batch (a shared one counts for each), in use by
  // them or kept for what begins alike, and nodes that keep one.
  size_t cache_sequence_blocks = 0;
  size_t cache_used_blocks = 0;
  size_t cache_kept_blocks = 0;
  size_t preemptions = 0;       // since it was loaded: a sequence gave its blocks up
  size_t constraint_bytes = 0;  // of compiled constraints and what they keep and share; about
};

struct CacheSaveReport {
  size_t blocks = 0;  // of 32 tokens, some of them begun
  size_t tokens = 0;
  size_t bytes = 0;
  double seconds = 0;
};

struct AdapterInfo {
  std::string name;
  std::string path;
  double scale = 1;       // where a request gives none
  size_t rank = 0;        // the largest of its matrices
  size_t parameters = 0;  // kept in f32
};

struct GeneratorInfo {
  std::string name;          // general.name, else the file's name
  std::string architecture;  // "llama"
  std::string quantization;  // the commonest weight type, "Q4_K"
  size_t parameters = 0;
  size_t layers = 0;
  size_t heads = 0;
  size_t kv_heads = 0;
  size_t width = 0;
  size_t vocab_size = 0;
  size_t context_tokens = 0;
  size_t trained_context = 0;  // what the file says
  size_t largest_context = 0;  // that it could be opened with
  size_t weight_bytes = 0;
  size_t token_bytes = 0;  // of them, those that a pass of one token reads
  bool has_chat_template = false;
  std::vector<AdapterInfo> adapters;  // in the order of GeneratorOptions::adapters
};

// For an error of a text that does not fit in the context: "; …", which option makes it larger, and
// "" where nothing does.
std::string LargerContext(const GeneratorInfo& info);

// How the next token is chosen: logits are changed by the biases and penalties, then by the
// temperature, candidates are dropped in the order of the fields from top_n_sigma to
// xtc_probability, and one of those left is drawn. With a temperature of 0 the likeliest is taken.
struct SamplingOptions {
  double temperature = 0.0;  // at most 100
  size_t top_k = 0;          // 0: off
  double top_p = 1.0;        // (0, 1]; nucleus sampling (Holtzman et al. 2020)
  double min_p = 0.0;        // [0, 1); of the likeliest's probability (Nguyen et al. 2024)

  std::vector<std::pair<TokenId, double>> logit_bias;  // added to logits; at most 1,024
  double repetition_penalty = 1.0;  // > 0; CTRL (Keskar et al. 2019), over the last 64 tokens
  double presence_penalty = 0.0;    // taken off a token's logit once it was generated
  double frequency_penalty = 0.0;   // and for each time that it was; not of the prompt
  // DRY ("Don't Repeat Yourself", p-e-w 2024): what would go on with a repetition of `length`
  // tokens loses multiplier * base^(length - allowed_length). Over the last 1,024 tokens; line
  // breaks, colons, quotes and stars end a repetition.
  double dry_multiplier = 0.0;  // 0: off
  double dry_base = 1.75;       // >= 1
  size_t dry_allowed_length = 2;

  double top_n_sigma = 0.0;  // 0: off; logits within n standard deviations of the largest, before
                             // the temperature (Tang et al. 2024)
  // Here top_k.
  double typical_p = 1.0;  // (0, 1]; locally typical sampling (Meister et al. 2022)
  // Here top_p and min_p.
  // XTC ("Exclude Top Choices", p-e-w 2024): with this probability, all but the least likely of
  // those above the threshold are dropped.
  double xtc_probability = 0.0;  // [0, 1]
  double xtc_threshold = 0.1;    // (0, 1]

  // Mirostat 2.0 (Basu et al. 2021): instead of all droppings above, those that keep the surprise
  // near tau bits; eta is how fast it learns.
  double mirostat_tau = 0.0;  // 0: off
  double mirostat_eta = 0.1;  // (0, 1]

  uint64_t seed = 0;  // equal seeds give equal outputs
};

// An adapter of GeneratorOptions::adapters in a request.
struct AdapterUse {
  std::string name;
  std::optional<double> scale = {};  // within [-100, 100]; none: the adapter's own
};

struct GenerateRequest {
  std::vector<TokenId> prompt;  // from EncodePrompt or RenderChat
  size_t max_tokens = 256;      // new tokens; also bounded by the context
  SamplingOptions sampling;
  std::vector<std::string> stop;  // strings that end the output, at most 16; not part of it; found
                                  // over token borders
  // What the text must be. An output that ends by itself, or that max_tokens ends, is whole: near
  // the limit only tokens are drawn after which the rest still fits.
  OutputConstraint constraint;
  std::vector<AdapterUse> adapters;  // what they add is summed; none: the model as it is
  int priority = 0;  // requests with a higher one go first, where they have to wait for each other
  bool logprobs = false;    // GenerateResult::logprobs is filled in,
  size_t top_logprobs = 0;  // with this many of the likeliest tokens each, at most 20
};

enum class FinishReason { kStop, kLength, kCancelled };
std::string_view FinishReasonName(FinishReason reason);  // "stop", "length", "cancelled"

// Natural logarithm of a probability as the model gives it, before options and constraint.
struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;
  std::string bytes;  // what the token adds to the text; half a character is possible
};
struct TokenLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // most likely first
};

// A part of the text that is certain: whole UTF-8 characters that cannot be the beginning of a stop
// string.
struct TextPiece {
  template <class Text>
  requires std::is_convertible_v<const Text&, std::string_view> TextPiece(
      const Text& of, std::span<const TokenLogprobs> with = {})  // NOLINT: implicit
      : text(of), logprobs(with) {}
  operator std::string_view() const { return text; }  // NOLINT: implicit by design

  std::string_view text;
  // Where asked for: of the tokens that begin in it; after the last text with none, of those that
  // added none.
  std::span<const TokenLogprobs> logprobs;
};

struct GenerateResult {
  std::string text;
  std::vector<TokenId> tokens;
  // Where asked for: of each token, but those at the end that a stop string cut off whole.
  std::vector<TokenLogprobs> logprobs;
  FinishReason finish_reason = FinishReason::kStop;
  size_t prompt_tokens = 0;
  // Of the prompt's, from its beginning: they stood in the cache, since an earlier text began with
  // the same ones. Nothing else changes: the logits are those of a fresh run, bit for bit.
  size_t cached_tokens = 0;
  size_t guessed_tokens = 0;  // of `tokens`: needed no step of their own
  double prefill_ms = 0;
  double decode_ms = 0;
};

class CompiledConstraint;

// Threads: calls may come from several threads; they are served together, in one batch, and each
// gives what it would give alone. More than max_sequences wait their turn.
class Generator {
 public:
  // Errors: those of GgufFile::Open; unsupported naming the architecture, the tensor type, or
  // what of an adapter is not known; invalid_argument naming the tensor, key or option;
  // resource_exhausted when cache_bytes, or 256 GiB, do not hold one context; for cache_path,
  // invalid_argument when it is another kind of file, and those of creating and reading files.
  static Result<std::unique_ptr<Generator>> Load(const std::string& path,
                                                 const GeneratorOptions& options,
                                                 const Runtime& runtime);
  virtual ~Generator() = default;

  // Called with each piece of text as soon as it is certain. Return false to stop (finish_reason
  // kCancelled).
  using TokenCallback = FunctionRef<bool(const TextPiece& piece)>;

  // Errors: not_found naming an adapter that is not loaded; invalid_argument naming the option, an
  // adapter that is named twice, or when max_tokens (or the context) has no room for
  // the shortest text that the constraint allows; out_of_range when the prompt does not fit in the
  // context; resource_exhausted when what a constraint allows takes too much to work out;
  // unavailable when 1,024 calls wait already; data_loss when the model gives a logit that is no
  // number; those of ValidateConstraint. on_text is called on the calling thread; a slow one holds
  // nobody up.
  virtual Result<GenerateResult> Generate(const GenerateRequest& request,
                                          const TokenCallback* on_text = nullptr,
                                          const CancelToken* cancel = nullptr) = 0;

  // A constraint checked before there is a request. While what it gives is held, equal constraints
  // of requests share it and need not be compiled; the generator outlives it. Errors:
  // ValidateConstraint's; invalid_argument when nothing that matches can be written with the
  // vocabulary; unavailable while the constraints of other requests take too much memory.
  virtual Result<std::shared_ptr<const CompiledConstraint>> CompileConstraint(
      const OutputConstraint& constraint) = 0;

  // The chat template applied to the messages, tokenized: the template's own control tokens are
  // parsed, those written inside a message's content are not. Without a template in the file, a
  // plain "role: content" form is used.
  virtual Result<std::vector<TokenId>> RenderChat(std::span<const ChatMessage> messages,
                                                  bool add_generation_prompt = true) const = 0;
  // Plain text, with the beginning-of-text token when the model wants one; control tokens in the
  // text are ordinary characters.
  virtual Result<std::vector<TokenId>> EncodePrompt(std::string_view text) const = 0;

  // Log-probability of each token of `tokens` after the first, given those before: [n - 1], natural
  // logarithm. For perplexity and parity.
  virtual Result<std::vector<float>> Score(std::span<const TokenId> tokens,
                                           std::span<const AdapterUse> adapters = {}) = 0;

  // Writes GeneratorOptions::cache_path: after a crash it holds what it did or all that is written
  // now. The batch goes on meanwhile; where its cache is full, a block that it needs may have to be
  // written first. Errors: failed_precondition without a path; those of writing files.
  virtual Result<CacheSaveReport> SaveCache() = 0;
  // Whether blocks have come or gone since the file was read or written.
  virtual bool CacheChanged() = 0;

  virtual GeneratorActivity activity() const = 0;
  virtual const GeneratorInfo& info() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
};

}  // namespace rag
