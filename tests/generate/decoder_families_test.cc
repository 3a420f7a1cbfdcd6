// Every family of decoders against transformers, from its Hugging Face folder and from the GGUF
// file that llama.cpp's converter made of it: tests/golden/decoders/make_decoders.py.
#include <catch2/catch.hpp>
#include <cmath>

#include "generate/decoder.h"
#include "generate/folder/model_folder.h"
#include "generate/generator.h"
#include "lib/base/value.h"
#include "tests/generate/lone_decoder.h"
#include "tests/support/support.h"

namespace rag {
namespace {

constexpr size_t kContext = 64;

// What a float32 run may differ by from another: the models' widths are at most 48, their layers at
// most 6, each with some ten sums of that many terms, and logits below 30.
constexpr double kLogitBound = 2e-4;

struct Loaded {
  explicit Loaded(GgufFile opened) : file(std::move(opened)) {}
  GgufFile file;
  DecoderWeights weights;
  std::unique_ptr<test::LoneDecoder> decoder;
};

std::unique_ptr<Loaded> Load(const std::filesystem::path& path, const Runtime& runtime) {
  auto file = std::filesystem::is_directory(path) ? OpenModelFolder(path.string())
                                                  : GgufFile::Open(path.string());
  REQUIRE_OK(file);
  auto loaded = std::make_unique<Loaded>(std::move(file).value());
  const auto config = ReadDecoderConfig(loaded->file);
  REQUIRE_OK(config);
  auto weights = ReadDecoderWeights(loaded->file, *config);
  REQUIRE_OK(weights);
  loaded->weights = std::move(weights).value();
  loaded->decoder =
      std::make_unique<test::LoneDecoder>(*config, loaded->weights, kContext, runtime);
  return loaded;
}

std::vector<TokenId> Ids(const Value& list) {
  std::vector<TokenId> ids;
  for (const Value& id : list.as_array()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

double LargestDifference(const Value& expected, std::span<const float> found) {
  double largest = 0;
  REQUIRE(expected.as_array().size() == found.size());
  for (size_t i = 0; i < found.size(); ++i) {
    largest = std::max(
        largest, std::fabs(expected.as_array()[i].as_double() - static_cast<double>(found[i])));
  }
  return largest;
}

// The prompt in parts of `chunk` tokens, then one by one: each greedy choice, and the logits that
// are known.
void CheckGreedy(test::LoneDecoder& decoder, const Value& golden, size_t chunk) {
  std::vector<TokenId> ids = Ids(*golden.Find("prompt"));
  const std::vector<TokenId> expected = Ids(*golden.Find("greedy"));
  const std::vector<TokenId> rows = Ids(*golden.Find("rows"));
  const auto check = [&](size_t position, std::span<const float> logits) {
    for (size_t i = 0; i < rows.size(); ++i) {
      if (static_cast<size_t>(rows[i]) != position) continue;
      INFO("position " << position);
      CHECK(LargestDifference(golden.Find("logits")->as_array()[i], logits) <= kLogitBound);
    }
  };
  std::vector<TokenId> found;
  size_t begin = 0;
  const size_t prompt = ids.size();
  while (found.size() < expected.size()) {
    const size_t count = begin < prompt ? std::min(chunk, prompt - begin) : 1;
    REQUIRE_OK(decoder.Forward(std::span(ids).subspan(begin, count), begin));
    for (size_t i = 0; i < count; ++i) check(begin + i, decoder.logits(i));
    begin += count;
    if (begin < prompt) continue;
    const std::span<const float> last = decoder.logits(count - 1);
    found.push_back(
        static_cast<TokenId>(std::max_element(last.begin(), last.end()) - last.begin()));
    ids.push_back(found.back());
  }
  CHECK(found == expected);
}

Value Golden() {
  auto golden = ParseJson(test::ReadAll(test::Golden("decoders/golden.json")));
  REQUIRE_OK(golden);
  return std::move(golden).value();
}

void CheckFamilies(const std::string& isa) {
  const auto runtime = test::MakeRuntime(isa);
  const Value all = Golden();
  CHECK(all.as_object().size() > 20);
  for (const auto& [name, golden] : all.as_object()) {
    const auto folder = test::Golden("decoders") / name;
    for (const auto& path : {folder, folder / "model.gguf"}) {
      if (path != folder && !golden.Find("gguf")->as_bool()) continue;
      INFO(path);
      const auto loaded = Load(path, *runtime);
      for (const size_t chunk : {size_t{1}, size_t{5}, kContext}) {
        CheckGreedy(*loaded->decoder, golden, chunk);
      }
    }
  }
}

TEST_CASE("logits and greedy tokens of every family equal transformers', scalar") {
  CheckFamilies("scalar");
}

TEST_CASE("logits and greedy tokens of every family equal transformers'") { CheckFamilies(""); }

TEST_CASE("a folder generates text with its own tokenizer, as its GGUF file does") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  const auto folder = temporary.path() / "qwen";
  std::filesystem::copy(test::Golden("decoders/qwen2"), folder);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    std::filesystem::copy(test::Golden("decoders") / name, folder / name);
  }
  std::vector<std::string> texts;
  for (const auto& path : {folder, folder / "model.gguf"}) {
    const auto generator = Generator::Load(path.string(), {}, *runtime);
    REQUIRE_OK(generator);
    CHECK((*generator)->info().architecture == "qwen2");
    CHECK((*generator)->info().context_tokens == 64);
    GenerateRequest request;
    request.prompt = *(*generator)->EncodePrompt("Some words");
    CHECK(request.prompt.size() == 10);
    request.max_tokens = 20;
    const auto result = (*generator)->Generate(request);
    REQUIRE_OK(result);
    texts.push_back(result->text);
  }
  CHECK(texts[0] == texts[1]);
  CHECK(texts[0].size() > 5);
  CHECK(IsDecoderFolder(folder.string()));
  CHECK_FALSE(IsDecoderFolder(test::Golden("encoders/bert").string()));
}

TEST_CASE("a folder with pytorch_model.bin is the model of the one with model.safetensors") {
  namespace fs = std::filesystem;
  const test::TemporaryFolder temporary;
  const fs::path folder = temporary.path() / "gpt2";
  fs::copy(test::Golden("decoders/gpt2"), folder);
  const auto expected = OpenModelFolder(folder.string());
  REQUIRE_OK(expected);
  fs::remove(folder / "model.safetensors");
  CHECK(OpenModelFolder(folder.string()).status().code() == StatusCode::kNotFound);
  fs::copy(test::Golden("torch_files/decoder/pytorch_model.bin"), folder);
  const auto found = OpenModelFolder(folder.string());
  REQUIRE_OK(found);
  CHECK(found->metadata() == expected->metadata());
  REQUIRE(found->TensorNames() == expected->TensorNames());
  for (const std::string& name : expected->TensorNames()) {
    INFO(name);
    const TensorView& a = *found->Find(name);
    const TensorView& b = *expected->Find(name);
    CHECK(a.type == b.type);
    CHECK(a.shape == b.shape);
    CHECK(std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end()));
  }
}

}  // namespace
}  // namespace rag
