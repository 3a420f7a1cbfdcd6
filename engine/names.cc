// Names of the enumerations, as flags, files and JSON write them.
#include "engine/answer.h"
#include "engine/chunk.h"
#include "engine/parse.h"
#include "engine/search.h"

namespace rag {
namespace {

// The enumerator whose name is `name`; the message lists all of them.
template <class Enum, size_t kCount>
Result<Enum> ParseName(std::string_view what, std::string_view name, const Enum (&all)[kCount],
                       std::string_view (*to_name)(Enum)) {
  std::string known;
  for (const Enum candidate : all) {
    if (to_name(candidate) == name) return candidate;
    if (!known.empty()) known += ", ";
    known += to_name(candidate);
  }
  return InvalidArgumentError("unknown ", what, " '", name, "'; known are ", known);
}

}  // namespace

std::string_view FormatName(Format format) {
  switch (format) {
    case Format::kText:
      return "text";
    case Format::kMarkdown:
      return "markdown";
    case Format::kHtml:
      return "html";
    case Format::kPdf:
      return "pdf";
    case Format::kDocx:
      return "docx";
    case Format::kPptx:
      return "pptx";
    case Format::kXlsx:
      return "xlsx";
    case Format::kOdf:
      return "odf";
    case Format::kEpub:
      return "epub";
    case Format::kCsv:
      return "csv";
    case Format::kJsonl:
      return "jsonl";
    case Format::kCode:
      return "code";
    case Format::kImage:
      return "image";
  }
  return "unknown";
}

std::string_view ChunkStrategyName(ChunkStrategy strategy) {
  switch (strategy) {
    case ChunkStrategy::kFixed:
      return "fixed";
    case ChunkStrategy::kSentence:
      return "sentence";
    case ChunkStrategy::kRecursive:
      return "recursive";
    case ChunkStrategy::kStructure:
      return "structure";
  }
  return "unknown";
}

Result<ChunkStrategy> ParseChunkStrategy(std::string_view name) {
  static constexpr ChunkStrategy kAll[] = {ChunkStrategy::kFixed, ChunkStrategy::kSentence,
                                           ChunkStrategy::kRecursive, ChunkStrategy::kStructure};
  return ParseName("chunk strategy", name, kAll, &ChunkStrategyName);
}

std::string_view SearchModeName(SearchMode mode) {
  switch (mode) {
    case SearchMode::kDense:
      return "dense";
    case SearchMode::kLexical:
      return "lexical";
    case SearchMode::kSparse:
      return "sparse";
    case SearchMode::kHybrid:
      return "hybrid";
  }
  return "unknown";
}

Result<SearchMode> ParseSearchMode(std::string_view name) {
  static constexpr SearchMode kAll[] = {SearchMode::kDense, SearchMode::kLexical,
                                        SearchMode::kSparse, SearchMode::kHybrid};
  return ParseName("search mode", name, kAll, &SearchModeName);
}

std::string_view PromptStrategyName(PromptStrategy strategy) {
  switch (strategy) {
    case PromptStrategy::kPlain:
      return "plain";
    case PromptStrategy::kFewShot:
      return "few-shot";
    case PromptStrategy::kChainOfThought:
      return "cot";
  }
  return "unknown";
}

Result<PromptStrategy> ParsePromptStrategy(std::string_view name) {
  static constexpr PromptStrategy kAll[] = {PromptStrategy::kPlain, PromptStrategy::kFewShot,
                                            PromptStrategy::kChainOfThought};
  return ParseName("prompt strategy", name, kAll, &PromptStrategyName);
}

std::string_view AnswerModeName(AnswerMode mode) {
  return mode == AnswerMode::kGenerative ? "generative" : "extractive";
}

}  // namespace rag
