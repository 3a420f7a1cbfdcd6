// How much each column of a model's matrices matters: the squares of what the columns are
// multiplied with, summed over a text. Files are those of llama.cpp's imatrix tool.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

// Of one tensor: a matrix, or one for each expert.
struct ImportanceEntry {
  size_t columns = 0;
  std::vector<double> sums;    // [matrices, columns], of squares
  std::vector<double> counts;  // [matrices], of the inputs that were summed

  size_t matrices() const { return counts.size(); }
};

class Importance {
 public:
  // A GGUF file of "NAME.in_sum2" and "NAME.counts", or the older form, whose sums are means times
  // a count of calls (of models without experts). Errors: those of reading it; invalid_argument
  // naming the entry and what is wrong with it (shape, negative or infinite sums).
  static Result<Importance> Load(const std::string& path);
  // Errors: invalid_argument naming a tensor and column whose sum is not from 0 to a float's
  // largest.
  Status Check() const;
  // As GGUF. Errors: io_error.
  Status Save(const std::string& path) const;

  // The mean squares of a tensor's columns, of the matrix-th of its matrices; one entry may stand
  // for all of them. nullopt: there is none, or it never got an input.
  std::optional<std::vector<float>> Columns(std::string_view name, size_t matrix) const;

  std::map<std::string, ImportanceEntry, std::less<>> entries;  // by the tensor's GGUF name
  std::vector<std::string> datasets;                            // names of the texts
  size_t chunks = 0;
  size_t chunk_tokens = 512;
};

struct ImportanceOptions {
  size_t chunk_tokens = 512;  // run together, each chunk by itself
  size_t max_chunks = 0;      // 0: as many as the text has
};

// Runs the model (a GGUF file or a Hugging Face folder) over `text` in chunks, whose first token is
// the tokenizer's where it begins texts with one, and sums what enters its layers' matrices; the
// output matrix is left out and a rest shorter than a chunk not run, all as llama.cpp's tool does.
// Errors: those of loading the model; invalid_argument for a text shorter than a chunk; data_loss
// for a model whose sums are not finite; cancelled.
Result<Importance> CollectImportance(const std::string& model, std::string_view text,
                                     const ImportanceOptions& options, const Runtime& runtime,
                                     const CancelToken* cancel = nullptr);

}  // namespace rag
