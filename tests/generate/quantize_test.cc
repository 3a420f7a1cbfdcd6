// GGUF files that we write: they load again, with the tokens and nearly the logits of their source;
// and models in parts.
#include "generate/quantize.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>

#include "generate/generator.h"
#include "lib/model/gguf_writer.h"
#include "lib/model/model_file.h"
#include "tests/generate/chat_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

std::string Name(DType type) { return std::string(GetDTypeInfo(type).name); }

// A golden family's folder with the tokenizer that they share.
std::string Folder(const test::TemporaryFolder& temporary, const std::string& name) {
  const auto folder = temporary.path() / name;
  fs::copy(test::Golden("decoders") / name, folder);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
    fs::copy(test::Golden("decoders") / file, folder / file);
  }
  return folder.string();
}

std::vector<TokenId> Greedy(const std::string& path, const Runtime& runtime) {
  const auto generator = Generator::Load(path, {}, runtime);
  REQUIRE_OK(generator);
  GenerateRequest request;
  request.prompt = {5, 17, 40, 63, 2, 81};
  request.max_tokens = 16;
  const auto result = (*generator)->Generate(request);
  REQUIRE_OK(result);
  return result->tokens;
}

TEST_CASE("packed weights and weights left in the file give the same, but for roundings") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  for (const auto& [name, type] :
       {std::pair("llama3", DType::kQ8_0), {"mixtral", DType::kQ4_0}, {"phi3", DType::kQ5_1}}) {
    INFO(name << " " << GetDTypeInfo(type).name);
    const std::string file = temporary.file(std::string(name) + ".gguf");
    REQUIRE_OK(QuantizeModel(Folder(temporary, name), file, {.type = Name(type)}, *runtime));
    std::vector<float> scores[2];
    for (const bool mapped : {false, true}) {
      const auto generator = Generator::Load(file, {.mapped_weights = mapped}, *runtime);
      REQUIRE_OK(generator);
      const std::vector<TokenId> tokens = {5, 17, 40, 63, 2, 81, 12, 33, 7};
      const auto found = (*generator)->Score(tokens);
      REQUIRE_OK(found);
      scores[mapped ? 1 : 0] = *found;
    }
    REQUIRE(scores[0].size() == 8);
    for (size_t i = 0; i < scores[0].size(); ++i) {
      CHECK(scores[0][i] == Approx(scores[1][i]).margin(1e-3));
    }
  }
}

TEST_CASE("a folder written as GGUF generates the same, for families of every kind of change") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  for (const char* name :
       {"llama3", "mixtral", "gpt2", "bloom", "gemma3", "stablelm", "phi3", "qwen2"}) {
    INFO(name);
    const std::string folder = Folder(temporary, name);
    const std::string file = temporary.file(std::string(name) + ".gguf");
    const auto report = QuantizeModel(folder, file, {.type = "F32"}, *runtime);
    REQUIRE_OK(report);
    CHECK(report->bytes > report->source_bytes);
    CHECK(Greedy(folder, *runtime) == Greedy(file, *runtime));
    const auto written = GgufFile::Open(file);
    REQUIRE_OK(written);
    // llama.cpp's converter's names and shapes, and its vocabulary.
    const auto reference = GgufFile::Open((fs::path(folder) / "model.gguf").string());
    REQUIRE_OK(reference);
    for (const std::string& tensor : reference->TensorNames()) {
      INFO(tensor);
      REQUIRE(written->Find(tensor) != nullptr);
      CHECK(written->Find(tensor)->shape == reference->Find(tensor)->shape);
    }
    CHECK(written->TensorNames().size() == reference->TensorNames().size());
    for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
                            "tokenizer.ggml.token_type", "tokenizer.ggml.eos_token_id"}) {
      INFO(key);
      REQUIRE(written->FindMetadata(key) != nullptr);
      CHECK(*written->FindMetadata(key) == *reference->FindMetadata(key));
    }
    for (const auto& [key, value] : reference->metadata()) {
      const std::string architecture = reference->FindMetadata("general.architecture")->as_string();
      if (!key.starts_with(architecture + ".") || written->FindMetadata(key) == nullptr) continue;
      INFO(key);
      if (value.is_double()) {
        CHECK(written->FindMetadata(key)->as_double() == Approx(value.as_double()));
      } else {
        CHECK(*written->FindMetadata(key) == value);
      }
    }
  }
}

TEST_CASE("every type that is written is read again, with the error of its bits") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  test::RandomModel model = test::ChatModel(test::kChatMl);
  model.width = 256;
  model.head_dim = 128;
  model.feed_forward = 512;
  test::WriteRandomModel(model, temporary.file("f32.gguf"));
  const auto source = GgufFile::Open(temporary.file("f32.gguf"));
  REQUIRE_OK(source);
  const std::pair<DType, double> cases[] = {
      {DType::kF16, 1e-3},    {DType::kBF16, 4e-3},   {DType::kQ8_0, 0.01}, {DType::kQ4_0, 0.1},
      {DType::kQ4_1, 0.09},   {DType::kQ5_0, 0.05},   {DType::kQ5_1, 0.05}, {DType::kQ4_K, 0.09},
      {DType::kQ5_K, 0.05},   {DType::kQ6_K, 0.03},   {DType::kQ2_K, 0.33}, {DType::kQ3_K, 0.16},
      {DType::kIQ4_NL, 0.09}, {DType::kIQ4_XS, 0.09}, {DType::kMXFP4, 0.15}};
  for (const auto& [type, bound] : cases) {
    INFO(GetDTypeInfo(type).name);
    const std::string path = temporary.file("to.gguf");
    const auto report =
        QuantizeModel(temporary.file("f32.gguf"), path, {.type = Name(type)}, *runtime);
    REQUIRE_OK(report);
    const auto written = GgufFile::Open(path);
    REQUIRE_OK(written);
    const char* name = "blk.0.ffn_up.weight";
    CHECK(written->Find(name)->type == type);
    CHECK(written->Find("blk.0.attn_norm.weight")->type == DType::kF32);
    CHECK(*written->FindMetadata("tokenizer.chat_template") ==
          *source->FindMetadata("tokenizer.chat_template"));
    std::vector<float> before(512 * 256), after(512 * 256);
    REQUIRE_OK(DequantizeTo(*source->Find(name), 0, before));
    REQUIRE_OK(DequantizeTo(*written->Find(name), 0, after));
    double error = 0, total = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      error += std::pow(static_cast<double>(after[i]) - static_cast<double>(before[i]), 2);
      total += std::pow(static_cast<double>(before[i]), 2);
    }
    CHECK(std::sqrt(error / total) < bound);
    const auto generator = Generator::Load(path, {}, *runtime);
    REQUIRE_OK(generator);
    CHECK((*generator)->info().quantization == GetDTypeInfo(type).name);
  }
}

TEST_CASE("rows that are no whole number of blocks take a smaller type") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  test::WriteRandomModel(test::ChatModel(""), temporary.file("f32.gguf"));  // rows of 64 and 96
  REQUIRE_OK(QuantizeModel(temporary.file("f32.gguf"), temporary.file("q.gguf"), {.type = "Q4_K"},
                           *runtime));
  const auto written = GgufFile::Open(temporary.file("q.gguf"));
  REQUIRE_OK(written);
  CHECK(written->Find("blk.0.ffn_up.weight")->type == DType::kQ5_0);
  CHECK(written->Find("output.weight")->type == DType::kQ8_0);
}

TEST_CASE("what cannot be written is named, and leaves no file") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  const std::string from = temporary.file("f32.gguf");
  const std::string to = temporary.file("to.gguf");
  test::WriteRandomModel(test::ChatModel(""), from);
  CHECK(QuantizeModel(from, to, {.type = "Q9_K"}, *runtime).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK(QuantizeModel(from, from, {.type = "F16"}, *runtime).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK(QuantizeModel(temporary.file("none"), to, {.type = "F16"}, *runtime).status().code() ==
        StatusCode::kNotFound);
  CancelToken cancel;
  cancel.Cancel();
  CHECK(QuantizeModel(from, to, {.type = "F16"}, *runtime, &cancel).status().code() ==
        StatusCode::kCancelled);
  CHECK_FALSE(fs::exists(to));
  for (const fs::directory_entry& entry : fs::directory_iterator(temporary.path())) {
    CHECK_FALSE(entry.path().string().starts_with(to));
  }
}

// A file's tensors dealt out to parts, as llama.cpp's gguf-split does: all metadata in the first.
void Split(const GgufFile& file, size_t parts, const std::string& stem) {
  const auto names = file.TensorNames();
  for (size_t part = 0; part < parts; ++part) {
    GgufWriter writer;
    if (part == 0) {
      size_t index = 0;
      for (const auto& [key, value] : file.metadata()) {
        REQUIRE_OK(writer.AddRaw(key, file.RawMetadata(index++)));
      }
    }
    REQUIRE_OK(writer.Add("split.no", static_cast<int>(part)));
    REQUIRE_OK(writer.Add("split.count", static_cast<int>(parts)));
    REQUIRE_OK(writer.Add("split.tensors.count", static_cast<int>(names.size())));
    std::vector<std::string> own;
    for (size_t i = part; i < names.size(); i += parts) {
      own.push_back(names[i]);
      const TensorView& tensor = *file.Find(names[i]);
      REQUIRE_OK(writer.Declare(names[i], tensor.type, tensor.shape));
    }
    char name[64];
    std::snprintf(name, sizeof(name), "-%05zu-of-%05zu.gguf", part + 1, parts);
    const auto fill = [&](size_t i, std::span<std::byte> bytes) -> Status {
      std::memcpy(bytes.data(), file.Find(own[i])->bytes.data(), bytes.size());
      return OkStatus();
    };
    REQUIRE_OK(writer.Write(stem + name, fill));
  }
}

TEST_CASE("a model in parts is opened by its first, and what is wrong with the others is named") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  test::WriteRandomModel(test::ChatModel(test::kChatMl), temporary.file("whole.gguf"));
  const auto whole = GgufFile::Open(temporary.file("whole.gguf"));
  REQUIRE_OK(whole);
  Split(*whole, 3, temporary.file("m"));
  const std::string first = temporary.file("m-00001-of-00003.gguf");
  const std::string second = temporary.file("m-00002-of-00003.gguf");
  const auto generate = [&](const std::string& path) {
    const auto generator = Generator::Load(path, {}, *runtime);
    REQUIRE_OK(generator);
    GenerateRequest request;
    request.prompt = {1, 20, 30};
    return (*generator)->Generate(request)->tokens;
  };
  CHECK(generate(first) == generate(temporary.file("whole.gguf")));
  using Catch::Matchers::Contains;
  CHECK_THAT(GgufFile::Open(second).status().message(), Contains("is part 2 of 3"));
  fs::rename(second, temporary.file("away"));
  CHECK_THAT(GgufFile::Open(first).status().message(), Contains("m-00002-of-00003.gguf"));
  fs::copy(temporary.file("m-00003-of-00003.gguf"), second);
  CHECK_THAT(GgufFile::Open(first).status().message(), Contains("'split.no' is 2, not 1"));
  fs::copy(first, temporary.file("other.gguf"));
  CHECK_THAT(GgufFile::Open(temporary.file("other.gguf")).status().message(),
             Contains("its name does not end in '-00001-of-00003.gguf'"));
}

}  // namespace
}  // namespace rag
