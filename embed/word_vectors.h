// Word vectors (Mikolov et al. 2013, "Efficient Estimation of Word Representations"; Bojanowski et
// al. 2017, fastText): a table from word to vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct WordNeighbor {
  std::string word;
  float cosine = 0;
};

// Immutable after loading; all methods may be called from several threads.
class WordVectors {
 public:
  // Whether the path's name says that it is one: ".vec" or ".bin".
  static bool IsFile(const std::string& path);

  // word2vec's text form ("count dim", then a word and its numbers a line; also GloVe's, without
  // the first line) or, when the name ends with ".bin", its binary form. Of a word that stands
  // twice the first counts. Errors: not_found; invalid_argument naming file and line (or word);
  // unsupported for fastText's own ".bin" models.
  static Result<WordVectors> Load(const std::string& path);

  size_t size() const { return words_.size(); }
  size_t dim() const { return vectors_.cols(); }
  const std::string& word(size_t i) const { return words_[i]; }
  MatrixView vectors() const { return vectors_.view(); }  // [size, dim]
  uint64_t hash() const { return hash_; }                 // of the file's bytes

  // The word itself, or in lower case. nullopt: it has no vector.
  std::optional<size_t> Find(std::string_view word) const;

  // The k words nearest to a sum of words, none of which is among them: "king - man + woman"
  // (Mikolov et al. 2013, "Linguistic Regularities", section 4, with unit vectors, by cosine).
  // Errors: invalid_argument naming what is no word or operator, a word that has no vector, or a k
  // that is not 1 to 1,000.
  Result<std::vector<WordNeighbor>> Analogy(std::string_view expression, size_t k,
                                            const Runtime& runtime) const;

 private:
  Status ReadText(const std::string& path, std::string_view text);
  Status ReadBinary(const std::string& path, std::string_view bytes);
  Status Add(const std::string& where, std::string_view word, Matrix& vectors);
  void Finish(Matrix vectors);

  std::vector<std::string> words_;
  std::unordered_map<std::string, uint32_t> rows_;
  Matrix vectors_;
  uint64_t hash_ = 0;
};

}  // namespace rag
