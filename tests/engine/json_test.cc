#include "engine/json.h"

#include <catch2/catch.hpp>

#include "tests/support/support.h"

namespace rag {
namespace {

std::vector<std::string> Names(const Value& value) {
  std::vector<std::string> names;
  for (const auto& [name, member] : value.as_object()) names.push_back(name);
  return names;
}

void CheckHas(const Value& value, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    INFO(name);
    CHECK(value.Find(name) != nullptr);
  }
}

TEST_CASE("an ingest report has its documented members") {
  IngestReport report;
  report.files = 3;
  report.failed.push_back({"a.pdf", InvalidArgumentError("no text")});
  const Value value = ToValue(report);
  CheckHas(value, {"files", "indexed", "unchanged", "removed", "failed", "chunks", "seconds"});
  CHECK(*value.Find("files") == Value(3));
  const Value& failed = value.Find("failed")->as_array().front();
  CHECK(*failed.Find("path") == Value("a.pdf"));
  CHECK(*failed.Find("error") == Value("no text"));
}

TEST_CASE("a hit has its documented members, with null for what it has not") {
  Hit hit;
  hit.rank = 1;
  hit.document = "d";
  const Value bare = ToValue(hit);
  CheckHas(bare, {"rank", "score", "document", "chunk_id", "start", "end", "heading", "page",
                  "text", "metadata"});
  CHECK(bare.Find("heading")->is_null());
  CHECK(bare.Find("page")->is_null());
  CHECK(bare.Find("metadata")->is_object());
  hit.headings = {"Setup", "Network"};
  hit.page = 4;
  const Value full = ToValue(hit);
  CHECK(*full.Find("heading") == Value("Setup > Network"));
  CHECK(*full.Find("page") == Value(4));
  SearchResponse response;
  response.hits = {hit};
  CheckHas(ToValue(response), {"hits", "took_ms"});
}

TEST_CASE("an answer has its documented members") {
  Answer answer;
  answer.text = "yes [1]";
  answer.citations.resize(1);
  answer.citations[0].n = 1;
  answer.mode = AnswerMode::kExtractive;
  answer.prompt_tokens = 5;
  answer.completion_tokens = 2;
  const Value value = ToValue(answer);
  CheckHas(value, {"answer", "citations", "mode", "usage", "timings_ms"});
  CHECK(*value.Find("mode") == Value("extractive"));
  CHECK(*value.Find("usage")->Find("total_tokens") == Value(7));
  CheckHas(value.Find("citations")->as_array().front(),
           {"n", "document", "chunk_id", "start", "end", "quote", "verified"});
}

TEST_CASE("log-probabilities are there where they were asked for") {
  GenerateResult result;
  CHECK(ToValue(result).Find("logprobs") == nullptr);
  const TokenLogprob half{.id = 5, .logprob = -0.5F, .bytes = "\xED\x95"};
  result.logprobs = {{half, {{.id = 7, .logprob = -0.25F, .bytes = "a"}, half}}};
  const Value token = ToValue(result).Find("logprobs")->as_array().front();
  CHECK(*token.Find("id") == Value(5));
  CHECK(*token.Find("logprob") == Value(-0.5));
  CHECK(*token.Find("bytes") == Value(Value::Array{0xED, 0x95}));
  REQUIRE(token.Find("top_logprobs")->as_array().size() == 2);
  CHECK(ToJson(token.Find("top_logprobs")->as_array()[0]) ==
        R"({"token":"a","id":7,"logprob":-0.25,"bytes":[97]})");
}

TEST_CASE("an evaluation has a member for each metric") {
  EvaluateReport report;
  report.metrics = {{"ndcg@10", 0.5}, {"recall@10", 0.6}, {"recall@100", 0.7}, {"mrr@10", 0.4}};
  report.queries = 9;
  CHECK(Names(ToValue(report)) ==
        std::vector<std::string>{"mrr@10", "ndcg@10", "recall@10", "recall@100", "queries",
                                 "documents", "index_seconds", "search_seconds", "seconds"});
}

TEST_CASE("an error has a code and a message") {
  CHECK(ToJson(ToValue(NotFoundError("no \"x\""))) ==
        R"({"error":{"code":"not_found","message":"no \"x\""}})");
}

TEST_CASE("a collection without vectors has no index") {
  CollectionInfo info;
  info.config.name = "c";
  CHECK(ToValue(info).Find("index")->is_null());
  info.config.vectors.dim = 384;
  CHECK(*ToValue(info).Find("index")->Find("kind") == Value("hnsw"));
  CheckHas(ToValue(info), {"name", "documents", "chunks", "disk_bytes"});
}

}  // namespace
}  // namespace rag
