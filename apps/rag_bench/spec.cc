#include "apps/rag_bench/spec.h"

#include <algorithm>
#include <charconv>

#include "index/index_spec.h"

namespace rag::bench {
namespace {

constexpr size_t kMaxWidth = 65'535;
constexpr std::string_view kSweep = "sweep=";

// Takes sweep=… out of a spec's keys.
Result<IndexSpec> ParseOne(const std::string& text, const VectorIndexOptions& base) {
  IndexSpec spec;
  spec.name = text;
  std::string rest = text.substr(0, text.find(':'));
  for (size_t begin = rest.size() + 1; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = std::string_view(text).substr(begin, end - begin);
    if (part.starts_with(kSweep)) {
      RAG_ASSIGN_OR_RETURN(spec.widths, ParseWidths(part.substr(kSweep.size())));
    } else {
      rest += StrCat(rest.find(':') == std::string::npos ? ":" : ",", part);
    }
    begin = end + 1;
  }
  spec.options = base;
  RAG_ASSIGN_OR_RETURN(spec.goal, ParseTuneGoal(rest));
  if (spec.goal.has_value()) return spec;
  RAG_ASSIGN_OR_RETURN(spec.options, ParseIndexSpec(rest, base));
  return spec;
}

}  // namespace

Result<std::vector<size_t>> ParseWidths(std::string_view text) {
  std::vector<size_t> widths;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find_first_of(",/", begin), text.size());
    size_t width = 0;
    const auto [rest, error] = std::from_chars(text.data() + begin, text.data() + end, width);
    if (error != std::errc() || rest != text.data() + end || width > kMaxWidth) {
      return InvalidArgumentError("'", text.substr(begin, end - begin), "' in '", text,
                                  "' is no number from 0 to ", kMaxWidth);
    }
    widths.push_back(width);
    begin = end + 1;
  }
  return widths;
}

std::vector<size_t> DefaultWidths(IndexKind kind) {
  if (kind == IndexKind::kFlat) return {0};
  if (kind == IndexKind::kIvf) return {1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128};
  return {10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400};
}

std::string_view WidthName(IndexKind kind) {
  if (kind == IndexKind::kFlat) return "";
  return kind == IndexKind::kIvf ? "probes" : "ef";
}

Result<std::vector<IndexSpec>> ParseIndexSpecs(std::string_view text,
                                               const VectorIndexOptions& base) {
  std::vector<std::string> texts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    begin = end + 1;
    const std::string_view name = part.substr(0, part.find(':'));
    const Result<IndexKind> kind = ParseIndexKind(name);
    if (kind.ok() || name == "auto") {
      texts.emplace_back(part);
    } else if (!texts.empty()) {
      texts.back() += StrCat(texts.back().find(':') == std::string::npos ? ":" : ",", part);
    } else {
      return InvalidArgumentError("'", part, "' in '", text, "': ", kind.status().message());
    }
  }
  std::vector<IndexSpec> specs;
  for (const std::string& one : texts) {
    RAG_ASSIGN_OR_RETURN(IndexSpec spec, ParseOne(one, base));
    for (const IndexSpec& other : specs) {
      if (other.name != spec.name) continue;
      return InvalidArgumentError("'", spec.name, "' stands twice in '", text, "'");
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

}  // namespace rag::bench
