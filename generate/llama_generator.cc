// Generator over a LlamaDecoder.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "generate/chat_prompt.h"
#include "generate/generator.h"
#include "generate/llama_decoder.h"
#include "generate/sampler.h"
#include "generate/text_stream.h"

namespace rag {
namespace {

constexpr size_t kDefaultContext = 8192;
constexpr size_t kMaxContext = size_t{1} << 24;
// How often a call that waits for another one looks at its cancel token.
constexpr std::chrono::milliseconds kWaitStep(20);

double MillisecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// A mutex whose waiters can give up. std::timed_mutex is one too, but gcc 12's thread sanitizer
// does not see how it is locked with a time (pthread_mutex_clocklock).
class Turn {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [&] { return !taken_; });
    taken_ = true;
  }
  bool try_lock_for(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    if (!given_back_.wait_for(lock, time, [&] { return !taken_; })) return false;
    taken_ = true;
    return true;
  }
  void unlock() {
    {
      std::lock_guard lock(mutex_);
      taken_ = false;
    }
    given_back_.notify_one();
  }

 private:
  std::mutex mutex_;  // guards taken_
  std::condition_variable given_back_;
  bool taken_ = false;
};

class LlamaGenerator final : public Generator {
 public:
  static Result<std::unique_ptr<Generator>> Load(const std::string& path,
                                                 const GeneratorOptions& options,
                                                 const Runtime& runtime);

  Result<GenerateResult> Generate(const GenerateRequest& request, const TokenCallback* on_text,
                                  const CancelToken* cancel) override;
  Result<std::vector<TokenId>> RenderChat(std::span<const ChatMessage> messages,
                                          bool add_generation_prompt) const override {
    return prompt_->Render(messages, add_generation_prompt);
  }
  Result<std::vector<TokenId>> EncodePrompt(std::string_view text) const override {
    return prompt_->Encode(text);
  }
  Result<std::vector<float>> Score(std::span<const TokenId> tokens) override;
  const GeneratorInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }

 private:
  LlamaGenerator(GgufFile file, const Runtime& runtime)
      : file_(std::move(file)), runtime_(runtime) {}
  Status Initialize(const GeneratorOptions& options);
  Status CheckTokens(std::span<const TokenId> tokens) const;
  Status Prefill(std::span<const TokenId> prompt, const CancelToken* cancel);
  Status Decode(const GenerateRequest& request, const TokenCallback* on_text,
                const CancelToken* cancel, GenerateResult& result);
  std::string BytesAfter(std::span<const TokenId> before, TokenId id) const;
  std::unique_lock<Turn> Wait(const CancelToken* cancel);

  const GgufFile file_;
  const Runtime& runtime_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<ChatPrompt> prompt_;
  LlamaWeights weights_;
  GeneratorInfo info_;
  Turn turn_;  // guards decoder_ (its cache and buffers): one call at a time
  std::unique_ptr<LlamaDecoder> decoder_;
};

Result<std::unique_ptr<Generator>> LlamaGenerator::Load(const std::string& path,
                                                        const GeneratorOptions& options,
                                                        const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(GgufFile file, GgufFile::Open(path));
  std::unique_ptr<LlamaGenerator> generator(new LlamaGenerator(std::move(file), runtime));
  RAG_RETURN_IF_ERROR(generator->Initialize(options));
  return std::unique_ptr<Generator>(std::move(generator));
}

Status LlamaGenerator::Initialize(const GeneratorOptions& options) {
  RAG_ASSIGN_OR_RETURN(const LlamaConfig config, ReadLlamaConfig(file_));
  RAG_ASSIGN_OR_RETURN(weights_, ReadLlamaWeights(file_, config));
  RAG_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::FromGguf(file_));
  if (tokenizer_->vocab_size() != config.vocab_size) {
    return InvalidArgumentError(file_.path(), ": the vocabulary has ", tokenizer_->vocab_size(),
                                " tokens, the tensor 'token_embd.weight' ", config.vocab_size);
  }
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
  RAG_ASSIGN_OR_RETURN(decoder_, LlamaDecoder::Create(config, weights_, context, runtime_));

  const Value* name = file_.FindMetadata("general.name");
  info_.name = name != nullptr && name->is_string() && !name->as_string().empty()
                   ? name->as_string()
                   : std::filesystem::path(file_.path()).filename().string();
  info_.architecture = file_.FindMetadata("general.architecture")->as_string();
  info_.quantization = weights_.commonest_type;
  info_.parameters = weights_.parameters;
  info_.layers = config.layers;
  info_.heads = config.heads;
  info_.kv_heads = config.kv_heads;
  info_.width = config.width;
  info_.vocab_size = config.vocab_size;
  info_.context_tokens = context;
  info_.weight_bytes = weights_.bytes;
  info_.has_chat_template = prompt_->has_template();
  return OkStatus();
}

Status LlamaGenerator::CheckTokens(std::span<const TokenId> tokens) const {
  if (tokens.empty()) return InvalidArgumentError("there are no tokens");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || static_cast<size_t>(tokens[i]) >= info_.vocab_size) {
      return InvalidArgumentError("token ", i, " has id ", tokens[i],
                                  ", which is not in the vocabulary of ", info_.vocab_size);
    }
  }
  if (tokens.size() > info_.context_tokens) {
    return ResourceExhaustedError(tokens.size(), " tokens do not fit in the context of ",
                                  info_.context_tokens);
  }
  return OkStatus();
}

std::unique_lock<Turn> LlamaGenerator::Wait(const CancelToken* cancel) {
  std::unique_lock lock(turn_, std::defer_lock);
  if (cancel == nullptr) {
    lock.lock();
    return lock;
  }
  while (!cancel->cancelled() && !lock.try_lock_for(kWaitStep)) {
  }
  return lock;
}

Status LlamaGenerator::Prefill(std::span<const TokenId> prompt, const CancelToken* cancel) {
  for (size_t begin = 0; begin < prompt.size(); begin += LlamaDecoder::kMaxTokens) {
    const size_t count = std::min(LlamaDecoder::kMaxTokens, prompt.size() - begin);
    const bool last = begin + count == prompt.size();
    RAG_RETURN_IF_ERROR(decoder_->Forward(
        prompt.subspan(begin, count), begin,
        last ? LlamaDecoder::Logits::kLast : LlamaDecoder::Logits::kNone, cancel));
  }
  return OkStatus();
}

// After a lone beginning of text, a SentencePiece model's first space is not part of the text.
std::string LlamaGenerator::BytesAfter(std::span<const TokenId> before, TokenId id) const {
  if (tokenizer_->IsSpecial(id)) return "";
  if (before.size() == 1 && before[0] == tokenizer_->bos_id()) {
    return tokenizer_->Decode({&id, 1});
  }
  return tokenizer_->TokenBytes(id);
}

Status LlamaGenerator::Decode(const GenerateRequest& request, const TokenCallback* on_text,
                              const CancelToken* cancel, GenerateResult& result) {
  Sampler sampler(request.sampling);
  TextStream stream(request.stop);
  std::vector<TokenId> history = request.prompt;
  bool refused = false;
  const auto show = [&] {
    const std::string_view ready = stream.TakeReady();
    if (on_text != nullptr && !refused && !ready.empty()) refused = !(*on_text)(ready);
  };
  const auto run = [&]() -> Result<FinishReason> {
    while (result.tokens.size() < request.max_tokens) {
      if (cancel != nullptr && cancel->cancelled()) return FinishReason::kCancelled;
      RAG_ASSIGN_OR_RETURN(const TokenId id, sampler.Next(decoder_->logits(0), history));
      const auto& ends = prompt_->end_tokens();
      if (std::binary_search(ends.begin(), ends.end(), id)) return FinishReason::kStop;
      stream.Append(BytesAfter(history, id));
      history.push_back(id);
      result.tokens.push_back(id);
      if (stream.stopped()) return FinishReason::kStop;
      show();
      if (refused) return FinishReason::kCancelled;
      if (result.tokens.size() == request.max_tokens) break;
      if (history.size() > info_.context_tokens) break;
      const Status status =
          decoder_->Forward({&id, 1}, history.size() - 1, LlamaDecoder::Logits::kLast, cancel);
      if (status.code() == StatusCode::kCancelled) return FinishReason::kCancelled;
      RAG_RETURN_IF_ERROR(status);
    }
    return FinishReason::kLength;
  };
  RAG_ASSIGN_OR_RETURN(result.finish_reason, run());
  stream.Finish();
  show();
  if (refused) result.finish_reason = FinishReason::kCancelled;
  result.text = stream.text();
  return OkStatus();
}

Result<GenerateResult> LlamaGenerator::Generate(const GenerateRequest& request,
                                                const TokenCallback* on_text,
                                                const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(ValidateSampling(request.sampling));
  RAG_RETURN_IF_ERROR(ValidateStops(request.stop));
  RAG_RETURN_IF_ERROR(CheckTokens(request.prompt).WithContext("the prompt"));
  GenerateResult result;
  result.prompt_tokens = request.prompt.size();
  result.finish_reason = FinishReason::kLength;
  if (request.max_tokens == 0) return result;

  const auto lock = Wait(cancel);
  const auto start = std::chrono::steady_clock::now();
  const Status prefilled = lock.owns_lock() ? Prefill(request.prompt, cancel)
                                            : CancelledError("cancelled while waiting");
  result.prefill_ms = MillisecondsSince(start);
  if (prefilled.code() == StatusCode::kCancelled) {
    result.finish_reason = FinishReason::kCancelled;
    return result;
  }
  RAG_RETURN_IF_ERROR(prefilled);
  const auto decode_start = std::chrono::steady_clock::now();
  RAG_RETURN_IF_ERROR(Decode(request, on_text, cancel, result));
  result.decode_ms = MillisecondsSince(decode_start);
  return result;
}

Result<std::vector<float>> LlamaGenerator::Score(std::span<const TokenId> tokens) {
  RAG_RETURN_IF_ERROR(CheckTokens(tokens));
  const auto lock = Wait(nullptr);
  std::vector<float> scores;
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += LlamaDecoder::kMaxTokens) {
    const size_t count = std::min(LlamaDecoder::kMaxTokens, tokens.size() - 1 - begin);
    RAG_RETURN_IF_ERROR(decoder_->Forward(tokens.subspan(begin, count), begin,
                                          LlamaDecoder::Logits::kAll, nullptr));
    for (size_t row = 0; row < count; ++row) {
      const std::span<const float> logits = decoder_->logits(row);
      const double largest = *std::max_element(logits.begin(), logits.end());
      double sum = 0;
      for (const float logit : logits) sum += std::exp(logit - largest);
      const float logit = logits[static_cast<size_t>(tokens[begin + row + 1])];
      scores.push_back(static_cast<float>(logit - largest - std::log(sum)));
    }
  }
  return scores;
}

}  // namespace

Result<std::unique_ptr<Generator>> Generator::Load(const std::string& path,
                                                   const GeneratorOptions& options,
                                                   const Runtime& runtime) {
  return LlamaGenerator::Load(path, options, runtime);
}

}  // namespace rag
