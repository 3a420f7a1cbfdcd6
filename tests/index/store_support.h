// Small stores for the tests of Store and Collection.
#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "index/store.h"
#include "tests/support/support.h"

namespace rag::test {

inline constexpr size_t kDim = 8;

inline CollectionConfig Config(const std::string& name, size_t dim = kDim) {
  CollectionConfig config;
  config.name = name;
  config.vectors.dim = dim;
  config.encoder_fingerprint = "test";
  config.properties = *ParseJson(R"({"chunk":{"tokens":256}})");
  return config;
}

inline std::vector<float> UnitVector(size_t axis, float tilt = 0.0f) {
  std::vector<float> vector(kDim, 0.0f);
  vector[axis % kDim] = 1.0f;
  vector[(axis + 1) % kDim] = tilt;
  return vector;
}

inline DocumentInput Document(const std::string& key, size_t axis, const std::string& text,
                              const std::string& attributes = "{}") {
  DocumentInput document;
  document.key = key;
  document.payload = "payload of " + key;
  document.body = "body of " + key + ": " + text;
  document.attributes = *ParseJson(attributes);
  ChunkInput chunk;
  chunk.payload = text;
  chunk.lexical_text = text;
  chunk.vector = UnitVector(axis);
  document.chunks.push_back(chunk);
  return document;
}

struct Opened {
  std::unique_ptr<Runtime> runtime = MakeRuntime();
  std::unique_ptr<Store> store;

  explicit Opened(const std::string& path, StoreOptions options = {}) {
    Result<std::unique_ptr<Store>> opened = Store::Open(path, options, *runtime);
    REQUIRE_OK(opened);
    store = std::move(opened).value();
  }
  std::shared_ptr<Collection> Create(const CollectionConfig& config) {
    Result<std::shared_ptr<Collection>> created = store->CreateCollection(config);
    REQUIRE_OK(created);
    return *created;
  }
  std::shared_ptr<Collection> Open(const std::string& name) {
    Result<std::shared_ptr<Collection>> opened = store->OpenCollection(name);
    REQUIRE_OK(opened);
    return *opened;
  }
};

inline size_t FoundByWord(const Collection& collection, const std::string& word) {
  const auto found = collection.SearchLexical(word, 10, nullptr);
  REQUIRE_OK(found);
  return found->size();
}

inline void RequireSound(const Collection& collection) {
  const Result<VerifyReport> report = collection.Verify();
  REQUIRE_OK(report);
  CAPTURE(report->problems);
  REQUIRE(report->problems.empty());
}

// Whether any file of the folder holds the bytes.
inline bool AnyFileHolds(const std::filesystem::path& folder, const std::string& bytes) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(in)), {});
    if (content.find(bytes) != std::string::npos) return true;
  }
  return false;
}

}  // namespace rag::test
