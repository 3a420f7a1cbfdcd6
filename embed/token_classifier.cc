#include "embed/token_classifier.h"

#include <algorithm>
#include <utility>

#include "embed/passage_windows.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

constexpr std::string_view kOutside = "O";

// The label of one token of a text.
struct TokenLabel {
  Encoding::Range range;
  size_t label = 0;
  float score = 0;
  size_t margin = 0;  // tokens to the nearer end of the window it was read in
};

// "B-PER" -> {true, "PER"}; a label without either is a range's inside.
std::pair<bool, std::string_view> SplitLabel(std::string_view label) {
  if (label.starts_with("B-")) return {true, label.substr(2)};
  if (label.starts_with("I-")) return {false, label.substr(2)};
  return {false, label};
}

std::vector<LabelledRange> Group(std::span<const TokenLabel> tokens,
                                 const std::vector<std::string>& labels) {
  std::vector<LabelledRange> ranges;
  size_t count = 0;                  // of the last range's tokens
  std::string_view open = kOutside;  // the last token's label
  for (const TokenLabel& token : tokens) {
    const auto [begins, name] = SplitLabel(labels[token.label]);
    if (name == kOutside) {
      open = kOutside;
      continue;
    }
    if (begins || name != open) {
      ranges.push_back({token.range.begin, token.range.end, std::string(name), token.score});
      count = 1;
    } else {
      LabelledRange& last = ranges.back();
      last.end = token.range.end;
      last.score += (token.score - last.score) / static_cast<float>(++count);
    }
    open = name;
  }
  return ranges;
}

}  // namespace

Result<std::unique_ptr<TokenClassifier>> TokenClassifier::Load(const std::string& folder,
                                                               const Runtime& runtime,
                                                               Precision precision) {
  RAG_ASSIGN_OR_RETURN(TaskNetwork task,
                       LoadTaskNetwork(folder, precision, runtime, "ForTokenClassification"));
  RAG_ASSIGN_OR_RETURN(std::vector<std::string> labels, ReadLabels(task.file));
  const TextNetwork& network = *task.network;
  RAG_ASSIGN_OR_RETURN(TokenHead head,
                       TokenHead::Load(task.file, network.config(), network.weights(), "classifier",
                                       labels.size(), runtime));
  return std::unique_ptr<TokenClassifier>(
      new TokenClassifier(std::move(task.network), std::move(head), std::move(labels)));
}

Result<std::vector<std::vector<LabelledRange>>> TokenClassifier::Find(
    std::span<const std::string_view> texts, const CancelToken* cancel) const {
  const size_t max_tokens = network_->limits().max_tokens;
  const Kernels& kernels = network_->runtime().kernels();
  std::vector<std::vector<LabelledRange>> result;
  // One text after another: a long one is many sequences.
  for (const std::string_view text : texts) {
    RAG_ASSIGN_OR_RETURN(const PassageWindows cut, CutPassage(network_->tokenizer(), nullptr, text,
                                                              max_tokens, max_tokens / 4));
    RAG_ASSIGN_OR_RETURN(std::vector<Matrix> logits, head_.Run(*network_, cut.windows, cancel));
    std::vector<TokenLabel> tokens(cut.offsets.size());
    std::vector<bool> read(tokens.size());
    for (size_t w = 0; w < cut.windows.size(); ++w) {
      const PassageWindow& window = cut.windows[w];
      for (size_t i = 0; i < window.count; ++i) {
        TokenLabel& token = tokens[window.first + i];
        const size_t margin = std::min(i, window.count - 1 - i);
        if (read[window.first + i] && token.margin >= margin) continue;
        const std::span<float> row = logits[w].row(window.passage_row + i);
        kernels.softmax(row.data(), row.size());
        const auto best = std::max_element(row.begin(), row.end());
        token = {cut.offsets[window.first + i], static_cast<size_t>(best - row.begin()), *best,
                 margin};
        read[window.first + i] = true;
      }
    }
    result.push_back(Group(tokens, labels_));
  }
  return result;
}

}  // namespace rag
