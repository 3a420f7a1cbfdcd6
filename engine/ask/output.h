// What a model writes -> reasoning and answer, also while it is being written.
#pragma once

#include <string>
#include <string_view>

#include "generate/generator.h"

namespace rag {

// Takes the output piece by piece and passes on the answer alone, without white space around it:
// the pieces passed on add up to answer().
//
// Reasoning is a leading <think>…</think>, and, with `expect_reasoning` (chain of thought), what
// comes before the first line that begins with "Answer:". An output that begins with "Reasoning:"
// and never comes to its answer is all reasoning; one with neither is all answer.
class OutputSplitter {
 public:
  // on_answer may be null. Borrowed.
  OutputSplitter(bool expect_reasoning, const Generator::TokenCallback* on_answer)
      : expect_reasoning_(expect_reasoning), on_answer_(on_answer) {}

  // False when the callback asked to stop.
  bool Add(std::string_view piece);
  // The output is complete: passes on what was held back.
  bool Finish();

  const std::string& answer() const { return answer_; }
  const std::string& reasoning() const { return reasoning_; }
  // The reasoning was begun but no answer came.
  bool cut_off() const { return cut_off_; }

 private:
  enum class State { kStart, kThinking, kReasoning, kAnswer };

  bool Run(bool finished);
  bool Pass(std::string_view text);

  bool expect_reasoning_;
  const Generator::TokenCallback* on_answer_;
  State state_ = State::kStart;
  std::string pending_;  // not yet known what it is
  std::string held_;     // white space that is passed on only before more text
  std::string answer_;
  std::string reasoning_;
  bool cut_off_ = false;
};

}  // namespace rag
