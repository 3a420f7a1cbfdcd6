// Folders of encoders with smaller weights: the vectors and fingerprints of the precision that they
// hold, what other programs read of them, and what is refused.
#include "embed/quantize_encoder.h"

#include <functional>

#include "lib/base/partial_folder.h"
#include "lib/model/model_file.h"
#include "lib/model/safetensors_writer.h"
#include "tests/embed/encoder_support.h"
#include "tests/embed/image_encoder_support.h"

namespace rag::test {
namespace {

namespace fs = std::filesystem;

// The folder in 8 bits beside the folder opened with Precision::kInt8.
void CheckInt8(const GoldenFolder& source, const Runtime& runtime,
               const std::vector<std::string>& texts) {
  const TemporaryFolder temporary;
  const std::string to = temporary.file("int8");
  const auto report = QuantizeEncoder(source.path().string(), to, "int8", runtime);
  REQUIRE_OK(report);
  CHECK(report->rounded > 0);
  CHECK(report->bytes < report->source_bytes);
  const auto expected = source.Load(runtime, {.precision = Precision::kInt8});
  REQUIRE_OK(expected);
  const auto found = Encoder::Load(to, runtime);
  REQUIRE_OK(found);
  CHECK((*found)->info().precision == Precision::kInt8);
  CHECK((*found)->info().fingerprint == (*expected)->info().fingerprint);
  CHECK((*found)->info().weight_bytes < (*expected)->info().weight_bytes);
  CHECK(SameBits(EncodeAll(**found, texts).vectors, EncodeAll(**expected, texts).vectors));
  if (!(*expected)->info().images.has_value()) return;
  const std::vector<Image> pictures = GoldenPictures();
  const auto a = (*found)->EncodeImages(pictures);
  const auto b = (*expected)->EncodeImages(pictures);
  REQUIRE_OK(a);
  REQUIRE_OK(b);
  CHECK(SameBits(a->vectors, b->vectors));
}

TEST_CASE("a folder in 8 bits gives the vectors and the fingerprint of int8, in every family") {
  const auto runtime = MakeRuntime();
  for (const char* name : {"bert", "distilbert", "roberta"}) {
    INFO(name);
    CheckInt8(EncoderFolder(name), *runtime, GoldenTexts());
  }
  std::vector<std::string> texts = FamilyTexts();
  texts.resize(20);
  for (const char* name :
       {"albert", "dense", "electra", "gemma3", "gte", "jina-bert", "mistral", "mobilebert",
        "modernbert", "mpnet", "nomic", "qwen2", "qwen3", "t5", "t5-gated", "xlm-roberta"}) {
    INFO(name);
    CheckInt8(FamilyFolder(name), *runtime, texts);
  }
  for (const char* name : {"clip", "siglip", "open-clip-own"}) {
    INFO(name);
    CheckInt8(ImageEncoderFolder(name), *runtime, {"a red barn", "two boats"});
  }
}

TEST_CASE("a folder in 8 bits is the same in every instruction set's packing") {
  const EncoderFolder source("bert");
  for (const char* isa : {"scalar", "avx2", "avx512", "amx"}) {
    const auto runtime = Runtime::Create({.threads = 1, .isa = isa});
    if (!runtime.ok()) continue;  // this processor has it not
    INFO(isa);
    CheckInt8(source, **runtime, GoldenTexts());
  }
}

TEST_CASE("folders in bf16 and f16 give what sentence-transformers makes of them") {
  const auto runtime = MakeRuntime();
  const EncoderFolder source("bert");
  const TemporaryFolder temporary;
  for (const char* type : {"bf16", "f16"}) {
    INFO(type);
    const std::string to = temporary.file(type);
    const auto report = QuantizeEncoder(source.path().string(), to, type, *runtime);
    REQUIRE_OK(report);
    CHECK(report->bytes < report->source_bytes * 6 / 10);
    const auto file = TensorFile::Open(to);
    REQUIRE_OK(file);
    CHECK(file->metadata().Find("format")->as_string() == "pt");
    for (const std::string& name : file->TensorNames()) {
      INFO(name);
      const TensorView& tensor = *file->Find(name);
      const DType narrow = std::string(type) == "f16" ? DType::kF16 : DType::kBF16;
      CHECK((tensor.type == narrow) == (tensor.shape.size() >= 2));
    }
    const auto encoder = Encoder::Load(to, *runtime);
    REQUIRE_OK(encoder);
    CHECK((*encoder)->info().precision == Precision::kF32);
    const auto exact = source.Load(*runtime);
    REQUIRE_OK(exact);
    CHECK((*encoder)->info().fingerprint != (*exact)->info().fingerprint);
    const Embeddings found = EncodeAll(**encoder, GoldenTexts());
    // Made by tests/golden/quantized_encoder/make_quantized.py of the folder that we wrote.
    const std::string raw = ReadAll(Golden(StrCat("quantized_encoder/bert-", type, ".f32")));
    std::vector<float> expected(raw.size() / sizeof(float));
    std::memcpy(expected.data(), raw.data(), raw.size());
    REQUIRE(expected.size() == found.vectors.rows() * found.vectors.cols());
    for (size_t i = 0; i < found.vectors.rows(); ++i) {
      const std::span<const float> row =
          std::span(expected).subspan(i * found.vectors.cols(), found.vectors.cols());
      CHECK(Cosine(row, found.vectors.row(i)) > 0.99999);
    }
  }
}

TEST_CASE("a bf16 folder opened as bf16 is as near to f32 as the precision") {
  const auto runtime = MakeRuntime();
  const EncoderFolder source("bert");
  const TemporaryFolder temporary;
  const std::string to = temporary.file("bf16");
  REQUIRE_OK(QuantizeEncoder(source.path().string(), to, "bf16", *runtime));
  const auto exact = source.Load(*runtime);
  const auto narrow = Encoder::Load(to, *runtime, {.precision = Precision::kBf16});
  REQUIRE_OK(exact);
  REQUIRE_OK(narrow);
  const Embeddings a = EncodeAll(**exact, GoldenTexts());
  const Embeddings b = EncodeAll(**narrow, GoldenTexts());
  for (size_t i = 0; i < a.vectors.rows(); ++i) {
    CHECK(Cosine(a.vectors.row(i), b.vectors.row(i)) > 0.999);
  }
}

TEST_CASE("modules and settings come along, other weights do not") {
  const auto runtime = MakeRuntime();
  const FamilyFolder source("dense");
  source.Write("pytorch_model.bin", "weights");
  source.Write("onnx/config.json", "{}");
  source.Write("onnx/model.onnx", "weights");
  source.Write("README.md", "words");
  const TemporaryFolder temporary;
  const std::string to = temporary.file("smaller/");
  REQUIRE_OK(QuantizeEncoder(source.path().string(), to, "int8", *runtime));
  const fs::path folder = temporary.path() / "smaller";
  CHECK(fs::exists(folder / "README.md"));
  CHECK(fs::exists(folder / "model.int8.safetensors"));
  for (const char* name : {"model.safetensors", "pytorch_model.bin", "onnx"}) {
    INFO(name);
    CHECK_FALSE(fs::exists(folder / name));
  }
  CHECK_FALSE(fs::exists(temporary.path() / "smaller.partial"));
}

TEST_CASE("what a killed process left is cleared, and what another fills is left alone") {
  const auto runtime = MakeRuntime();
  const EncoderFolder source("bert");
  const TemporaryFolder temporary;
  const std::string to = temporary.file("to");
  WriteText(temporary.path() / "to.partial" / "vocab.txt", "half");
  WriteText(temporary.path() / "to.partial" / "1_Dense" / "config.json", "half");
  REQUIRE_OK(QuantizeEncoder(source.path().string(), to, "bf16", *runtime));
  CHECK_FALSE(fs::exists(to + ".partial"));
  CHECK_FALSE(fs::exists(fs::path(to) / "1_Dense"));
  CHECK_FALSE(fs::exists(fs::path(to) / ProcessLock::kFileName));

  const std::string other = temporary.file("other");
  auto filling = PartialFolder::Create(other);
  REQUIRE_OK(filling);
  WriteText(filling->path() / "config.json", "half");
  CHECK(QuantizeEncoder(source.path().string(), other, "bf16", *runtime).status().code() ==
        StatusCode::kUnavailable);
  CHECK(ReadAll(filling->path() / "config.json") == "half");
}

TEST_CASE("what cannot be quantized is named, and leaves nothing") {
  const auto runtime = MakeRuntime();
  const EncoderFolder source("bert");
  const std::string from = source.path().string();
  const TemporaryFolder temporary;
  const std::string to = temporary.file("to");
  CHECK(QuantizeEncoder(from, to, "int4", *runtime).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK(QuantizeEncoder(temporary.file("none"), to, "int8", *runtime).status().code() ==
        StatusCode::kNotFound);
  const std::string full = temporary.file("full");
  WriteText(fs::path(full) / "file", "mine");
  CHECK(QuantizeEncoder(from, full, "int8", *runtime).status().code() ==
        StatusCode::kAlreadyExists);
  CHECK(ReadAll(fs::path(full) / "file") == "mine");
  CHECK(
      QuantizeEncoder(from, (source.path() / "below").string(), "int8", *runtime).status().code() ==
      StatusCode::kInvalidArgument);
  CancelToken cancel;
  cancel.Cancel();
  CHECK(QuantizeEncoder(from, to, "bf16", *runtime, &cancel).status().code() ==
        StatusCode::kCancelled);
  CHECK_FALSE(fs::exists(to));
  CHECK_FALSE(fs::exists(to + ".partial"));
  REQUIRE_OK(QuantizeEncoder(from, to, "int8", *runtime));
  const auto twice = QuantizeEncoder(to, temporary.file("again"), "bf16", *runtime);
  CHECK(twice.status().code() == StatusCode::kInvalidArgument);
  CHECK_THAT(twice.status().message(), Catch::Matchers::Contains("8 bits"));
}

// The tensors of a folder in 8 bits, one of them changed, written again with the same metadata.
Status Rewrite(const std::string& folder,
               const std::function<void(std::vector<NamedTensorView>&)>& change) {
  RAG_ASSIGN_OR_RETURN(const TensorFile file, TensorFile::Open(folder));
  std::vector<NamedTensorView> tensors;
  for (const std::string& name : file.TensorNames()) tensors.emplace_back(name, *file.Find(name));
  change(tensors);
  std::vector<std::pair<std::string, std::string>> metadata;
  for (const auto& [key, value] : file.metadata().as_object()) {
    metadata.emplace_back(key, value.as_string());
  }
  return WriteSafetensors(folder + "/model.int8.safetensors", tensors, metadata);
}

TEST_CASE("damaged weights in 8 bits are refused, never used") {
  const auto runtime = MakeRuntime();
  const EncoderFolder source("bert");
  const TemporaryFolder temporary;
  const std::string layer = "encoder.layer.0.attention.";
  struct Damage {
    const char* what;
    std::function<void(std::vector<NamedTensorView>&)> change;
    StatusCode code;
    const char* words;
  };
  static const std::vector<std::byte> kBytes(32 * 32 * 4, std::byte{0x80});
  const auto find = [&](std::vector<NamedTensorView>& tensors, const std::string& tail) {
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) {
      return tensor.first.ends_with(layer + tail);
    });
    REQUIRE(found != tensors.end());
    return found;
  };
  const Damage damages[] = {
      {"no scales",
       [&](auto& tensors) { tensors.erase(find(tensors, "output.dense.weight_scale")); },
       StatusCode::kInvalidArgument, "weight_scale' is missing"},
      {"fewer scales",
       [&](auto& tensors) {
         find(tensors, "output.dense.weight_scale")->second = {
             DType::kF32, {31}, std::span(kBytes).first(124)};
       },
       StatusCode::kInvalidArgument, "has shape [31]"},
      {"-128",
       [&](auto& tensors) {
         find(tensors, "output.dense.weight")->second.bytes = std::span(kBytes).first(1024);
       },
       StatusCode::kInvalidArgument, "-128"},
      {"a part in f32",
       [&](auto& tensors) {
         find(tensors, "self.query.weight")->second = {DType::kF32, {32, 32}, kBytes};
       },
       StatusCode::kInvalidArgument, "has type"},
      {"queries, keys and values in bf16, as earlier versions wrote them",
       [&](auto& tensors) {
         for (const char* part : {"self.query.weight", "self.key.weight", "self.value.weight"}) {
           find(tensors, part)->second = {DType::kBF16, {32, 32}, std::span(kBytes).first(2048)};
         }
       },
       StatusCode::kInvalidArgument, "quantize what it was made of again"},
      {"other numbers",
       [&](auto& tensors) {
         static std::vector<std::byte> other;
         const TensorView& view = find(tensors, "output.dense.weight")->second;
         other.assign(view.bytes.begin(), view.bytes.end());
         other[5] = other[5] == std::byte{1} ? std::byte{2} : std::byte{1};
         find(tensors, "output.dense.weight")->second.bytes = other;
       },
       StatusCode::kDataLoss, "hash"}};
  for (const Damage& damage : damages) {
    INFO(damage.what);
    const std::string to = temporary.file(StrCat("to ", damage.what));
    REQUIRE_OK(QuantizeEncoder(source.path().string(), to, "int8", *runtime));
    REQUIRE_OK(Rewrite(to, damage.change));
    const auto loaded = Encoder::Load(to, *runtime);
    CHECK(loaded.status().code() == damage.code);
    CHECK_THAT(loaded.status().message(), Catch::Matchers::Contains(damage.words));
  }
}

}  // namespace
}  // namespace rag::test
