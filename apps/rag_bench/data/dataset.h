// Dataset: what a search benchmark is run on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/rag_bench/data/vectors_file.h"
#include "index/vector_index.h"

namespace rag::bench {

struct Dataset {
  std::string name;
  Metric metric = Metric::kL2;
  Matrix base;
  Matrix queries;
  NeighborTable truth;  // of all of base, empty when the data brings none
};

struct DatasetRequest {
  // A file of vectors, an HDF5 file (.hdf5, .h5), a folder or name of KnownSets(), or
  // "synthetic:ROWSxDIM[:CLUSTERS]".
  std::string data;
  std::string queries;           // a file of vectors; empty: what belongs to the data
  std::string truth;             // .ivecs; empty: what belongs to the data
  std::string data_dir;          // where names are looked up
  std::optional<Metric> metric;  // nothing: the data's, else L2
  size_t max_rows = kAllRows;
  size_t max_queries = 1'000;
};

// Data without queries of its own gives its last rows as queries (a tenth, at most max_queries),
// which are not in the base then. Cosine normalizes nothing here.
// Errors: those of the readers; invalid_argument for an unknown name, unequal dimensions, and a
// ground truth that does not fit.
Result<Dataset> LoadDataset(const DatasetRequest& request);

// The names, for --help.
std::vector<std::string> KnownSetNames();

}  // namespace rag::bench
