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

using rag::test::CopyModel;
using rag::test::TemporaryFolder;

rag_options LexicalOptions() {
  rag_options options{};
  options.struct_size = sizeof options;
  options.encoder = "none";
  options.threads = 1;
  return options;
}

rag_code Add(rag_engine* engine, const char* collection, const char* key, const char* text,
             const char* metadata_json = nullptr, char** status_json = nullptr) {
  rag_document document{};
  document.struct_size = sizeof document;
  document.key = key;
  document.text = text;
  document.metadata_json = metadata_json;
  return rag_add(engine, collection, &document, status_json);
}

rag_search_options Searching(const char* mode, const char* filter = nullptr) {
  rag_search_options options{};
  options.struct_size = sizeof options;
  options.mode = mode;
  options.filter = filter;
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
  char* json = nullptr;
  CHECK(Add(opened.engine, "notes", "tower", "The tower in Paris was built in 1889.",
            "{\"year\": 1889}", &json) == RAG_OK);
  CHECK_FALSE(Take(json).Find("replaced")->as_bool());
  CHECK(Add(opened.engine, "notes", "fish", "Salmon swim upstream to spawn.") == RAG_OK);
  const rag_search_options options = Searching("lexical", "year > 1800");
  REQUIRE(rag_search(opened.engine, "notes", "tower", &options, nullptr, &json) == RAG_OK);
  rag::Value hits = Take(json);
  REQUIRE(hits.Find("hits")->as_array().size() == 1);
  CHECK(hits.Find("hits")->as_array()[0].Find("document")->as_string() == "tower");

  REQUIRE(rag_ask(opened.engine, "notes", "When was the tower built?", nullptr, nullptr, &json) ==
          RAG_OK);
  const rag::Value answer = Take(json);
  CHECK(answer.Find("answer")->as_string().find("1889") != std::string::npos);
  CHECK(answer.Find("mode")->as_string() == "extractive");
  REQUIRE_FALSE(answer.Find("citations")->as_array().empty());
  CHECK(answer.Find("citations")->as_array()[0].Find("verified")->as_bool());

  REQUIRE(rag_get(opened.engine, "notes", "tower", &json) == RAG_OK);
  CHECK(Take(json).Find("text")->as_string() == "The tower in Paris was built in 1889.");
  REQUIRE(rag_list(opened.engine, "notes", nullptr, 10, &json) == RAG_OK);
  REQUIRE(Take(json).as_array().size() == 2);
  REQUIRE(rag_list(opened.engine, "notes", "fish", 10, &json) == RAG_OK);
  CHECK(Take(json).as_array()[0].as_string() == "tower");
  REQUIRE(rag_verify(opened.engine, "notes", nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("ok")->as_bool());

  CHECK(rag_remove(opened.engine, "notes", "tower") == RAG_OK);
  CHECK(rag_remove(opened.engine, "notes", "tower") == RAG_NOT_FOUND);
  CHECK(std::strlen(rag_last_error()) > 0);
  REQUIRE(rag_search(opened.engine, "notes", "tower", nullptr, nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("hits")->as_array().empty());
  CHECK(std::string(rag_last_error()).empty());

  const char* paths[] = {RAG_SOURCE_DIR "/LICENSE"};
  CHECK(rag_index(opened.engine, "files", paths, 1, nullptr, nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("indexed")->as_int() == 1);
  CHECK(rag_index(opened.engine, "files", paths, 1, nullptr, nullptr, nullptr) == RAG_OK);
  REQUIRE(rag_collections(opened.engine, nullptr, &json) == RAG_OK);
  CHECK(Take(json).as_array().size() == 2);
  CHECK(rag_drop_collection(opened.engine, "files") == RAG_OK);
  CHECK(rag_collections(opened.engine, "files", &json) == RAG_NOT_FOUND);
}

TEST_CASE("a collection is made with the settings that are given") {
  Opened opened;
  rag_collection_options options{};
  options.struct_size = sizeof options;
  options.index = "ivf:lists=64";
  options.chunk_tokens = 128;
  options.chunk_overlap = SIZE_MAX;
  REQUIRE(rag_create_collection(opened.engine, "notes", &options) == RAG_OK);
  CHECK(rag_create_collection(opened.engine, "notes", &options) == RAG_ALREADY_EXISTS);
  char* json = nullptr;
  REQUIRE(rag_collections(opened.engine, "notes", &json) == RAG_OK);
  const rag::Value list = Take(json);
  const rag::Value* chunk = list.as_array()[0].Find("properties")->Find("chunk");
  REQUIRE(chunk != nullptr);
  CHECK(chunk->Find("chunk_tokens")->as_int() == 128);
  CHECK(chunk->Find("overlap_tokens")->as_int() == 0);
  options.index = "tree";
  CHECK(rag_create_collection(opened.engine, "others", &options) == RAG_INVALID_ARGUMENT);
}

TEST_CASE("what a backup holds is opened again") {
  Opened opened;
  REQUIRE(Add(opened.engine, "notes", "k", "A zebra.") == RAG_OK);
  rag_call* call = nullptr;
  REQUIRE(rag_call_create(&call) == RAG_OK);
  char* json = nullptr;
  const std::string backup = opened.folder.file("backup");
  REQUIRE(rag_backup(opened.engine, backup.c_str(), call, &json) == RAG_OK);
  const auto bytes = static_cast<uint64_t>(Take(json).Find("bytes")->as_int());
  uint64_t done = 0;
  uint64_t total = 0;
  rag_call_progress(call, &done, &total);
  CHECK(total > 0);
  CHECK(done == bytes);
  rag_call_free(call);
  REQUIRE(rag_vacuum(opened.engine, nullptr, nullptr) == RAG_OK);
  const std::string restored = opened.folder.file("restored");
  REQUIRE(rag_restore(backup.c_str(), restored.c_str(), nullptr, nullptr) == RAG_OK);
  const rag_options options = LexicalOptions();
  rag_engine* other = nullptr;
  REQUIRE(rag_open(restored.c_str(), &options, &other) == RAG_OK);
  REQUIRE(rag_get(other, "notes", "k", &json) == RAG_OK);
  CHECK(Take(json).Find("text")->as_string() == "A zebra.");
  CHECK(rag_close(other) == RAG_OK);
}

TEST_CASE("a call that was cancelled ends, and what came before is kept") {
  Opened opened;
  rag_call* call = nullptr;
  REQUIRE(rag_call_create(&call) == RAG_OK);
  rag_call_cancel(call);
  const char* paths[] = {RAG_SOURCE_DIR "/LICENSE"};
  char* json = nullptr;
  REQUIRE(rag_index(opened.engine, "files", paths, 1, nullptr, call, &json) == RAG_OK);
  CHECK(Take(json).Find("cancelled")->as_bool());
  CHECK(rag_backup(opened.engine, opened.folder.file("b").c_str(), call, nullptr) == RAG_CANCELLED);
  rag_call_free(call);
  rag_call_cancel(nullptr);
  rag_call_free(nullptr);
}

TEST_CASE("the decoder writes in pieces, is stopped, and keeps to what it must match") {
  const auto model = rag::test::SharedData("models/stories260K/stories260K.gguf");
  if (!model.has_value()) RAG_SKIP("stories260K is absent");
  TemporaryFolder folder;
  const std::string path = model->string();
  rag_options options = LexicalOptions();
  options.llm = path.c_str();
  rag_engine* engine = nullptr;
  REQUIRE(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_OK);

  struct Pieces {
    std::string text;
    size_t left;
  } pieces{"", SIZE_MAX};
  rag_generate_options generate{};
  generate.struct_size = sizeof generate;
  generate.max_tokens = 24;
  generate.user = &pieces;
  generate.on_text = [](const char* text, size_t bytes, void* user) {
    auto* const to = static_cast<Pieces*>(user);
    to->text.append(text, bytes);
    return --to->left == 0 ? 1 : 0;
  };
  const rag_message messages[] = {{"user", "Once upon a time"}};
  char* json = nullptr;
  REQUIRE(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_OK);
  const rag::Value whole = Take(json);
  CHECK(pieces.text == whole.Find("answer")->as_string());
  CHECK(whole.Find("usage")->Find("completion_tokens")->as_int() == 24);

  pieces = {"", 2};
  REQUIRE(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("finish_reason")->as_string() == "cancelled");
  CHECK(whole.Find("answer")->as_string().starts_with(pieces.text));

  const char* choices[] = {"yes", "no"};
  generate.on_text = nullptr;
  generate.choices = choices;
  generate.choice_count = 2;
  REQUIRE(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_OK);
  const std::string chosen = Take(json).Find("answer")->as_string();
  CHECK((chosen == "yes" || chosen == "no"));
  generate.constraint = "regex";
  CHECK(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_INVALID_ARGUMENT);
  generate.choice_count = 0;
  CHECK(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_INVALID_ARGUMENT);
  generate.constraint_text = "[ab]{3}";
  REQUIRE(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("answer")->as_string().size() == 3);
  const rag_message robot[] = {{"robot", "Beep"}};
  CHECK(rag_chat(engine, robot, 1, nullptr, nullptr, &json) == RAG_INVALID_ARGUMENT);
  CHECK(std::string(rag_last_error()).find("robot") != std::string::npos);
  CHECK(rag_close(engine) == RAG_OK);
}

TEST_CASE("passages are ranked and texts classified by the models that are named") {
  TemporaryFolder folder;
  const std::string reranker = CopyModel(folder, "rerankers/bert", "reranker").string();
  const std::string classifier = CopyModel(folder, "heads/sequence-bert", "classifier").string();
  rag_options options = LexicalOptions();
  options.reranker = reranker.c_str();
  options.classifier = classifier.c_str();
  rag_engine* engine = nullptr;
  REQUIRE(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_OK);
  const char* texts[] = {"a text", "another\0one"};
  const size_t sizes[] = {6, 11};
  float scores[] = {-1e9f, -1e9f};
  REQUIRE(rag_rerank(engine, "a query", texts, sizes, 2, nullptr, scores) == RAG_OK);
  CHECK(scores[0] > -1e9f);
  CHECK(scores[1] > -1e9f);
  char* json = nullptr;
  REQUIRE(rag_classify(engine, texts, nullptr, 2, nullptr, nullptr, &json) == RAG_OK);
  const rag::Value results = Take(json);
  REQUIRE(results.as_array().size() == 2);
  CHECK_FALSE(results.as_array()[0].Find("labels")->as_array().empty());
  CHECK(rag_rerank(engine, nullptr, texts, sizes, 2, nullptr, scores) == RAG_INVALID_ARGUMENT);
  REQUIRE(rag_models(engine, &json) == RAG_OK);
  const rag::Value info = Take(json);
  CHECK(info.Find("encoder")->is_null());
  CHECK(info.Find("reranker")->Find("model_type")->as_string() == "bert");
  CHECK(rag_close(engine) == RAG_OK);
}

TEST_CASE("what was added is there after closing and opening") {
  TemporaryFolder folder;
  const rag_options options = LexicalOptions();
  rag_engine* engine = nullptr;
  REQUIRE(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_OK);
  REQUIRE(Add(engine, "notes", "a", "A zebra has stripes.") == RAG_OK);
  REQUIRE(rag_close(engine) == RAG_OK);
  REQUIRE(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_OK);
  char* json = nullptr;
  REQUIRE(rag_search(engine, "notes", "zebra", nullptr, nullptr, &json) == RAG_OK);
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
  CHECK(Add(nullptr, "c", "k", "t") == RAG_INVALID_ARGUMENT);
  CHECK(Add(opened.engine, nullptr, "k", "t") == RAG_INVALID_ARGUMENT);
  CHECK(Add(opened.engine, "c", nullptr, "t") == RAG_INVALID_ARGUMENT);
  CHECK(Add(opened.engine, "c", "k", nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_index(opened.engine, "c", nullptr, 1, nullptr, nullptr, &json) == RAG_INVALID_ARGUMENT);
  CHECK(rag_remove(opened.engine, "c", nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_search(opened.engine, "c", nullptr, nullptr, nullptr, &json) == RAG_INVALID_ARGUMENT);
  CHECK(rag_search(opened.engine, "c", "q", nullptr, nullptr, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_ask(opened.engine, "c", nullptr, nullptr, nullptr, &json) == RAG_INVALID_ARGUMENT);
  CHECK(rag_ask(opened.engine, "c", "q", nullptr, nullptr, nullptr) == RAG_INVALID_ARGUMENT);
  CHECK(rag_embed(opened.engine, nullptr, nullptr, 1, nullptr, nullptr, nullptr, 0, &dim) ==
        RAG_INVALID_ARGUMENT);
  CHECK(rag_embed(opened.engine, nullptr, nullptr, 0, nullptr, nullptr, nullptr, 0, nullptr) ==
        RAG_INVALID_ARGUMENT);
  CHECK(rag_close(nullptr) == RAG_OK);
  rag_free(nullptr);
}

TEST_CASE("bad values are refused with a message") {
  Opened opened;
  CHECK(Add(opened.engine, "c", "k", "t", "[1]") == RAG_INVALID_ARGUMENT);
  CHECK(std::string(rag_last_error()).find("metadata_json") != std::string::npos);
  CHECK(Add(opened.engine, "c", "k", "t", "{") == RAG_INVALID_ARGUMENT);
  REQUIRE(Add(opened.engine, "c", "k", "A word.") == RAG_OK);
  char* json = nullptr;
  for (const rag_search_options& options :
       {Searching("sideways"), Searching(nullptr, "year >"), rag_search_options{}}) {
    CHECK(rag_search(opened.engine, "c", "q", &options, nullptr, &json) == RAG_INVALID_ARGUMENT);
  }
  CHECK(json == nullptr);
  size_t dim = 1;
  const char* texts[] = {"a"};
  CHECK(rag_embed(opened.engine, texts, nullptr, 1, nullptr, nullptr, nullptr, 0, &dim) ==
        RAG_FAILED_PRECONDITION);
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
    Add(opened.engine, nullptr, "k", "t");
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
  REQUIRE(rag_embed(engine, texts, nullptr, 2, nullptr, nullptr, nullptr, 0, &dim) == RAG_OK);
  CHECK(dim == 384);
  std::vector<float> out(2 * dim, 7.0f);
  CHECK(rag_embed(engine, texts, nullptr, 2, nullptr, nullptr, out.data(), out.size() - 1, &dim) ==
        RAG_OUT_OF_RANGE);
  CHECK(out[0] == 7.0f);
  CHECK(rag_embed(engine, texts, nullptr, 3, nullptr, nullptr, out.data(), SIZE_MAX, &dim) ==
        RAG_INVALID_ARGUMENT);
  REQUIRE(rag_embed(engine, texts, nullptr, 2, nullptr, nullptr, out.data(), out.size(), &dim) ==
          RAG_OK);
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
