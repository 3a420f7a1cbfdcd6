// Generator over a Decoder.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <limits>
#include <list>
#include <mutex>
#include <numeric>

#include "generate/chat_prompt.h"
#include "generate/constraint/token_constraint.h"
#include "generate/decoder.h"
#include "generate/folder/model_folder.h"
#include "generate/generator.h"
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

// Constraints that stay compiled, with the tokens that they found.
constexpr size_t kMaxConstraints = 8;
constexpr float kImpossible = -std::numeric_limits<float>::infinity();

constexpr size_t kMaxTopLogprobs = 20;

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

class DecoderGenerator final : public Generator {
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
  DecoderGenerator(GgufFile file, const Runtime& runtime)
      : file_(std::move(file)), runtime_(runtime) {}
  // Of a folder the embeddings may have more rows than the vocabulary has tokens.
  Status Initialize(const GeneratorOptions& options, bool folder);
  Status CheckTokens(std::span<const TokenId> tokens) const;
  // Gives the tokens that did not have to be run.
  Result<size_t> Prefill(std::span<const TokenId> prompt, const CancelToken* cancel);
  Status Decode(const GenerateRequest& request, const TokenCallback* on_text,
                const CancelToken* cancel, GenerateResult& result);
  void FindDryBreaks();
  TokenLogprobs LogprobsOf(TokenId id, size_t top) const;
  Result<TokenConstraint*> FindConstraint(const OutputConstraint& wanted);
  // Takes away the logits of what may not come; false when nothing but an end may.
  Result<bool> Mask(TokenConstraint& constraint, std::span<const TokenId> history, size_t left,
                    std::span<float> logits) const;
  std::string BytesAfter(std::span<const TokenId> before, TokenId id) const;
  // Without the rows that fill up the embeddings: they are no tokens.
  std::span<float> Logits(size_t row) {
    return decoder_->logits(row).first(tokenizer_->vocab_size());
  }
  std::unique_lock<Turn> Wait(const CancelToken* cancel);

  const GgufFile file_;
  const Runtime& runtime_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<ChatPrompt> prompt_;
  DecoderWeights weights_;
  GeneratorInfo info_;
  Turn turn_;  // guards decoder_ (its cache and buffers): one call at a time
  std::unique_ptr<Decoder> decoder_;
  // Guarded by turn_ too.
  std::vector<TokenId> prefilled_;  // what the cache holds from its beginning, run block by block
  std::unique_ptr<TokenTable> token_table_;
  std::list<std::pair<OutputConstraint, std::unique_ptr<TokenConstraint>>> constraints_;
  std::vector<float> raw_logits_;  // before options and constraint, for log-probabilities
  std::vector<bool> dry_breaks_;   // by id; empty until a request asks for it
};

Result<std::unique_ptr<Generator>> DecoderGenerator::Load(const std::string& path,
                                                          const GeneratorOptions& options,
                                                          const Runtime& runtime) {
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  RAG_ASSIGN_OR_RETURN(GgufFile file, folder ? OpenModelFolder(path) : GgufFile::Open(path));
  std::unique_ptr<DecoderGenerator> generator(new DecoderGenerator(std::move(file), runtime));
  RAG_RETURN_IF_ERROR(generator->Initialize(options, folder));
  return std::unique_ptr<Generator>(std::move(generator));
}

Status DecoderGenerator::Initialize(const GeneratorOptions& options, bool folder) {
  RAG_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(file_));
  RAG_ASSIGN_OR_RETURN(weights_, ReadDecoderWeights(file_, config));
  RAG_ASSIGN_OR_RETURN(tokenizer_,
                       folder ? Tokenizer::Load(file_.path()) : Tokenizer::FromGguf(file_));
  const size_t tokens = tokenizer_->vocab_size();
  if (tokens > config.vocab_size || (tokens < config.vocab_size && !folder)) {
    return InvalidArgumentError(file_.path(), ": the vocabulary has ", tokens,
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
  RAG_ASSIGN_OR_RETURN(decoder_, Decoder::Create(config, weights_, context, runtime_));
  if (!options.mapped_weights) {
    RAG_RETURN_IF_ERROR(PackDecoderWeights(file_, runtime_, weights_));
  }

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
  info_.vocab_size = tokens;
  info_.context_tokens = context;
  info_.weight_bytes = weights_.bytes;
  info_.has_chat_template = prompt_->has_template();
  return OkStatus();
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
    return ResourceExhaustedError(tokens.size(), " tokens do not fit in the context of ",
                                  info_.context_tokens);
  }
  return OkStatus();
}

std::unique_lock<Turn> DecoderGenerator::Wait(const CancelToken* cancel) {
  std::unique_lock lock(turn_, std::defer_lock);
  if (cancel == nullptr) {
    lock.lock();
    return lock;
  }
  while (!cancel->cancelled() && !lock.try_lock_for(kWaitStep)) {
  }
  return lock;
}

Result<size_t> DecoderGenerator::Prefill(std::span<const TokenId> prompt,
                                         const CancelToken* cancel) {
  constexpr size_t kBlock = Decoder::kMaxTokens;
  const auto [end, ignored] =
      std::mismatch(prompt.begin(), prompt.end(), prefilled_.begin(), prefilled_.end());
  // The last block is run in any case: its logits are wanted.
  const size_t common = std::min(static_cast<size_t>(end - prompt.begin()), prompt.size() - 1);
  const size_t cached = common / kBlock * kBlock;
  prefilled_.resize(cached);
  for (size_t begin = cached; begin < prompt.size(); begin += kBlock) {
    const auto block = prompt.subspan(begin, std::min(kBlock, prompt.size() - begin));
    const bool last = begin + block.size() == prompt.size();
    RAG_RETURN_IF_ERROR(decoder_->Forward(
        block, begin, last ? Decoder::Logits::kLast : Decoder::Logits::kNone, cancel));
    prefilled_.insert(prefilled_.end(), block.begin(), block.end());
  }
  return cached;
}

// After a lone beginning of text, a SentencePiece model's first space is not part of the text.
std::string DecoderGenerator::BytesAfter(std::span<const TokenId> before, TokenId id) const {
  if (tokenizer_->IsSpecial(id)) return "";
  if (before.size() == 1 && before[0] == tokenizer_->bos_id()) {
    return tokenizer_->Decode({&id, 1});
  }
  return tokenizer_->TokenBytes(id);
}

// What DRY's author takes as the ends of repetitions: dialogues and lists repeat them for a reason.
void DecoderGenerator::FindDryBreaks() {
  for (size_t i = 0; i < tokenizer_->vocab_size(); ++i) {
    const TokenId id = static_cast<TokenId>(i);
    dry_breaks_.push_back(tokenizer_->IsSpecial(id) ||
                          tokenizer_->TokenBytes(id).find_first_of("\n:\"*") != std::string::npos);
  }
}

TokenLogprobs DecoderGenerator::LogprobsOf(TokenId id, size_t top) const {
  const double largest = *std::max_element(raw_logits_.begin(), raw_logits_.end());
  double sum = 0;
  for (const float logit : raw_logits_) sum += std::exp(logit - largest);
  const double normalizer = largest + std::log(sum);
  const auto logprob = [&](TokenId of) {
    return TokenLogprob{of, static_cast<float>(raw_logits_[static_cast<size_t>(of)] - normalizer),
                        tokenizer_->IsSpecial(of) ? std::string(tokenizer_->Piece(of))
                                                  : tokenizer_->TokenBytes(of)};
  };
  TokenLogprobs out = {logprob(id), {}};
  std::vector<TokenId> order(raw_logits_.size());
  std::iota(order.begin(), order.end(), TokenId{0});
  const auto end = order.begin() + static_cast<ptrdiff_t>(std::min(top, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](TokenId a, TokenId b) {
    const float x = raw_logits_[static_cast<size_t>(a)];
    const float y = raw_logits_[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (auto it = order.begin(); it != end; ++it) out.top.push_back(logprob(*it));
  return out;
}

Result<TokenConstraint*> DecoderGenerator::FindConstraint(const OutputConstraint& wanted) {
  for (auto it = constraints_.begin(); it != constraints_.end(); ++it) {
    if (!(it->first == wanted)) continue;
    constraints_.splice(constraints_.begin(), constraints_, it);
    it->second->Restart();
    return it->second.get();
  }
  if (token_table_ == nullptr) token_table_ = std::make_unique<TokenTable>(*tokenizer_);
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<TokenConstraint> compiled,
                       TokenConstraint::Compile(wanted, *token_table_));
  if (constraints_.size() == kMaxConstraints) constraints_.pop_back();
  constraints_.emplace_front(wanted, std::move(compiled));
  return constraints_.front().second.get();
}

Result<bool> DecoderGenerator::Mask(TokenConstraint& constraint, std::span<const TokenId> history,
                                    size_t left, std::span<float> logits) const {
  bool any = false;
  std::vector<std::pair<size_t, float>> ends;
  for (const TokenId end : prompt_->end_tokens()) {
    ends.emplace_back(end, logits[static_cast<size_t>(end)]);
  }
  // Tokens that end the output are none of its text, whatever bytes they have.
  const auto set_ends = [&] {
    for (const auto& [id, logit] : ends) {
      logits[id] = constraint.complete() ? logit : kImpossible;
    }
  };
  if (history.size() == 1) {
    // The first token's text can depend on the prompt (BytesAfter).
    for (size_t id = 0; id < logits.size(); ++id) {
      const TokenId token = static_cast<TokenId>(id);
      bool allowed = !tokenizer_->IsSpecial(token);
      if (allowed) {
        RAG_ASSIGN_OR_RETURN(allowed, constraint.Allows(BytesAfter(history, token), left - 1));
      }
      any = any || allowed;
      if (!allowed) logits[id] = kImpossible;
    }
    set_ends();
    return any;
  }
  RAG_ASSIGN_OR_RETURN(const std::span<const uint64_t> allowed, constraint.Allowed(left));
  for (size_t id = 0; id < logits.size(); ++id) {
    const bool fits = (allowed[id / 64] >> (id % 64) & 1) != 0;
    any = any || fits;
    if (!fits) logits[id] = kImpossible;
  }
  set_ends();
  return any;
}

Status DecoderGenerator::Decode(const GenerateRequest& request, const TokenCallback* on_text,
                                const CancelToken* cancel, GenerateResult& result) {
  if (request.sampling.dry_multiplier > 0 && dry_breaks_.empty()) FindDryBreaks();
  Sampler sampler(request.sampling, request.prompt.size(), &dry_breaks_);
  TextStream stream(request.stop);
  std::vector<TokenId> history = request.prompt;
  const size_t limit =
      std::min(request.max_tokens, info_.context_tokens - request.prompt.size() + 1);
  TokenConstraint* constraint = nullptr;
  if (request.constraint.kind != OutputConstraint::Kind::kNone) {
    RAG_ASSIGN_OR_RETURN(constraint, FindConstraint(request.constraint));
    if (constraint->shortest() > limit) {
      return InvalidArgumentError("the shortest output that the constraint allows may take ",
                                  constraint->shortest(), " tokens, and there is room for ", limit);
    }
  }
  bool refused = false;
  const auto show = [&] {
    const std::string_view ready = stream.TakeReady();
    if (on_text != nullptr && !refused && !ready.empty()) refused = !(*on_text)(ready);
  };
  const auto run = [&]() -> Result<FinishReason> {
    while (result.tokens.size() < limit) {
      if (cancel != nullptr && cancel->cancelled()) return FinishReason::kCancelled;
      if (constraint != nullptr && constraint->finished()) return FinishReason::kStop;
      const std::span<float> logits = Logits(0);
      if (request.logprobs) raw_logits_.assign(logits.begin(), logits.end());
      if (constraint != nullptr) {
        RAG_ASSIGN_OR_RETURN(const bool any,
                             Mask(*constraint, history, limit - result.tokens.size(), logits));
        if (!any && constraint->complete()) return FinishReason::kStop;
      }
      RAG_ASSIGN_OR_RETURN(const TokenId id, sampler.Next(logits, history));
      const auto& ends = prompt_->end_tokens();
      if (std::binary_search(ends.begin(), ends.end(), id)) return FinishReason::kStop;
      const std::string bytes = BytesAfter(history, id);
      if (constraint != nullptr) constraint->Advance(bytes);
      stream.Append(bytes);
      history.push_back(id);
      result.tokens.push_back(id);
      if (request.logprobs) {
        result.logprobs.push_back(LogprobsOf(id, request.top_logprobs));
      }
      if (stream.stopped()) return FinishReason::kStop;
      show();
      if (refused) return FinishReason::kCancelled;
      if (result.tokens.size() == limit) break;
      const Status status =
          decoder_->Forward({&id, 1}, history.size() - 1, Decoder::Logits::kLast, cancel);
      if (status.code() == StatusCode::kCancelled) return FinishReason::kCancelled;
      RAG_RETURN_IF_ERROR(status);
    }
    return constraint != nullptr && constraint->finished() ? FinishReason::kStop
                                                           : FinishReason::kLength;
  };
  RAG_ASSIGN_OR_RETURN(result.finish_reason, run());
  stream.Finish();
  show();
  if (refused) result.finish_reason = FinishReason::kCancelled;
  result.text = stream.text();
  return OkStatus();
}

Result<GenerateResult> DecoderGenerator::Generate(const GenerateRequest& request,
                                                  const TokenCallback* on_text,
                                                  const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(ValidateSampling(request.sampling));
  RAG_RETURN_IF_ERROR(ValidateStops(request.stop));
  if (request.top_logprobs > kMaxTopLogprobs) {
    return InvalidArgumentError("top_logprobs ", request.top_logprobs, " is over ",
                                kMaxTopLogprobs);
  }
  RAG_RETURN_IF_ERROR(CheckTokens(request.prompt).WithContext("the prompt"));
  GenerateResult result;
  result.prompt_tokens = request.prompt.size();
  result.finish_reason = FinishReason::kLength;
  if (request.max_tokens == 0) return result;

  const auto lock = Wait(cancel);
  const auto start = std::chrono::steady_clock::now();
  const Result<size_t> cached = lock.owns_lock()
                                    ? Prefill(request.prompt, cancel)
                                    : Result<size_t>(CancelledError("cancelled while waiting"));
  result.prefill_ms = MillisecondsSince(start);
  if (cached.status().code() == StatusCode::kCancelled) {
    result.finish_reason = FinishReason::kCancelled;
    return result;
  }
  RAG_RETURN_IF_ERROR(cached.status());
  result.cached_tokens = *cached;
  const auto decode_start = std::chrono::steady_clock::now();
  RAG_RETURN_IF_ERROR(Decode(request, on_text, cancel, result));
  result.decode_ms = MillisecondsSince(decode_start);
  return result;
}

Result<std::vector<float>> DecoderGenerator::Score(std::span<const TokenId> tokens) {
  RAG_RETURN_IF_ERROR(CheckTokens(tokens));
  const auto lock = Wait(nullptr);
  prefilled_.clear();
  std::vector<float> scores;
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += Decoder::kMaxTokens) {
    const size_t count = std::min(Decoder::kMaxTokens, tokens.size() - 1 - begin);
    RAG_RETURN_IF_ERROR(
        decoder_->Forward(tokens.subspan(begin, count), begin, Decoder::Logits::kAll, nullptr));
    for (size_t row = 0; row < count; ++row) {
      const std::span<const float> logits = Logits(row);
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
  return DecoderGenerator::Load(path, options, runtime);
}

}  // namespace rag
