// Readers of vector files: right on what others wrote, typed errors on what is damaged.
#include "apps/rag_bench/data/vectors_file.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <random>

#include "apps/rag_bench/data/dataset.h"
#include "lib/base/file.h"
#include "tests/support/support.h"

namespace rag::bench {
namespace {

using test::TemporaryFolder;

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string Int32(int32_t value) {
  std::string out(4, '\0');
  std::memcpy(out.data(), &value, 4);
  return out;
}

std::string BigEndian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string Floats(const std::vector<float>& values) {
  std::string out(values.size() * 4, '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

std::string Npy(const std::string& dictionary, const std::string& values) {
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(dictionary.size() & 0xff) +
         static_cast<char>(dictionary.size() >> 8) + dictionary + values;
}

void RequireCode(const Status& status, StatusCode code, const std::string& words) {
  INFO(status.ToString());
  CHECK(status.code() == code);
  CHECK(status.message().find(words) != std::string::npos);
}

TEST_CASE("fvecs, bvecs and ivecs") {
  const TemporaryFolder folder;
  WriteBytes(folder.file("a.fvecs"),
             Int32(2) + Floats({1.5f, -2.f}) + Int32(2) + Floats({0.f, 1e30f}));
  const auto floats = ReadVectors(folder.file("a.fvecs"));
  REQUIRE_OK(floats);
  REQUIRE(floats->rows() == 2);
  REQUIRE(floats->cols() == 2);
  CHECK(floats->row(0)[1] == -2.f);
  CHECK(floats->row(1)[1] == 1e30f);

  WriteBytes(folder.file("a.bvecs"), Int32(3) + "\x01\xff\x7f" + Int32(3) + std::string(3, '\0'));
  const auto bytes = ReadVectors(folder.file("a.bvecs"), 1);
  REQUIRE_OK(bytes);
  REQUIRE(bytes->rows() == 1);
  CHECK(bytes->row(0)[1] == 255.f);

  WriteBytes(folder.file("a.ivecs"), Int32(2) + Int32(7) + Int32(9));
  const auto neighbors = ReadNeighbors(folder.file("a.ivecs"));
  REQUIRE_OK(neighbors);
  CHECK(neighbors->k == 2);
  CHECK(neighbors->rows() == 1);
  CHECK(neighbors->row(0)[1] == 9);
}

TEST_CASE("damaged vecs name the file and the row") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.fvecs");
  const std::string good = Int32(2) + Floats({1, 2}) + Int32(2) + Floats({3, 4});
  for (size_t bytes : {0u, 1u, 3u, 4u, 11u, 13u, 23u}) {
    WriteBytes(path, good.substr(0, bytes));
    RequireCode(ReadVectors(path).status(), StatusCode::kDataLoss, "a.fvecs");
  }
  WriteBytes(path, Int32(2) + Floats({1, 2}) + Int32(3) + Floats({3, 4}));
  RequireCode(ReadVectors(path).status(), StatusCode::kDataLoss, "row 1");
  WriteBytes(path, Int32(-5) + Floats({1, 2}));
  RequireCode(ReadVectors(path).status(), StatusCode::kDataLoss, "dimension -5");
  WriteBytes(path, Int32(70'000) + Floats({1, 2}));
  RequireCode(ReadVectors(path).status(), StatusCode::kResourceExhausted, "70000");
  RequireCode(ReadVectors(folder.file("none.fvecs")).status(), StatusCode::kNotFound, "none");
  RequireCode(ReadVectors(folder.file("a.txt")).status(), StatusCode::kInvalidArgument, "a.txt");
  RequireCode(ReadNeighbors(path).status(), StatusCode::kInvalidArgument, ".ivecs");
}

TEST_CASE("npy of every type") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.npy");
  const auto header = [](const std::string& type) {
    return "{'descr': '" + type + "', 'fortran_order': False, 'shape': (2, 2), }\n";
  };
  const std::vector<double> doubles = {1, -2, 3.5, 4};
  std::string of_doubles(32, '\0');
  std::memcpy(of_doubles.data(), doubles.data(), 32);
  struct Case {
    std::string type, values;
    float second;
  };
  for (const Case& c : {Case{"<f4", Floats({1, -2, 3.5, 4}), -2.f}, Case{"<f8", of_doubles, -2.f},
                        Case{"|u1", std::string("\x01\xfe\x03\x04"), 254.f},
                        Case{"|i1", "\x01\xfe\x03\x04", -2.f}}) {
    WriteBytes(path, Npy(header(c.type), c.values));
    const auto read = ReadVectors(path);
    REQUIRE_OK(read);
    REQUIRE(read->rows() == 2);
    CHECK(read->row(0)[1] == c.second);
    CHECK(read->row(1)[1] == 4.f);
  }
  Matrix matrix(3, 5);
  for (size_t i = 0; i < 15; ++i) matrix.data()[i] = static_cast<float>(i) / 3;
  REQUIRE_OK(WriteNpy(path, matrix.view()));
  const auto read = ReadVectors(path, 2);
  REQUIRE_OK(read);
  REQUIRE(read->rows() == 2);
  CHECK(std::equal(read->data(), read->data() + 10, matrix.data()));
}

TEST_CASE("damaged npy") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.npy");
  const auto expect = [&](const std::string& dictionary, StatusCode code,
                          const std::string& words) {
    WriteBytes(path, Npy(dictionary, std::string(16, '\0')));
    RequireCode(ReadVectors(path).status(), code, words);
  };
  expect("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", StatusCode::kUnsupported,
         "C order");
  expect("{'descr': '<c8', 'fortran_order': False, 'shape': (2, 1)}", StatusCode::kUnsupported,
         "<c8");
  expect("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", StatusCode::kDataLoss, "shape");
  expect("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 1)}", StatusCode::kDataLoss,
         "shape");
  expect("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", StatusCode::kDataLoss,
         "16 bytes");
  expect("{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 4)}",
         StatusCode::kResourceExhausted, "bound");
  expect("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 4)}",
         StatusCode::kDataLoss, "shape");
  expect("{'fortran_order': False}", StatusCode::kDataLoss, "descr");
  expect("", StatusCode::kUnsupported, "order");
  const std::string whole =
      Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", std::string(16, '\0'));
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    WriteBytes(path, whole.substr(0, bytes));
    CHECK_FALSE(ReadVectors(path).ok());
  }
}

TEST_CASE("idx3-ubyte, plain and damaged") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a-idx3-ubyte");
  const std::string good = BigEndian(2051) + BigEndian(2) + BigEndian(1) + BigEndian(3) + "abcdef";
  WriteBytes(path, good);
  const auto read = ReadVectors(path);
  REQUIRE_OK(read);
  REQUIRE(read->rows() == 2);
  REQUIRE(read->cols() == 3);
  CHECK(read->row(1)[2] == static_cast<float>('f'));
  for (size_t bytes = 0; bytes < good.size(); ++bytes) {
    WriteBytes(path, good.substr(0, bytes));
    RequireCode(ReadVectors(path).status(), StatusCode::kDataLoss, "a-idx3-ubyte");
  }
  WriteBytes(path, BigEndian(2049) + BigEndian(2) + "abcdefgh");
  RequireCode(ReadVectors(path).status(), StatusCode::kDataLoss, "2049");
  WriteBytes(path, BigEndian(2051) + BigEndian(UINT32_MAX) + BigEndian(28) + BigEndian(28));
  RequireCode(ReadVectors(path).status(), StatusCode::kResourceExhausted, "4294967295");
  WriteBytes(path, BigEndian(2051) + BigEndian(1) + BigEndian(65'536) + BigEndian(65'536));
  RequireCode(ReadVectors(path).status(), StatusCode::kDataLoss, "65536");
  RequireCode(ReadVectors(folder.file("none-idx3-ubyte")).status(), StatusCode::kNotFound, "none");
}

TEST_CASE("gzipped idx of real images, whole, cut and with flipped bytes") {
  const auto shared = test::SharedData("ann-mnist-784");
  if (!shared) RAG_SKIP("no shared data");
  const std::string source = (*shared / "t10k-images-idx3-ubyte.gz").string();
  const auto all = ReadVectors(source);
  REQUIRE_OK(all);
  CHECK(all->rows() == 10'000);
  CHECK(all->cols() == 784);
  const TemporaryFolder folder;
  const std::string path = folder.file("a-idx3-ubyte.gz");
  const std::string bytes = test::ReadAll(source);
  for (size_t kept : {1u, 9u, 40u, 10'000u, 1'000'000u}) {
    WriteBytes(path, bytes.substr(0, kept));
    RequireCode(ReadVectors(path).status(), StatusCode::kDataLoss, "a-idx3-ubyte.gz");
  }
  // A flipped byte is found by gzip's own checks, at the latest by its checksum at the end, or
  // leaves rows of the right shape; nothing else happens.
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) {
    std::string damaged = bytes;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    WriteBytes(path, damaged);
    const auto read = ReadVectors(path);
    if (read.ok()) CHECK(read->cols() * read->rows() == 7'840'000);
  }
}

TEST_CASE("the known sets load with their ground truth") {
  const auto shared = test::SharedData("ann-sift10k");
  if (!shared) RAG_SKIP("no shared data");
  DatasetRequest request;
  request.data_dir = shared->parent_path().string();
  struct Case {
    const char* name;
    size_t rows, dim, queries;
    Metric metric;
  };
  for (const Case& c : {Case{"ann-sift10k", 10'000, 128, 356, Metric::kL2},
                        Case{"mnist-784", 9'000, 784, 1'000, Metric::kL2},
                        Case{"ann-fashion-mnist-1k", 1'000, 784, 500, Metric::kL2},
                        Case{"glove-twitter-25", 11'425, 25, 500, Metric::kCosine},
                        Case{"ann-scifact-minilm", 5'183, 128, 1'000, Metric::kInnerProduct}}) {
    INFO(c.name);
    request.data = c.name;
    const auto data = LoadDataset(request);
    REQUIRE_OK(data);
    CHECK(data->base.rows() == c.rows);
    CHECK(data->base.cols() == c.dim);
    CHECK(data->queries.rows() == c.queries);
    CHECK(data->metric == c.metric);
    CHECK(data->truth.k == 100);
    CHECK(data->truth.rows() == c.queries);
  }
  // Of a cut base, or another metric, the published neighbours are not the nearest.
  request.max_rows = 500;
  CHECK(LoadDataset(request)->truth.k == 0);
  request.max_rows = kAllRows;
  request.metric = Metric::kL2;
  CHECK(LoadDataset(request)->truth.k == 0);
}

TEST_CASE("data that cannot be had is refused by name") {
  const TemporaryFolder folder;
  const auto status = [&](const std::string& data) {
    DatasetRequest request;
    request.data = data;
    return LoadDataset(request).status();
  };
  for (const char* data :
       {"synthetic:", "synthetic:10", "synthetic:x4", "synthetic:0x4", "synthetic:10x70000",
        "synthetic:10x4:0", "synthetic:10x4:a", "synthetic:99999999999x99999"}) {
    INFO(data);
    CHECK_FALSE(status(data).ok());
  }
  RequireCode(status("ann-sift10k"), StatusCode::kInvalidArgument, "--data-dir");
  RequireCode(status(folder.path().string()), StatusCode::kInvalidArgument, "no known set");
  WriteBytes(folder.file("few.fvecs"), Int32(1) + Floats({1}));
  RequireCode(status(folder.file("few.fvecs")), StatusCode::kInvalidArgument, "--queries");
  WriteBytes(folder.file("a.ivecs"), Int32(1) + Int32(1));
  DatasetRequest request;
  request.data = request.queries = folder.file("few.fvecs");
  request.truth = folder.file("a.ivecs");
  RequireCode(LoadDataset(request).status(), StatusCode::kInvalidArgument, "id 1");
}

TEST_CASE("synthetic data is the same each time") {
  DatasetRequest request;
  request.data = "synthetic:50x3:4";
  const auto a = LoadDataset(request);
  const auto b = LoadDataset(request);
  REQUIRE_OK(a);
  CHECK(a->base.rows() == 50);
  CHECK(a->base.cols() == 3);
  CHECK(std::equal(a->base.data(), a->base.data() + 150, b->base.data()));
}

}  // namespace
}  // namespace rag::bench
