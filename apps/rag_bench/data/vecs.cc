// fvecs, bvecs and ivecs (corpus-texmex.irisa.fr): each row is its dimension, a little-endian
// int32, and that many float32, uint8 or int32.
#include <algorithm>
#include <cstring>
#include <span>

#include "apps/rag_bench/data/vectors_file.h"
#include "lib/base/file.h"

namespace rag::bench {
namespace {

struct Layout {
  size_t dim = 0;
  size_t rows = 0;  // those asked for
  size_t row_bytes = 0;
};

Result<Layout> ReadLayout(const MappedFile& file, size_t element_bytes, size_t max_rows) {
  const std::span<const std::byte> bytes = file.bytes();
  const std::string place = StrCat("'", file.path(), "'");
  if (bytes.size() < 4) return DataLossError(place, ": ", bytes.size(), " bytes hold no vector");
  int32_t dim = 0;
  std::memcpy(&dim, bytes.data(), 4);
  if (dim < 1) return DataLossError(place, ", row 0: dimension ", dim);
  RAG_RETURN_IF_ERROR(CheckShape(place, 1, static_cast<uint64_t>(dim)));
  Layout layout;
  layout.dim = static_cast<size_t>(dim);
  layout.row_bytes = 4 + layout.dim * element_bytes;
  if (bytes.size() % layout.row_bytes != 0) {
    return DataLossError(place, ": ", bytes.size(), " bytes are no whole number of rows of ",
                         layout.row_bytes, " bytes (dimension ", dim, ")");
  }
  layout.rows = std::min(max_rows, bytes.size() / layout.row_bytes);
  RAG_RETURN_IF_ERROR(CheckShape(place, layout.rows, layout.dim));
  for (size_t i = 0; i < layout.rows; ++i) {
    int32_t found = 0;
    std::memcpy(&found, bytes.data() + i * layout.row_bytes, 4);
    if (found != dim) {
      return DataLossError(place, ", row ", i, " at byte ", i * layout.row_bytes, ": dimension ",
                           found, ", that of row 0 is ", dim);
    }
  }
  return layout;
}

}  // namespace

Result<Matrix> ReadVecs(const std::string& path, size_t max_rows) {
  const bool floats = path.ends_with(".fvecs");
  RAG_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  RAG_ASSIGN_OR_RETURN(const Layout layout, ReadLayout(file, floats ? 4 : 1, max_rows));
  Matrix out(layout.rows, layout.dim);
  for (size_t i = 0; i < layout.rows; ++i) {
    const std::byte* const from = file.bytes().data() + i * layout.row_bytes + 4;
    if (floats) {
      std::memcpy(out.row(i).data(), from, layout.dim * 4);
    } else {
      std::transform(from, from + layout.dim, out.row(i).data(), [](std::byte value) {
        return static_cast<float>(std::to_integer<int>(value));
      });
    }
  }
  return out;
}

Result<NeighborTable> ReadNeighbors(const std::string& path, size_t max_rows) {
  if (!path.ends_with(".ivecs")) {
    return InvalidArgumentError("'", path, "' is no .ivecs, which neighbours are read from");
  }
  RAG_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  RAG_ASSIGN_OR_RETURN(const Layout layout, ReadLayout(file, 4, max_rows));
  NeighborTable out{layout.dim, std::vector<uint32_t>(layout.rows * layout.dim)};
  for (size_t i = 0; i < layout.rows; ++i) {
    std::memcpy(out.ids.data() + i * layout.dim, file.bytes().data() + i * layout.row_bytes + 4,
                layout.dim * 4);
  }
  return out;
}

}  // namespace rag::bench
