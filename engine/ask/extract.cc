#include "engine/ask/extract.h"

#include <algorithm>
#include <numeric>

#include "engine/ask/cite.h"
#include "engine/ask/evidence.h"

namespace rag {
namespace {

constexpr size_t kMaxSentences = 3;
// Sentences that are encoded at most: those with the best lexical scores. About 5 ms each on a
// core.
constexpr size_t kMaxEncoded = 96;
// A second or third sentence must be nearly as good as the first.
constexpr double kNearBest = 0.8;
constexpr double kFloor = 0.22;         // with an encoder
constexpr double kLexicalFloor = 0.15;  // without one
constexpr double kMaxOverlap = 0.6;     // shared terms of two chosen sentences, Jaccard
// Better-ranked sources win between sentences that are alike.
constexpr double kRankBonus = 0.05;
// What a sentence gets of the score of the one before it: answers often follow what is asked for.
constexpr double kContextShare = 0.3;
constexpr size_t kMaxContextBytes = 300;

double Overlap(const Sentence& a, const Sentence& b) {
  std::vector<std::string> shared;
  std::set_intersection(a.terms.begin(), a.terms.end(), b.terms.begin(), b.terms.end(),
                        std::back_inserter(shared));
  const size_t all = a.terms.size() + b.terms.size() - shared.size();
  return all > 0 ? static_cast<double>(shared.size()) / static_cast<double>(all) : 1;
}

bool BeginsWithPronoun(std::string_view text) {
  static constexpr std::string_view kPronouns[] = {
      "It ",  "He ",  "She ",   "They ", "This ", "These ",  "That ", "Those ",
      "His ", "Her ", "Their ", "Its ",  "그는 ", "그녀는 ", "이는 ", "이것은 "};
  return std::any_of(std::begin(kPronouns), std::end(kPronouns),
                     [text](std::string_view pronoun) { return text.starts_with(pronoun); });
}

// Headings, questions and what only leads to a list make poor answers.
bool IsFragment(std::string_view text, const Sentence& sentence) {
  return sentence.terms.size() < 3 || text.starts_with('#') || text.ends_with('?') ||
         text.ends_with(':');
}

}  // namespace

std::string Flat(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (!space) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  return out;
}

Result<ExtractedAnswer> ExtractAnswer(std::string_view question, std::span<const Hit> sources,
                                      const AskContext& context, const CancelToken* cancel) {
  ExtractedAnswer answer;
  Evidence evidence(sources);
  const std::vector<Sentence>& sentences = evidence.sentences();
  const std::vector<std::string> terms = TermsOf(question);

  std::vector<double> lexical(sentences.size());
  for (size_t i = 0; i < sentences.size(); ++i) {
    lexical[i] = evidence.Coverage(terms, sentences[i]);
  }
  std::vector<size_t> candidates(sentences.size());
  std::iota(candidates.begin(), candidates.end(), size_t{0});
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](size_t a, size_t b) { return lexical[a] > lexical[b]; });
  candidates.resize(std::min(candidates.size(), kMaxEncoded));

  std::vector<double> cosine(sentences.size(), 0);
  if (context.encoder != nullptr) {
    RAG_RETURN_IF_ERROR(evidence.Encode(candidates, *context.encoder, cancel));
    RAG_ASSIGN_OR_RETURN(const Embeddings asked, context.encoder->Encode(std::span(&question, 1),
                                                                         TextRole::kQuery, cancel));
    for (const size_t i : candidates) {
      cosine[i] = Cosine(asked.vectors.row(0), evidence.vector(i));
    }
  }
  const double floor = context.encoder != nullptr ? kFloor : kLexicalFloor;
  std::vector<std::pair<double, size_t>> ranked;
  for (const size_t i : candidates) {
    const Sentence& sentence = sentences[i];
    const auto raw = [&](size_t at) {
      return context.encoder != nullptr ? 0.5 * (lexical[at] + cosine[at]) : lexical[at];
    };
    double score = raw(i);
    if (score < floor) continue;
    if (sentence.ordinal > 0) score += kContextShare * std::max(0.0, raw(i - 1) - floor);
    score += kRankBonus / static_cast<double>(sentence.source + 1);
    if (IsFragment(evidence.text(sentence), sentence)) score *= 0.5;
    ranked.emplace_back(score, i);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });

  QuoteChecker checker(context.collection);
  std::vector<const Sentence*> chosen;
  for (const auto& [score, index] : ranked) {
    if (chosen.size() == kMaxSentences || score < kNearBest * ranked[0].first) break;
    const Sentence& sentence = sentences[index];
    const bool repeats = std::any_of(chosen.begin(), chosen.end(), [&](const Sentence* other) {
      return Overlap(*other, sentence) > kMaxOverlap;
    });
    if (repeats) continue;
    chosen.push_back(&sentence);
    uint32_t begin = sentence.begin;
    if (sentence.ordinal > 0 && BeginsWithPronoun(evidence.text(sentence))) {
      const Sentence& before = sentences[index - 1];
      const bool taken = std::find(chosen.begin(), chosen.end(), &before) != chosen.end();
      if (!taken && sentence.begin - before.begin <= kMaxContextBytes) begin = before.begin;
    }
    const Hit& source = sources[sentence.source];
    answer.citations.push_back(
        MakeCitation(sentence.source + 1, source, begin, sentence.end, checker));
    if (!answer.text.empty()) answer.text += ' ';
    answer.text += StrCat(Flat(answer.citations.back().quote), " [", sentence.source + 1, "]");
  }
  return answer;
}

}  // namespace rag
