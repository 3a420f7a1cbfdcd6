#include "index/index_spec.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <string>

namespace rag {
namespace {

constexpr size_t kMaxSpecBytes = 1'024;

template <class T>
Status SetNumber(std::string_view key, std::string_view value, T& out) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (value.empty() || error != std::errc() || end != value.data() + value.size()) {
    return InvalidArgumentError("'", value, "' in '", key, "=", value, "' is no whole number");
  }
  out = number;
  return OkStatus();
}

Status SetReal(std::string_view key, std::string_view value, double& out) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (value.empty() || error != std::errc() || end != value.data() + value.size()) {
    return InvalidArgumentError("'", value, "' in '", key, "=", value, "' is no number");
  }
  return OkStatus();
}

Status SetKey(std::string_view key, std::string_view value, VectorIndexOptions& options) {
  if (key == "element") {
    RAG_ASSIGN_OR_RETURN(options.element, ParseElementType(value));
    return OkStatus();
  }
  if (key == "rows") {
    RAG_ASSIGN_OR_RETURN(options.rows, ParseRowPlace(value));
    return OkStatus();
  }
  if (key == "memory") {
    RAG_ASSIGN_OR_RETURN(options.memory_budget_bytes, ParseByteCount(value));
    return OkStatus();
  }
  if (options.kind == IndexKind::kHnsw) {
    if (key == "codes") {
      RAG_ASSIGN_OR_RETURN(options.hnsw.codes, ParseCodeKind(value));
      return OkStatus();
    }
    if (key == "code_dims") return SetNumber(key, value, options.hnsw.code_dims);
    if (key == "m") return SetNumber(key, value, options.hnsw.m);
    if (key == "ef_construction") return SetNumber(key, value, options.hnsw.ef_construction);
    if (key == "ef_search") return SetNumber(key, value, options.hnsw.ef_search);
    if (key == "seed") return SetNumber(key, value, options.hnsw.seed);
  }
  if (options.kind == IndexKind::kIvf) {
    if (key == "codes") {
      RAG_ASSIGN_OR_RETURN(options.ivf.codes, ParseIvfCodes(value));
      return OkStatus();
    }
    if (key == "lists") return SetNumber(key, value, options.ivf.lists);
    if (key == "pq_bytes") return SetNumber(key, value, options.ivf.pq_bytes);
    if (key == "rotate") {
      size_t rotate = 0;
      RAG_RETURN_IF_ERROR(SetNumber(key, value, rotate));
      if (rotate > 1) return InvalidArgumentError("rotate is ", rotate, ", not 0 or 1");
      options.ivf.rotate = rotate == 1;
      return OkStatus();
    }
    if (key == "anisotropic") return SetReal(key, value, options.ivf.anisotropic);
    if (key == "probes") return SetNumber(key, value, options.ivf.probes);
    if (key == "rerank") return SetNumber(key, value, options.ivf.rerank);
    if (key == "seed") return SetNumber(key, value, options.ivf.seed);
  }
  return InvalidArgumentError("'", key, "' is no key of the index '", IndexKindName(options.kind),
                              "'; ", IndexSpecHelp());
}

// What a part without '=' says.
std::string_view ImpliedKey(std::string_view value) {
  if (ParseCodeKind(value).ok() || ParseIvfCodes(value).ok()) return "codes";
  return ParseElementType(value).ok() ? "element" : "";
}

}  // namespace

std::string FormatIndexSpec(const VectorIndexOptions& options) {
  const VectorIndexOptions plain;
  std::string out(IndexKindName(options.kind));
  char before = ':';
  const auto put = [&](std::string_view key, const auto& value, const auto& usual) {
    if (value == usual) return;
    out += StrCat(std::string_view(&before, 1), key, "=", value);
    before = ',';
  };
  if (options.kind == IndexKind::kHnsw) {
    const HnswOptions &hnsw = options.hnsw, &usual = plain.hnsw;
    put("codes", CodeKindName(hnsw.codes), CodeKindName(usual.codes));
    put("code_dims", hnsw.code_dims, usual.code_dims);
    put("m", hnsw.m, usual.m);
    put("ef_construction", hnsw.ef_construction, usual.ef_construction);
    put("ef_search", hnsw.ef_search, usual.ef_search);
    put("seed", hnsw.seed, usual.seed);
  } else if (options.kind == IndexKind::kIvf) {
    const IvfOptions &ivf = options.ivf, &usual = plain.ivf;
    put("codes", IvfCodesName(ivf.codes), "");
    put("lists", ivf.lists, usual.lists);
    put("pq_bytes", ivf.pq_bytes, usual.pq_bytes);
    put("rotate", ivf.rotate ? 1 : 0, 0);
    put("anisotropic", ivf.anisotropic, usual.anisotropic);
    put("probes", ivf.probes, usual.probes);
    put("rerank", ivf.rerank, usual.rerank);
    put("seed", ivf.seed, usual.seed);
  }
  put("element", ElementTypeName(options.element), ElementTypeName(plain.element));
  put("rows", RowPlaceName(options.rows), RowPlaceName(plain.rows));
  put("memory", options.memory_budget_bytes, plain.memory_budget_bytes);
  return out;
}

Result<size_t> ParseByteCount(std::string_view text) {
  size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(end, text.data() + text.size());
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::string_view kUnits[][3] = {
      {"", "b", "b"}, {"k", "kb", "kib"}, {"m", "mb", "mib"}, {"g", "gb", "gib"}};
  for (size_t power = 0; error == std::errc() && power < std::size(kUnits); ++power) {
    if (std::find(std::begin(kUnits[power]), std::end(kUnits[power]), unit) ==
        std::end(kUnits[power])) {
      continue;
    }
    if (number > SIZE_MAX >> (10 * power)) break;
    return number << (10 * power);
  }
  return InvalidArgumentError("'", text, "' is no number of bytes, like 512mb or 2g");
}

std::string_view IndexSpecHelp() {
  return "keys: element (f32, f16, bf16, i8, u8, binary), rows (memory, disk), memory (a budget, "
         "as 512mb); of hnsw m, ef_construction, ef_search, seed, codes (none, sq8, pca8, rabitq, "
         "sq4, pca4), code_dims; of ivf lists, codes (none, sq8, pq8, pq4, rabitq), pq_bytes, "
         "rotate (0, 1), anisotropic (0 to 1), probes, rerank, seed";
}

Result<VectorIndexOptions> ParseIndexSpec(std::string_view text, const VectorIndexOptions& base) {
  if (text.size() > kMaxSpecBytes) {
    return ResourceExhaustedError("an index's description of ", text.size(),
                                  " bytes is over the bound of ", kMaxSpecBytes);
  }
  VectorIndexOptions options = base;
  const size_t colon = text.find(':');
  RAG_ASSIGN_OR_RETURN(options.kind, ParseIndexKind(text.substr(0, colon)));
  if (colon == std::string_view::npos) return options;
  for (size_t begin = colon + 1; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t equals = part.find('=');
    const bool has_key = equals != std::string_view::npos;
    const std::string_view key = has_key ? part.substr(0, equals) : ImpliedKey(part);
    if (key.empty()) {
      return InvalidArgumentError("'", part, "' in '", text, "' is no key=value; ",
                                  IndexSpecHelp());
    }
    RAG_RETURN_IF_ERROR(SetKey(key, has_key ? part.substr(equals + 1) : part, options));
  }
  return options;
}

}  // namespace rag
