// GGUF files that are well formed and describe a model that cannot be: hyperparameters, tensors
// that disagree with them, absurd values.
#include "tests/generate/hostile_gguf.h"

namespace rag::test {
namespace {

using Document = GgufDocument;
using Refusal = HostileFiles::Refusal;
constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr StatusCode kUnknown = StatusCode::kUnsupported;

enum class Kind { kSize, kCount, kPositive, kNonNegative, kFlag, kText };

// A hyperparameter behind "<architecture>.". Sizes are at least 1, counts may be 0.
struct Hyperparameter {
  std::string_view key;
  Kind kind;
  bool required = false;
};
constexpr Hyperparameter kHyperparameters[] = {
    {"block_count", Kind::kSize, true},
    {"embedding_length", Kind::kSize, true},
    {"feed_forward_length", Kind::kSize, true},
    {"context_length", Kind::kSize, true},
    {"attention.head_count", Kind::kSize, true},
    {"attention.head_count_kv", Kind::kSize},
    {"attention.key_length", Kind::kSize},
    {"attention.value_length", Kind::kSize},
    {"attention.layer_norm_epsilon", Kind::kPositive, true},
    {"attention.layer_norm_rms_epsilon", Kind::kPositive, true},
    {"attention.sliding_window", Kind::kCount},
    {"attention.clamp_kqv", Kind::kNonNegative},
    {"attention.max_alibi_bias", Kind::kNonNegative},
    {"attn_logit_softcapping", Kind::kNonNegative},
    {"final_logit_softcapping", Kind::kNonNegative},
    {"expert_count", Kind::kCount},
    {"expert_used_count", Kind::kSize, true},
    {"rope.dimension_count", Kind::kSize},
    {"rope.freq_base", Kind::kPositive},
    {"rope.freq_base_swa", Kind::kPositive},
    {"rope.scaling.factor", Kind::kPositive},
    {"rope.scaling.attn_factor", Kind::kPositive},
    {"rope.scaling.original_context_length", Kind::kSize},
    {"rope.scaling.type", Kind::kText},
    {"use_parallel_residual", Kind::kFlag},
};

std::string Architecture(Document& document) {
  return document.FindKey("general.architecture")->value.substr(12);
}

// Values that the kind cannot have. Whole numbers are in every width that GGUF has.
std::vector<std::string> WrongValues(Kind kind) {
  std::vector<std::string> values = {GgufArray(4, 1, GgufBytes(uint32_t{1})), GgufArray(8, 0, "")};
  const float nan = std::nanf("");
  const float infinite = std::numeric_limits<float>::infinity();
  if (kind != Kind::kText) values.push_back(GgufText("wide"));
  switch (kind) {
    case Kind::kSize:
      values.push_back(GgufUint32(0));
      [[fallthrough]];
    case Kind::kCount:
      for (const int64_t value :
           {int64_t{-1}, int64_t{1} << 31, int64_t{1} << 40, std::numeric_limits<int64_t>::max(),
            std::numeric_limits<int64_t>::min()}) {
        values.push_back(GgufInt64(value));
      }
      values.push_back(GgufUint32(~0u));
      values.push_back(GgufUint64(~0ull));
      values.push_back(GgufFloat(4.0f));
      values.push_back(GgufFloat(nan));
      values.push_back(GgufBool(1));
      break;
    case Kind::kPositive:
      values.push_back(GgufFloat(0.0f));
      values.push_back(GgufUint32(0));
      [[fallthrough]];
    case Kind::kNonNegative:
      for (const float value : {nan, -nan, infinite, -infinite, -1.0f}) {
        values.push_back(GgufFloat(value));
      }
      values.push_back(GgufDouble(1e300));  // infinite as an f32
      values.push_back(GgufInt64(-1));
      values.push_back(GgufBool(1));
      break;
    case Kind::kFlag:
      values.push_back(GgufUint32(1));
      values.push_back(GgufFloat(1.0f));
      break;
    case Kind::kText:
      for (const char* text : {"dynamic", "YARN", " linear", "\xFF"}) {
        values.push_back(GgufText(text));
      }
      values.push_back(GgufUint32(1));
      break;
  }
  return values;
}

// Keys of files that the architecture's own code does not read.
bool IsRead(std::string_view architecture, std::string_view key) {
  return !(architecture == "stablelm" && key == "use_parallel_residual");
}

TEST_CASE("a hyperparameter of another type or out of its bounds is refused by its key") {
  HostileFiles files;
  for (const std::string& name : GoldenDecoders()) {
    Document sound = GoldenDecoder(name);
    const std::string architecture = Architecture(sound);
    const std::vector<float> scores = files.Harmless(sound);
    for (const Hyperparameter& hyperparameter : kHyperparameters) {
      const std::string key = StrCat(architecture, ".", hyperparameter.key);
      if (sound.FindKey(key) == nullptr) continue;
      const auto wrong = WrongValues(hyperparameter.kind);
      for (size_t i = 0; i < wrong.size(); ++i) {
        INFO(name << ", " << key << ", value " << i);
        Document document = sound;
        document.Set(key, wrong[i]);
        if (!IsRead(architecture, hyperparameter.key)) {
          files.Harmless(document, &scores);
          continue;
        }
        files.Refused(document, {.codes = {kInvalid, kUnknown}, .words = {"key '" + key + "' is"}});
      }
    }
  }
  CHECK(files.refused() >= 1500);
}

TEST_CASE("a hyperparameter that is missing is refused by its key, or has a known default") {
  HostileFiles files;
  for (const std::string& name : GoldenDecoders()) {
    Document sound = GoldenDecoder(name);
    const std::string architecture = Architecture(sound);
    for (const Hyperparameter& hyperparameter : kHyperparameters) {
      const std::string key = StrCat(architecture, ".", hyperparameter.key);
      if (sound.FindKey(key) == nullptr) continue;
      INFO(name << " without " << key);
      Document document = sound;
      document.Drop(key);
      if (hyperparameter.required) {
        files.Refused(document, "key '" + key + "' is missing");
        continue;
      }
      const auto& [suffix, kind, required] = hyperparameter;
      const bool grouped = architecture != "bloom" && architecture != "phi2" &&
                           name != "phi3_window";  // fewer heads of keys than of queries
      const bool wide = name == "gemma" || name == "gemma2" || name == "qwen3";
      if (suffix == "attention.head_count_kv" && grouped) {
        files.Refused(document, {.words = {"tensor 'blk.0.attn_k.weight' has shape",
                                           "tensor 'blk.0.attn_qkv.weight' has shape"}});
      } else if (suffix == "attention.key_length" && wide) {
        files.Refused(document, "attention.key_length");
      } else if (suffix == "rope.scaling.original_context_length" &&
                 (name == "qwen2" || name == "phi3")) {
        files.Refused(document, "key '" + key + "' is missing");
      } else if (suffix == "expert_count") {
        files.Refused(document, "tensor 'blk.0.ffn_gate.weight' is missing");
      } else {
        files.Harmless(document);
      }
    }
    for (const char* key : {"general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.tokens",
                            "tokenizer.ggml.merges"}) {
      Document document = sound;
      document.Drop(key);
      files.Refused(document, {.codes = {kInvalid, kUnknown}, .words = {key}});
    }
  }
  CHECK(files.refused() >= 190);
}

TEST_CASE("sizes that the tensors do not have are refused, naming the first that disagrees") {
  HostileFiles files;
  for (const std::string& name : GoldenDecoders()) {
    Document sound = GoldenDecoder(name);
    const std::string architecture = Architecture(sound);
    const auto number = [&](const std::string& key) {
      const std::string& value = sound.FindKey(architecture + key)->value;
      uint32_t out;
      std::memcpy(&out, value.data() + 4, sizeof(out));
      return out;
    };
    const auto refuse = [&](const std::string& key, uint32_t value,
                            std::vector<std::string> words) {
      INFO(name << key << " = " << value);
      Document document = sound;
      document.Set(architecture + key, GgufUint32(value));
      files.Refused(document, {.words = std::move(words)});
    };
    const uint32_t width = number(".embedding_length");
    const uint32_t layers = number(".block_count");
    for (const uint32_t value : {width / 2, 2 * width, width + 12, 131072u}) {
      refuse(".embedding_length", value,
             {"tensor 'token_embd.weight' has shape", "embedding_length", "attention heads",
              "rope.dimension_count", "tensor 'token_embd.weight' is"});
    }
    refuse(".block_count", layers + 1, {StrCat("tensor 'blk.", layers, ".")});
    refuse(".block_count", 1024, {StrCat("tensor 'blk.", layers, ".")});
    for (const uint32_t value : {number(".feed_forward_length") - 8, 1u, 1u << 20}) {
      refuse(".feed_forward_length", value, {"tensor 'blk.0.ffn_"});
    }
    for (const uint32_t value : {1u, 3u, 5u, 7u, 4096u}) {
      if (value == number(".attention.head_count")) continue;
      // Where nothing else says how wide a head is, any number that divides the width will do.
      const bool free = sound.FindKey(architecture + ".attention.head_count_kv") == nullptr;
      if (free && width % value == 0) continue;
      refuse(".attention.head_count", value,
             {"tensor 'blk.0.attn", "attention heads", "rope.dimension_count"});
    }
    Document fewer = sound;
    fewer.Set(architecture + ".block_count", GgufUint32(layers - 1));
    files.Refused(fewer, {.codes = {kUnknown}, .words = {StrCat("tensor 'blk.", layers - 1, ".")}});
  }
  CHECK(files.refused() >= 260);
}

// Of files without one of these the model is another, and sound.
bool IsOptional(std::string_view tensor) {
  return tensor == "output.weight" || tensor == "output.bias" || tensor == "output_norm.bias" ||
         tensor == "rope_freqs.weight" || tensor == "token_embd_norm.bias";
}

TEST_CASE("a tensor that is missing is named, in every architecture") {
  HostileFiles files;
  for (const std::string& name : GoldenDecoders()) {
    const Document sound = GoldenDecoder(name);
    for (const Document::Tensor& tensor : sound.tensors) {
      INFO(name << " without " << tensor.name);
      Document document = sound;
      document.Drop(tensor.name);
      if (IsOptional(tensor.name) &&
          !(tensor.name == "output.weight" && document.FindTensor("output.bias") != nullptr)) {
        files.Harmless(document);
        continue;
      }
      // A fused matrix, or one of all experts, stands for several; a weight that is missing may
      // be told by its bias, which is there.
      std::vector<std::string> words = {"'" + tensor.name + "'"};
      const size_t end = tensor.name.rfind('.');
      words.push_back("'" + tensor.name.substr(0, end) + ".bias'");
      const std::string layer = tensor.name.substr(0, tensor.name.find('.', 4) + 1);
      if (tensor.name.ends_with("attn_qkv.weight")) words.push_back(layer + "attn_q.weight");
      if (tensor.name.ends_with("_exps.weight")) {
        words.push_back(tensor.name.substr(0, tensor.name.size() - 12) + ".0.weight");
      }
      files.Refused(document, {.codes = {kInvalid, kUnknown}, .words = words});
    }
  }
  CHECK(files.refused() >= 500);
}

TEST_CASE("rotary settings that cannot be are refused") {
  HostileFiles files;
  const Document llama = GoldenDecoder("llama3");
  const Document phi = GoldenDecoder("phi3");
  const auto set = [](Document document, const std::string& key, const std::string& value) {
    document.Set(key, value);
    return document;
  };
  for (const uint32_t dimensions : {1u, 3u, 7u}) {
    files.Refused(set(llama, "llama.rope.dimension_count", GgufUint32(dimensions)),
                  StrCat("rope.dimension_count ", dimensions, " is odd"));
  }
  for (const uint32_t dimensions : {9u, 10u, 64u}) {
    files.Refused(set(llama, "llama.rope.dimension_count", GgufUint32(dimensions)),
                  StrCat("'llama.rope.dimension_count' is ", dimensions));
  }
  // Half as many dimensions want half as many factors.
  files.Refused(set(llama, "llama.rope.dimension_count", GgufUint32(4)),
                "tensor 'rope_freqs.weight' has shape");
  for (const std::string type : {"yarn", "longrope", "su"}) {
    const Document scaled = set(llama, "llama.rope.scaling.type", GgufText(type));
    files.Refused(scaled, "'llama.rope.scaling.original_context_length' is missing");
    if (type == "yarn") continue;
    files.Refused(set(scaled, "llama.rope.scaling.original_context_length", GgufUint32(8)),
                  "longrope needs the tensors 'rope_factors_short.weight'");
  }
  const auto factors = [&](Document document, const std::string& tensor, float value) {
    std::memcpy(document.FindTensor(tensor)->data.data() + 4, &value, sizeof(value));
    files.Refused(document, "tensor '" + tensor + "' holds");
  };
  for (const float value : {0.0f, -1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    factors(llama, "rope_freqs.weight", value);
    factors(phi, "rope_factors_long.weight", value);
    factors(phi, "rope_factors_short.weight", value);
  }
  CHECK(files.refused() >= 20);
}

TEST_CASE("experts and layers' patterns that cannot be are refused") {
  HostileFiles files;
  const Document mixtral = GoldenDecoder("mixtral");
  const auto refuse = [&](const Document& sound, const std::string& key, const std::string& value,
                          const std::string& word, StatusCode code = kInvalid) {
    Document document = sound;
    document.Set(key, value);
    files.Refused(document, {.codes = {code}, .words = {word}});
  };
  refuse(mixtral, "llama.expert_used_count", GgufUint32(5), "'llama.expert_used_count' is 5");
  for (const uint32_t count : {1u, 3u, 5u, 1024u}) {
    refuse(mixtral, "llama.expert_count", GgufUint32(count),
           count == 1 ? "'llama.expert_used_count' is 2" : "tensor 'blk.0.ffn_gate");
  }
  refuse(GoldenDecoder("qwen3"), "qwen3.expert_count", GgufUint32(8), "8 experts", kUnknown);
  refuse(GoldenDecoder("gemma"), "gemma.expert_count", GgufUint32(8), "8 experts", kUnknown);
  for (const std::string name : {"gemma3", "olmo2", "qwen2"}) {
    const std::string key = name + ".attention.sliding_window_pattern";
    const Document sound = GoldenDecoder(name);
    refuse(sound, key, GgufNumbers<uint8_t>(7, {1}), "'" + key + "' is");
    refuse(sound, key, GgufNumbers<uint8_t>(7, std::vector<uint8_t>(1000)), "'" + key + "' is");
    refuse(sound, key, GgufTexts({"yes", "no"}), "'" + key + "' is");
    refuse(sound, key, GgufUint32(0), "'" + key + "' is 0");
    refuse(sound, key, GgufFloat(2), "'" + key + "' is");
  }
  for (const std::string architecture : {"mamba", "LLAMA", "llama ", "", "gemma4"}) {
    refuse(mixtral, "general.architecture", GgufText(architecture),
           "key 'general.architecture' is '" + architecture + "'", kUnknown);
  }
  refuse(mixtral, "general.architecture", GgufUint32(3), "'general.architecture' is 3");
  CHECK(files.refused() >= 25);
}

TEST_CASE("weights that are no numbers do no harm beyond their model") {
  HostileFiles files;
  for (const std::string& name : GoldenDecoders()) {
    Document document = GoldenDecoder(name);
    for (Document::Tensor& tensor : document.tensors) {
      // Factors of the angles are checked.
      if (tensor.name.starts_with("rope_")) continue;
      for (size_t i = 0; i + 1 < tensor.data.size(); i += 2) tensor.data[i + 1] = '\x7F';
    }
    INFO(name);
    CHECK_FALSE(files.RefusedOrRuns(document.Bytes()));
    const auto generator = files.Load("model.gguf");
    REQUIRE_OK(generator);
    GenerateRequest request{.prompt = {1, 2, 3}, .max_tokens = 4};
    for (const double temperature : {0.0, 1.0}) {
      request.sampling.temperature = temperature;
      request.sampling.top_k = temperature > 0 ? 5 : 0;
      const Status status = (*generator)->Generate(request).status();
      CHECK(status.code() == StatusCode::kDataLoss);
      CHECK_THAT(status.message(), Catch::Contains("its weights are damaged"));
    }
  }
}

}  // namespace
}  // namespace rag::test
