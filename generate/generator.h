// Generator: a decoder language model from a GGUF file: prompt tokens -> tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

struct GeneratorOptions {
  size_t context_tokens = 0;  // 0: what the file says, at most 8,192; bounds the KV cache
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
  size_t weight_bytes = 0;
  bool has_chat_template = false;
};

// How the next token is chosen. In this order: penalty, temperature, top_k, top_p, min_p, draw.
struct SamplingOptions {
  double temperature = 0.0;         // 0: greedy (the rest but the penalty is not used); at most 100
  size_t top_k = 0;                 // 0: off
  double top_p = 1.0;               // (0, 1]
  double min_p = 0.0;               // [0, 1)
  double repetition_penalty = 1.0;  // > 0; CTRL (Keskar et al. 2019), over the last 64 tokens
  uint64_t seed = 0;                // equal seeds give equal outputs
};

struct GenerateRequest {
  std::vector<TokenId> prompt;  // from EncodePrompt or RenderChat
  size_t max_tokens = 256;      // new tokens; also bounded by the context
  SamplingOptions sampling;
  std::vector<std::string> stop;  // strings that end the output, at most 16; not part of it; found
                                  // over token borders
};

enum class FinishReason { kStop, kLength, kCancelled };
std::string_view FinishReasonName(FinishReason reason);  // "stop", "length", "cancelled"

struct GenerateResult {
  std::string text;
  std::vector<TokenId> tokens;
  FinishReason finish_reason = FinishReason::kStop;
  size_t prompt_tokens = 0;
  double prefill_ms = 0;
  double decode_ms = 0;
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// Threads: calls may come from several threads; they are served one after another.
class Generator {
 public:
  // Errors: those of GgufFile::Open; unimplemented naming the architecture or tensor type;
  // invalid_argument naming the tensor or key.
  static Result<std::unique_ptr<Generator>> Load(const std::string& path,
                                                 const GeneratorOptions& options,
                                                 const Runtime& runtime);
  virtual ~Generator() = default;

  // Called with each piece of text as soon as it is certain: whole UTF-8 characters that cannot be
  // the beginning of a stop string. Return false to stop (finish_reason kCancelled).
  using TokenCallback = FunctionRef<bool(std::string_view text)>;

  // Errors: invalid_argument naming the option; resource_exhausted when the prompt does not fit in
  // the context.
  virtual Result<GenerateResult> Generate(const GenerateRequest& request,
                                          const TokenCallback* on_text = nullptr,
                                          const CancelToken* cancel = nullptr) = 0;

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
  virtual Result<std::vector<float>> Score(std::span<const TokenId> tokens) = 0;

  virtual const GeneratorInfo& info() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
};

}  // namespace rag
