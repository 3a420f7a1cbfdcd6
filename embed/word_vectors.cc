#include "embed/word_vectors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "lib/base/file.h"
#include "lib/base/hash.h"
#include "lib/kernels/kernels.h"
#include "lib/text/unicode.h"

namespace rag {
namespace {

constexpr size_t kMaxWords = size_t{1} << 24;
constexpr size_t kMaxWordDim = 1 << 16;
constexpr size_t kMaxWordBytes = 4'096;
constexpr size_t kMaxNeighbors = 1'000;
constexpr size_t kScoreGrain = 4'096;
// What fastText's own models begin with, in the file's order of bytes.
constexpr uint32_t kFastTextMagic = 793'712'314;

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

template <class T>
bool ParseNumber(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

struct Header {
  size_t count = 0;
  size_t dim = 0;
};

// "count dim"; nullopt when the line is something else.
std::optional<Header> ParseHeader(std::string_view line) {
  line = Trim(line);
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  Header header;
  if (!ParseNumber(line.substr(0, space), header.count) ||
      !ParseNumber(Trim(line.substr(space)), header.dim)) {
    return std::nullopt;
  }
  return header;
}

// `bytes`: that a vector takes at least in this file.
Status CheckHeader(const std::string& path, const Header& header, size_t file_bytes, size_t bytes) {
  if (header.count == 0 || header.count > kMaxWords || header.dim == 0 ||
      header.dim > kMaxWordDim) {
    return InvalidArgumentError(path, ": ", header.count, " words of ", header.dim,
                                " elements; known are up to ", kMaxWords, " of up to ",
                                kMaxWordDim);
  }
  if (header.count > file_bytes / bytes) {
    return InvalidArgumentError(path, ": ", header.count, " words of ", header.dim,
                                " elements do not fit into ", file_bytes, " bytes");
  }
  return OkStatus();
}

// The last `dim` fields of a line as numbers; what stands before them is the word. Null when they
// are none.
std::optional<std::string_view> ParseLine(std::string_view line, std::span<float> out) {
  line = Trim(line);
  for (size_t i = out.size(); i-- > 0;) {
    const size_t space = line.find_last_of(" \t");
    if (space == std::string_view::npos) return std::nullopt;
    if (!ParseNumber(line.substr(space + 1), out[i]) || !std::isfinite(out[i])) return std::nullopt;
    line = Trim(line.substr(0, space));
  }
  return line;
}

size_t CountFields(std::string_view line) {
  size_t fields = 0;
  for (line = Trim(line); !line.empty(); ++fields) {
    const size_t space = line.find_first_of(" \t");
    line = space == std::string_view::npos ? "" : Trim(line.substr(space));
  }
  return fields;
}

}  // namespace

bool WordVectors::IsFile(const std::string& path) {
  std::error_code error;
  return (path.ends_with(".vec") || path.ends_with(".bin")) &&
         std::filesystem::is_regular_file(path, error);
}

Status WordVectors::Add(const std::string& where, std::string_view word, Matrix& vectors) {
  if (word.empty() || word.size() > kMaxWordBytes) {
    return InvalidArgumentError(where, ": a word of ", word.size(), " bytes");
  }
  if (words_.size() == vectors.rows()) {
    return InvalidArgumentError(where, ": more words than the ", vectors.rows(),
                                " that the first line names");
  }
  if (!rows_.try_emplace(std::string(word), static_cast<uint32_t>(words_.size())).second) {
    return OkStatus();
  }
  words_.emplace_back(word);
  return OkStatus();
}

Status WordVectors::ReadText(const std::string& path, std::string_view text) {
  size_t at = 0;
  const auto next_line = [&] {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = std::min(end + 1, text.size());
    return line;
  };
  const std::string_view first = next_line();
  std::optional<Header> header = ParseHeader(first);
  size_t number = 1;
  const bool counted = header.has_value();
  if (!counted) {
    const size_t fields = CountFields(first);
    if (fields < 2) {
      return InvalidArgumentError(path, ": line 1 is neither a count and a dimension nor a word ",
                                  "and its numbers");
    }
    const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
    header = {.count = lines + (text.ends_with('\n') ? 0 : 1), .dim = fields - 1};
    at = 0;
    number = 0;
  }
  // A digit and a space for each element.
  RAG_RETURN_IF_ERROR(CheckHeader(path, *header, text.size() + 1, 2 * header->dim));
  Matrix vectors(header->count, header->dim);
  std::vector<float> row(header->dim);
  size_t read = 0;
  while (at < text.size()) {
    const std::string_view line = next_line();
    const std::string where = StrCat(path, ": line ", ++number);
    if (Trim(line).empty()) continue;
    const std::optional<std::string_view> word = ParseLine(line, row);
    if (!word.has_value()) {
      return InvalidArgumentError(where, " is not a word and ", header->dim, " numbers");
    }
    const size_t before = words_.size();
    RAG_RETURN_IF_ERROR(Add(where, *word, vectors));
    if (words_.size() > before) std::copy(row.begin(), row.end(), vectors.row(before).data());
    ++read;
  }
  if (counted && read != header->count) {
    return InvalidArgumentError(path, ": ", read, " words, but the first line names ",
                                header->count);
  }
  Finish(std::move(vectors));
  return OkStatus();
}

Status WordVectors::ReadBinary(const std::string& path, std::string_view bytes) {
  uint32_t magic = 0;
  if (bytes.size() >= sizeof(magic)) std::memcpy(&magic, bytes.data(), sizeof(magic));
  if (magic == kFastTextMagic) {
    return UnsupportedError(path, ": fastText's own models are not known; known is the .vec file",
                            " that it writes beside them");
  }
  for (const std::string_view begin : {"PK\3\4", "\x80\2\x8A\x0A"}) {
    if (!bytes.starts_with(begin)) continue;
    return InvalidArgumentError(path, ": holds weights of PyTorch's, not word vectors; name the ",
                                "model's folder");
  }
  const size_t end = bytes.find('\n');
  const std::optional<Header> header =
      end == std::string_view::npos || end > 64 ? std::nullopt : ParseHeader(bytes.substr(0, end));
  if (!header.has_value()) {
    return InvalidArgumentError(path, ": the first line is not a count and a dimension");
  }
  const size_t row_bytes = header->dim * sizeof(float);
  RAG_RETURN_IF_ERROR(CheckHeader(path, *header, bytes.size(), std::max<size_t>(row_bytes, 1)));
  Matrix vectors(header->count, header->dim);
  size_t at = end + 1;
  for (size_t i = 0; i < header->count; ++i) {
    const std::string where = StrCat(path, ": word ", i + 1);
    while (at < bytes.size() && bytes[at] == '\n') ++at;
    const size_t space = bytes.find(' ', at);
    if (space == std::string_view::npos || bytes.size() - space - 1 < row_bytes) {
      return InvalidArgumentError(where, " of ", header->count, " is cut off");
    }
    const size_t before = words_.size();
    RAG_RETURN_IF_ERROR(Add(where, bytes.substr(at, space - at), vectors));
    if (words_.size() > before) {
      std::span<float> row = vectors.row(before);
      std::memcpy(row.data(), bytes.data() + space + 1, row_bytes);
      for (const float value : row) {
        if (!std::isfinite(value)) {
          return InvalidArgumentError(where, " has an element that is no finite number");
        }
      }
    }
    at = space + 1 + row_bytes;
  }
  Finish(std::move(vectors));
  return OkStatus();
}

void WordVectors::Finish(Matrix vectors) {
  if (vectors.rows() == words_.size()) {
    vectors_ = std::move(vectors);
    return;
  }
  vectors_ = Matrix(words_.size(), vectors.cols());
  std::copy_n(vectors.data(), words_.size() * vectors.cols(), vectors_.data());
}

Result<WordVectors> WordVectors::Load(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  WordVectors loaded;
  RAG_RETURN_IF_ERROR(path.ends_with(".bin") ? loaded.ReadBinary(path, bytes)
                                             : loaded.ReadText(path, bytes));
  if (loaded.size() == 0) return InvalidArgumentError(path, ": no word");
  loaded.hash_ = Hash64(file.bytes());
  return loaded;
}

std::optional<size_t> WordVectors::Find(std::string_view word) const {
  auto found = rows_.find(std::string(word));
  if (found == rows_.end()) found = rows_.find(ToLower(word));
  if (found == rows_.end()) return std::nullopt;
  return found->second;
}

Result<std::vector<WordNeighbor>> WordVectors::Analogy(std::string_view expression, size_t k,
                                                       const Runtime& runtime) const {
  if (k == 0 || k > kMaxNeighbors) {
    return InvalidArgumentError("k ", k, " is not between 1 and ", kMaxNeighbors);
  }
  const Kernels& kernels = runtime.kernels();
  const auto length = [&](size_t row) {
    const float* x = vectors_.row(row).data();
    return std::max(std::sqrt(kernels.dot(x, x, dim())), 1e-30f);
  };
  std::vector<float> sum(dim());
  std::vector<size_t> given;
  float sign = 1;
  bool wants_word = true;
  bool may_sign = true;  // before the first word too
  for (std::string_view rest = Trim(expression); !rest.empty();) {
    const std::string_view token = rest.substr(0, rest.find_first_of(" \t"));
    rest = Trim(rest.substr(token.size()));
    const bool is_operator = token == "+" || token == "-";
    if (is_operator && may_sign) {
      sign = token == "+" ? 1.0f : -1.0f;
      wants_word = true;
      may_sign = false;
      continue;
    }
    if (!wants_word || is_operator) {
      return InvalidArgumentError("'", token, "' in '", expression, "' stands where ",
                                  wants_word ? "a word" : "+ or -", " is wanted");
    }
    const std::optional<size_t> row = Find(token);
    if (!row.has_value()) return InvalidArgumentError("the word '", token, "' has no vector");
    kernels.axpy(sign / length(*row), vectors_.row(*row).data(), sum.data(), dim());
    given.push_back(*row);
    wants_word = false;
    may_sign = true;
  }
  if (wants_word) return InvalidArgumentError("'", expression, "' does not end with a word");
  const float sum_length = std::max(std::sqrt(kernels.dot(sum.data(), sum.data(), dim())), 1e-30f);
  std::vector<std::pair<float, uint32_t>> scores(size());
  runtime.pool().ParallelFor(size(), kScoreGrain, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      const float product = kernels.dot(sum.data(), vectors_.row(i).data(), dim());
      scores[i] = {product / sum_length / length(i), static_cast<uint32_t>(i)};
    }
  });
  std::erase_if(scores, [&](const auto& score) {
    return std::find(given.begin(), given.end(), score.second) != given.end();
  });
  const size_t count = std::min(k, scores.size());
  std::partial_sort(scores.begin(), scores.begin() + static_cast<ptrdiff_t>(count), scores.end(),
                    [](const auto& a, const auto& b) {
                      return a.first != b.first ? a.first > b.first : a.second < b.second;
                    });
  std::vector<WordNeighbor> neighbors;
  for (size_t i = 0; i < count; ++i)
    neighbors.push_back({words_[scores[i].second], scores[i].first});
  return neighbors;
}

}  // namespace rag
