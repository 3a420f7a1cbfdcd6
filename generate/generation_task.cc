#include "generate/generation_task.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace rag {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();
// How often a call that waits looks at its cancel token.
constexpr std::chrono::milliseconds kWaitStep(10);

double Milliseconds(BatchTask::Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// Whether any token is allowed; the others' logits go. Whole words of a mask are mostly alike.
bool KeepAllowed(std::span<const uint64_t> allowed, std::span<float> logits) {
  bool any = false;
  for (size_t begin = 0; begin < logits.size(); begin += 64) {
    const std::span<float> group =
        logits.subspan(begin, std::min<size_t>(64, logits.size() - begin));
    const uint64_t bits = allowed[begin / 64];
    any = any || bits != 0;
    if (bits == 0) {
      std::fill(group.begin(), group.end(), kImpossible);
      continue;
    }
    for (uint64_t out = ~bits; out != 0; out &= out - 1) {
      const auto at = static_cast<size_t>(std::countr_zero(out));
      if (at >= group.size()) break;
      group[at] = kImpossible;
    }
  }
  return any;
}

GenerateRequest WithoutPrompt(const GenerateRequest& request) {
  GenerateRequest out = request;
  out.prompt = {};
  return out;
}

}  // namespace

GenerationTask::GenerationTask(const GenerateRequest& request, const Model& model,
                               std::vector<LoraUse> adapters, size_t limit,
                               std::unique_ptr<TokenConstraint> constraint, bool streams)
    : BatchTask(request.prompt, request.priority, std::move(adapters)),
      request_(WithoutPrompt(request)),
      prompt_tokens_(request.prompt.size()),
      model_(model),
      limit_(limit),
      streams_(streams),
      constraint_(std::move(constraint)),
      sampler_(request_.sampling, prompt_tokens_, model.dry_breaks),
      lookup_(model.draft_tokens),
      stream_(request_.stop) {
  result_.prompt_tokens = prompt_tokens_;
  result_.finish_reason = FinishReason::kLength;
}

void GenerationTask::FoundInCache(size_t tokens) {
  std::lock_guard lock(mutex_);
  result_.cached_tokens += tokens;
}

void GenerationTask::Guessed(size_t tokens) {
  std::lock_guard lock(mutex_);
  result_.guessed_tokens += tokens;
}

// The last token that may be drawn is not run.
size_t GenerationTask::DraftRoom() const { return limit_ - (history_.size() - prompt_tokens_) - 1; }

std::vector<TokenId> GenerationTask::Draft(size_t most) {
  return lookup_.Guess(history_, std::min(most, DraftRoom()));
}

// After a lone beginning of text, a SentencePiece model's first space is not part of the text.
std::string GenerationTask::BytesAfter(std::span<const TokenId> before, TokenId id) const {
  const Tokenizer& tokenizer = *model_.tokenizer;
  if (tokenizer.IsSpecial(id)) return "";
  if (before.size() == 1 && before[0] == tokenizer.bos_id()) return tokenizer.Decode({&id, 1});
  return tokenizer.TokenBytes(id);
}

TokenLogprobs GenerationTask::LogprobsOf(TokenId id) const {
  const Tokenizer& tokenizer = *model_.tokenizer;
  const double largest = *std::max_element(raw_logits_.begin(), raw_logits_.end());
  double sum = 0;
  for (const float logit : raw_logits_) sum += std::exp(logit - largest);
  const double normalizer = largest + std::log(sum);
  const auto logprob = [&](TokenId of) {
    return TokenLogprob{
        of, static_cast<float>(raw_logits_[static_cast<size_t>(of)] - normalizer),
        tokenizer.IsSpecial(of) ? std::string(tokenizer.Piece(of)) : tokenizer.TokenBytes(of)};
  };
  TokenLogprobs out = {logprob(id), {}};
  std::vector<TokenId> order(raw_logits_.size());
  std::iota(order.begin(), order.end(), TokenId{0});
  const auto end =
      order.begin() + static_cast<ptrdiff_t>(std::min(request_.top_logprobs, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](TokenId a, TokenId b) {
    const float x = raw_logits_[static_cast<size_t>(a)];
    const float y = raw_logits_[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (auto it = order.begin(); it != end; ++it) out.top.push_back(logprob(*it));
  return out;
}

// The first token's text can depend on the prompt (BytesAfter).
Result<bool> GenerationTask::MaskFirst(size_t left, std::span<float> logits) {
  bool any = false;
  for (size_t id = 0; id < logits.size(); ++id) {
    const TokenId token = static_cast<TokenId>(id);
    bool allowed = !model_.tokenizer->IsSpecial(token) &&
                   !std::binary_search(model_.end_tokens->begin(), model_.end_tokens->end(), token);
    if (allowed) {
      RAG_ASSIGN_OR_RETURN(allowed, constraint_->Allows(BytesAfter(history_, token), left - 1));
    }
    any = any || allowed;
    if (!allowed) logits[id] = kImpossible;
  }
  return any;
}

Result<bool> GenerationTask::Mask(size_t left, std::span<float> logits) {
  bool any = false;
  std::vector<std::pair<size_t, float>> ends;
  for (const TokenId end : *model_.end_tokens) {
    ends.emplace_back(end, logits[static_cast<size_t>(end)]);
  }
  if (history_.size() == 1) {
    RAG_ASSIGN_OR_RETURN(any, MaskFirst(left, logits));
  } else {
    RAG_ASSIGN_OR_RETURN(const std::span<const uint64_t> allowed, constraint_->Allowed(left));
    any = KeepAllowed(allowed, logits);
  }
  // Tokens that end the output are none of its text, whatever bytes they have.
  for (const auto& [id, logit] : ends) logits[id] = constraint_->complete() ? logit : kImpossible;
  return any;
}

Result<std::pair<TokenId, bool>> GenerationTask::Draw(std::span<float> logits) {
  constexpr std::pair<TokenId, bool> kNone = {0, false};
  if (request_.logprobs) raw_logits_.assign(logits.begin(), logits.end());
  if (constraint_ != nullptr) {
    if (constraint_->finished()) return kNone;
    const size_t left = limit_ - (history_.size() - prompt_tokens_);
    RAG_ASSIGN_OR_RETURN(const bool any, Mask(left, logits));
    if (!any && constraint_->complete()) return kNone;
  }
  RAG_ASSIGN_OR_RETURN(const TokenId id, sampler_.Next(logits, history_));
  if (std::binary_search(model_.end_tokens->begin(), model_.end_tokens->end(), id)) return kNone;
  return std::pair(id, true);
}

size_t GenerationTask::BegunBefore(size_t bytes) const {
  return static_cast<size_t>(std::lower_bound(begins_.begin(), begins_.end(), bytes) -
                             begins_.begin());
}

void GenerationTask::Show() {
  if (!streams_) return;
  const std::string_view ready = stream_.TakeReady();
  // What is shown of logprobs at the end has its own piece where no text is left.
  const size_t begun = finished_ ? result_.logprobs.size() : BegunBefore(stream_.ready());
  const bool rest = finished_ && request_.logprobs && begun > shown_begun_;
  if (ready.empty() && !rest) return;
  shown_begun_ = begun;
  pieces_.push_back({std::string(ready), result_.tokens.size(), begun});
  changed_.notify_all();
}

bool GenerationTask::Finish(FinishReason reason) {
  result_.finish_reason = reason;
  finished_ = true;
  stream_.Finish();
  if (request_.logprobs && stream_.stopped()) {
    result_.logprobs.resize(BegunBefore(stream_.text().size()));
  }
  Show();
  result_.text = stream_.text();
  result_.decode_ms = Milliseconds(Clock::now() - prefilled_);
  return false;
}

bool GenerationTask::Append(TokenId id) {
  const std::string bytes = BytesAfter(history_, id);
  if (constraint_ != nullptr) constraint_->Advance(bytes);
  history_.push_back(id);
  begins_.push_back(stream_.end());
  stream_.Append(bytes);
  result_.tokens.push_back(id);
  if (request_.logprobs) result_.logprobs.push_back(LogprobsOf(id));
  if (stream_.stopped()) return Finish(FinishReason::kStop);
  if (constraint_ != nullptr && constraint_->finished()) return Finish(FinishReason::kStop);
  if (result_.tokens.size() == limit_) return Finish(FinishReason::kLength);
  Show();
  return true;
}

Result<bool> GenerationTask::Take(size_t, std::span<float> logits) {
  if (history_.size() == prompt_tokens_) {
    prefilled_ = Clock::now();
    std::lock_guard lock(mutex_);
    result_.prefill_ms = Milliseconds(prefilled_ - started_);
  }
  RAG_ASSIGN_OR_RETURN(const auto drawn, Draw(logits));
  std::lock_guard lock(mutex_);
  return drawn.second ? Append(drawn.first) : Finish(FinishReason::kStop);
}

GenerateResult GenerationTask::GivenUp(Shown shown, bool streamed) {
  GiveUp();
  GenerateResult out = result_;
  out.finish_reason = FinishReason::kCancelled;
  if (!streamed) {
    out.text = stream_.text();
    return out;
  }
  out.text = std::move(shown.text);
  out.tokens.resize(shown.tokens);
  if (request_.logprobs) out.logprobs.resize(shown.begun);
  return out;
}

Result<GenerateResult> GenerationTask::Wait(const Generator::TokenCallback* on_text,
                                            const CancelToken* cancel) {
  Shown shown;
  std::vector<TokenLogprobs> logprobs;
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto ready = [&] { return ended_ || !pieces_.empty(); };
    if (cancel == nullptr) {
      changed_.wait(lock, ready);
    } else {
      changed_.wait_for(lock, kWaitStep, ready);
    }
    if (ended_ && pieces_.empty()) break;
    if (cancel != nullptr && cancel->cancelled()) {
      return GivenUp(std::move(shown), on_text != nullptr);
    }
    if (pieces_.empty()) continue;
    const Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    if (request_.logprobs) {
      logprobs.assign(result_.logprobs.begin() + static_cast<ptrdiff_t>(shown.begun),
                      result_.logprobs.begin() + static_cast<ptrdiff_t>(piece.begun));
    }
    lock.unlock();
    const bool goes_on = (*on_text)({piece.text, logprobs});
    lock.lock();
    shown.text += piece.text;
    shown.tokens = piece.tokens;
    shown.begun = piece.begun;
    if (!goes_on) return GivenUp(std::move(shown), true);
  }
  if (!status_.ok()) return status_;
  return result_;
}

std::unique_ptr<TokenConstraint> GenerationTask::TakeConstraint() {
  std::lock_guard lock(mutex_);
  return ended_ ? std::move(constraint_) : nullptr;
}

}  // namespace rag
