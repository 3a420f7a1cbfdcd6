// Every family against transformers and sentence-transformers on 320 real texts of many languages
// and all lengths (tests/golden/encoder_families/make_families.py).
#include <algorithm>

#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

struct Family {
  std::string name;
  std::string model_type;
  size_t max_tokens;
  size_t dim;
};

// The lowest cosine of ours with the reference's vectors, for `texts` of the family's.
double LowestCosine(const Family& family, const Runtime& runtime, size_t texts,
                    Precision precision = Precision::kF32) {
  const FamilyFolder folder(family.name);
  const auto encoder = Encoder::Load(folder.path().string(), runtime, {.precision = precision});
  REQUIRE_OK(encoder);
  CHECK((*encoder)->info().model_type == family.model_type);
  CHECK((*encoder)->info().max_tokens == family.max_tokens);
  REQUIRE((*encoder)->info().dim == family.dim);
  std::vector<std::string> chosen = FamilyTexts();
  chosen.resize(texts);
  const Embeddings embeddings = EncodeAll(**encoder, chosen);
  // Some of the texts are cut, so that the longest sequence is among them.
  CHECK((texts < kFamilyTexts || embeddings.stats.truncated_texts > 0));
  const std::vector<float> expected = ReadHalves(folder.path() / "vectors.f16");
  REQUIRE(expected.size() == kFamilyTexts * family.dim);
  double lowest = 1;
  for (size_t i = 0; i < texts; ++i) {
    const std::span<const float> want(expected.data() + i * family.dim, family.dim);
    lowest = std::min(lowest, Cosine(embeddings.vectors.row(i), want));
  }
  return lowest;
}

void CheckFamily(const Family& family) {
  for (const Isa isa : kAllIsas) {
    if (GetKernels(isa) == nullptr) continue;
    const auto runtime = MakeRuntime(std::string(IsaName(isa)));
    // The scalar table takes long, and the others are compared with it kernel by kernel.
    const size_t texts =
        isa == Isa::kScalar ? 60 : Workload(kFamilyTexts, 60, "texts for the encoder");
    INFO(family.name << " " << IsaName(isa));
    CHECK(LowestCosine(family, *runtime, texts) >= 0.9999);
  }
}

TEST_CASE("XLM-RoBERTa gives the reference's vectors") {
  CheckFamily({"xlm-roberta", "xlm-roberta", 256, 24});
}
TEST_CASE("MPNet gives the reference's vectors") { CheckFamily({"mpnet", "mpnet", 384, 24}); }
TEST_CASE("ALBERT gives the reference's vectors") { CheckFamily({"albert", "albert", 256, 24}); }
TEST_CASE("ELECTRA gives the reference's vectors") { CheckFamily({"electra", "electra", 180, 24}); }
TEST_CASE("MobileBERT gives the reference's vectors") {
  CheckFamily({"mobilebert", "mobilebert", 256, 24});
}
TEST_CASE("ModernBERT gives the reference's vectors") {
  CheckFamily({"modernbert", "modernbert", 700, 24});
}
TEST_CASE("Nomic gives the reference's vectors") { CheckFamily({"nomic", "nomic_bert", 640, 24}); }
TEST_CASE("GTE gives the reference's vectors") { CheckFamily({"gte", "gte", 512, 24}); }
TEST_CASE("GTE with NTK scaling gives the reference's vectors") {
  CheckFamily({"gte-ntk", "new", 512, 24});
}
TEST_CASE("Qwen 3 gives the reference's vectors") { CheckFamily({"qwen3", "qwen3", 512, 24}); }
TEST_CASE("Qwen 2 gives the reference's vectors") { CheckFamily({"qwen2", "qwen2", 400, 24}); }
TEST_CASE("Mistral gives the reference's vectors") { CheckFamily({"mistral", "mistral", 256, 24}); }
TEST_CASE("Decoders with scaled positions give the reference's vectors") {
  CheckFamily({"qwen3-yarn", "qwen3", 512, 24});
  CheckFamily({"llama3", "llama", 512, 24});
  CheckFamily({"mistral-linear", "mistral", 512, 24});
  CheckFamily({"qwen2-dynamic", "qwen2", 400, 24});
}
TEST_CASE("EmbeddingGemma's form gives the reference's vectors") {
  CheckFamily({"gemma3", "gemma3_text", 512, 24});
}
TEST_CASE("T5's encoder gives the reference's vectors") {
  CheckFamily({"t5", "t5", 300, 16});
  CheckFamily({"t5-gated", "t5", 300, 24});
}
TEST_CASE("JinaBERT gives the reference's vectors") { CheckFamily({"jina-bert", "bert", 600, 24}); }
TEST_CASE("All poolings one after another give the reference's vectors") {
  CheckFamily({"poolings", "bert", 200, 6 * 24});
}
TEST_CASE("The last token, a dense layer and Normalize give the reference's vectors") {
  CheckFamily({"dense", "bert", 200, 16});
}

TEST_CASE("Truncated vectors are the first elements, of unit length when the model's are") {
  const auto runtime = MakeRuntime();
  std::vector<std::string> texts = FamilyTexts();
  texts.resize(20);
  for (const std::string name : {"dense", "electra"}) {
    const FamilyFolder folder(name);
    const auto whole = Encoder::Load(folder.path().string(), *runtime);
    const auto cut = Encoder::Load(folder.path().string(), *runtime, {.truncate_dim = 10});
    REQUIRE_OK(whole);
    REQUIRE_OK(cut);
    CHECK((*cut)->info().dim == 10);
    CHECK((*cut)->info().fingerprint != (*whole)->info().fingerprint);
    const Embeddings a = EncodeAll(**whole, texts);
    const Embeddings b = EncodeAll(**cut, texts);
    for (size_t i = 0; i < texts.size(); ++i) {
      CHECK(Cosine(a.vectors.row(i).first(10), b.vectors.row(i)) == Approx(1.0).epsilon(1e-6));
      double squares = 0;
      for (const float value : b.vectors.row(i)) squares += static_cast<double>(value) * value;
      if ((*cut)->info().normalize) {
        CHECK(squares == Approx(1.0).epsilon(1e-6));
      } else {
        CHECK(b.vectors.row(i)[0] == a.vectors.row(i)[0]);
      }
    }
    // The model's own files may say it too; a caller's wish comes first.
    WriteText(folder.path() / "config_sentence_transformers.json", R"({"truncate_dim": 12})");
    const auto by_file = Encoder::Load(folder.path().string(), *runtime);
    REQUIRE_OK(by_file);
    CHECK((*by_file)->info().dim == 12);
    const auto over_file = Encoder::Load(folder.path().string(), *runtime, {.truncate_dim = 14});
    REQUIRE_OK(over_file);
    CHECK((*over_file)->info().dim == 14);
    const auto too_many = Encoder::Load(folder.path().string(), *runtime, {.truncate_dim = 25});
    CHECK(too_many.status().code() == StatusCode::kInvalidArgument);
    CHECK(too_many.status().message().find("25") != std::string::npos);
  }
}

TEST_CASE("A model says how its vectors are compared") {
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("dense");
  for (const Similarity similarity :
       {Similarity::kCosine, Similarity::kDot, Similarity::kEuclidean, Similarity::kManhattan}) {
    WriteText(folder.path() / "config_sentence_transformers.json",
              StrCat("{\"similarity_fn_name\": \"", SimilarityName(similarity), "\"}"));
    const auto encoder = Encoder::Load(folder.path().string(), *runtime);
    REQUIRE_OK(encoder);
    CHECK((*encoder)->info().similarity == similarity);
  }
  WriteText(folder.path() / "config_sentence_transformers.json",
            R"({"similarity_fn_name": "nearness"})");
  const auto encoder = Encoder::Load(folder.path().string(), *runtime);
  CHECK(encoder.status().code() == StatusCode::kInvalidArgument);
  CHECK(encoder.status().message().find("nearness") != std::string::npos);
  CHECK(encoder.status().message().find("config_sentence_transformers.json") != std::string::npos);
}

// Each is the family's folder with one text of a file replaced; the error must have all of `words`.
struct Refusal {
  std::string family, file, from, to;
  std::vector<std::string> words;
};

TEST_CASE("What a family cannot do is refused, naming file and key") {
  const Refusal refusals[] = {
      {"mpnet",
       "config.json",
       "\"relative_attention_num_buckets\": 32",
       "\"relative_attention_num_buckets\": 16",
       {"relative_attention_num_buckets", "16"}},
      {"albert",
       "config.json",
       "\"num_hidden_groups\": 2",
       "\"num_hidden_groups\": 9",
       {"num_hidden_groups", "9"}},
      {"albert",
       "config.json",
       "\"embedding_size\": 16",
       "\"embedding_size\": 17",
       {"word_embeddings", "[1100, 16]", "[1100, 17]"}},
      {"mobilebert",
       "config.json",
       "\"use_bottleneck\": true",
       "\"use_bottleneck\": false",
       {"use_bottleneck"}},
      {"mobilebert", "config.json", "\"no_norm\"", "\"batch_norm\"", {"batch_norm"}},
      {"modernbert",
       "config.json",
       "\"sliding_attention\",",
       "\"chunked_attention\",",
       {"layer_types"}},
      {"modernbert",
       "config.json",
       "\"local_attention\": 32",
       "\"local_attention\": -1",
       {"local_attention", "-1"}},
      {"nomic",
       "config.json",
       "\"num_attention_heads\": 4",
       "\"num_attention_heads\": 24",
       {"num_attention_heads", "24"}},
      {"gte",
       "config.json",
       "\"rope_type\": \"default\"",
       "\"rope_type\": \"yarn\"",
       {"rope_type", "yarn"}},
      {"qwen3-yarn",
       "config.json",
       "\"yarn\"",
       "\"longrope\"",
       {"rope_type", "longrope", "llama3"}},
      {"qwen3-yarn",
       "config.json",
       "\"factor\": 8.0",
       "\"factor\": 0",
       {"rope_parameters", "factor"}},
      {"qwen3-yarn",
       "config.json",
       "\"factor\":",
       "\"mscale\": 0.7, \"factor\":",
       {"rope_parameters", "mscale"}},
      {"llama3",
       "config.json",
       "\"low_freq_factor\": 1.0",
       "\"low_freq_factor\": 4.0",
       {"high_freq_factor", "4"}},
      {"llama3", "config.json", "\"factor\": 8.0,", "", {"rope_parameters", "factor"}},
      {"gte-ntk", "config.json", "\"ntk\"", "\"yarn\"", {"rope_scaling", "yarn"}},
      {"gte-ntk",
       "config.json",
       "\"rope_theta\":",
       "\"logn_attention_scale\": true, \"rope_theta\":",
       {"logn_attention_scale"}},
      {"electra",
       "config.json",
       "\"hidden_act\":",
       "\"position_embedding_type\": \"relative_key\", \"hidden_act\":",
       {"position_embedding_type", "relative_key"}},
      {"mobilebert",
       "config.json",
       "\"hidden_act\":",
       "\"position_embedding_type\": \"relative_key\", \"hidden_act\":",
       {"position_embedding_type", "relative_key"}},
      {"albert",
       "config.json",
       "\"hidden_act\":",
       "\"position_embedding_type\": \"relative_key\", \"hidden_act\":",
       {"position_embedding_type", "relative_key"}},
      {"jina-bert", "config.json", "\"geglu\"", "\"reglu\"", {"feed_forward_type", "reglu"}},
      {"dense",
       "2_Dense/config.json",
       "\"in_features\": 24",
       "\"in_features\": 25",
       {"2_Dense", "in_features", "25", "24"}},
      {"dense", "2_Dense/config.json", "Tanh", "Softmax", {"2_Dense", "Softmax"}},
      {"dense",
       "2_Dense/config.json",
       "\"out_features\": 16",
       "\"out_features\": 15",
       {"2_Dense", "linear.weight", "[15, 24]"}},
      {"dense", "1_Pooling/config.json", "lasttoken", "firsttoken", {"1_Pooling", "firsttoken"}},
      {"dense",
       "modules.json",
       "dense.Dense\"",
       "dense.Sparse\"",
       {"modules.json", "Sparse", "LayerNorm"}},
  };
  const auto runtime = MakeRuntime();
  for (const Refusal& refusal : refusals) {
    const FamilyFolder folder(refusal.family);
    INFO(refusal.family << " " << refusal.file << " " << refusal.from);
    folder.Replace(refusal.file, refusal.from, refusal.to);
    const auto encoder = Encoder::Load(folder.path().string(), *runtime);
    REQUIRE_FALSE(encoder.ok());
    INFO(encoder.status().ToString());
    for (const std::string& word : refusal.words) {
      INFO("looking for " << word);
      CHECK(encoder.status().message().find(word) != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace rag::test
