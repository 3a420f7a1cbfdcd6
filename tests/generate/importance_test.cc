// Importance of columns: in the form of llama.cpp's imatrix tool, its files both ways, and what
// it does to quantized models.
#include "generate/importance.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "generate/quantize.h"
#include "generate/weight_mix.h"
#include "lib/model/gguf_writer.h"
#include "lib/model/model_file.h"
#include "tests/generate/chat_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

// tests/golden/importance/make_importance.py: the context it used.
constexpr size_t kChunkTokens = 32;

std::string GoldenText() { return test::ReadAll(test::Golden("importance/text.txt")); }

TEST_CASE(
    "sums over a text are those of transformers' layers, for dense, fused and expert matrices") {
  const auto runtime = test::MakeRuntime();
  for (const std::string name : {"llama3", "mixtral", "phi3"}) {
    INFO(name);
    const std::string model = (test::Golden("decoders") / name / "model.gguf").string();
    const auto expected =
        Importance::Load(test::Golden(StrCat("importance/", name, ".gguf")).string());
    REQUIRE_OK(expected);
    CHECK(expected->chunk_tokens == kChunkTokens);
    const auto found =
        CollectImportance(model, GoldenText(), {.chunk_tokens = kChunkTokens}, *runtime);
    REQUIRE_OK(found);
    CHECK(found->chunks == expected->chunks);
    CHECK(found->entries.size() == expected->entries.size());
    for (const auto& [tensor, entry] : expected->entries) {
      INFO(tensor);
      REQUIRE(found->entries.count(tensor) == 1);
      const ImportanceEntry& ours = found->entries.find(tensor)->second;
      REQUIRE(ours.columns == entry.columns);
      REQUIRE(ours.matrices() == entry.matrices());
      for (size_t m = 0; m < entry.matrices(); ++m) {
        // Routers may choose otherwise where two experts are nearly alike.
        CHECK(ours.counts[m] == Approx(entry.counts[m]).epsilon(0.02));
        for (size_t i = m * entry.columns; i < (m + 1) * entry.columns; ++i) {
          CHECK(ours.sums[i] == Approx(entry.sums[i]).epsilon(0.03).margin(1e-4));
        }
      }
    }
  }
}

TEST_CASE("the older form of file says the same as the newer") {
  const auto old = Importance::Load(test::Golden("importance/llama3.dat").string());
  const auto now = Importance::Load(test::Golden("importance/llama3.gguf").string());
  REQUIRE_OK(old);
  REQUIRE_OK(now);
  CHECK(old->chunks == now->chunks);
  REQUIRE(old->entries.size() == now->entries.size());
  for (const auto& [name, entry] : now->entries) {
    INFO(name);
    const auto a = old->Columns(name, 0);
    const auto b = now->Columns(name, 0);
    REQUIRE((a.has_value() && b.has_value()));
    REQUIRE(a->size() == b->size());
    for (size_t i = 0; i < a->size(); ++i) CHECK((*a)[i] == Approx((*b)[i]).epsilon(1e-4));
  }
}

TEST_CASE("what is saved is read again") {
  Importance importance;
  importance.entries["blk.0.ffn_down_exps.weight"] = {2, {1, 2, 3, 4}, {2, 0}};
  importance.entries["blk.0.attn_q.weight"] = {3, {0, 5, 6}, {4}};
  importance.datasets = {"texts.txt"};
  importance.chunks = 7;
  importance.chunk_tokens = 64;
  const test::TemporaryFolder temporary;
  REQUIRE_OK(importance.Save(temporary.file("imatrix.gguf")));
  const auto found = Importance::Load(temporary.file("imatrix.gguf"));
  REQUIRE_OK(found);
  CHECK(found->datasets == importance.datasets);
  CHECK(found->chunks == 7);
  CHECK(found->chunk_tokens == 64);
  CHECK(*found->Columns("blk.0.attn_q.weight", 0) == std::vector<float>{0, 1.25f, 1.5f});
  // One matrix stands for all; an expert that got nothing says nothing.
  CHECK(found->Columns("blk.0.attn_q.weight", 3).has_value());
  CHECK(*found->Columns("blk.0.ffn_down_exps.weight", 0) == std::vector<float>{0.5f, 1});
  CHECK_FALSE(found->Columns("blk.0.ffn_down_exps.weight", 1).has_value());
  CHECK_FALSE(found->Columns("blk.0.ffn_down_exps.weight", 2).has_value());
  CHECK_FALSE(found->Columns("output.weight", 0).has_value());
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST_CASE("damaged files are refused, with the place") {
  const test::TemporaryFolder temporary;
  const std::string path = temporary.file("damaged");
  const std::string whole = test::ReadAll(test::Golden("importance/llama3.dat"));
  for (const size_t size : {size_t{0}, size_t{3}, size_t{6}, size_t{20}, whole.size() / 2}) {
    INFO(size);
    WriteBytes(path, whole.substr(0, size));
    CHECK_FALSE(Importance::Load(path).ok());
  }
  std::string huge = whole;
  const int32_t count = 1 << 30;
  std::memcpy(huge.data(), &count, sizeof(count));
  WriteBytes(path, huge);
  CHECK(Importance::Load(path).status().code() == StatusCode::kInvalidArgument);
  CHECK(Importance::Load(temporary.file("none")).status().code() == StatusCode::kNotFound);

  Importance negative;
  negative.entries["blk.0.attn_q.weight"] = {2, {1, -1}, {1}};
  REQUIRE_OK(negative.Save(path));
  const Status status = Importance::Load(path).status();
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(status.message(), Catch::Matchers::Contains("column 1"));
  // A model is no importance matrix.
  const Status model =
      Importance::Load((test::Golden("decoders") / "llama3" / "model.gguf").string()).status();
  CHECK(model.code() == StatusCode::kInvalidArgument);
}

TEST_CASE("texts and chunks that do not fit are named") {
  const auto runtime = test::MakeRuntime();
  const std::string model = (test::Golden("decoders") / "llama3" / "model.gguf").string();
  const auto code = [&](std::string_view text, ImportanceOptions options) {
    return CollectImportance(model, text, options, *runtime).status().code();
  };
  CHECK(code("few", {.chunk_tokens = 32}) == StatusCode::kInvalidArgument);
  CHECK(code(GoldenText(), {.chunk_tokens = 1}) == StatusCode::kInvalidArgument);
  CHECK(code(GoldenText(), {.chunk_tokens = 1 << 20}) == StatusCode::kInvalidArgument);
  CancelToken cancel;
  cancel.Cancel();
  CHECK(CollectImportance(model, GoldenText(), {.chunk_tokens = 32}, *runtime, &cancel)
            .status()
            .code() == StatusCode::kCancelled);
  const auto few =
      CollectImportance(model, GoldenText(), {.chunk_tokens = 32, .max_chunks = 1}, *runtime);
  REQUIRE_OK(few);
  CHECK(few->chunks == 1);
}

// A model with rows of whole K blocks.
std::string WideModel(const test::TemporaryFolder& temporary) {
  test::RandomModel model = test::ChatModel("");
  model.width = 256;
  model.head_dim = 128;
  model.feed_forward = 512;
  test::WriteRandomModel(model, temporary.file("wide.gguf"));
  return temporary.file("wide.gguf");
}

double WeightedError(const GgufFile& exact, const GgufFile& rounded, const std::string& name,
                     const std::vector<float>& importance) {
  const TensorView& a = *exact.Find(name);
  std::vector<float> before(a.elements()), after(a.elements());
  REQUIRE_OK(DequantizeTo(a, 0, before));
  REQUIRE_OK(DequantizeTo(*rounded.Find(name), 0, after));
  double error = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    error += double{importance[i % importance.size()]} *
             std::pow(double{after[i]} - double{before[i]}, 2);
  }
  return error;
}

TEST_CASE("a model quantized with its importance loses less where it matters") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  const std::string model = WideModel(temporary);
  const auto exact = GgufFile::Open(model);
  REQUIRE_OK(exact);
  Importance importance;
  const std::string name = "blk.0.ffn_up.weight";
  ImportanceEntry& entry = importance.entries[name];
  entry.columns = 256;
  entry.counts = {10};
  for (size_t i = 0; i < 256; ++i) entry.sums.push_back(i % 16 == 0 ? 1000 : 1);
  const std::vector<float> columns = *importance.Columns(name, 0);
  for (const char* type : {"Q2_K", "Q3_K_M", "Q4_0", "IQ4_XS"}) {
    INFO(type);
    double errors[2];
    for (const bool weighted : {false, true}) {
      const std::string to = temporary.file("to.gguf");
      REQUIRE_OK(QuantizeModel(
          model, to, {.type = type, .importance = weighted ? &importance : nullptr}, *runtime));
      const auto rounded = GgufFile::Open(to);
      REQUIRE_OK(rounded);
      errors[weighted ? 1 : 0] = WeightedError(*exact, *rounded, name, columns);
      CHECK((rounded->FindMetadata("quantize.imatrix.entries_count") != nullptr) == weighted);
    }
    CHECK(errors[1] < 0.9 * errors[0]);
  }
  entry.columns = 128;
  entry.sums.resize(128);
  const Status other = QuantizeModel(model, temporary.file("to.gguf"),
                                     {.type = "Q4_K", .importance = &importance}, *runtime)
                           .status();
  CHECK(other.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(other.message(), Catch::Matchers::Contains("128 columns"));
  auto moved = importance.entries.extract(name);
  moved.key() = "blk.9000.ffn_up.weight";
  importance.entries.insert(std::move(moved));
  CHECK(QuantizeModel(model, temporary.file("to.gguf"), {.type = "Q4_K", .importance = &importance},
                      *runtime)
            .status()
            .code() == StatusCode::kInvalidArgument);
}

TEST_CASE("mixes give the types that llama.cpp's quantize gives") {
  // What llama-quantize wrote (tests/golden/importance/make_importance.py).
  const auto golden = ParseJson(test::ReadAll(test::Golden("importance/mixes.json")));
  REQUIRE_OK(golden);
  for (const Value& entry : golden->as_array()) {
    const MixModel model = {
        .layers = static_cast<size_t>(entry.Find("layers")->as_int()),
        .queries_a_key = static_cast<size_t>(entry.Find("queries_a_key")->as_int()),
        .experts = static_cast<size_t>(entry.Find("experts")->as_int())};
    const std::string name = entry.Find("mix")->as_string();
    INFO(name << ", " << model.layers << " layers, " << model.experts << " experts");
    const WeightMix* const mix = FindWeightMix(name);
    REQUIRE(mix != nullptr);
    for (const auto& [tensor, type] : entry.Find("types")->as_object()) {
      INFO(tensor);
      const size_t dot = tensor.find('.', 4);
      const size_t layer = std::stoul(tensor.substr(4, dot - 4));
      std::string kind = tensor.substr(dot + 1);
      kind.resize(kind.rfind('.'));
      if (kind.ends_with("_exps")) kind.resize(kind.size() - 5);
      CHECK(GetDTypeInfo(mix->choose(model, kind, layer)).name == type.as_string());
    }
  }
}

}  // namespace
}  // namespace rag
