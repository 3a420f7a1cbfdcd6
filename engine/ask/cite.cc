#include "engine/ask/cite.h"

#include <algorithm>
#include <optional>

#include "engine/chunk.h"

namespace rag {
namespace {

// A citation is kept when its best sentence has this share of the citing sentence's term weight, or
// is this near to it by the encoder's cosine. Unrelated sentences of all-MiniLM-L6-v2 lie below 0.3
// and share function words at most.
constexpr double kMinCoverage = 0.12;
constexpr double kMinCosine = 0.35;
// Marker ranges like [2-9] longer than this are taken for something else.
constexpr size_t kMaxRange = 20;

// Whether each byte is inside `…` or a fenced block.
std::vector<bool> CodeBytes(std::string_view text) {
  std::vector<bool> code(text.size(), false);
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '`') {
      ++i;
      continue;
    }
    size_t ticks = i;
    while (ticks < text.size() && text[ticks] == '`') ++ticks;
    const std::string fence(ticks - i, '`');
    size_t end = text.find(fence, ticks);
    // A lone back quote is a character; an open fence reaches to the end.
    if (end == std::string_view::npos && fence.size() < 3) {
      i = ticks;
      continue;
    }
    end = end == std::string_view::npos ? text.size() : end + fence.size();
    std::fill(code.begin() + static_cast<ptrdiff_t>(i), code.begin() + static_cast<ptrdiff_t>(end),
              true);
    i = end;
  }
  return code;
}

// The marker at `begin`, whose numbers are not yet bounded; nothing when it is no marker.
std::optional<CitationMarker> ParseMarker(std::string_view text, size_t begin) {
  CitationMarker marker;
  marker.begin = begin;
  size_t i = begin + 1;
  const auto skip = [&] {
    while (i < text.size() && text[i] == ' ') ++i;
  };
  std::optional<size_t> range_from;
  while (true) {
    skip();
    size_t number = 0;
    size_t digits = 0;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9' && digits < 6) {
      number = number * 10 + static_cast<size_t>(text[i++] - '0');
      ++digits;
    }
    if (digits == 0 || digits == 6) return std::nullopt;
    if (range_from.has_value()) {
      if (number < *range_from || number - *range_from > kMaxRange) return std::nullopt;
      for (size_t n = *range_from + 1; n <= number; ++n) marker.numbers.push_back(n);
      range_from.reset();
    } else {
      marker.numbers.push_back(number);
    }
    skip();
    if (i >= text.size()) return std::nullopt;
    if (text[i] == ']') break;
    if (text[i] == '-') {
      range_from = number;
    } else if (text[i] != ',' && text[i] != ';') {
      return std::nullopt;
    }
    ++i;
  }
  marker.end = i + 1;
  return marker;
}

}  // namespace

std::vector<CitationMarker> FindMarkers(std::string_view answer, size_t source_count) {
  std::vector<CitationMarker> markers;
  const std::vector<bool> code = CodeBytes(answer);
  for (size_t i = answer.find('['); i != std::string_view::npos; i = answer.find('[', i + 1)) {
    if (code[i]) continue;
    std::optional<CitationMarker> marker = ParseMarker(answer, i);
    if (!marker.has_value()) continue;
    if (marker->end < answer.size() && answer[marker->end] == '(') continue;
    std::vector<size_t> numbers;
    for (const size_t n : marker->numbers) {
      const bool known = std::find(numbers.begin(), numbers.end(), n) != numbers.end();
      if (n >= 1 && n <= source_count && !known) numbers.push_back(n);
    }
    marker->numbers = std::move(numbers);
    if (!marker->numbers.empty()) markers.push_back(*std::move(marker));
  }
  return markers;
}

std::string_view CitingSentence(std::string_view answer, const CitationMarker& marker) {
  // All brackets become blanks, so that "… end. [1] Next" is split where its words are.
  std::string plain(answer);
  for (const CitationMarker& other : FindMarkers(answer, SIZE_MAX)) {
    std::fill(plain.begin() + static_cast<ptrdiff_t>(other.begin),
              plain.begin() + static_cast<ptrdiff_t>(other.end), ' ');
  }
  std::string_view best;
  for (const TextRange& range : SplitSentences(plain)) {
    if (best.empty() || range.begin < marker.begin) {
      best = answer.substr(range.begin, range.end - range.begin);
    }
  }
  return best;
}

bool QuoteChecker::Verify(const Citation& citation) {
  auto body = bodies_.find(citation.document);
  if (body == bodies_.end()) {
    auto read = collection_.GetBody(citation.document);
    if (!read.ok()) return false;
    body = bodies_.emplace(citation.document, std::move(read).value()).first;
  }
  return citation.start <= citation.end && citation.end <= body->second.size() &&
         std::string_view(body->second).substr(citation.start, citation.end - citation.start) ==
             citation.quote;
}

Citation MakeCitation(size_t n, const Hit& source, uint32_t begin, uint32_t end,
                      QuoteChecker& checker) {
  Citation citation;
  citation.n = n;
  citation.document = source.document;
  citation.title = source.title;
  citation.chunk_id = source.chunk_id;
  citation.start = source.start + begin;
  citation.end = source.start + end;
  citation.headings = source.headings;
  citation.page = source.page;
  citation.quote = source.text.substr(begin, end - begin);
  citation.verified = checker.Verify(citation);
  return citation;
}

Result<CitedAnswer> CiteAnswer(std::string_view answer, std::span<const Hit> sources,
                               const AskContext& context, const CancelToken* cancel) {
  CitedAnswer cited;
  const std::vector<CitationMarker> markers = FindMarkers(answer, sources.size());
  if (markers.empty()) return cited;

  Evidence evidence(sources);
  QuoteChecker checker(context.collection);
  std::vector<std::string> claims;
  for (const CitationMarker& marker : markers) {
    // Numbers in brackets are no words of the sentence.
    std::string claim;
    const std::string_view sentence = CitingSentence(answer, marker);
    size_t begin = 0;
    for (const CitationMarker& inner : FindMarkers(sentence, SIZE_MAX)) {
      claim.append(sentence.substr(begin, inner.begin - begin));
      begin = inner.end;
    }
    claims.push_back(claim.append(sentence.substr(begin)));
  }
  Embeddings claim_vectors;
  if (context.encoder != nullptr) {
    std::vector<size_t> wanted;
    for (const CitationMarker& marker : markers) {
      for (const size_t n : marker.numbers) {
        const auto [first, last] = evidence.OfSource(n - 1);
        for (size_t i = first; i < last; ++i) wanted.push_back(i);
      }
    }
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    RAG_RETURN_IF_ERROR(evidence.Encode(wanted, *context.encoder, cancel));
    const std::vector<std::string_view> texts(claims.begin(), claims.end());
    RAG_ASSIGN_OR_RETURN(claim_vectors,
                         context.encoder->Encode(texts, TextRole::kDocument, cancel));
  }

  for (size_t m = 0; m < markers.size(); ++m) {
    const std::vector<std::string> terms = TermsOf(claims[m]);
    for (const size_t n : markers[m].numbers) {
      const auto [first, last] = evidence.OfSource(n - 1);
      double best_score = 0;
      std::optional<size_t> best;
      for (size_t i = first; i < last; ++i) {
        const double coverage = evidence.Coverage(terms, evidence.sentences()[i]);
        double score = coverage;
        bool supports = coverage >= kMinCoverage;
        if (context.encoder != nullptr) {
          const double cosine = Cosine(claim_vectors.vectors.row(m), evidence.vector(i));
          score = 0.5 * (coverage + cosine);
          supports |= cosine >= kMinCosine;
        }
        if (supports && score > best_score) {
          best_score = score;
          best = i;
        }
      }
      if (!best.has_value()) {
        cited.note += cited.note.empty() ? "" : "; ";
        cited.note += StrCat("a citation of [", n,
                             "] was dropped: nothing in that source supports its sentence");
        continue;
      }
      const Sentence& sentence = evidence.sentences()[*best];
      Citation citation = MakeCitation(n, sources[n - 1], sentence.begin, sentence.end, checker);
      const bool known =
          std::any_of(cited.citations.begin(), cited.citations.end(), [&](const Citation& other) {
            return other.n == citation.n && other.start == citation.start;
          });
      if (!known) cited.citations.push_back(std::move(citation));
    }
  }
  return cited;
}

}  // namespace rag
