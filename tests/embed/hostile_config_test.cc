// Encoder folders whose settings cannot be: config.json of every family, modules and their files,
// limits, prompts.
#include "embed/reranker.h"
#include "tests/embed/hostile_folder.h"

namespace rag::test {
namespace {

constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr StatusCode kUnknown = StatusCode::kUnsupported;

enum class Kind { kSize, kCount, kNumber, kName, kFlag };

struct Setting {
  const char* key;
  Kind kind;
  bool required = false;
};
using Settings = std::vector<Setting>;

const Settings kBert = {
    {"hidden_size", Kind::kSize, true},         {"num_hidden_layers", Kind::kSize, true},
    {"num_attention_heads", Kind::kSize, true}, {"intermediate_size", Kind::kSize, true},
    {"vocab_size", Kind::kSize, true},          {"max_position_embeddings", Kind::kSize},
    {"layer_norm_eps", Kind::kNumber},          {"hidden_act", Kind::kName},
    {"type_vocab_size", Kind::kCount}};
const Settings kDistilBert = {
    {"dim", Kind::kSize, true},        {"n_layers", Kind::kSize, true},
    {"n_heads", Kind::kSize, true},    {"hidden_dim", Kind::kSize, true},
    {"vocab_size", Kind::kSize, true}, {"max_position_embeddings", Kind::kSize},
    {"activation", Kind::kName}};
const Settings kModernBert = {{"hidden_size", Kind::kSize, true},
                              {"num_hidden_layers", Kind::kSize, true},
                              {"num_attention_heads", Kind::kSize, true},
                              {"intermediate_size", Kind::kSize, true},
                              {"vocab_size", Kind::kSize, true},
                              {"max_position_embeddings", Kind::kSize},
                              {"norm_eps", Kind::kNumber},
                              {"hidden_activation", Kind::kName},
                              {"local_attention", Kind::kSize}};
const Settings kDecoder = {{"hidden_size", Kind::kSize, true},
                           {"num_hidden_layers", Kind::kSize, true},
                           {"num_attention_heads", Kind::kSize, true},
                           {"intermediate_size", Kind::kSize, true},
                           {"vocab_size", Kind::kSize, true},
                           {"max_position_embeddings", Kind::kSize},
                           {"rms_norm_eps", Kind::kNumber},
                           {"hidden_act", Kind::kName},
                           {"num_key_value_heads", Kind::kSize},
                           {"head_dim", Kind::kSize},
                           {"use_sliding_window", Kind::kFlag},
                           {"is_causal", Kind::kFlag}};

const Settings kGemma = {{"hidden_size", Kind::kSize, true},
                         {"num_hidden_layers", Kind::kSize, true},
                         {"num_attention_heads", Kind::kSize, true},
                         {"intermediate_size", Kind::kSize, true},
                         {"vocab_size", Kind::kSize, true},
                         {"max_position_embeddings", Kind::kSize},
                         {"rms_norm_eps", Kind::kNumber},
                         {"hidden_activation", Kind::kName},
                         {"num_key_value_heads", Kind::kSize},
                         {"head_dim", Kind::kSize},
                         {"sliding_window", Kind::kSize},
                         {"use_bidirectional_attention", Kind::kFlag}};
const Settings kT5 = {{"d_model", Kind::kSize, true},
                      {"num_layers", Kind::kSize, true},
                      {"num_heads", Kind::kSize, true},
                      {"d_ff", Kind::kSize, true},
                      {"d_kv", Kind::kSize},
                      {"vocab_size", Kind::kSize, true},
                      {"layer_norm_epsilon", Kind::kNumber},
                      {"relative_attention_num_buckets", Kind::kSize},
                      {"relative_attention_max_distance", Kind::kSize},
                      {"dense_act_fn", Kind::kName},
                      {"is_gated_act", Kind::kFlag}};

Settings With(Settings settings, const Settings& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

struct Family {
  std::string name;
  Settings settings;  // the first: width, layers, heads, and width between
  HostileFolder (*open)(const std::string& name) = HostileFamily;
};

std::vector<Family> Families() {
  return {
      {"dense", kBert},
      {"xlm-roberta", With(kBert, {{"pad_token_id", Kind::kCount}})},
      {"mpnet",
       With({kBert.begin(), kBert.end() - 1}, {{"relative_attention_num_buckets", Kind::kSize}})},
      {"albert", With(kBert, {{"embedding_size", Kind::kSize},
                              {"num_hidden_groups", Kind::kSize},
                              {"inner_group_num", Kind::kSize}})},
      {"electra", With(kBert, {{"embedding_size", Kind::kSize}})},
      {"mobilebert", With(kBert, {{"embedding_size", Kind::kSize},
                                  {"intra_bottleneck_size", Kind::kSize},
                                  {"num_feedforward_networks", Kind::kSize},
                                  {"normalization_type", Kind::kName},
                                  {"trigram_input", Kind::kFlag},
                                  {"use_bottleneck", Kind::kFlag}})},
      {"modernbert", kModernBert},
      {"nomic", With(kBert, {{"rotary_emb_fraction", Kind::kNumber}, {"prenorm", Kind::kFlag}})},
      {"gte", With(kBert, {{"logn_attention_scale", Kind::kFlag}})},
      {"jina-bert", With(kBert, {{"feed_forward_type", Kind::kName}})},
      {"qwen3", kDecoder},
      {"qwen2", kDecoder},
      {"mistral", kDecoder},
      {"gemma3", kGemma},
      {"t5", kT5},
      {"distilbert", kDistilBert, HostileEncoder},
  };
}

std::vector<Value> WrongValues(Kind kind) {
  std::vector<Value> values = {Value(Value::Array()), Value(Value::Object())};
  switch (kind) {
    case Kind::kSize:
      values.push_back(Value(0));
      [[fallthrough]];
    case Kind::kCount:
      values.insert(
          values.end(),
          {Value("32"), Value(true), Value(-1), Value(1.5), Value(1e30), Value(int64_t{1} << 31),
           Value(std::numeric_limits<int64_t>::max()), Value(std::numeric_limits<int64_t>::min())});
      break;
    case Kind::kNumber:
      values.insert(values.end(), {Value("1e-5"), Value(true), Value(-1), Value(2), Value(1e300)});
      break;
    case Kind::kName:
      values.insert(values.end(), {Value("other"), Value(" gelu"), Value(1), Value(false)});
      break;
    case Kind::kFlag:
      values.insert(values.end(), {Value("true"), Value(1), Value(0.5)});
      break;
  }
  return values;
}

TEST_CASE("settings of another type or out of their bounds are refused by their key") {
  size_t refused = 0;
  for (const Family& family : Families()) {
    HostileFolder folder = family.open(family.name);
    folder.Harmless("config.json", folder.Read("config.json"));
    for (const Setting& setting : family.settings) {
      for (const Value& value : WrongValues(setting.kind)) {
        INFO(family.name << ": " << setting.key << " = " << ToJson(value));
        folder.Refused("config.json", folder.Changed("config.json", setting.key, value),
                       {{setting.key, setting.kind == Kind::kName ? "activation" : setting.key},
                        {kInvalid, kUnknown}});
      }
      INFO(family.name << " without " << setting.key);
      if (setting.required) {
        folder.Refused("config.json", folder.Changed("config.json", setting.key, Value()),
                       {{StrCat("'", setting.key, "' is missing")}});
      }
    }
    refused += folder.refused();
  }
  CHECK(refused >= 1000);
}

TEST_CASE("sizes that the tensors do not have are refused, naming tensor and shapes") {
  size_t refused = 0;
  for (const Family& family : Families()) {
    HostileFolder folder = family.open(family.name);
    const Value config = folder.ReadJson("config.json");
    const auto refuse = [&](const char* key, int64_t value, std::vector<std::string> words) {
      INFO(family.name << ": " << key << " = " << value);
      words.push_back("tensor '");
      folder.Refused("config.json", folder.Changed("config.json", key, Value(value)), {words});
    };
    const char* const hidden_key = family.settings[0].key;
    const char* const layers_key = family.settings[1].key;
    const char* const heads_key = family.settings[2].key;
    const char* const inner_key = family.settings[3].key;
    const int64_t hidden = config.Find(hidden_key)->as_int();
    const int64_t layers = config.Find(layers_key)->as_int();
    const int64_t inner = config.Find(inner_key)->as_int();
    const int64_t vocab = config.Find("vocab_size")->as_int();
    for (const int64_t value : {hidden / 2, hidden * 2, hidden + 1, int64_t{65536}}) {
      // What else is as wide tells first in some.
      refuse(hidden_key, value, {"hidden size", "in_features", "dimension'", "cannot be rotated"});
    }
    refuse(inner_key, inner + 8, {});
    refuse(inner_key, 262144, {});
    refuse("vocab_size", vocab + 1, {});
    refuse("vocab_size", vocab - 1, {"'vocab_size' is"});
    refuse("vocab_size", 1, {"'vocab_size' is"});
    refuse(heads_key, 7, {"7 heads", "num_attention_heads"});
    refuse(heads_key, 65536, {"heads"});
    if (family.name != "albert") {  // which shares its layers
      refuse(layers_key, layers + 1, {"layer_types"});
      refuse(layers_key, 1024, {"layer_types"});
    }
    refused += folder.refused();
  }
  CHECK(refused >= 140);
}

TEST_CASE("positions that the tables do not have are refused") {
  size_t refused = 0;
  for (const std::string name :
       {"dense", "xlm-roberta", "mpnet", "albert", "electra", "mobilebert"}) {
    HostileFolder folder = HostileFamily(name);
    for (const int64_t value : {1, 100, 511, 131072}) {
      INFO(name << " " << value);
      folder.Refused("config.json", folder.Changed("config.json", "max_position_embeddings", value),
                     {{"position_embeddings", "max_position_embeddings"}});
    }
    refused += folder.refused();
  }
  for (const std::string name : {"gte", "modernbert", "nomic", "qwen3", "jina-bert"}) {
    HostileFolder folder = HostileFamily(name);
    for (const int64_t value : {3, 100, 131072}) {
      folder.Harmless("config.json",
                      folder.Changed("config.json", "max_position_embeddings", value));
    }
  }
  CHECK(refused == 24);
}

TEST_CASE("rotary settings that cannot be are refused") {
  HostileFolder yarn = HostileFamily("qwen3-yarn");
  HostileFolder llama = HostileFamily("llama3");
  const auto refuse = [](HostileFolder& folder, const std::string& key, const Value& value,
                         const std::string& word) {
    Value config = folder.ReadJson("config.json");
    Value::Object& rope = config.as_object().Find("rope_parameters")->as_object();
    if (value.is_null()) {
      rope.Erase(key);
    } else {
      rope.Set(key, value);
    }
    INFO(key << " = " << ToJson(value));
    folder.Refused("config.json", ToJson(config), {{word}, {kInvalid, kUnknown}});
  };
  for (HostileFolder* folder : {&yarn, &llama}) {
    for (const Value& value : {Value("8"), Value(0), Value(-2), Value(1e30), Value()}) {
      refuse(*folder, "factor", value, "factor");
    }
    for (const Value& value : {Value("x"), Value(0), Value(-1), Value(1.5), Value(1 << 30)}) {
      refuse(*folder, "original_max_position_embeddings", value,
             "original_max_position_embeddings");
    }
    for (const Value& value : {Value("x"), Value(0), Value(-1), Value(1e300)}) {
      refuse(*folder, "rope_theta", value, "rope_theta");
    }
    for (const Value& value : {Value("longrope"), Value("YARN"), Value(3)}) {
      refuse(*folder, "rope_type", value, "rope_type");
    }
  }
  for (const std::string key : {"beta_fast", "beta_slow", "attention_factor"}) {
    for (const Value& value : {Value("x"), Value(0), Value(-1)}) refuse(yarn, key, value, key);
  }
  refuse(yarn, "truncate", Value(1), "truncate");
  refuse(yarn, "mscale", Value(0.7), "mscale");
  refuse(yarn, "rope_theta", Value(1), "YaRN");
  for (const std::string key : {"low_freq_factor", "high_freq_factor"}) {
    for (const Value& value : {Value("x"), Value(0), Value(-1), Value()}) {
      refuse(llama, key, value, key);
    }
  }
  refuse(llama, "low_freq_factor", Value(4), "high_freq_factor");
  for (const Value& value : {Value("yarn"), Value(3), Value(Value::Array())}) {
    llama.Refused("config.json", llama.Changed("config.json", "rope_parameters", value),
                  {{"rope_parameters"}});
  }
  CHECK(yarn.refused() + llama.refused() >= 50);
}

TEST_CASE("config.json that is no object of a known model is refused") {
  HostileFolder folder = HostileFamily("dense");
  for (const char* text : {"", "{", "[]", "3", "null", "\"bert\"", "{\"model_type\": }",
                           "{\"model_type\": \"bert\"", "\xFF\xFE{}", "{} {}"}) {
    INFO(text);
    folder.Refused("config.json", text, {{"config.json"}});
  }
  std::string deep(100'000, '[');
  folder.Refused("config.json", deep,
                 {{"config.json"}, {kInvalid, StatusCode::kResourceExhausted}});
  // As much memory as a file of the greatest size can ask for.
  std::string wide = "{\"model_type\": [0";
  while (wide.size() < (1 << 20) - 4) wide += ",0";
  folder.Refused("config.json", wide + "]}", {{"model_type"}});
  folder.Refused("config.json", std::string(5 << 20, ' '),
                 {{"config.json"}, {kInvalid, StatusCode::kResourceExhausted}});
  for (const Value& type : {Value("opt"), Value("BERT"), Value(""), Value(), Value(3), Value(true),
                            Value("clip_text_model")}) {
    folder.Refused("config.json", folder.Changed("config.json", "model_type", type),
                   {{"model_type", "clip_text_model"}, {kInvalid, kUnknown}});
  }
  CHECK(folder.refused() == 20);
}

TEST_CASE("modules and their settings that cannot be are refused, naming file and key") {
  HostileFolder folder = HostileFamily("dense");
  const auto modules = [&](const std::string& text, const std::string& word) {
    INFO(text);
    folder.Refused("modules.json", text, {{word}, {kInvalid, kUnknown}});
  };
  for (const char* text : {"", "{}", "3", "[", "[3]", "[\"Transformer\"]", "[[]]", "[{}]",
                           "[{\"type\": 3}]", "[{\"type\": null, \"path\": \"\"}]"}) {
    modules(text, "modules.json");
  }
  const Value sound = folder.ReadJson("modules.json");
  const auto with = [&](size_t index, const char* key, const Value& value) {
    Value changed = sound;
    changed.as_array()[index].as_object().Set(key, value);
    return ToJson(changed);
  };
  for (size_t i = 0; i < 4; ++i) {
    for (const Value& path : {Value("../up"), Value("/etc"), Value("a/../../b"), Value(3)}) {
      modules(with(i, "path", path), "path");
    }
    modules(with(i, "type", Value("sentence_transformers.models.Unknown")), "Unknown");
    modules(with(i, "type", Value(3)), "type");
  }
  Value many = sound;
  while (many.as_array().size() < 17) many.as_array().push_back(sound.as_array()[3]);
  modules(ToJson(many), "17 modules");
  for (const size_t i : {size_t{0}, size_t{1}, size_t{2}}) {
    folder.Refused("modules.json", with(i, "path", Value("absent")),
                   {{"absent"}, {StatusCode::kNotFound}});
  }

  const auto member = [&](const std::string& file, const char* key, std::vector<Value> values) {
    for (const Value& value : values) {
      INFO(file << ": " << key << " = " << ToJson(value));
      folder.Refused(file, folder.Changed(file, key, value), {{key}, {kInvalid, kUnknown}});
    }
  };
  const Value array = Value::Array();
  const Value object = Value::Object();
  member("1_Pooling/config.json", "pooling_mode",
         {Value("other"), Value(3), Value(true), array, object,
          Value(Value::Array{Value("cls"), Value(3)}), Value(Value::Array(7, Value("cls")))});
  member("1_Pooling/config.json", "embedding_dimension",
         {Value(0), Value(-1), Value(23), Value("24"), Value(1.5), Value(int64_t{1} << 40), array});
  member("1_Pooling/config.json", "include_prompt", {Value("yes"), Value(1), array});
  for (const char* key : {"in_features", "out_features"}) {
    member("2_Dense/config.json", key,
           {Value(), Value(0), Value(-1), Value("24"), Value(1.5), Value(int64_t{1} << 40), array});
  }
  member("2_Dense/config.json", "in_features", {Value(25), Value(65536)});
  folder.Refused("2_Dense/config.json",
                 folder.Changed("2_Dense/config.json", "out_features", Value(65536)),
                 {{"linear.weight"}});
  member("2_Dense/config.json", "bias", {Value("yes"), Value(1), object});
  member("2_Dense/config.json", "use_residual", {Value("yes"), Value(1)});
  for (const Value& name :
       {Value("Tanh"), Value(3), Value("torch.nn.modules.activation.Softmax"), array}) {
    folder.Refused("2_Dense/config.json",
                   folder.Changed("2_Dense/config.json", "activation_function", name),
                   {{"activation"}, {kInvalid, kUnknown}});
  }
  member("2_Dense/config.json", "module_input_name", {Value("token_embeddings"), Value(3)});
  for (const std::string file : {"1_Pooling/config.json", "2_Dense/config.json"}) {
    for (const char* text : {"", "[]", "null", "{"}) folder.Refused(file, text, {{file}});
  }
  CHECK(folder.refused() == 91);
}

TEST_CASE("limits, prompts and comparisons that cannot be are refused") {
  HostileFolder folder = HostileFamily("dense");
  const Value array = Value::Array();
  const auto member = [&](const std::string& file, const char* key, std::vector<Value> values) {
    for (const Value& value : values) {
      INFO(file << ": " << key << " = " << ToJson(value));
      folder.Refused(file, ToJson(Value(Value::Object{{key, value}})),
                     {{key, "prompt '", "nearness"}, {kInvalid, kUnknown}});
    }
  };
  member("sentence_bert_config.json", "max_seq_length",
         {Value(0), Value(-1), Value("512"), Value(1.5), Value(int64_t{1} << 40), array});
  member("sentence_bert_config.json", "do_lower_case", {Value("no"), Value(0), array});
  member("tokenizer_config.json", "model_max_length",
         {Value(0), Value(-1), Value(0.5), Value("512"), array});
  const std::string settings = "config_sentence_transformers.json";
  member(settings, "prompts",
         {Value("query: "), Value(3), array, Value(Value::Object{{"query", Value(3)}}),
          Value(Value::Object{{"document", array}})});
  member(settings, "default_prompt_name", {Value("absent"), Value(3), array});
  member(settings, "similarity_fn_name", {Value("nearness"), Value(3), Value(true), array});
  member(settings, "truncate_dim",
         {Value(0), Value(-1), Value("8"), Value(1.5), Value(int64_t{1} << 40), array});
  for (const std::string& file :
       {std::string("sentence_bert_config.json"), std::string("tokenizer_config.json"), settings}) {
    for (const char* text : {"", "[]", "3", "{"}) folder.Refused(file, text, {{file}});
  }
  // A prompt that leaves no room for a text.
  std::string prompt;
  for (int i = 0; i < 300; ++i) prompt += "word ";
  folder.Refused(
      settings,
      ToJson(Value(Value::Object{{"prompts", Value(Value::Object{{"query", Value(prompt)}})}})),
      {{"the prompt of role 'query'"}});
  CHECK(folder.refused() >= 40);
}

TEST_CASE("rerankers that cannot be are refused") {
  HostileFolder folder(std::make_shared<FamilyFolder>("bert", "rerankers"),
                       [](const std::string& path, const Runtime& runtime) {
                         return Reranker::Load(path, runtime).status();
                       });
  folder.Harmless("config.json", folder.Read("config.json"));
  const Value array = Value::Array();
  const auto refuse = [&](const char* key, std::vector<Value> values) {
    for (const Value& value : values) {
      INFO(key << " = " << ToJson(value));
      folder.Refused("config.json", folder.Changed("config.json", key, value),
                     {{key, "id2label"}, {kInvalid, kUnknown}});
    }
  };
  refuse("num_labels",
         {Value(0), Value(2), Value(-1), Value("1"), Value(1.5), Value(1 << 30), array});
  refuse("id2label", {Value(Value::Object{{"0", Value("a")}, {"1", Value("b")}})});
  refuse("sbert_ce_default_activation_function", {Value("torch.nn.Tanh"), Value(3), array});
  refuse("sentence_transformers", {Value(Value::Object{{"activation_fn", Value("Tanh")}}),
                                   Value(Value::Object{{"activation_fn", Value(3)}})});
  for (const Value& value : {Value("other"), Value(3)}) {
    folder.Refused("config_sentence_transformers.json",
                   ToJson(Value(Value::Object{{"activation_fn", value}})),
                   {{"activation_fn"}, {kInvalid, kUnknown}});
  }
  for (const Setting& setting : kBert) {
    for (const Value& value : WrongValues(setting.kind)) {
      INFO(setting.key << " = " << ToJson(value));
      folder.Refused("config.json", folder.Changed("config.json", setting.key, value),
                     {{setting.key, "activation"}, {kInvalid, kUnknown}});
    }
  }
  CHECK(folder.refused() >= 90);
}

}  // namespace
}  // namespace rag::test
