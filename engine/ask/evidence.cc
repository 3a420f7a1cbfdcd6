#include "engine/ask/evidence.h"

#include <algorithm>
#include <cmath>

#include "engine/chunk.h"
#include "index/lexical/analyzer.h"

namespace rag {

float Cosine(std::span<const float> a, std::span<const float> b) {
  double product = 0;
  double norm_a = 0;
  double norm_b = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    norm_a += static_cast<double>(a[i]) * a[i];
    norm_b += static_cast<double>(b[i]) * b[i];
  }
  if (norm_a == 0 || norm_b == 0) return 0;
  return static_cast<float>(product / std::sqrt(norm_a * norm_b));
}

std::vector<std::string> TermsOf(std::string_view text) {
  std::vector<std::string> terms = AnalyzeText(text);
  std::sort(terms.begin(), terms.end());
  terms.erase(std::unique(terms.begin(), terms.end()), terms.end());
  return terms;
}

Evidence::Evidence(std::span<const Hit> sources) : sources_(sources) {
  for (size_t source = 0; source < sources.size(); ++source) {
    const size_t first = sentences_.size();
    for (const TextRange& range : SplitSentences(sources[source].text)) {
      Sentence sentence;
      sentence.source = source;
      sentence.ordinal = sentences_.size() - first;
      sentence.begin = range.begin;
      sentence.end = range.end;
      sentence.terms = TermsOf(text(sentence));
      for (const std::string& term : sentence.terms) ++frequency_[term];
      sentences_.push_back(std::move(sentence));
    }
    ranges_.emplace_back(first, sentences_.size());
  }
  vectors_.resize(sentences_.size());
}

std::string_view Evidence::text(const Sentence& sentence) const {
  return std::string_view(sources_[sentence.source].text)
      .substr(sentence.begin, sentence.end - sentence.begin);
}

double Evidence::Weight(const std::string& term) const {
  const auto found = frequency_.find(term);
  const double frequency = found == frequency_.end() ? 0 : found->second;
  return std::log1p((static_cast<double>(sentences_.size()) - frequency + 0.5) / (frequency + 0.5));
}

double Evidence::Coverage(std::span<const std::string> terms, const Sentence& sentence) const {
  double total = 0;
  double covered = 0;
  for (const std::string& term : terms) {
    const double weight = Weight(term);
    total += weight;
    if (std::binary_search(sentence.terms.begin(), sentence.terms.end(), term)) covered += weight;
  }
  return total > 0 ? covered / total : 0;
}

Status Evidence::Encode(std::span<const size_t> wanted, const Encoder& encoder,
                        const CancelToken* cancel) {
  std::vector<size_t> missing;
  std::vector<std::string_view> texts;
  for (const size_t index : wanted) {
    if (!vectors_[index].empty()) continue;
    missing.push_back(index);
    texts.push_back(text(sentences_[index]));
  }
  if (texts.empty()) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const Embeddings embeddings,
                       encoder.Encode(texts, TextRole::kDocument, cancel));
  for (size_t i = 0; i < missing.size(); ++i) {
    const std::span<const float> row = embeddings.vectors.row(i);
    vectors_[missing[i]].assign(row.begin(), row.end());
  }
  return OkStatus();
}

}  // namespace rag
