// The C ABI: results, errors, NULL arguments, struct sizes, threads.
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "bindings/c/rag.h"
#include "lib/base/value.h"
#include "tests/support/support.h"

namespace {

using rag::test::TemporaryFolder;

rag_options LexicalOptions() {
  rag_options options{};
  options.struct_size = sizeof options;
  options.encoder = "none";
  options.threads = 1;
  return options;
}

struct Opened {
  TemporaryFolder folder;
  rag_engine* engine = nullptr;

  Opened() {
    const rag_options options = LexicalOptions();
    const rag_code code = rag_open(folder.file("db").c_str(), &options, &engine);
    INFO(rag_last_error());
    REQUIRE(code == RAG_OK);
  }
  ~Opened() { rag_close(engine); }
};

// The JSON that a call handed out, freed.
rag::Value Take(char* json) {
  REQUIRE(json != nullptr);
  auto value = rag::ParseJson(json);
  rag_free(json);
  REQUIRE_OK(value);
  return std::move(value).value();
}

TEST_CASE("documents are added, found, asked for and removed over the C ABI") {
  Opened opened;
  CHECK(rag_add(opened.engine, "notes", "tower", "The tower in Paris was built in 1889.", "Tower",
                "{\"year\": 1889}") == RAG_OK);
  CHECK(rag_add(opened.engine, "notes", "fish", "Salmon swim upstream to spawn.", nullptr,
                nullptr) == RAG_OK);
  char* json = nullptr;
  REQUIRE(rag_search(opened.engine, "notes", "tower", 5, "lexical", "year > 1800", &json) ==
          RAG_OK);
  rag::Value hits = Take(json);
  REQUIRE(hits.Find("hits")->as_array().size() == 1);
  CHECK(hits.Find("hits")->as_array()[0].Find("document")->as_string() == "tower");

  REQUIRE(rag_ask(opened.engine, "notes", "When was the tower built?", 5, 64, &json) == RAG_OK);
  const rag::Value answer = Take(json);
  CHECK(answer.Find("answer")->as_string().find("1889") != std::string::npos);
  CHECK(answer.Find("mode")->as_string() == "extractive");
  REQUIRE_FALSE(answer.Find("citations")->as_array().empty());
  CHECK(answer.Find("citations")->as_array()[0].Find("verified")->as_bool());

  CHECK(rag_remove(opened.engine, "notes", "tower") == RAG_OK);
  CHECK(rag_remove(opened.engine, "notes", "tower") == RAG_NOT_FOUND);
  CHECK(std::strlen(rag_last_error()) > 0);
  REQUIRE(rag_search(opened.engine, "notes", "tower", 5, nullptr, nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("hits")->as_array().empty());
  CHECK(std::string(rag_last_error()).empty());

  CHECK(rag_index(opened.engine, "files", RAG_SOURCE_DIR "/LICENSE", &json) == RAG_OK);
  CHECK(Take(json).Find("indexed")->as_int() == 1);
  CHECK(rag_index(opened.engine, "files", RAG_SOURCE_DIR "/LICENSE", nullptr) == RAG_OK);
}

TEST_CASE("what was added is there after closing and opening") {
  TemporaryFolder folder;
  const rag_options options = LexicalOptions();
  rag_engine* engine = nullptr;
  REQUIRE(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_OK);
  REQUIRE(rag_add(engine, "notes", "a", "A zebra has stripes.", nullptr, nullptr) == RAG_OK);
  REQUIRE(rag_close(engine) == RAG_OK);
  REQUIRE(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_OK);
  char* json = nullptr;
  REQUIRE(rag_search(engine, "notes", "zebra", 1, nullptr, nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("hits")->as_array().size() == 1);
  CHECK(rag_close(engine) == RAG_OK);
}

TEST_CASE("NULL where it is not allowed is an invalid argument that is named") {
  Opened opened;
  char* json = nullptr;
  rag_engine* engine = nullptr;
  size_t dim = 0;
  CHECK(rag_open(nullptr, nullptr, &engine) == RAG_INVALID_ARGUMENT);
  CHECK(std::string(rag_last_error()) == "db_path is NULL");
  CHECK(rag_open("x", nullptr, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_add(nullptr, "c", "k", "t", nullptr, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_add(opened.engine, nullptr, "k", "t", nullptr, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_add(opened.engine, "c", nullptr, "t", nullptr, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_add(opened.engine, "c", "k", nullptr, nullptr, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_index(opened.engine, "c", nullptr, &json) == RAG_INVALID_ARGUMENT);
  CHECK(rag_remove(opened.engine, "c", nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_search(opened.engine, "c", nullptr, 1, nullptr, nullptr, &json) ==
        RAG_INVALID_ARGUMENT);
  CHECK(rag_search(opened.engine, "c", "q", 1, nullptr, nullptr, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_ask(opened.engine, "c", nullptr, 1, 1, &json) == RAG_INVALID_ARGUMENT);
  CHECK(rag_ask(opened.engine, "c", "q", 1, 1, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_embed(opened.engine, nullptr, 1, nullptr, 0, &dim) == RAG_INVALID_ARGUMENT);
  CHECK(rag_embed(opened.engine, nullptr, 0, nullptr, 0, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_close(nullptr) == RAG_OK);
  rag_free(nullptr);
}

TEST_CASE("bad values are refused with a message") {
  Opened opened;
  CHECK(rag_add(opened.engine, "c", "k", "t", nullptr, "[1]") == RAG_INVALID_ARGUMENT);
  CHECK(std::string(rag_last_error()).find("metadata_json") != std::string::npos);
  CHECK(rag_add(opened.engine, "c", "k", "t", nullptr, "{") == RAG_INVALID_ARGUMENT);
  REQUIRE(rag_add(opened.engine, "c", "k", "A word.", nullptr, nullptr) == RAG_OK);
  char* json = nullptr;
  CHECK(rag_search(opened.engine, "c", "q", 1, "sideways", nullptr, &json) == RAG_INVALID_ARGUMENT);
  CHECK(rag_search(opened.engine, "c", "q", 1, nullptr, "year >", &json) == RAG_INVALID_ARGUMENT);
  CHECK(rag_search(opened.engine, "c", "q", 0, nullptr, nullptr, &json) == RAG_INVALID_ARGUMENT);
  CHECK(json == nullptr);
  size_t dim = 1;
  const char* texts[] = {"a"};
  CHECK(rag_embed(opened.engine, texts, 1, nullptr, 0, &dim) == RAG_FAILED_PRECONDITION);
  CHECK(dim == 0);
}

TEST_CASE("rag_options is checked by its size") {
  TemporaryFolder folder;
  rag_engine* engine = nullptr;
  rag_options options = LexicalOptions();
  options.struct_size = 0;
  CHECK(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_INVALID_ARGUMENT);
  options.struct_size = sizeof options - 1;
  CHECK(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_INVALID_ARGUMENT);
  options = LexicalOptions();
  options.threads = -1;
  CHECK(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_INVALID_ARGUMENT);
  CHECK(engine == nullptr);

  struct Later {
    rag_options options;
    void* added;
  } later{LexicalOptions(), nullptr};
  later.options.struct_size = sizeof later;
  REQUIRE(rag_open(folder.file("db").c_str(), &later.options, &engine) == RAG_OK);
  CHECK(rag_close(engine) == RAG_OK);
  later.added = &later;
  CHECK(rag_open(folder.file("db").c_str(), &later.options, &engine) == RAG_UNIMPLEMENTED);
}

TEST_CASE("each thread has its own last error") {
  Opened opened;
  CHECK(rag_remove(opened.engine, "absent", "k") == RAG_NOT_FOUND);
  const std::string mine = rag_last_error();
  REQUIRE_FALSE(mine.empty());
  std::string before = "x";
  std::string after;
  std::thread other([&] {
    before = rag_last_error();
    rag_add(opened.engine, nullptr, "k", "t", nullptr, nullptr);
    after = rag_last_error();
  });
  other.join();
  CHECK(before.empty());
  CHECK(after == "collection is NULL");
  CHECK(rag_last_error() == mine);
}

TEST_CASE("vectors are handed out when there is an encoder") {
  if (!rag::test::DefaultEncoderFolder()) RAG_SKIP("the default encoder is absent");
  TemporaryFolder folder;
  const std::string encoder = rag::test::DefaultEncoderFolder()->string();
  rag_options options{};
  options.struct_size = sizeof options;
  options.encoder = encoder.c_str();
  rag_engine* engine = nullptr;
  REQUIRE(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_OK);
  const char* texts[] = {"the sky", "blue heaven", nullptr};
  size_t dim = 0;
  REQUIRE(rag_embed(engine, texts, 2, nullptr, 0, &dim) == RAG_OK);
  CHECK(dim == 384);
  std::vector<float> out(2 * dim, 7.0f);
  CHECK(rag_embed(engine, texts, 2, out.data(), out.size() - 1, &dim) == RAG_OUT_OF_RANGE);
  CHECK(out[0] == 7.0f);
  CHECK(rag_embed(engine, texts, 3, out.data(), SIZE_MAX, &dim) == RAG_INVALID_ARGUMENT);
  REQUIRE(rag_embed(engine, texts, 2, out.data(), out.size(), &dim) == RAG_OK);
  double norm = 0;
  for (size_t i = 0; i < dim; ++i) norm += static_cast<double>(out[dim + i]) * out[dim + i];
  CHECK(norm == Approx(1).margin(1e-3));
  CHECK(rag_close(engine) == RAG_OK);
}

TEST_CASE("the versions are those of the header") {
  CHECK(rag_abi_version() == RAG_ABI_VERSION);
  CHECK(std::string(rag_version()).find('.') != std::string::npos);
}

}  // namespace
