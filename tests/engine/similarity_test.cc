// A collection compares its encoder's vectors as the encoder's files say they are meant to be.
#include <catch2/catch.hpp>
#include <fstream>

#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

using test::OpenedEngine;
using test::TemporaryFolder;
using test::TextDocument;

std::string MakeEncoder(const TemporaryFolder& folder, const std::string& similarity) {
  const auto path = test::CopyModel(folder, "encoder_families/dense", "encoder");
  std::ofstream(path / "config_sentence_transformers.json")
      << "{\"similarity_fn_name\": \"" << similarity << "\"}";
  return path.string();
}

TEST_CASE("a new collection takes its encoder's similarity as its metric") {
  const std::pair<std::string, Metric> similarities[] = {{"cosine", Metric::kCosine},
                                                         {"dot", Metric::kInnerProduct},
                                                         {"euclidean", Metric::kL2},
                                                         {"manhattan", Metric::kManhattan}};
  for (const auto& [name, metric] : similarities) {
    INFO(name);
    const TemporaryFolder models;
    OpenedEngine opened(MakeEncoder(models, name));
    REQUIRE_OK(opened.engine->AddDocument("notes", TextDocument("a", "the right to rest")));
    REQUIRE_OK(opened.engine->AddDocument("notes", TextDocument("b", "everyone has a name")));
    const Result<CollectionInfo> info = opened.engine->GetCollection("notes");
    REQUIRE_OK(info);
    CHECK(info->config.vectors.metric == metric);
    SearchRequest request;
    request.query = "the right to rest";
    request.mode = SearchMode::kDense;
    const Result<SearchResponse> found = opened.engine->Search("notes", request);
    REQUIRE_OK(found);
    REQUIRE(found->hits.size() == 2);
    CHECK(found->hits.front().document == "a");

    CollectionOptions own;
    own.vectors.metric = Metric::kL2;
    REQUIRE_OK(opened.engine->CreateCollection("own", own));
    CHECK(opened.engine->GetCollection("own")->config.vectors.metric == Metric::kL2);
  }
}

}  // namespace
}  // namespace rag
