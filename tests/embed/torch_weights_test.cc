// Encoder folders whose weights are PyTorch's own files: vectors and fingerprints are those of the
// same weights as safetensors (tests/golden/torch_files/make_torch_files.py).
#include "embed/late_interaction.h"
#include "embed/quantize_encoder.h"
#include "embed/sparse_encoder.h"
#include "lib/tensor/sparse_vector.h"
#include "tests/embed/hostile_folder.h"
#include "tests/embed/image_encoder_support.h"
#include "tests/lib/model/torch_bytes.h"

namespace rag::test {
namespace {

namespace fs = std::filesystem;

fs::path TorchGolden(const std::string& name) { return Golden("torch_files/" + name); }

// Of both the vectors of some texts, bit for bit, and the fingerprint.
void CheckSame(const std::string& found, const std::string& expected, const Runtime& runtime,
               Precision precision = Precision::kF32) {
  std::vector<std::string> texts = FamilyTexts();
  texts.resize(12);
  const auto a = Encoder::Load(found, runtime, {.precision = precision});
  REQUIRE_OK(a);
  const auto b = Encoder::Load(expected, runtime, {.precision = precision});
  REQUIRE_OK(b);
  CHECK((*a)->info().fingerprint == (*b)->info().fingerprint);
  CHECK((*a)->info().weight_bytes == (*b)->info().weight_bytes);
  CHECK(SameBits(EncodeAll(**a, texts).vectors, EncodeAll(**b, texts).vectors));
  if ((*b)->info().images.has_value()) {
    const auto pictures = GoldenPictures();
    const auto from_a = (*a)->EncodeImages(pictures);
    const auto from_b = (*b)->EncodeImages(pictures);
    REQUIRE_OK(from_a);
    REQUIRE_OK(from_b);
    CHECK(SameBits(from_a->vectors, from_b->vectors));
  }
}

TEST_CASE("pytorch_model.bin gives the vectors of model.safetensors, whole and in parts") {
  const auto runtime = MakeRuntime();
  const FamilyFolder expected("dense");
  const FamilyFolder folder("dense");
  fs::remove(folder.path() / "model.safetensors");
  fs::copy(TorchGolden("dense/pytorch_model.bin"), folder.path());
  CheckSame(folder.path().string(), expected.path().string(), *runtime);
  // The module's too, in the form before PyTorch 1.6.
  fs::remove(folder.path() / "2_Dense/model.safetensors");
  fs::copy(TorchGolden("dense/2_Dense/pytorch_model.bin"), folder.path() / "2_Dense");
  CheckSame(folder.path().string(), expected.path().string(), *runtime);
  fs::remove(folder.path() / "pytorch_model.bin");
  fs::copy(TorchGolden("dense/parts"), folder.path());
  CheckSame(folder.path().string(), expected.path().string(), *runtime);
  CheckSame(folder.path().string(), expected.path().string(), *runtime, Precision::kInt8);
  // Beside safetensors it is not read.
  folder.Write("pytorch_model.bin", "damaged");
  fs::copy(expected.path() / "model.safetensors", folder.path());
  CheckSame(folder.path().string(), expected.path().string(), *runtime);
}

TEST_CASE("open_clip_pytorch_model.bin gives the vectors of open_clip_model.safetensors") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder expected("open-clip-own");
  const ImageEncoderFolder folder("open-clip-own");
  fs::copy(TorchGolden("open_clip/open_clip_pytorch_model.bin"), folder.path());
  folder.Write("open_clip_pytorch_model.bin", "damaged");
  CheckSame(folder.path().string(), expected.path().string(), *runtime);
  fs::remove(folder.path() / "open_clip_model.safetensors");
  CHECK_FALSE(folder.Load(*runtime).ok());
  fs::copy(TorchGolden("open_clip/open_clip_pytorch_model.bin"), folder.path(),
           fs::copy_options::overwrite_existing);
  CheckSame(folder.path().string(), expected.path().string(), *runtime);
}

TEST_CASE("a folder with pytorch_model.bin is quantized as one with model.safetensors is") {
  const auto runtime = MakeRuntime();
  const FamilyFolder expected("dense");
  const FamilyFolder folder("dense");
  fs::remove(folder.path() / "model.safetensors");
  fs::remove(folder.path() / "2_Dense/model.safetensors");
  fs::copy(TorchGolden("dense/parts"), folder.path());
  fs::copy(TorchGolden("dense/2_Dense/pytorch_model.bin"), folder.path() / "2_Dense");
  for (const char* type : {"int8", "bf16"}) {
    const TemporaryFolder temporary;
    INFO(type);
    REQUIRE_OK(QuantizeEncoder(folder.path().string(), temporary.file("torch"), type, *runtime));
    REQUIRE_OK(QuantizeEncoder(expected.path().string(), temporary.file("safe"), type, *runtime));
    CHECK_FALSE(fs::exists(temporary.file("torch") + "/pytorch_model-00001-of-00002.bin"));
    CHECK_FALSE(fs::exists(temporary.file("torch") + "/pytorch_model.bin.index.json"));
    CheckSame(temporary.file("torch"), temporary.file("safe"), *runtime);
  }
}

// Every model.safetensors of the folder, and of those below it, as pytorch_model.bin.
void Convert(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().filename() == "model.safetensors") found.push_back(entry.path());
  }
  REQUIRE_FALSE(found.empty());
  for (const fs::path& path : found) {
    const auto file = TensorFile::Open(path.string());
    REQUIRE_OK(file);
    WriteBytes((path.parent_path() / "pytorch_model.bin").string(), TorchBytes(*file));
    fs::remove(path);
  }
}

// What Encode makes of a text with the folder's model, its weights in safetensors and then in
// PyTorch's form; the fingerprints are the same.
template <class Load>
auto EncodeBothForms(const fs::path& folder, Load load) {
  const std::string_view text = "rotating the keys of a store";
  const auto expected = load();
  REQUIRE_OK(expected);
  Convert(folder);
  const auto found = load();
  REQUIRE_OK(found);
  CHECK((*found)->info().fingerprint == (*expected)->info().fingerprint);
  auto before = (*expected)->Encode({&text, 1}, TextRole::kDocument);
  auto after = (*found)->Encode({&text, 1}, TextRole::kDocument);
  REQUIRE_OK(before);
  REQUIRE_OK(after);
  return std::pair(std::move(before).value(), std::move(after).value());
}

TEST_CASE("late interaction and sparse encoders read PyTorch's files") {
  const auto runtime = MakeRuntime();
  {
    const GoldenFolder folder("late_interaction/pylate");
    const auto [before, after] = EncodeBothForms(folder.path(), [&] {
      return LateInteraction::Load(folder.path().string(), *runtime, Precision::kF32);
    });
    CHECK(SameBits(after.texts[0], before.texts[0]));
  }
  {
    const FamilyFolder folder("bert", "sparse");
    const auto [before, after] = EncodeBothForms(
        folder.path(), [&] { return SparseEncoder::Load(folder.path().string(), *runtime); });
    REQUIRE_FALSE(before.vectors[0].entries.empty());
    CHECK(DotProduct(after.vectors[0], before.vectors[0]) ==
          DotProduct(before.vectors[0], before.vectors[0]));
  }
}

TEST_CASE("an encoder's folder whose pytorch_model.bin is hostile is refused by its name") {
  const auto converted = std::make_shared<FamilyFolder>("dense");
  Convert(converted->path());
  HostileFolder folder(converted);
  const std::string file = "pytorch_model.bin";
  const std::string sound = folder.Read(file);
  folder.Harmless(file, sound);
  const auto refuse = [&](const Pickle& pickle, const std::string& words, StatusCode code) {
    folder.Refused(file, Zip(TorchRecords(pickle.text())).bytes, {{words}, {code}});
  };
  for (const char* name : {"system", "popen", "execv"}) {
    refuse(Pickle().Global("os", name).Text("id").Op('\x85').Op('R').Op('.'), StrCat("'os.", name),
           StatusCode::kUnsupported);
  }
  refuse(Pickle().Op('}').Text("a").Tensor().Op('s').Op('.'), "the weights have no tensor",
         StatusCode::kInvalidArgument);
  for (size_t i = 0; i < 40; ++i) {
    folder.Refused(file, std::string_view(sound).substr(0, sound.size() * i / 40),
                   {{file}, {StatusCode::kDataLoss, StatusCode::kInvalidArgument}});
  }
  CHECK(folder.refused() == 44);
}

}  // namespace
}  // namespace rag::test
