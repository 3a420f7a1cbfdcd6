#include "engine/ask/output.h"

#include <algorithm>

namespace rag {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kThink = "<think>";
constexpr std::string_view kThinkEnd = "</think>";

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool StartsWithWord(std::string_view text, std::string_view word) {
  return text.size() >= word.size() &&
         std::equal(word.begin(), word.end(), text.begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b);
         });
}

// The length of "Answer:" at the beginning of a line, with the marks that models put around it
// ("**Final answer:** "), or 0.
size_t AnswerLabel(std::string_view line) {
  constexpr std::string_view kMarks = " \t*#_";
  const size_t begin = line.find_first_not_of(kMarks);
  if (begin == std::string_view::npos) return 0;
  std::string_view rest = line.substr(begin);
  size_t length = begin;
  if (StartsWithWord(rest, "final ")) {
    rest.remove_prefix(6);
    length += 6;
  }
  if (!StartsWithWord(rest, "answer")) return 0;
  rest.remove_prefix(6);
  length += 6;
  const size_t colon = rest.find_first_not_of("*_ ");
  if (colon == std::string_view::npos || rest[colon] != ':') return 0;
  rest.remove_prefix(colon + 1);
  length += colon + 1;
  const size_t after = std::min(rest.find_first_not_of("*_ "), rest.size());
  return length + after;
}

// Longest part of a line that has to be seen before it is known not to be a label.
constexpr size_t kMaxLabelBytes = 32;

}  // namespace

bool OutputSplitter::Add(std::string_view piece) {
  pending_ += piece;
  return Run(false);
}

bool OutputSplitter::Finish() { return Run(true); }

bool OutputSplitter::Pass(std::string_view text) {
  if (answer_.empty()) {
    const size_t begin = std::min(text.find_first_not_of(kSpace), text.size());
    text.remove_prefix(begin);
  }
  const size_t last = text.find_last_not_of(kSpace);
  if (last == std::string_view::npos) {
    held_ += text;
    return true;
  }
  const std::string out = held_ + std::string(text.substr(0, last + 1));
  held_ = text.substr(last + 1);
  answer_ += out;
  return on_answer_ == nullptr || (*on_answer_)(out);
}

bool OutputSplitter::Run(bool finished) {
  if (state_ == State::kStart) {
    const size_t begin = std::min(pending_.find_first_not_of(kSpace), pending_.size());
    const std::string_view text = std::string_view(pending_).substr(begin);
    if (text.starts_with(kThink)) {
      pending_ = std::string(text.substr(kThink.size()));
      state_ = State::kThinking;
    } else if (!finished && kThink.starts_with(text)) {
      return true;
    } else {
      state_ = expect_reasoning_ ? State::kReasoning : State::kAnswer;
    }
  }
  if (state_ == State::kThinking) {
    const size_t end = pending_.find(kThinkEnd);
    if (end == std::string::npos) {
      if (finished) {
        reasoning_ = Trimmed(pending_);
        cut_off_ = true;
      }
      return true;
    }
    reasoning_ = Trimmed(std::string_view(pending_).substr(0, end));
    pending_.erase(0, end + kThinkEnd.size());
    state_ = expect_reasoning_ ? State::kReasoning : State::kAnswer;
  }
  if (state_ == State::kReasoning) {
    size_t label = 0;
    size_t line = 0;
    while (true) {
      const size_t end = std::min(pending_.find('\n', line), pending_.size());
      const std::string_view text = std::string_view(pending_).substr(line, end - line);
      const bool complete = finished || end < pending_.size() || text.size() > kMaxLabelBytes;
      label = complete ? AnswerLabel(text) : 0;
      if (label > 0 || end == pending_.size()) break;
      line = end + 1;
    }
    if (label == 0 && !finished) return true;
    std::string_view reason = Trimmed(std::string_view(pending_).substr(0, label > 0 ? line : 0));
    if (label == 0) {
      const std::string_view all = Trimmed(pending_);
      if (StartsWithWord(all, "reasoning:")) {
        reason = all;
        cut_off_ = true;
      }
    }
    if (StartsWithWord(reason, "reasoning:")) reason = Trimmed(reason.substr(10));
    if (!reason.empty()) {
      if (!reasoning_.empty()) reasoning_ += "\n\n";
      reasoning_ += reason;
    }
    if (cut_off_) return true;
    if (label > 0) pending_.erase(0, line + label);
    state_ = State::kAnswer;
  }
  const std::string text = std::move(pending_);
  pending_.clear();
  return Pass(text);
}

}  // namespace rag
