// CLIP and SigLIP against transformers, and OpenCLIP's own files against open_clip, on 320 real
// texts and pictures of many shapes (tests/golden/image_encoders/make_image_encoders.py,
// make_open_clip.py).
#include <algorithm>
#include <cstring>

#include "embed/image_processor.h"
#include "lib/runtime/runtime.h"
#include "tests/embed/image_encoder_support.h"

namespace rag::test {
namespace {

constexpr const char* kOpenClip = "open_clip_config.json";

struct Model {
  std::string name;
  std::string model_type;
  size_t dim;
  size_t max_tokens;
  size_t image_size;
  bool sigmoid;
};

const Model kModels[] = {
    {"clip", "clip", 20, 77, 28, false},
    {"open-clip", "clip", 20, 40, 30, false},
    {"open-clip-own", "clip", 20, 40, 30, false},
    {"siglip", "siglip", 32, 64, 28, true},
};

Embeddings EncodePictures(const Encoder& encoder, const std::vector<Image>& pictures) {
  Result<Embeddings> embeddings = encoder.EncodeImages(pictures);
  REQUIRE_OK(embeddings);
  return std::move(embeddings).value();
}

// The lowest cosine of `vectors` with the half-precision rows of a file.
double LowestCosine(const Matrix& vectors, const std::filesystem::path& expected) {
  const std::vector<float> rows = ReadHalves(expected);
  REQUIRE(rows.size() >= vectors.rows() * vectors.cols());
  double lowest = 1;
  for (size_t i = 0; i < vectors.rows(); ++i) {
    lowest = std::min(lowest,
                      Cosine(vectors.row(i), {rows.data() + i * vectors.cols(), vectors.cols()}));
  }
  return lowest;
}

TEST_CASE("Texts and pictures give the reference's vectors") {
  const std::vector<Image> pictures = GoldenPictures();
  for (const Model& model : kModels) {
    const ImageEncoderFolder folder(model.name);
    for (const Isa isa : kAllIsas) {
      if (GetKernels(isa) == nullptr) continue;
      INFO(model.name << " " << IsaName(isa));
      const auto runtime = MakeRuntime(std::string(IsaName(isa)));
      const auto encoder = folder.Load(*runtime);
      REQUIRE_OK(encoder);
      const EncoderInfo& info = (*encoder)->info();
      CHECK(info.model_type == model.model_type);
      CHECK(info.dim == model.dim);
      CHECK(info.max_tokens == model.max_tokens);
      CHECK(info.normalize);
      REQUIRE(info.images.has_value());
      CHECK(info.images->image_size == model.image_size);
      CHECK(info.images->sigmoid == model.sigmoid);
      std::vector<std::string> texts = FamilyTexts();
      if (isa == Isa::kScalar) texts.resize(60);
      CHECK(LowestCosine(EncodeAll(**encoder, texts).vectors, folder.path() / "texts.f16") >=
            0.9999);
      const Embeddings images = EncodePictures(**encoder, pictures);
      CHECK(LowestCosine(images.vectors, folder.path() / "images.f16") >= 0.9999);
      for (size_t i = 0; i < pictures.size(); ++i) {
        const std::span<const float> row = images.vectors.row(i);
        CHECK(Cosine(row, row) == Approx(1));
        double squares = 0;
        for (const float value : row) squares += static_cast<double>(value) * value;
        CHECK(squares == Approx(1).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("Less precise products give near vectors") {
  const auto runtime = MakeRuntime();
  const std::vector<Image> pictures = GoldenPictures();
  std::vector<std::string> texts = FamilyTexts();
  texts.resize(100);
  for (const Model& model : kModels) {
    const ImageEncoderFolder folder(model.name);
    for (const auto& [precision, bound] :
         {std::pair{Precision::kBf16, 0.999}, std::pair{Precision::kInt8, 0.99}}) {
      INFO(model.name << " " << PrecisionName(precision));
      const auto encoder = folder.Load(*runtime, {.precision = precision});
      REQUIRE_OK(encoder);
      CHECK(LowestCosine(EncodeAll(**encoder, texts).vectors, folder.path() / "texts.f16") >=
            bound);
      CHECK(LowestCosine(EncodePictures(**encoder, pictures).vectors,
                         folder.path() / "images.f16") >= bound);
    }
  }
}

TEST_CASE("Scale and bias give the reference's logits") {
  const auto runtime = MakeRuntime();
  const std::vector<Image> pictures = GoldenPictures();
  std::vector<std::string> texts = FamilyTexts();
  texts.resize(5);
  for (const Model& model : kModels) {
    const ImageEncoderFolder folder(model.name);
    const auto encoder = folder.Load(*runtime);
    REQUIRE_OK(encoder);
    const Matrix labels = EncodeAll(**encoder, texts).vectors;
    const Matrix images = EncodePictures(**encoder, pictures).vectors;
    const ImageEncoderInfo& info = *(*encoder)->info().images;
    const Result<Value> rows = ParseJson(ReadAll(folder.path() / "logits.json"));
    REQUIRE_OK(rows);
    for (size_t i = 0; i < pictures.size(); ++i) {
      for (size_t j = 0; j < texts.size(); ++j) {
        double product = 0;
        for (size_t d = 0; d < images.cols(); ++d) product += images.row(i)[d] * labels.row(j)[d];
        INFO(model.name << " picture " << i << " text " << j);
        CHECK(info.logit_scale * product + info.logit_bias ==
              Approx(rows->as_array()[i].as_array()[j].as_double()).margin(2e-3));
      }
    }
  }
}

// Four of the pictures as `file` has them.
void CheckPixels(const ImageEncoderFolder& folder, size_t image_size, const std::string& file) {
  std::string source_bytes;
  const auto processor =
      ReadImageProcessor(folder.path().string(), "clip", image_size, source_bytes);
  REQUIRE_OK(processor);
  const std::vector<Image> pictures = GoldenPictures();
  const std::vector<float> expected = ReadHalves(folder.path() / file);
  const size_t size = 3 * image_size * image_size;
  REQUIRE(expected.size() == 4 * size);
  std::vector<float> pixels(size);
  for (size_t i = 0; i < 4; ++i) {
    PreprocessImage(*processor, pictures[1 + 2 * i], pixels);
    float worst = 0;
    for (size_t j = 0; j < size; ++j) {
      worst = std::max(worst, std::abs(pixels[j] - expected[i * size + j]));
    }
    INFO(folder.path() << " picture " << 1 + 2 * i);
    // Half precision's step at 2 to 4; a color step is 1 / 255 / deviation, at least 0.0078.
    CHECK(worst < 0.002f);
  }
}

TEST_CASE("Preprocessing is the reference's to less than a color step") {
  for (const Model& model : kModels) {
    CheckPixels(ImageEncoderFolder(model.name), model.image_size, "pixels.f16");
  }
  const ImageEncoderFolder own("open-clip-own");
  own.Replace(kOpenClip, "\"bicubic\"", "\"bilinear\"");
  own.Replace(kOpenClip, "\"shortest\"", "\"squash\"");
  CheckPixels(own, 30, "squashed.f16");
  own.Replace(kOpenClip, "\"squash\"", "\"longest\"");
  CheckPixels(own, 30, "fitted.f16");
}

TEST_CASE("Settings of the preprocessing beside the usual ones are the reference's") {
  constexpr size_t kSize = 28;
  constexpr size_t kPixels = 3 * kSize * kSize;
  const Result<Value> variants = ParseJson(ReadAll(Golden("image_variants/expected.json")));
  REQUIRE_OK(variants);
  const std::vector<float> expected = ReadHalves(Golden("image_variants/pixels.f16"));
  REQUIRE(expected.size() == variants->as_array().size() * 2 * kPixels);
  const std::vector<Image> pictures = GoldenPictures();
  std::vector<float> pixels(kPixels);
  size_t place = 0;
  for (const Value& variant : variants->as_array()) {
    INFO(ToJson(variant));
    const std::string& name = variant.Find("folder")->as_string();
    const ImageEncoderFolder folder(name);
    Value json = ParseJson(ReadAll(folder.path() / "preprocessor_config.json")).value();
    for (const auto& [key, value] : variant.Find("members")->as_object()) {
      if (value.is_null()) {
        json.as_object().Erase(key);
      } else {
        json.as_object().Set(key, value);
      }
    }
    folder.Write("preprocessor_config.json", ToJson(json));
    std::string source_bytes;
    const auto processor = ReadImageProcessor(folder.path().string(), name, kSize, source_bytes);
    REQUIRE_OK(processor);
    for (const size_t picture : {size_t{1}, size_t{3}}) {
      PreprocessImage(*processor, pictures[picture], pixels);
      float worst = 0;
      for (const float pixel : pixels) {
        worst = std::max(worst, std::abs(pixel - expected[place++]));
      }
      INFO("picture " << picture);
      CHECK(worst < 0.002f);
    }
  }
}

TEST_CASE("Settings of the preprocessing that cannot be are refused by their key") {
  const auto runtime = MakeRuntime();
  for (const char* name : {"clip", "siglip"}) {
    const ImageEncoderFolder folder(name);
    const std::string sound = ReadAll(folder.path() / "preprocessor_config.json");
    const auto refused = [&](const char* key, const char* value, const char* words) {
      Value json = ParseJson(sound).value();
      json.as_object().Set(key, ParseJson(value).value());
      folder.Write("preprocessor_config.json", ToJson(json));
      const auto encoder = folder.Load(*runtime);
      INFO(name << " " << key << " " << value);
      REQUIRE_FALSE(encoder.ok());
      CHECK_THAT(encoder.status().ToString(), Catch::Contains(words));
    };
    for (const char* value : {"1e9", "-1e9", "\"0.5\"", "[0.5]", "{}", "true"}) {
      refused("image_mean", value, "image_mean");
      refused("image_std", value, "image_std");
    }
    refused("image_std", "0", "image_std");
    refused("image_std", "-0.5", "image_std");
    refused("size", R"({"longest_edge": 28})", "longest_edge");
    refused("size", R"({"shortest_edge": 28, "longest_edge": 0})", "longest_edge");
    refused("size", R"({"shortest_edge": 28, "longest_edge": 1e9})", "longest_edge");
    refused("size", R"({"shortest_edge": -1, "longest_edge": 28})", "shortest_edge");
  }
  const ImageEncoderFolder folder("siglip");
  folder.Replace("preprocessor_config.json", "\"do_resize\": true", "\"do_resize\": false");
  const auto encoder = folder.Load(*runtime);
  REQUIRE_FALSE(encoder.ok());
  CHECK_THAT(encoder.status().ToString(), Catch::Contains("do_resize false without"));
}

TEST_CASE("A picture's vector does not depend on its companions, order or threads") {
  std::vector<Image> pictures;
  for (int i = 0; i < 4; ++i) {
    for (Image& picture : GoldenPictures()) pictures.push_back(std::move(picture));
  }
  for (const Model& model : kModels) {
    const ImageEncoderFolder folder(model.name);
    const auto one = MakeRuntime("", 1);
    const auto three = MakeRuntime("", 3);
    const auto alone = folder.Load(*one);
    const auto many = folder.Load(*three);
    REQUIRE_OK(alone);
    REQUIRE_OK(many);
    const Matrix together = EncodePictures(**many, pictures).vectors;
    for (const size_t i : {size_t{0}, size_t{7}, pictures.size() - 1}) {
      const Matrix single = EncodePictures(**alone, {pictures[i]}).vectors;
      CHECK(std::ranges::equal(single.row(0), together.row(i)));
    }
  }
}

TEST_CASE("Image vectors are cut as text vectors are") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder folder("clip");
  const auto whole = folder.Load(*runtime);
  const auto cut = folder.Load(*runtime, {.truncate_dim = 8});
  REQUIRE_OK(whole);
  REQUIRE_OK(cut);
  const Matrix a = EncodePictures(**whole, GoldenPictures()).vectors;
  const Matrix b = EncodePictures(**cut, GoldenPictures()).vectors;
  REQUIRE(b.cols() == 8);
  for (size_t i = 0; i < a.rows(); ++i) {
    CHECK(Cosine(a.row(i).first(8), b.row(i)) == Approx(1).epsilon(1e-6));
  }
}

TEST_CASE("What is no picture, or no encoder of pictures, is refused") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder folder("clip");
  const auto encoder = folder.Load(*runtime);
  REQUIRE_OK(encoder);
  std::vector<Image> pictures = GoldenPictures();
  pictures[3].rgb.pop_back();
  const auto broken = (*encoder)->EncodeImages(pictures);
  CHECK(broken.status().code() == StatusCode::kInvalidArgument);
  CHECK(broken.status().message().starts_with("image 3 has"));
  CancelToken cancel;
  cancel.Cancel();
  CHECK((*encoder)->EncodeImages(GoldenPictures(), &cancel).status().code() ==
        StatusCode::kCancelled);
  CHECK(EncodePictures(**encoder, {}).vectors.rows() == 0);

  const EncoderFolder texts("bert");
  const auto text_encoder = texts.Load(*runtime);
  REQUIRE_OK(text_encoder);
  CHECK_FALSE((*text_encoder)->info().images.has_value());
  const auto refused = (*text_encoder)->EncodeImages(GoldenPictures());
  CHECK(refused.status().code() == StatusCode::kFailedPrecondition);
  CHECK(refused.status().message().find("does not encode images") != std::string::npos);
}

TEST_CASE("Old and new files' spellings of the preprocessing say the same") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder folder("clip");
  const auto load = [&] {
    const auto encoder = folder.Load(*runtime);
    REQUIRE_OK(encoder);
    return EncodePictures(**encoder, GoldenPictures()).vectors;
  };
  const Matrix expected = load();
  const std::string settings = ReadAll(folder.path() / "preprocessor_config.json");
  WriteText(folder.path() / "preprocessor_config.json",
            R"({"crop_size": 28, "size": 28, "do_center_crop": true, "do_normalize": true,
                "do_resize": true, "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3,
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711]})");
  const Matrix old = load();
  CHECK(std::equal(old.data(), old.data() + old.rows() * old.cols(), expected.data()));
  std::filesystem::remove(folder.path() / "preprocessor_config.json");
  WriteText(
      folder.path() / "processor_config.json",
      StrCat("{\"processor_class\": \"CLIPProcessor\", \"image_processor\": ", settings, "}"));
  const Matrix fresh = load();
  CHECK(std::equal(fresh.data(), fresh.data() + fresh.rows() * fresh.cols(), expected.data()));
}

TEST_CASE("A switch of the preprocessing that is null is off, and a size may be square") {
  const auto runtime = MakeRuntime();
  const auto load = [&](const char* size, const char* crop) {
    const ImageEncoderFolder folder("clip");
    folder.Replace("preprocessor_config.json", "\"do_center_crop\": true", crop);
    const std::string settings = ReadAll(folder.path() / "preprocessor_config.json");
    Value json = ParseJson(settings).value();
    json.as_object().Set("size", ParseJson(size).value());
    json.as_object().Set("default_to_square", true);
    WriteText(folder.path() / "preprocessor_config.json", ToJson(json));
    const auto encoder = folder.Load(*runtime);
    REQUIRE_OK(encoder);
    return EncodePictures(**encoder, GoldenPictures()).vectors;
  };
  const Matrix expected = load(R"({"height": 28, "width": 28})", "\"do_center_crop\": false");
  const Matrix found = load("28", "\"do_center_crop\": null");
  CHECK(std::equal(found.data(), found.data() + found.rows() * found.cols(), expected.data()));
}

TEST_CASE("CLIP's old keys come before the usual ones") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder folder("clip");
  Value json = ParseJson(ReadAll(folder.path() / "config.json")).value();
  for (const char* part : {"text_config", "vision_config"}) {
    Value other = *json.Find(part);
    json.as_object().Set(StrCat(part, "_dict"), other);
    other.as_object().Set("hidden_act", "relu");
    json.as_object().Set(part, other);
  }
  WriteText(folder.path() / "config.json", ToJson(json));
  const auto encoder = folder.Load(*runtime);
  REQUIRE_OK(encoder);
  CHECK(LowestCosine(EncodePictures(**encoder, GoldenPictures()).vectors,
                     folder.path() / "images.f16") >= 0.9999);
}

TEST_CASE("A file of two networks may leave out what is usual") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder folder("siglip");
  folder.Replace("config.json", "\"model_type\": \"siglip_text_model\",", "");
  folder.Replace("config.json", "\"model_type\": \"siglip_vision_model\",", "");
  folder.Replace("config.json", "\"hidden_act\": \"gelu_pytorch_tanh\",", "");
  folder.Replace("config.json", "\"max_position_embeddings\": 64,", "");
  folder.Replace("config.json", "\"layer_norm_eps\": 1e-06,", "");
  const auto encoder = folder.Load(*runtime);
  REQUIRE_OK(encoder);
  CHECK(LowestCosine(EncodePictures(**encoder, GoldenPictures()).vectors,
                     folder.path() / "images.f16") >= 0.9999);
}

TEST_CASE("OpenCLIP's folders are read in all the forms they have") {
  const auto runtime = MakeRuntime();
  const auto texts_and_images = [&](const ImageEncoderFolder& folder) {
    const auto encoder = folder.Load(*runtime);
    REQUIRE_OK(encoder);
    std::vector<std::string> texts = FamilyTexts();
    texts.resize(20);
    return std::min(LowestCosine(EncodeAll(**encoder, texts).vectors, folder.path() / "texts.f16"),
                    LowestCosine(EncodePictures(**encoder, GoldenPictures()).vectors,
                                 folder.path() / "images.f16"));
  };
  const ImageEncoderFolder folder("open-clip-own");
  folder.Replace(kOpenClip, "\"heads\": 4", "\"heads\": 4, \"hf_tokenizer_name\": \"somewhere\"");
  folder.Replace(kOpenClip, "\"embed_dim\"", "\"custom_text\": true, \"embed_dim\"");
  folder.Replace(kOpenClip, "\"image_size\": 30",
                 "\"image_size\": [30, 30], \"patch_dropout\": 0.5, \"timm_pool\": \"\"");
  CHECK(texts_and_images(folder) >= 0.9999);
  // The activation is OpenAI's where the file says so.
  folder.Replace(kOpenClip, "\"custom_text\": true", "\"quick_gelu\": true");
  CHECK(texts_and_images(folder) < 0.9999);
  // Beside Hugging Face's files these are what is read.
  const ImageEncoderFolder both("open-clip");
  const auto before = both.Load(*runtime);
  REQUIRE_OK(before);
  std::filesystem::copy(folder.path() / kOpenClip, both.path() / kOpenClip);
  std::filesystem::copy(folder.path() / "open_clip_model.safetensors",
                        both.path() / "open_clip_model.safetensors");
  const auto after = both.Load(*runtime);
  REQUIRE_OK(after);
  CHECK((*before)->info().fingerprint == (*after)->info().fingerprint);
}

TEST_CASE("CLIP's vocab.json and merges.txt stand for its tokenizer.json") {
  const auto runtime = MakeRuntime();
  const std::vector<std::string> texts = FamilyTexts();
  for (const char* name : {"clip", "open-clip-own"}) {
    const ImageEncoderFolder folder(name);
    const auto before = folder.Load(*runtime);
    REQUIRE_OK(before);
    const Result<Value> tokenizer = ParseJson(ReadAll(folder.path() / "tokenizer.json"));
    REQUIRE_OK(tokenizer);
    const Value& model = *tokenizer->Find("model");
    std::string merges = "#version: 0.2\n";
    for (const Value& merge : model.Find("merges")->as_array()) {
      merges += merge.is_string()
                    ? merge.as_string()
                    : StrCat(merge.as_array()[0].as_string(), " ", merge.as_array()[1].as_string());
      merges += '\n';
    }
    folder.Write("vocab.json", ToJson(*model.Find("vocab")));
    folder.Write("merges.txt", merges);
    std::filesystem::remove(folder.path() / "tokenizer.json");
    const auto after = folder.Load(*runtime);
    REQUIRE_OK(after);
    CHECK(SameBits(EncodeAll(**before, texts).vectors, EncodeAll(**after, texts).vectors));
    // The vectors depend on both files.
    folder.Write("merges.txt", "#version: 0.2\n");
    const auto without = folder.Load(*runtime);
    REQUIRE_OK(without);
    CHECK((*without)->info().fingerprint != (*after)->info().fingerprint);
    folder.Write("merges.txt", "a\n");
    const Status status = folder.Load(*runtime).status();
    INFO(status.ToString());
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find("merges.txt: line 1") != std::string::npos);
  }
}

TEST_CASE("SigLIP's padding is the tokenizer's") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder folder("siglip");
  std::vector<std::string> texts = FamilyTexts();
  texts.resize(20);
  const auto lowest = [&] {
    const auto encoder = folder.Load(*runtime);
    REQUIRE_OK(encoder);
    return LowestCosine(EncodeAll(**encoder, texts).vectors, folder.path() / "texts.f16");
  };
  WriteText(folder.path() / "tokenizer_config.json", R"({"pad_token": "</s>"})");
  CHECK(lowest() >= 0.9999);
  WriteText(folder.path() / "tokenizer_config.json", R"({"pad_token": "<unk>"})");
  CHECK(lowest() < 0.999);
  std::filesystem::remove(folder.path() / "tokenizer.json");
  const auto encoder = folder.Load(*runtime);
  CHECK(encoder.status().code() == StatusCode::kUnsupported);
  CHECK(encoder.status().message().find("tokenizer.json") != std::string::npos);
}

TEST_CASE("sentence-transformers' folder of a CLIP model is read") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder folder("clip");
  const TemporaryFolder outer;
  std::filesystem::rename(folder.path(), outer.path() / "0_CLIPModel");
  WriteText(outer.path() / "modules.json",
            R"([{"idx": 0, "name": "0", "path": "0_CLIPModel",
                 "type": "sentence_transformers.models.CLIPModel"}])");
  const auto encoder = Encoder::Load(outer.path().string(), *runtime);
  REQUIRE_OK(encoder);
  CHECK(LowestCosine(EncodePictures(**encoder, GoldenPictures()).vectors,
                     outer.path() / "0_CLIPModel" / "images.f16") >= 0.9999);
}

struct Refusal {
  std::string model, file, from, to;
  std::vector<std::string> words;
};

TEST_CASE("Modules that would change the texts alone are refused") {
  const auto runtime = MakeRuntime();
  for (const char* name : {"clip", "siglip"}) {
    const ImageEncoderFolder model(name);
    const std::string start =
        R"([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"})";
    for (const char* kind : {"LayerNorm", "Pooling"}) {
      INFO(name << " " << kind);
      std::filesystem::create_directories(model.path() / "1_More");
      WriteText(model.path() / "modules.json",
                StrCat(start, R"(, {"idx": 1, "name": "1", "path": "1_More", "type": )",
                       R"("sentence_transformers.models.)", kind, "\"}]"));
      WriteText(
          model.path() / "1_More" / "config.json",
          R"({"dimension": 16, "word_embedding_dimension": 16, "pooling_mode_cls_token": true})");
      const auto loaded = model.Load(*runtime);
      CHECK(loaded.status().code() == StatusCode::kUnsupported);
      CHECK(loaded.status().message().find("1_More") != std::string::npos);
    }
    WriteText(model.path() / "modules.json", start + "]");
    REQUIRE_OK(model.Load(*runtime));
  }
}

TEST_CASE("What these models cannot do is refused, naming file and key") {
  const Refusal refusals[] = {
      {"clip", "config.json", "\"patch_size\": 7", "\"patch_size\": 70", {"patch_size", "70"}},
      {"clip", "config.json", "\"patch_size\": 7", "\"patch_size\": 4", {"position", "[50, 32]"}},
      {"clip", "config.json", "\"image_size\": 28", "\"image_size\": 9999", {"image_size", "9999"}},
      {"clip",
       "config.json",
       "\"image_size\": 28",
       "\"image_size\": 35",
       {"image_size", "35", "28"}},
      {"clip", "config.json", "\"num_channels\": 3", "\"num_channels\": 4", {"num_channels", "4"}},
      {"clip",
       "config.json",
       "\"projection_dim\": 20",
       "\"projection_dim\": 21",
       {"text_projection", "[20, 24]", "[21, 24]"}},
      {"clip", "config.json", "clip_text_model", "bert", {"text_config", "bert"}},
      {"clip",
       "config.json",
       "\"eos_token_id\": 1026",
       "\"eos_token_id\": 1025",
       {"eos_token_id", "1025"}},
      {"clip",
       "config.json",
       "\"model_type\": \"clip\"",
       "\"model_type\": \"blip\"",
       {"blip", "clip"}},
      {"clip", "config.json", "quick_gelu", "slow_gelu", {"slow_gelu"}},
      {"clip",
       "preprocessor_config.json",
       "CLIPImageProcessor",
       "ViTImageProcessor",
       {"image_processor_type", "ViTImageProcessor"}},
      {"clip", "preprocessor_config.json", "\"resample\": 3", "\"resample\": 6", {"resample", "6"}},
      {"clip", "preprocessor_config.json", "0.48145466", "null", {"image_mean"}},
      {"clip", "preprocessor_config.json", "0.26862954", "0", {"image_std", "0"}},
      {"clip",
       "preprocessor_config.json",
       "\"do_center_crop\": true",
       "\"do_center_crop\": false",
       {"image_size", "28"}},
      {"clip",
       "preprocessor_config.json",
       "\"do_center_crop\": true",
       "\"do_center_crop\": null",
       {"image_size", "28"}},
      {"clip",
       "preprocessor_config.json",
       "\"shortest_edge\": 28",
       "\"shortest_edge\": -1",
       {"shortest_edge", "-1"}},
      {"siglip",
       "config.json",
       "\"projection_size\": 32",
       "\"projection_size\": 31",
       {"projection_size", "31", "32"}},
      {"siglip", "config.json", "\"pad_token_id\": 1", "\"pad_token_id\": 900", {"pad_token_id"}},
      {"siglip",
       "config.json",
       "\"vision_use_head\": true",
       "\"vision_use_head\": false",
       {"vision_use_head"}},
      {"open-clip-own", kOpenClip, "\"layers\": 3", "\"layers\": [3, 4, 6, 3]", {"ResNet"}},
      {"open-clip-own", kOpenClip, "\"layers\": 3", "\"layers\": 0", {"vision_cfg", "layers", "0"}},
      {"open-clip-own", kOpenClip, "\"layers\": 3", "\"layers\": 4", {"layers.3", "missing"}},
      {"open-clip-own", kOpenClip, "\"width\": 32", "\"width\": -1", {"vision_cfg", "width", "-1"}},
      {"open-clip-own",
       kOpenClip,
       "\"head_width\": 8",
       "\"head_width\": 7",
       {"head_width", "7", "32"}},
      {"open-clip-own",
       kOpenClip,
       "\"image_size\": 30",
       "\"image_size\": [30, 40]",
       {"image_size"}},
      {"open-clip-own", kOpenClip, "\"mlp_ratio\": 1.5", "\"mlp_ratio\": 0", {"mlp_ratio", "0"}},
      {"open-clip-own", kOpenClip, "\"embed_dim\": 20", "\"embed_dim\": 21", {"projection", "21"}},
      {"open-clip-own", kOpenClip, "\"embed_dim\": 20,", "", {"embed_dim"}},
      {"open-clip-own", kOpenClip, "text_cfg", "txt_cfg", {"txt_cfg", "not known"}},
      {"open-clip-own", kOpenClip, "text_cfg", "custom_text", {"text_cfg", "missing"}},
      {"open-clip-own",
       kOpenClip,
       "\"heads\": 4",
       "\"heads\": 4, \"hf_model_name\": \"roberta-base\"",
       {"text_cfg", "hf_model_name", "roberta-base"}},
      {"open-clip-own",
       kOpenClip,
       "\"heads\": 4",
       "\"heads\": 4, \"pool_type\": \"last\"",
       {"pool_type", "last", "argmax"}},
      {"open-clip-own",
       kOpenClip,
       "\"width\": 32",
       "\"width\": 32, \"timm_model_name\": \"vit_base\"",
       {"timm_model_name", "vit_base"}},
      {"open-clip-own",
       kOpenClip,
       "\"width\": 32",
       "\"width\": 32, \"attentional_pool\": true",
       {"attentional_pool"}},
      {"open-clip-own",
       kOpenClip,
       "\"embed_dim\"",
       "\"multimodal_cfg\": {}, \"embed_dim\"",
       {"multimodal_cfg"}},
      {"open-clip-own",
       kOpenClip,
       "\"shortest\"",
       "\"longest\", \"fill_color\": 9",
       {"preprocess_cfg", "fill_color", "9"}},
      {"open-clip-own",
       kOpenClip,
       "\"shortest\"",
       "\"widest\"",
       {"preprocess_cfg", "resize_mode", "widest"}},
      {"open-clip-own",
       kOpenClip,
       "\"width\": 32",
       "\"width\": 32, \"global_average_pool\": true",
       {"vision_cfg", "global_average_pool", "not known"}},
      {"open-clip-own",
       kOpenClip,
       "\"heads\": 4",
       "\"heads\": 4, \"tokenizer_kwargs\": {\"clean\": \"canonicalize\"}",
       {"text_cfg", "tokenizer_kwargs", "canonicalize"}},
      {"open-clip-own",
       kOpenClip,
       "\"heads\": 4",
       "\"heads\": 4, \"norm_kwargs\": {\"eps\": 1e-6, \"bias\": false}",
       {"text_cfg: norm_kwargs", "bias", "not known"}},
      {"open-clip-own", kOpenClip, "0.4,", "null,", {"image_mean", "null"}},
  };
  const auto runtime = MakeRuntime();
  for (const Refusal& refusal : refusals) {
    const ImageEncoderFolder folder(refusal.model);
    INFO(refusal.model << " " << refusal.file << " " << refusal.from);
    folder.Replace(refusal.file, refusal.from, refusal.to);
    const auto encoder = folder.Load(*runtime);
    REQUIRE_FALSE(encoder.ok());
    INFO(encoder.status().ToString());
    for (const std::string& word : refusal.words) {
      INFO("looking for " << word);
      CHECK(encoder.status().message().find(word) != std::string::npos);
    }
  }
  const ImageEncoderFolder bare("clip");
  std::filesystem::remove(bare.path() / "preprocessor_config.json");
  const auto encoder = bare.Load(*runtime);
  CHECK(encoder.status().code() == StatusCode::kNotFound);
  CHECK(encoder.status().message().find("preprocessor_config.json") != std::string::npos);
  // One of the two networks by itself, without the projection behind it.
  const ImageEncoderFolder part("clip");
  WriteText(part.path() / "config.json", R"({"model_type": "clip_text_model", "vocab_size": 900})");
  CHECK(part.Load(*runtime).status().code() == StatusCode::kUnsupported);
}

TEST_CASE("The preprocessing is part of the fingerprint") {
  const auto runtime = MakeRuntime();
  const ImageEncoderFolder folder("clip");
  const auto before = folder.Load(*runtime);
  REQUIRE_OK(before);
  CHECK((*before)->info().fingerprint.starts_with("clip-20-"));
  folder.Replace("preprocessor_config.json", "\"resample\": 3", "\"resample\": 2");
  const auto after = folder.Load(*runtime);
  REQUIRE_OK(after);
  CHECK((*before)->info().fingerprint != (*after)->info().fingerprint);
}

}  // namespace
}  // namespace rag::test
