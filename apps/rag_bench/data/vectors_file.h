// Files of vectors as the field exchanges them. Every size a file claims is compared with its
// length and a bound before it is used; errors name the file and the place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag::bench {

// Values of one matrix, 32 GiB of them.
inline constexpr size_t kMaxValues = size_t{1} << 33;
inline constexpr size_t kAllRows = SIZE_MAX;

// For each query the ids (rows of the base) of its nearest neighbours, best first: ids [queries,
// k].
struct NeighborTable {
  size_t k = 0;
  std::vector<uint32_t> ids;

  size_t rows() const { return k == 0 ? 0 : ids.size() / k; }
  const uint32_t* row(size_t i) const { return ids.data() + i * k; }
};

// The first max_rows vectors as f32, by the name's end: .fvecs, .bvecs, .npy (f4, f8, u1, i1; C
// order), and idx3-ubyte with or without .gz (an image is a vector, row by row).
// Errors: invalid_argument for a name of no known format; data_loss for what is cut or
// contradicts itself; resource_exhausted past kMaxDim or kMaxValues; those of the file system.
Result<Matrix> ReadVectors(const std::string& path, size_t max_rows = kAllRows);

// .ivecs.
Result<NeighborTable> ReadNeighbors(const std::string& path, size_t max_rows = kAllRows);

// An HDF5 file in ann-benchmarks' layout: datasets train, test and (if there) neighbors, attribute
// distance ("euclidean", "angular", …; empty when there is none).
struct AnnBenchmarksFile {
  Matrix train;
  Matrix test;
  NeighborTable neighbors;  // of all of train; empty when max_train cut it
  std::string distance;
};
Result<AnnBenchmarksFile> ReadAnnBenchmarks(const std::string& path, size_t max_train = kAllRows,
                                            size_t max_test = kAllRows);

// NumPy's format 1.0, as the peers' script reads it. vectors is written as f4 [rows, cols].
Status WriteNpy(const std::string& path, MatrixView vectors);

// ok when rows x dim is something that may be allocated; `place` begins the message.
Status CheckShape(std::string_view place, uint64_t rows, uint64_t dim);

// The readers behind ReadVectors, a file each.
Result<Matrix> ReadVecs(const std::string& path, size_t max_rows);
Result<Matrix> ReadNpy(const std::string& path, size_t max_rows);
Result<Matrix> ReadIdx(const std::string& path, size_t max_rows);

}  // namespace rag::bench
