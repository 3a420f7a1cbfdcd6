// The C ABI: results, errors, NULL arguments, struct sizes, threads.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
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

  explicit Opened(const rag_options& options = LexicalOptions()) {
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
  const auto chunk_id =
      static_cast<uint64_t>(hits.Find("hits")->as_array()[0].Find("chunk_id")->as_int());
  REQUIRE(rag_chunk(opened.engine, "notes", chunk_id, &json) == RAG_OK);
  CHECK(*Take(json).Find("text") == *hits.Find("hits")->as_array()[0].Find("text"));
  CHECK(rag_chunk(opened.engine, "notes", 1'000, &json) == RAG_NOT_FOUND);

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

TEST_CASE("log-probabilities are the model's, and a bias chooses by them") {
  const auto model = rag::test::SharedData("models/stories260K/stories260K.gguf");
  if (!model.has_value()) RAG_SKIP("stories260K is absent");
  const std::string path = model->string();
  rag_options options = LexicalOptions();
  options.llm = path.c_str();
  const Opened opened(options);
  rag_engine* const engine = opened.engine;
  const rag_message messages[] = {{"user", "Once upon a time"}};
  rag_generate_options generate{};
  generate.struct_size = sizeof generate;
  generate.max_tokens = 12;
  generate.logprobs = 1;
  generate.top_logprobs = 3;
  char* json = nullptr;
  const auto chat = [&] {
    const rag_code code = rag_chat(engine, messages, 1, &generate, nullptr, &json);
    INFO(rag_last_error());
    REQUIRE(code == RAG_OK);
    return Take(json);
  };
  const rag::Value plain = chat();
  const rag::Value::Array& tokens = plain.Find("logprobs")->as_array();
  REQUIRE(tokens.size() == 12);
  std::string text;
  for (const rag::Value& token : tokens) {
    for (const rag::Value& byte : token.Find("bytes")->as_array()) {
      text += static_cast<char>(byte.as_int());
    }
    const rag::Value::Array& top = token.Find("top_logprobs")->as_array();
    REQUIRE(top.size() == 3);
    CHECK(*top[0].Find("id") == *token.Find("id"));
    double sum = 0;
    for (const rag::Value& other : top) sum += std::exp(other.Find("logprob")->as_double());
    CHECK(sum <= 1 + 1e-6);
  }
  CHECK(text.ends_with(plain.Find("answer")->as_string()));

  // What is drawn changes, and what the model says of it does not.
  const rag::Value second = tokens[0].Find("top_logprobs")->as_array()[1];
  const rag_logit_bias bias[] = {{static_cast<int32_t>(second.Find("id")->as_int()), 100}};
  generate.logit_bias = bias;
  generate.logit_bias_count = 1;
  generate.max_tokens = 1;
  const rag::Value biased = chat().Find("logprobs")->as_array()[0];
  CHECK(*biased.Find("id") == *second.Find("id"));
  CHECK(*biased.Find("logprob") == *second.Find("logprob"));
  CHECK(*biased.Find("top_logprobs") == *tokens[0].Find("top_logprobs"));

  generate.logit_bias_count = 1'025;
  CHECK(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_INVALID_ARGUMENT);
  generate.logit_bias_count = 0;
  generate.top_logprobs = 21;
  CHECK(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_INVALID_ARGUMENT);
  REQUIRE(Add(engine, "notes", "k", "A zebra.") == RAG_OK);
  rag_ask_options asking{};
  asking.struct_size = sizeof asking;
  asking.generate = &generate;
  CHECK(rag_ask(engine, "notes", "zebra", &asking, nullptr, &json) == RAG_UNSUPPORTED);
  generate.logprobs = 0;
  CHECK(rag_chat(engine, messages, 1, &generate, nullptr, &json) == RAG_INVALID_ARGUMENT);
  generate.top_logprobs = 0;
  CHECK(chat().Find("logprobs") == nullptr);
  CHECK(rag_save_cache(engine, &json) == RAG_FAILED_PRECONDITION);
}

TEST_CASE("every way of sampling reaches the decoder") {
  const auto model = rag::test::SharedData("models/stories260K/stories260K.gguf");
  if (!model.has_value()) RAG_SKIP("stories260K is absent");
  const std::string path = model->string();
  rag_options options = LexicalOptions();
  options.llm = path.c_str();
  const Opened opened(options);
  const rag_message messages[] = {{"user", "Once upon a time"}};
  // Out of range, each is refused by its name.
  for (const auto& [name, option] :
       {std::pair{"typical_p", &rag_generate_options::typical_p},
        std::pair{"top_n_sigma", &rag_generate_options::top_n_sigma},
        std::pair{"xtc_probability", &rag_generate_options::xtc_probability},
        std::pair{"xtc_threshold", &rag_generate_options::xtc_threshold},
        std::pair{"mirostat_tau", &rag_generate_options::mirostat_tau},
        std::pair{"mirostat_eta", &rag_generate_options::mirostat_eta},
        std::pair{"dry_multiplier", &rag_generate_options::dry_multiplier},
        std::pair{"dry_base", &rag_generate_options::dry_base}}) {
    rag_generate_options generate{};
    generate.struct_size = sizeof generate;
    generate.max_tokens = 1;
    generate.*option = 1e6;
    char* json = nullptr;
    CHECK(rag_chat(opened.engine, messages, 1, &generate, nullptr, &json) == RAG_INVALID_ARGUMENT);
    CHECK(std::string(rag_last_error()).find(name) != std::string::npos);
  }
}

TEST_CASE("a cache is saved when it is asked for") {
  const auto model = rag::test::SharedData("models/stories260K/stories260K.gguf");
  if (!model.has_value()) RAG_SKIP("stories260K is absent");
  const TemporaryFolder folder;
  const std::string path = model->string();
  const std::string cache = folder.file("kept.kv");
  rag_options options = LexicalOptions();
  options.llm = path.c_str();
  options.kv_cache = cache.c_str();
  options.mapped_weights = 1;
  const Opened opened(options);
  const rag_message messages[] = {{"user", "Once upon a time"}};
  char* json = nullptr;
  REQUIRE(rag_chat(opened.engine, messages, 1, nullptr, nullptr, &json) == RAG_OK);
  rag_free(json);
  REQUIRE_FALSE(std::filesystem::exists(cache));
  REQUIRE(rag_save_cache(opened.engine, &json) == RAG_OK);
  CHECK(Take(json).Find("tokens")->as_int() > 32);
  CHECK(std::filesystem::exists(cache));
}

TEST_CASE("the index is measured, and chosen anew by measuring") {
  const std::string encoder = rag::test::Golden("encoders/bert");
  rag_options options = LexicalOptions();
  options.encoder = encoder.c_str();
  const Opened opened(options);
  rag_engine* const engine = opened.engine;
  REQUIRE(Add(engine, "few", "k", "A zebra.") == RAG_OK);
  char* json = nullptr;
  CHECK(rag_tune(engine, "few", nullptr, nullptr, &json) == RAG_FAILED_PRECONDITION);
  CHECK(json == nullptr);

  const std::string lines = opened.folder.file("many.jsonl");
  std::ofstream out(lines);
  for (int i = 0; i < 1'200; ++i) {
    out << R"({"id": "n)" << i << R"(", "text": "Item )" << i << " of shelf " << i % 37 << "\"}\n";
  }
  out.close();
  const char* paths[] = {lines.c_str()};
  REQUIRE(rag_index(engine, "many", paths, 1, nullptr, nullptr, nullptr) == RAG_OK);
  const auto index = [&] {
    REQUIRE(rag_collections(engine, "many", &json) == RAG_OK);
    return *Take(json).as_array()[0].Find("index");
  };
  const rag::Value before = index();

  rag_tune_options tuning{};
  tuning.struct_size = sizeof tuning;
  tuning.recall = 0.9;
  tuning.k = 5;
  tuning.dry_run = 1;
  rag_call* call = nullptr;
  REQUIRE(rag_call_create(&call) == RAG_OK);
  REQUIRE(rag_tune(engine, "many", &tuning, call, &json) == RAG_OK);
  const rag::Value report = Take(json);
  CHECK(report.Find("goal")->as_string() == "auto:recall=0.900,k=5");
  CHECK(report.Find("rows")->as_int() == 1'200);
  CHECK(report.Find("picked")->Find("recall")->as_double() >= 0.9);
  uint64_t done = 0;
  uint64_t total = 0;
  rag_call_progress(call, &done, &total);
  CHECK(total > 0);
  CHECK(done == total);
  CHECK(index() == before);
  rag_call_cancel(call);
  CHECK(rag_tune(engine, "many", &tuning, call, &json) == RAG_CANCELLED);
  rag_call_free(call);

  tuning.dry_run = 0;
  REQUIRE(rag_tune(engine, "many", &tuning, nullptr, nullptr) == RAG_OK);
  CHECK(index().Find("goal")->as_string() == "auto:recall=0.900,k=5");
  REQUIRE(rag_measure_recall(engine, "many", 0, 5, nullptr, &json) == RAG_OK);
  const rag::Value recall = Take(json);
  CHECK(recall.Find("queries")->as_int() == 200);
  CHECK(recall.Find("k")->as_int() == 5);
  CHECK(recall.Find("recall")->as_double() >= 0.9);
  REQUIRE(rag_measure_recall(engine, "many", 20, 0, nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("queries")->as_int() == 20);

  tuning.memory_bytes = 10'000;
  CHECK(rag_tune(engine, "many", &tuning, nullptr, &json) == RAG_FAILED_PRECONDITION);
  CHECK(std::string(rag_last_error()).find("MB") != std::string::npos);
  tuning.recall = 2;
  CHECK(rag_tune(engine, "many", &tuning, nullptr, &json) == RAG_INVALID_ARGUMENT);
  CHECK(rag_tune(engine, nullptr, nullptr, nullptr, &json) == RAG_INVALID_ARGUMENT);
}

TEST_CASE("searches are measured on judged queries") {
  const Opened opened;
  rag_engine* const engine = opened.engine;
  const std::string data = opened.folder.file("data");
  std::filesystem::create_directory(data);
  std::ofstream(data + "/corpus.jsonl")
      << "{\"_id\": \"dog\", \"text\": \"A dog guards the house and barks.\"}\n"
      << "{\"_id\": \"cat\", \"text\": \"The cat barks at the dog that barks at dogs.\"}\n";
  std::ofstream(data + "/queries.jsonl") << "{\"_id\": \"q\", \"text\": \"barks\"}\n";
  std::ofstream(data + "/qrels.tsv") << "q\tdog\t1\n";
  rag_search_options search = Searching("lexical");
  rag_evaluate_options options{};
  options.struct_size = sizeof options;
  options.search = &search;
  rag_call* call = nullptr;
  REQUIRE(rag_call_create(&call) == RAG_OK);
  char* json = nullptr;
  REQUIRE(rag_evaluate(engine, "data", data.c_str(), &options, call, &json) == RAG_OK);
  const rag::Value report = Take(json);
  CHECK(report.Find("queries")->as_int() == 1);
  CHECK(report.Find("documents")->as_int() == 2);
  CHECK(report.Find("recall@100")->as_double() == 1);
  CHECK(report.Find("mrr@10")->as_double() == 0.5);
  CHECK(report.Find("ndcg@10")->as_double() == Approx(1 / std::log2(3)));
  uint64_t done = 0;
  uint64_t total = 0;
  rag_call_progress(call, &done, &total);
  CHECK(total == std::filesystem::file_size(data + "/corpus.jsonl"));
  CHECK(done == total);
  rag_call_cancel(call);
  CHECK(rag_evaluate(engine, "data", data.c_str(), &options, call, &json) == RAG_CANCELLED);
  rag_call_free(call);

  const size_t cutoffs[] = {1, 2};
  options.cutoffs = cutoffs;
  options.cutoff_count = 2;
  search.filter = "document = \"dog\"";
  REQUIRE(rag_evaluate(engine, "data", data.c_str(), &options, nullptr, &json) == RAG_OK);
  const rag::Value filtered = Take(json);
  CHECK(filtered.Find("mrr@1")->as_double() == 1);
  CHECK(filtered.Find("recall@2")->as_double() == 1);
  CHECK(filtered.Find("mrr@10") == nullptr);
  options.cutoff_count = 65;
  CHECK(rag_evaluate(engine, "data", data.c_str(), &options, nullptr, &json) ==
        RAG_INVALID_ARGUMENT);
  CHECK(rag_evaluate(engine, "data", opened.folder.file("absent").c_str(), nullptr, nullptr,
                     &json) == RAG_NOT_FOUND);
  REQUIRE(Add(engine, "notes", "k", "A zebra.") == RAG_OK);
  options.cutoff_count = 0;
  CHECK(rag_evaluate(engine, "notes", data.c_str(), &options, nullptr, &json) ==
        RAG_FAILED_PRECONDITION);
  CHECK(rag_evaluate(engine, "data", nullptr, &options, nullptr, &json) == RAG_INVALID_ARGUMENT);
}

TEST_CASE("the weights of hybrid search are the caller's") {
  const std::string encoder = rag::test::Golden("encoders/bert");
  rag_options options = LexicalOptions();
  options.encoder = encoder.c_str();
  const Opened opened(options);
  const char* texts[] = {"the lazy dog", "a quick brown fox", "dogs and foxes jump"};
  for (const char* text : texts) REQUIRE(Add(opened.engine, "notes", text, text) == RAG_OK);
  const auto scores = [&](rag_search_options search) {
    char* json = nullptr;
    REQUIRE(rag_search(opened.engine, "notes", "quick fox", &search, nullptr, &json) == RAG_OK);
    std::vector<double> found;
    const rag::Value hits = Take(json);
    for (const rag::Value& hit : hits.Find("hits")->as_array()) {
      found.push_back(hit.Find("score")->as_double());
    }
    return found;
  };
  // Every passage has a vector: the dense ranking alone counts 1 / (rrf_k + rank) for each.
  rag_search_options search = Searching("hybrid");
  search.lexical_weight = -1;
  CHECK(scores(search) == std::vector<double>{1.0 / 61, 1.0 / 62, 1.0 / 63});
  search.rrf_k = 9;
  search.dense_weight = 4;
  CHECK(scores(search) == std::vector<double>{4.0 / 10, 4.0 / 11, 4.0 / 12});
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
  constexpr size_t kFirstVersion = offsetof(rag_options, draft_min_probability);
  options.struct_size = kFirstVersion - 1;
  CHECK(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_INVALID_ARGUMENT);
  // What lies behind the first version's fields is not a program's of that version to say.
  options = LexicalOptions();
  options.struct_size = kFirstVersion;
  options.mapped_weights = 77;
  REQUIRE(rag_open(folder.file("db").c_str(), &options, &engine) == RAG_OK);
  REQUIRE(Add(engine, "notes", "k", "A zebra.") == RAG_OK);
  rag_search_options search = Searching("lexical");
  search.struct_size = offsetof(rag_search_options, rrf_k);
  search.rrf_k = SIZE_MAX;
  char* json = nullptr;
  REQUIRE(rag_search(engine, "notes", "zebra", &search, nullptr, &json) == RAG_OK);
  CHECK(Take(json).Find("hits")->as_array().size() == 1);
  rag_generate_options generate{};
  generate.struct_size = offsetof(rag_generate_options, typical_p);
  generate.logprobs = 1;
  rag_ask_options asking{};
  asking.struct_size = sizeof asking;
  asking.generate = &generate;
  REQUIRE(rag_ask(engine, "notes", "zebra", &asking, nullptr, &json) == RAG_OK);
  rag_free(json);
  REQUIRE(rag_close(engine) == RAG_OK);
  engine = nullptr;
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
  CHECK(rag_open(folder.file("db").c_str(), &later.options, &engine) == RAG_UNSUPPORTED);
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
