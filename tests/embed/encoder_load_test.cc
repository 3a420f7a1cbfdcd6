// What Load reads and refuses, and the fingerprint.
#include <set>

#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

// Loading must fail with `code` and a message that has all of `words`.
void CheckRefused(const EncoderFolder& folder, StatusCode code,
                  const std::vector<std::string>& words) {
  const auto runtime = MakeRuntime();
  const auto encoder = folder.Load(*runtime);
  REQUIRE_FALSE(encoder.ok());
  INFO(encoder.status().ToString());
  CHECK(encoder.status().code() == code);
  for (const std::string& word : words) {
    INFO("looking for " << word);
    CHECK(encoder.status().message().find(word) != std::string::npos);
  }
}

// The encoder in `name` with `from` in its config.json replaced by `to` is refused.
void CheckConfigRefused(const std::string& name, const std::string& from, const std::string& to,
                        StatusCode code, const std::vector<std::string>& words) {
  const EncoderFolder folder(name);
  folder.Replace("config.json", from, to);
  CheckRefused(folder, code, words);
}

constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr StatusCode kUnknown = StatusCode::kUnsupported;

TEST_CASE("Numbers of config.json are bounded, naming the field") {
  CheckConfigRefused("bert", "\"hidden_size\": 32", "\"hidden_size\": 0", kInvalid,
                     {"config.json", "hidden_size", "0"});
  CheckConfigRefused("bert", "\"hidden_size\": 32", "\"hidden_size\": 4000000000000", kInvalid,
                     {"hidden_size", "4000000000000"});
  CheckConfigRefused("bert", "\"hidden_size\": 32", "\"hidden_size\": \"32\"", kInvalid,
                     {"hidden_size", "string"});
  CheckConfigRefused("bert", "\"hidden_size\": 32,", "", kInvalid, {"hidden_size", "missing"});
  CheckConfigRefused("bert", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": -2", kInvalid,
                     {"num_hidden_layers", "-2"});
  CheckConfigRefused("bert", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", kInvalid,
                     {"32", "5 heads"});
  CheckConfigRefused("bert", "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1", kInvalid,
                     {"layer_norm_eps"});
  CheckConfigRefused("roberta", "\"pad_token_id\": 1", "\"pad_token_id\": 65", kInvalid,
                     {"pad_token_id", "65"});
  CheckConfigRefused("bert", "\"vocab_size\": 180", "\"vocab_size\": 100", kInvalid,
                     {"180", "vocab_size", "100"});
}

TEST_CASE("Tensors of another shape are refused, naming both shapes") {
  CheckConfigRefused("bert", "\"intermediate_size\": 48", "\"intermediate_size\": 64", kInvalid,
                     {"encoder.layer.0.intermediate.dense.weight", "[48, 32]", "[64, 32]"});
  CheckConfigRefused("bert", "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 128",
                     kInvalid, {"embeddings.position_embeddings.weight", "[64, 32]", "[128, 32]"});
  CheckConfigRefused("roberta", "\"vocab_size\": 340", "\"vocab_size\": 341", kInvalid,
                     {"roberta.embeddings.word_embeddings.weight", "[340, 32]", "[341, 32]"});
  CheckConfigRefused("distilbert", "\"n_layers\": 2", "\"n_layers\": 3", kInvalid,
                     {"transformer.layer.2.", "missing"});
}

TEST_CASE("Sizes that the file's tensors do not have are refused before anything is allocated") {
  // Each would take gigabytes.
  CheckConfigRefused("bert", "\"max_position_embeddings\": 64",
                     "\"max_position_embeddings\": 131072", kInvalid,
                     {"position_embeddings", "[64, 32]", "[131072, 32]"});
  CheckConfigRefused("bert", "\"intermediate_size\": 48", "\"intermediate_size\": 262144", kInvalid,
                     {"intermediate.dense.weight", "[48, 32]", "[262144, 32]"});
  CheckConfigRefused("bert", "\"type_vocab_size\": 2", "\"type_vocab_size\": 65536", kInvalid,
                     {"token_type_embeddings", "[2, 32]", "[65536, 32]"});
}

TEST_CASE("DistilBERT's norms take the reference's epsilon, whatever config.json says") {
  const auto runtime = MakeRuntime();
  const std::vector<std::string> texts = GoldenTexts();
  const EncoderFolder folder("distilbert");
  const auto plain = folder.Load(*runtime);
  REQUIRE_OK(plain);
  folder.Replace("config.json", "\"n_layers\"", "\"layer_norm_eps\": 0.5, \"n_layers\"");
  const auto other = folder.Load(*runtime);
  REQUIRE_OK(other);
  const Embeddings a = EncodeAll(**plain, texts);
  const Embeddings b = EncodeAll(**other, texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    CHECK(std::equal(a.vectors.row(i).begin(), a.vectors.row(i).end(), b.vectors.row(i).begin()));
  }
}

TEST_CASE("What is not known is refused, listing what is") {
  CheckConfigRefused("bert", "\"model_type\": \"bert\"", "\"model_type\": \"opt\"", kUnknown,
                     {"opt", "distilbert", "modernbert"});
  CheckConfigRefused("bert", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"", kUnknown,
                     {"mish", "gelu"});
  CheckConfigRefused("bert", "\"hidden_act\"",
                     "\"position_embedding_type\": \"relative_key\", \"hidden_act\"", kUnknown,
                     {"relative_key", "absolute"});
  // The reference computes both kinds of relative positions for every family with a table.
  CheckConfigRefused("roberta", "\"hidden_act\"",
                     "\"position_embedding_type\": \"relative_key_query\", \"hidden_act\"",
                     kUnknown, {"position_embedding_type", "relative_key_query", "absolute"});
  CheckConfigRefused("distilbert", "\"n_layers\"",
                     "\"position_embedding_type\": \"relative_key\", \"n_layers\"", kUnknown,
                     {"position_embedding_type", "relative_key", "absolute"});
  const EncoderFolder module("bert");
  module.Write("modules.json",
               R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
                  {"path": "2_LSTM", "type": "sentence_transformers.models.LSTM"}])");
  CheckRefused(module, kUnknown, {"modules.json", "LSTM", "Normalize"});
  const EncoderFolder pooling("bert");
  pooling.SetPooling("mean_tokens");
  pooling.Write("1_Pooling/config.json", R"({"pooling_mode": "middle"})");
  CheckRefused(pooling, kUnknown, {"1_Pooling", "middle", "weightedmean"});
  pooling.Write("1_Pooling/config.json", R"({"pooling_mode": []})");
  CheckRefused(pooling, kInvalid, {"1_Pooling", "pooling_mode"});
}

TEST_CASE("Missing and damaged files are named") {
  for (const std::string name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    const EncoderFolder folder("bert");
    std::filesystem::remove(folder.path() / name);
    const auto runtime = MakeRuntime();
    const auto encoder = folder.Load(*runtime);
    INFO(name);
    REQUIRE_FALSE(encoder.ok());
    INFO(encoder.status().ToString());
    CHECK(encoder.status().code() == StatusCode::kNotFound);
    CHECK(encoder.status().message().find("model") != std::string::npos);
  }
  const EncoderFolder folder("bert");
  folder.Write("config.json", "{\"model_type\": ");
  CheckRefused(folder, kInvalid, {"config.json"});
  folder.Write("config.json", "[]");
  CheckRefused(folder, kInvalid, {"config.json", "array"});
  const EncoderFolder climbing("bert");
  climbing.Write("modules.json",
                 R"([{"path": "../../etc", "type": "sentence_transformers.models.Transformer"}])");
  CheckRefused(climbing, kInvalid, {"modules.json", "../../etc"});
  const EncoderFolder width("bert");
  width.SetPooling("mean_tokens");
  width.Write("1_Pooling/config.json",
              R"({"word_embedding_dimension": 64, "pooling_mode_mean_tokens": true})");
  CheckRefused(width, kInvalid, {"word_embedding_dimension", "64", "32"});
}

TEST_CASE("The longest text is what the folder says, and no more than the positions") {
  const auto runtime = MakeRuntime();
  const auto max_tokens = [&](const EncoderFolder& folder) {
    const auto encoder = folder.Load(*runtime);
    REQUIRE_OK(encoder);
    return (*encoder)->info().max_tokens;
  };
  const EncoderFolder bert("bert");
  CHECK(max_tokens(bert) == 40);
  bert.Write("sentence_bert_config.json", R"({"max_seq_length": 1000})");
  CHECK(max_tokens(bert) == 64);
  bert.Write("sentence_bert_config.json", R"({"max_seq_length": null})");
  CHECK(max_tokens(bert) == 64);
  bert.Write("tokenizer_config.json", R"({"model_max_length": 50})");
  CHECK(max_tokens(bert) == 50);
  bert.Write("tokenizer_config.json", R"({"model_max_length": 1e30})");
  CHECK(max_tokens(bert) == 64);
  // RoBERTa's first position comes after the padding id's.
  const EncoderFolder roberta("roberta");
  std::filesystem::remove(roberta.path() / "sentence_bert_config.json");
  CHECK(max_tokens(roberta) == 64);
}

TEST_CASE("do_lower_case lower-cases the text first") {
  const auto runtime = MakeRuntime();
  const EncoderFolder folder("roberta");  // its tokenizer keeps case
  const std::vector<std::string> texts = {"The CAT Ärger", "the cat ärger"};
  const auto cased = folder.Load(*runtime);
  REQUIRE_OK(cased);
  folder.Write("sentence_bert_config.json", R"({"max_seq_length": 40, "do_lower_case": true})");
  const auto lower = folder.Load(*runtime);
  REQUIRE_OK(lower);
  const Embeddings a = EncodeAll(**cased, texts);
  const Embeddings b = EncodeAll(**lower, texts);
  CHECK(Cosine(a.vectors.row(0), a.vectors.row(1)) < 0.999);
  CHECK(std::equal(b.vectors.row(0).begin(), b.vectors.row(0).end(), b.vectors.row(1).begin()));
}

TEST_CASE("The fingerprint is the same for the same files and changes with any of them") {
  const auto fingerprint = [](const EncoderFolder& folder, const std::string& isa = "") {
    const auto runtime = MakeRuntime(isa);
    const auto encoder = folder.Load(*runtime);
    REQUIRE_OK(encoder);
    return (*encoder)->info().fingerprint;
  };
  std::set<std::string> seen;
  const std::string original = fingerprint(EncoderFolder("bert"));
  // Whoever changes this makes every user index every document again.
  CHECK(original == "bert-32-mean-0ac9648fbe53d49d");
  CHECK(fingerprint(EncoderFolder("bert")) == original);
  CHECK(fingerprint(EncoderFolder("bert"), "scalar") == original);
  seen.insert(original);

  const std::string weights = ReadAll(Golden("encoders/bert/model.safetensors"));
  // Bytes of tensors near the file's end, in its middle and at their begin.
  for (const size_t from_end : {size_t{1}, size_t{4}, size_t{40'000}, size_t{90'000}}) {
    const EncoderFolder folder("bert");
    std::string changed = weights;
    changed[changed.size() - from_end] = static_cast<char>(changed[changed.size() - from_end] ^ 1);
    folder.Write("model.safetensors", changed);
    CHECK(seen.insert(fingerprint(folder)).second);
  }
  const EncoderFolder pooling("bert");
  pooling.SetPooling("cls_token");
  CHECK(seen.insert(fingerprint(pooling)).second);
  const EncoderFolder length("bert");
  length.Write("sentence_bert_config.json", R"({"max_seq_length": 39})");
  CHECK(seen.insert(fingerprint(length)).second);
  const EncoderFolder config("bert");
  config.Replace("config.json", "1e-12", "2e-12");
  CHECK(seen.insert(fingerprint(config)).second);
  const EncoderFolder tokenizer("bert");
  tokenizer.Replace("tokenizer.json", "\"lowercase\": true", "\"lowercase\": false");
  CHECK(seen.insert(fingerprint(tokenizer)).second);
}

}  // namespace
}  // namespace rag::test
