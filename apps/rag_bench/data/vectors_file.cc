#include "apps/rag_bench/data/vectors_file.h"

#include "index/vector_index.h"

namespace rag::bench {

Status CheckShape(std::string_view place, uint64_t rows, uint64_t dim) {
  if (dim < 1 || dim > kMaxDim) {
    return ResourceExhaustedError(place, ": dimension ", dim, " is not between 1 and ", kMaxDim);
  }
  if (rows > kMaxValues / dim) {
    return ResourceExhaustedError(place, ": ", rows, " x ", dim, " values are over the bound of ",
                                  kMaxValues);
  }
  return OkStatus();
}

Result<Matrix> ReadVectors(const std::string& path, size_t max_rows) {
  const auto ends_with = [&](std::string_view end) { return path.ends_with(end); };
  if (ends_with(".fvecs") || ends_with(".bvecs")) return ReadVecs(path, max_rows);
  if (ends_with(".npy")) return ReadNpy(path, max_rows);
  if (path.find("idx3-ubyte") != std::string::npos) return ReadIdx(path, max_rows);
  return InvalidArgumentError("'", path,
                              "' is none of .fvecs, .bvecs, .npy, *idx3-ubyte and *idx3-ubyte.gz");
}

}  // namespace rag::bench
