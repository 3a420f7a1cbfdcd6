// GenerationTask: one generation in the batch: its sampler, constraint, stop strings and text.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "generate/batch_task.h"
#include "generate/chat_prompt.h"
#include "generate/constraint/token_constraint.h"
#include "generate/generator.h"
#include "generate/prompt_lookup.h"
#include "generate/sampler.h"
#include "generate/text_stream.h"

namespace rag {

class GenerationTask final : public BatchTask {
 public:
  // What belongs to the model, and outlives the task.
  struct Model {
    const Tokenizer* tokenizer;
    const std::vector<TokenId>* end_tokens;  // sorted
    const std::vector<bool>* dry_breaks;     // by id
    size_t draft_tokens;
  };
  // `request` was checked. adapters: those that it names. limit: tokens to generate, at least 1.
  // constraint: null for none. streams: whether Wait is called with a callback.
  GenerationTask(const GenerateRequest& request, const Model& model, std::vector<LoraUse> adapters,
                 size_t limit, std::unique_ptr<TokenConstraint> constraint, bool streams);

  void Start() override { started_ = Clock::now(); }
  void FoundInCache(size_t tokens) override;
  std::vector<TokenId> Draft(size_t most) override;
  size_t DraftRoom() const override;
  void Guessed(size_t tokens) override;
  Result<bool> Take(size_t position, std::span<float> logits) override;

  // Calls on_text and waits for the end, or gives the task up. What is given then is what was shown
  // or, without a callback, what there is.
  Result<GenerateResult> Wait(const Generator::TokenCallback* on_text, const CancelToken* cancel);
  // After an end that was waited for, for the next request; else null.
  std::unique_ptr<TokenConstraint> TakeConstraint();

 private:
  // What became certain, how many tokens there were then, and how many began in it or before.
  struct Piece {
    std::string text;
    size_t tokens;
    size_t begun;
  };

  // Takes away the logits of what may not come; false when nothing but an end may.
  Result<bool> Mask(size_t left, std::span<float> logits);
  Result<bool> MaskFirst(size_t left, std::span<float> logits);
  TokenLogprobs LogprobsOf(TokenId id) const;
  std::string BytesAfter(std::span<const TokenId> before, TokenId id) const;
  // The next token, or why there is none.
  Result<std::pair<TokenId, bool>> Draw(std::span<float> logits);
  // A drawn token's part of the result; false when it was the last.
  bool Append(TokenId id);
  bool Finish(FinishReason reason);
  void Show();
  // Tokens that begin before a place in the text.
  size_t BegunBefore(size_t bytes) const;
  struct Shown {
    std::string text;
    size_t tokens = 0;
    size_t begun = 0;
  };
  GenerateResult GivenUp(Shown shown, bool streamed);

  const GenerateRequest request_;  // without the prompt, which is the history
  const size_t prompt_tokens_;
  const Model model_;
  const size_t limit_;
  const bool streams_;
  std::unique_ptr<TokenConstraint> constraint_;
  Sampler sampler_;
  PromptLookup lookup_;
  std::vector<float> raw_logits_;  // before options and constraint, for log-probabilities
  Clock::time_point started_;
  Clock::time_point prefilled_;

  // Guarded by mutex_.
  TextStream stream_;
  GenerateResult result_;
  std::vector<size_t> begins_;  // of each token in the text
  size_t shown_begun_ = 0;      // the last piece's
  bool finished_ = false;
  std::deque<Piece> pieces_;
};

}  // namespace rag
