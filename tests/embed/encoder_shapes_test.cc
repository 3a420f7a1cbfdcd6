// Every family, weight type and pooling against transformers' own output
// (tests/golden/encoders/make_encoders.py).
#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

constexpr size_t kDim = 32;
// Of the two layers' f32 arithmetic on values near 1, in another order than torch's.
constexpr double kTolerance = 2e-5;

std::vector<float> ReadFloatFile(const std::filesystem::path& path) {
  const std::string bytes = ReadAll(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

void CheckFamily(const std::string& name, const std::string& model_type) {
  const std::vector<std::string> texts = GoldenTexts();
  const std::vector<float> expected = ReadFloatFile(Golden("encoders/" + name + "/expected.f32"));
  constexpr std::string_view kModes[] = {"mean_tokens", "cls_token", "max_tokens"};
  constexpr Pooling kPoolings[] = {Pooling::kMean, Pooling::kCls, Pooling::kMax};
  REQUIRE(expected.size() == std::size(kModes) * texts.size() * kDim);
  const EncoderFolder folder(name);
  for (const Isa isa : kAllIsas) {
    if (GetKernels(isa) == nullptr) continue;
    const auto runtime = MakeRuntime(std::string(IsaName(isa)));
    for (size_t mode = 0; mode < std::size(kModes); ++mode) {
      folder.SetPooling(kModes[mode]);
      const auto encoder = folder.Load(*runtime);
      REQUIRE_OK(encoder);
      const EncoderInfo& info = (*encoder)->info();
      CHECK(info.model_type == model_type);
      CHECK(info.dim == kDim);
      CHECK(info.layers == 2);
      CHECK(info.max_tokens == 40);
      CHECK(info.pooling == std::vector{kPoolings[mode]});
      CHECK_FALSE(info.normalize);
      const Embeddings embeddings = EncodeAll(**encoder, texts);
      for (size_t i = 0; i < texts.size(); ++i) {
        const float* want = expected.data() + (mode * texts.size() + i) * kDim;
        double worst = 0;
        for (size_t d = 0; d < kDim; ++d) {
          worst = std::max(worst, std::abs(static_cast<double>(embeddings.vectors.row(i)[d]) -
                                           static_cast<double>(want[d])));
        }
        INFO(name << " " << IsaName(isa) << " " << kModes[mode] << " text '" << texts[i] << "'");
        CHECK(worst <= kTolerance);
      }
      CHECK(embeddings.truncated[0] == 0);
      CHECK(embeddings.truncated[6] > 0);
      CHECK(embeddings.stats.texts == texts.size());
      CHECK(embeddings.stats.truncated_texts == 1);
      CHECK(embeddings.stats.truncated_tokens == embeddings.truncated[6]);
    }
  }
}

TEST_CASE("BERT gives the reference's vectors") { CheckFamily("bert", "bert"); }

TEST_CASE(
    "BERT in f16, with a prefix before the names and gelu_new, gives the reference's vectors") {
  CheckFamily("bert-mlm", "bert");
}

TEST_CASE("DistilBERT gives the reference's vectors") { CheckFamily("distilbert", "distilbert"); }

TEST_CASE("RoBERTa in bf16 gives the reference's vectors") { CheckFamily("roberta", "roberta"); }

TEST_CASE("A Normalize module makes unit vectors of the same direction") {
  const std::vector<std::string> texts = GoldenTexts();
  const auto runtime = MakeRuntime();
  const EncoderFolder folder("bert");
  const auto plain = folder.Load(*runtime);
  REQUIRE_OK(plain);
  folder.Write("modules.json", R"([
      {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
      {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
      {"idx": 2, "name": "2", "path": "2_Normalize",
       "type": "sentence_transformers.models.Normalize"}])");
  folder.SetPooling("mean_tokens");
  const auto unit = folder.Load(*runtime);
  REQUIRE_OK(unit);
  CHECK((*unit)->info().normalize);
  const Embeddings a = EncodeAll(**plain, texts);
  const Embeddings b = EncodeAll(**unit, texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    double squares = 0;
    for (const float value : b.vectors.row(i)) squares += static_cast<double>(value) * value;
    CHECK(squares == Approx(1.0).epsilon(1e-6));
    CHECK(Cosine(a.vectors.row(i), b.vectors.row(i)) == Approx(1.0).epsilon(1e-6));
  }
}

}  // namespace
}  // namespace rag::test
