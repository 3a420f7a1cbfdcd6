// Encoder folders whose weights cannot be: the header of a safetensors file, its tensors' types,
// shapes and places, parts that do not belong together, and tensors that the network lacks.
#include "tests/embed/hostile_folder.h"

namespace rag::test {
namespace {

constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr StatusCode kLost = StatusCode::kDataLoss;
constexpr StatusCode kUnknown = StatusCode::kUnsupported;
constexpr char kFile[] = "model.safetensors";

// A safetensors file taken apart.
struct Weights {
  Value::Object header;
  std::string data;

  explicit Weights(const std::string& bytes) {
    uint64_t length;
    std::memcpy(&length, bytes.data(), sizeof(length));
    auto json = ParseJson(std::string_view(bytes).substr(8, length));
    REQUIRE_OK(json);
    header = std::move(json->as_object());
    header.Erase("__metadata__");
    data = bytes.substr(8 + length);
  }
  Value::Object& Tensor(const std::string& name) { return header.Find(name)->as_object(); }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : header) names.push_back(name);
    return names;
  }
  // The data of the tensors that are left, one after another.
  void Repack() {
    std::string packed;
    for (auto& [name, entry] : header) {
      Value* offsets = entry.as_object().Find("data_offsets");
      const auto begin = static_cast<size_t>(offsets->as_array()[0].as_int());
      const auto end = static_cast<size_t>(offsets->as_array()[1].as_int());
      *offsets = Value(Value::Array{Value(packed.size()), Value(packed.size() + end - begin)});
      packed += data.substr(begin, end - begin);
    }
    data = packed;
  }
  std::string Bytes() const { return WithHeader(ToJson(Value(header))); }
  std::string WithHeader(const std::string& text) const {
    const uint64_t length = text.size();
    return std::string(reinterpret_cast<const char*>(&length), 8) + text + data;
  }
};

TEST_CASE("a safetensors header that is wrong is refused") {
  HostileFolder folder = HostileFamily("dense");
  const Weights sound(folder.Read(kFile));
  const std::string bytes = sound.Bytes();
  folder.Harmless(kFile, bytes);
  const auto refuse = [&](std::string_view content, std::vector<std::string> words,
                          std::set<StatusCode> codes = {kInvalid}) {
    for (std::string& word : words) word = word.empty() ? kFile : word;
    folder.Refused(kFile, content, {std::move(words), std::move(codes)});
  };
  for (const size_t size : {0, 1, 7}) {
    refuse(std::string_view(bytes).substr(0, size), {""}, {kLost, kInvalid});
  }
  for (const uint64_t length : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 20, uint64_t{1} << 26,
                                uint64_t{1} << 63, ~uint64_t{0}}) {
    std::string changed = bytes;
    std::memcpy(changed.data(), &length, sizeof(length));
    refuse(changed, {"header"}, {kLost, kInvalid});
  }
  const std::string header = ToJson(Value(sound.header));
  for (const std::string& text :
       {std::string("{}"), std::string("[]"), std::string("3"), std::string("{"), " " + header,
        header.substr(1), header + "}", std::string("null"), std::string(1 << 16, '{')}) {
    INFO(text.substr(0, 30));
    refuse(sound.WithHeader(text), {""});
  }
  for (const char* metadata : {"3", "[]", "\"pt\"", "{\"format\": 3}", "{\"a\": {}}", "null"}) {
    INFO(metadata);
    refuse(sound.WithHeader(StrCat("{\"__metadata__\": ", metadata, ",", header.substr(1))),
           {"__metadata__"});
  }
  for (const size_t size : {bytes.size() / 4, bytes.size() / 2, bytes.size() - 1}) {
    refuse(std::string_view(bytes).substr(0, size), {"data_offsets", "header"}, {kLost, kInvalid});
  }
  for (const size_t more : {1, 4, 4096}) {
    refuse(bytes + std::string(more, '\0'), {"belong to no tensor"});
  }
  CHECK(folder.refused() == 30);
}

// The changes of one tensor, by number.
constexpr int kChanges = 23;

Refusal Change(Weights& weights, const std::string& name, int change) {
  Value::Object& tensor = weights.Tensor(name);
  const std::string quoted = "tensor '" + name + "'";
  Refusal refusal{{quoted}};
  Value::Array& offsets = tensor.Find("data_offsets")->as_array();
  const int64_t begin = offsets[0].as_int();
  const int64_t end = offsets[1].as_int();
  const auto set = [&](const char* key, const Value& value) { tensor.Set(key, value); };
  switch (change) {
    case 0:
      tensor.Erase("dtype");
      refusal.codes = {kUnknown};
      break;
    case 1:
      set("dtype", Value("F33"));
      refusal.codes = {kUnknown};
      break;
    case 2:
      set("dtype", Value(3));
      break;
    case 3:
      set("dtype", Value("F64"));
      break;
    case 4:  // as many bytes
      set("dtype", Value("I16"));
      break;
    case 5:
      tensor.Erase("shape");
      break;
    case 6:
      set("shape", Value("[2]"));
      break;
    case 7:
      set("shape", Value(Value::Array{Value(-1)}));
      break;
    case 8:
      set("shape", Value(Value::Array{Value(1.5)}));
      break;
    case 9:
      set("shape", Value(Value::Array(9, Value(1))));
      break;
    case 10:
      set("shape", Value(Value::Array{Value(int64_t{1} << 40), Value(int64_t{1} << 40)}));
      break;
    case 11:
      set("shape", Value(Value::Array{Value((end - begin) / 2 + 1)}));
      break;
    case 12:  // the same elements, of another shape
      set("shape", Value(Value::Array{Value(1), Value(1), Value((end - begin) / 2)}));
      break;
    case 13:
      set("shape", Value(Value::Array{Value(0)}));
      break;
    case 14:
      tensor.Erase("data_offsets");
      break;
    case 15:
      set("data_offsets", Value(Value::Array{Value(begin)}));
      break;
    case 16:
      set("data_offsets", Value(Value::Array{Value(end), Value(begin)}));
      break;
    case 17:
      set("data_offsets", Value(Value::Array{Value("0"), Value(end)}));
      break;
    case 18:
      set("data_offsets", Value(Value::Array{Value(-2), Value(end - begin - 2)}));
      break;
    case 19: {
      const int64_t far = int64_t{1} << 40;
      set("data_offsets", Value(Value::Array{Value(far), Value(far + end - begin)}));
      refusal.codes = {kLost};
      break;
    }
    case 20:  // into a neighbour, or out of the data
      set("data_offsets", Value(Value::Array{Value(begin + 2), Value(end + 2)}));
      refusal = {{"overlaps", "belong to no tensor", "data_offsets"}, {kInvalid, kLost}};
      break;
    case 21:  // a name that is none of the network's
      weights.header.Set("odd." + name, *weights.header.Find(name));
      weights.header.Erase(name);
      refusal.words = {name, "the weights have no tensor"};
      break;
    default:
      weights.header.Erase(name);
      weights.Repack();
      refusal.words = {name, "the weights have no tensor"};
      break;
  }
  return refusal;
}

TEST_CASE("a tensor that is wrong is refused by its name, in every family") {
  size_t refused = 0;
  for (const std::string family :
       {"dense", "xlm-roberta", "mpnet", "albert", "electra", "mobilebert", "modernbert", "nomic",
        "gte", "jina-bert", "qwen3", "qwen2", "mistral", "gemma3", "t5", "t5-gated"}) {
    HostileFolder folder = HostileFamily(family);
    const Weights sound(folder.Read(kFile));
    const std::vector<std::string> names = sound.Names();
    for (size_t i = 0; i < names.size(); ++i) {
      for (int change = 0; change < kChanges; ++change) {
        // Three changes of each tensor, others of the next one; a missing one always.
        const bool chosen = (i * 3 + static_cast<size_t>(change)) % 8 == 0 || change == 22;
        if (!chosen) continue;
        Weights changed = sound;
        const Refusal refusal = Change(changed, names[i], change);
        INFO(family << ": " << names[i] << ", change " << change);
        folder.Refused(kFile, changed.Bytes(), refusal);
      }
    }
    refused += folder.refused();
  }
  CHECK(refused >= 1000);
}

TEST_CASE("a dense module's and a norm's weights that are wrong are refused by their file") {
  HostileFolder folder = HostileFamily("dense");
  const std::string file = "2_Dense/model.safetensors";
  const Weights sound(folder.Read(file));
  for (const std::string& name : sound.Names()) {
    for (int change = 0; change < kChanges; ++change) {
      Weights changed = sound;
      Refusal refusal = Change(changed, name, change);
      refusal.words.push_back("linear");
      INFO(name << ", change " << change);
      folder.Refused(file, changed.Bytes(), refusal);
    }
  }
  folder.Refused(file, "", {{file}, {kLost, kInvalid}});
  CHECK(folder.refused() == 2 * kChanges + 1);
}

TEST_CASE("weights in parts that do not belong together are refused") {
  HostileFolder folder = HostileFamily("dense");
  const Weights sound(folder.Read(kFile));
  std::filesystem::remove(folder.path() / kFile);
  Weights first = sound;
  Weights second = sound;
  Value::Object map;
  const std::vector<std::string> names = sound.Names();
  for (size_t i = 0; i < names.size(); ++i) {
    (i < names.size() / 2 ? second : first).header.Erase(names[i]);
    map.Set(names[i], Value(i < names.size() / 2 ? "a.safetensors" : "b.safetensors"));
  }
  first.Repack();
  second.Repack();
  WriteText(folder.path() / "a.safetensors", first.Bytes());
  WriteText(folder.path() / "b.safetensors", second.Bytes());
  const std::string index = "model.safetensors.index.json";
  const auto with = [](const Value& weight_map) {
    return ToJson(Value(Value::Object{{"weight_map", weight_map}}));
  };
  folder.Harmless(index, with(Value(map)));
  for (const char* text : {"", "{", "[]", "3", "{}", "{\"weight_map\": 3}", "{\"weight_map\": []}",
                           "{\"weight_map\": null}"}) {
    INFO(text);
    folder.Refused(index, text, {{index}});
  }
  folder.Refused(index, with(Value(Value::Object())), {{"the weights have no tensor"}});
  for (const Value& shard : {Value("../a.safetensors"), Value("/a.safetensors"), Value("a.bin"),
                             Value(3), Value(), Value("")}) {
    Value::Object changed = map;
    changed.Set(names[0], shard);
    folder.Refused(index, with(Value(changed)), {{names[0]}});
  }
  Value::Object changed = map;
  changed.Set(names[0], Value("c.safetensors"));
  folder.Refused(index, with(Value(changed)), {{"c.safetensors"}, {StatusCode::kNotFound}});
  changed = map;
  changed.Set(names[0], Value("b.safetensors"));
  folder.Refused(index, with(Value(changed)), {{names[0]}, {kLost}});
  changed = map;
  changed.Set("odd", Value("a.safetensors"));
  folder.Refused(index, with(Value(changed)), {{"tensor 'odd'"}, {kLost}});
  changed = map;
  changed.Erase(names.back());
  folder.Refused(index, with(Value(changed)), {{names.back()}});
  // Two indexes, and no way to tell which is meant.
  WriteText(folder.path() / "other.safetensors.index.json", with(Value(map)));
  folder.Refused(index, with(Value(map)), {{"several safetensors files"}});
  CHECK(folder.refused() == 20);
}

TEST_CASE("weights that are no numbers do no harm beyond their model") {
  for (const std::string family : {"dense", "modernbert", "qwen3", "mobilebert", "mpnet"}) {
    HostileFolder folder = HostileFamily(family);
    Weights weights(folder.Read(kFile));
    for (size_t i = 0; i + 1 < weights.data.size(); i += 2) weights.data[i + 1] = '\x7F';
    INFO(family);
    folder.Harmless(kFile, weights.Bytes());
  }
}

}  // namespace
}  // namespace rag::test
