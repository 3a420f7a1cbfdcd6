// ann-benchmarks' HDF5 files: written here with the library itself, read whole, cut and damaged.
#include <hdf5.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <random>

#include "apps/rag_bench/data/dataset.h"
#include "tests/support/support.h"

namespace rag::bench {
namespace {

constexpr hsize_t kRows = 300, kQueries = 20, kDim = 12, kNeighbors = 5;

void WriteMatrix(hid_t file, const char* name, hsize_t rows, hsize_t cols, hid_t type,
                 const void* values, bool compressed) {
  const hsize_t extent[2] = {rows, cols};
  const hid_t space = H5Screate_simple(2, extent, nullptr);
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  if (compressed) {
    const hsize_t chunk[2] = {std::min<hsize_t>(rows, 64), cols};
    H5Pset_chunk(properties, 2, chunk);
    H5Pset_deflate(properties, 4);
  }
  const hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  REQUIRE(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
  H5Dclose(dataset);
  H5Pclose(properties);
  H5Sclose(space);
}

std::vector<float> Values(hsize_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> out(count);
  for (float& value : out) value = static_cast<float>(random() % 1'000) / 10;
  return out;
}

struct Options {
  bool compressed = false;
  std::string distance = "euclidean";
  hsize_t test_dim = kDim;
  bool neighbors = true;
};

void WriteFile(const std::string& path, const Options& options) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  WriteMatrix(file, "train", kRows, kDim, H5T_NATIVE_FLOAT, Values(kRows * kDim, 1).data(),
              options.compressed);
  WriteMatrix(file, "test", kQueries, options.test_dim, H5T_NATIVE_FLOAT,
              Values(kQueries * options.test_dim, 2).data(), options.compressed);
  if (options.neighbors) {
    const std::vector<int32_t> ids(kQueries * kNeighbors, 7);
    WriteMatrix(file, "neighbors", kQueries, kNeighbors, H5T_NATIVE_INT32, ids.data(),
                options.compressed);
  }
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, options.distance.size());
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(file, "distance", type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, options.distance.data());
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
  H5Fclose(file);
}

TEST_CASE("an HDF5 file in ann-benchmarks' layout, plain and compressed") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("a.hdf5");
  for (const bool compressed : {false, true}) {
    WriteFile(path, {.compressed = compressed});
    const auto file = ReadAnnBenchmarks(path);
    REQUIRE_OK(file);
    REQUIRE(file->train.rows() == kRows);
    REQUIRE(file->test.rows() == kQueries);
    const std::vector<float> wanted = Values(kRows * kDim, 1);
    CHECK(std::equal(wanted.begin(), wanted.end(), file->train.data()));
    CHECK(file->neighbors.k == kNeighbors);
    CHECK(file->neighbors.row(kQueries - 1)[4] == 7);
    CHECK(file->distance == "euclidean");
  }
  const auto cut = ReadAnnBenchmarks(path, 100, 3);
  REQUIRE_OK(cut);
  CHECK(cut->train.rows() == 100);
  CHECK(cut->test.rows() == 3);
  CHECK(cut->neighbors.k == 0);  // those of the whole
  DatasetRequest request;
  request.data = path;
  REQUIRE_OK(LoadDataset(request));
  CHECK(LoadDataset(request)->metric == Metric::kL2);
  CHECK(LoadDataset(request)->truth.k == kNeighbors);
  request.metric = Metric::kCosine;  // whose neighbours are others
  CHECK(LoadDataset(request)->truth.k == 0);
}

TEST_CASE("HDF5 files that contradict themselves") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("a.hdf5");
  const auto code = [&] { return ReadAnnBenchmarks(path).status().code(); };
  CHECK(code() == StatusCode::kNotFound);
  std::ofstream(path) << "no HDF5";
  CHECK(code() == StatusCode::kDataLoss);
  WriteFile(path, {.test_dim = kDim + 1});
  CHECK(code() == StatusCode::kDataLoss);
  WriteFile(path, {.distance = "chebyshev", .neighbors = false});
  CHECK(code() == StatusCode::kOk);
  DatasetRequest request;
  request.data = path;
  const Status unknown = LoadDataset(request).status();
  CHECK(unknown.code() == StatusCode::kUnsupported);
  CHECK(unknown.message().find("chebyshev") != std::string::npos);
  request.metric = Metric::kInnerProduct;
  REQUIRE_OK(LoadDataset(request));
}

TEST_CASE("cut HDF5 files and flipped bits are errors or readable, never the end") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("a.hdf5");
  std::mt19937 random(9);
  for (const bool compressed : {false, true}) {
    WriteFile(path, {.compressed = compressed});
    const std::string good = test::ReadAll(path);
    for (int i = 0; i < 120; ++i) {
      std::string damaged = good;
      // Most of what the library believes stands at the beginning.
      for (int flips = 0; flips < 3; ++flips) {
        const size_t range = flips == 0 ? std::min<size_t>(good.size(), 4'096) : good.size();
        damaged[random() % range] ^= static_cast<char>(1 << random() % 8);
      }
      if (i % 5 == 0) damaged.resize(random() % damaged.size());
      std::ofstream(path, std::ios::binary) << damaged;
      const auto file = ReadAnnBenchmarks(path);
      if (file.ok()) {
        CHECK(file->train.cols() == file->test.cols());
      } else {
        CHECK(file.status().message().find("a.hdf5") != std::string::npos);
      }
    }
  }
}

}  // namespace
}  // namespace rag::bench
