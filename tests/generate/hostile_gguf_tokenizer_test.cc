// GGUF files whose tokenizer cannot be: arrays of other types and lengths, ids out of range, pieces
// that are not there. Each kind of vocabulary by itself, and one inside a model.
#include "tests/generate/chat_model.h"
#include "tests/generate/hostile_gguf.h"

namespace rag::test {
namespace {

using Document = GgufDocument;
constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr StatusCode kUnknown = StatusCode::kUnsupported;

const std::string kPrefix = "tokenizer.ggml.";

std::vector<std::string> Texts(const Document& document, const std::string& key) {
  std::vector<std::string> texts;
  for (const Document::Key& item : document.keys) {
    if (item.name != kPrefix + key) continue;
    uint64_t count, length;
    std::memcpy(&count, item.value.data() + 8, sizeof(count));
    for (size_t at = 16; texts.size() < count; at += 8 + length) {
      std::memcpy(&length, item.value.data() + at, sizeof(length));
      texts.push_back(item.value.substr(at + 8, length));
    }
  }
  REQUIRE(!texts.empty());
  return texts;
}

template <class T>
std::vector<T> Numbers(const Document& document, const std::string& key) {
  std::vector<T> numbers;
  for (const Document::Key& item : document.keys) {
    if (item.name != kPrefix + key) continue;
    numbers.resize((item.value.size() - 16) / sizeof(T));
    std::memcpy(numbers.data(), item.value.data() + 16, numbers.size() * sizeof(T));
  }
  REQUIRE(!numbers.empty());
  return numbers;
}

class Vocabularies {
 public:
  explicit Vocabularies(Document sound) : sound_(std::move(sound)) {}

  void Refuse(const std::string& key, const std::string& value, const std::string& word,
              StatusCode code = kInvalid) {
    Document document = sound_;
    document.Set(kPrefix + key, value);
    files_.Refused(document, {.codes = {code}, .words = {word}});
  }
  void RefuseWithout(const std::string& key, const std::string& word, StatusCode code = kInvalid) {
    Document document = sound_;
    document.Drop(kPrefix + key);
    files_.Refused(document, {.codes = {code}, .words = {word}});
  }
  void Allow(const std::string& key, const std::string& value) {
    Document document = sound_;
    document.Set(kPrefix + key, value);
    files_.Harmless(document);
  }
  // What any vocabulary may have wrongly.
  void RefuseCommon() {
    const auto tokens = Texts(sound_, "tokens");
    const auto types = Numbers<int32_t>(sound_, "token_type");
    RefuseWithout("tokens", "tokenizer.ggml.tokens");
    RefuseWithout("model", "tokenizer.ggml.model", kUnknown);
    Refuse("model", GgufText("wordlevel"), "tokenizer.ggml.model 'wordlevel'", kUnknown);
    Refuse("model", GgufUint32(1), "tokenizer.ggml.model");
    for (const std::string& value : {GgufText("a b"), GgufUint32(9), GgufNumbers<int32_t>(5, {1}),
                                     GgufNumbers<float>(6, {1, 2})}) {
      Refuse("tokens", value, "tokenizer.ggml.tokens");
    }
    Refuse("tokens", GgufArray(8, 0, ""), "tokenizer.ggml");
    auto changed = tokens;
    changed.pop_back();
    Refuse("tokens", GgufTexts(changed), "tokenizer.ggml");
    changed = tokens;
    changed.push_back("one more");
    Refuse("tokens", GgufTexts(changed), "tokenizer.ggml");
    changed = tokens;
    changed[20] = std::string(5000, 'x');
    Refuse("tokens", GgufTexts(changed), "the piece of id 20 has 5000 bytes");
    // A name that is there twice, or none: the first is found, as llama.cpp's own files have it.
    changed = tokens;
    changed[tokens.size() - 3] = changed[tokens.size() - 2];
    Allow("tokens", GgufTexts(changed));

    auto other = types;
    other.pop_back();
    Refuse("token_type", GgufNumbers(5, other), "tokenizer.ggml.token_type has");
    other = types;
    other.push_back(1);
    Refuse("token_type", GgufNumbers(5, other), "tokenizer.ggml.token_type has");
    Refuse("token_type", GgufArray(5, 0, ""), "tokenizer.ggml.token_type has 0");
    for (const int32_t type : {-1, 7, 1 << 30}) {
      other = types;
      other[20] = type;
      Refuse("token_type", GgufNumbers(5, other),
             StrCat("tokenizer.ggml.token_type[20] is ", type));
    }
    for (const std::string& value : {GgufText("normal"), GgufUint32(1), GgufTexts(tokens),
                                     GgufNumbers(6, std::vector<float>(types.size(), 1.0f)),
                                     GgufNumbers(7, std::vector<uint8_t>(types.size(), 1))}) {
      Refuse("token_type", value, "tokenizer.ggml.token_type");
    }
    for (const char* id : {"bos_token_id", "eos_token_id", "unknown_token_id"}) {
      const std::string key = kPrefix + id;
      for (const uint32_t value : {static_cast<uint32_t>(tokens.size()), 1u << 20, 1u << 31}) {
        Refuse(id, GgufUint32(value), StrCat("'", key, "' is ", value));
      }
      Refuse(id, GgufInt64(-5), "'" + key + "' is -5");
      Refuse(id, GgufText("<s>"), "'" + key + "' is");
      Refuse(id, GgufFloat(1), "'" + key + "' is");
      Refuse(id, GgufNumbers<uint32_t>(4, {1}), "'" + key + "' is");
      // How writers say that there is none.
      Allow(id, GgufUint32(~0u));
      Allow(id, GgufValue(5, int32_t{-1}));
    }
    for (const char* flag : {"add_bos_token", "add_eos_token", "add_space_prefix"}) {
      for (const std::string& value : {GgufUint32(1), GgufText("true"), GgufArray(7, 0, "")}) {
        Refuse(flag, value, StrCat("'tokenizer.ggml.", flag, "' is"));
      }
    }
  }
  const Document& sound() const { return sound_; }
  HostileFiles& files() { return files_; }

 private:
  const Document sound_;
  HostileFiles files_;
};

TEST_CASE("a byte-level vocabulary that cannot be is refused by its key") {
  Vocabularies vocabularies(GoldenDecoder("qwen2"));
  vocabularies.RefuseCommon();
  const auto merges = Texts(vocabularies.sound(), "merges");
  vocabularies.RefuseWithout("merges", "tokenizer.ggml.merges");
  for (const std::string& value : {GgufText("t h"), GgufUint32(1)}) {
    vocabularies.Refuse("merges", value, "tokenizer.ggml.merges");
  }
  vocabularies.Refuse("merges", GgufNumbers<int32_t>(5, {1, 2}), "tokenizer.ggml.merges[0]");
  for (const std::string pair : {"th", "", " ", "t", "t "}) {
    vocabularies.Refuse("merges", GgufTexts({merges[0], pair}), "merge");
  }
  for (const std::string pair : {"t q", "q t", "absent th", "t h h", "\xFF \xFE"}) {
    vocabularies.Refuse("merges", GgufTexts({merges[0], pair}),
                        "tokenizer.ggml.merges: merge 1 '" + pair + "'");
  }
  vocabularies.Allow("merges", GgufTexts({merges[0], merges[0]}));
  vocabularies.Allow("merges", GgufArray(8, 0, ""));
  for (const std::string pre : {"tekken", "GPT-2", "\xFF"}) {
    vocabularies.Refuse("pre", GgufText(pre), "tokenizer.ggml.pre '" + pre + "'", kUnknown);
  }
  vocabularies.Refuse("pre", GgufUint32(2), "tokenizer.ggml.pre");
  CHECK(vocabularies.files().refused() >= 70);
}

TEST_CASE("a SentencePiece vocabulary that cannot be is refused by its key") {
  const TemporaryFolder folder;
  WriteRandomModel(ChatModel(""), folder.file("chat.gguf"));
  Vocabularies vocabularies(Document::Open(folder.file("chat.gguf")));
  vocabularies.RefuseCommon();
  const auto scores = Numbers<float>(vocabularies.sound(), "scores");
  vocabularies.RefuseWithout("scores", "tokenizer.ggml.scores");
  vocabularies.Refuse("scores", GgufArray(6, 0, ""), "tokenizer.ggml.scores has 0");
  for (const int change : {-1, 1, 100}) {
    auto other = scores;
    other.resize(static_cast<size_t>(static_cast<int>(scores.size()) + change));
    vocabularies.Refuse("scores", GgufNumbers(6, other), "tokenizer.ggml.scores has");
  }
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    auto other = scores;
    other[300] = value;
    vocabularies.Refuse("scores", GgufNumbers(6, other), "tokenizer.ggml.scores[300] is");
  }
  for (const std::string& value : {GgufText("0.5"), GgufFloat(0.5f), GgufTexts({"0.5"}),
                                   GgufNumbers(7, std::vector<uint8_t>(scores.size(), 1))}) {
    vocabularies.Refuse("scores", value, "tokenizer.ggml.scores");
  }
  vocabularies.Allow("scores", GgufNumbers(6, std::vector<float>(scores.size(), -3.0f)));
  CHECK(vocabularies.files().refused() >= 64);
}

// Each piece of these is the beginning of the next one, so that every cut of every piece gives two
// pieces.
TEST_CASE("pieces that are made of each other cost no more than their bytes say") {
  const TemporaryFolder folder;
  WriteRandomModel(ChatModel(""), folder.file("chat.gguf"));
  Document document = Document::Open(folder.file("chat.gguf"));
  auto tokens = Texts(document, "tokens");
  for (size_t i = 300; i < tokens.size(); ++i) tokens[i] = std::string(1700 + i - 300, 'a');
  document.Set(kPrefix + "tokens", GgufTexts(tokens));
  HostileFiles files;
  files.Write("model.gguf", document.Bytes());
  const Cost cost = MeasureCost([&] { REQUIRE_OK(files.Load("model.gguf")); });
  CHECK(cost.seconds < kRefusalSeconds * kSlowdown);
  CHECK(cost.bytes < kRefusalBytes);
}

TEST_CASE("a BERT vocabulary that cannot be is refused") {
  const TemporaryFolder folder;
  Document sound;
  const auto set = [](Document document, const std::string& key, const std::string& value) {
    document.Set(kPrefix + key, value);
    return document;
  };
  const std::vector<std::string> tokens = {"[PAD]", "[UNK]",   "[CLS]",     "[SEP]", "\u2581cat",
                                           "s",     "\u2581s", "\u2581dog", "."};
  sound.Set("general.architecture", GgufText("bert"));
  sound = set(sound, "model", GgufText("bert"));
  sound = set(sound, "tokens", GgufTexts(tokens));
  sound = set(sound, "token_type", GgufNumbers<int32_t>(5, {3, 3, 3, 3, 1, 1, 1, 1, 1}));
  sound = set(sound, "unknown_token_id", GgufUint32(1));
  sound = set(sound, "cls_token_id", GgufUint32(2));
  sound = set(sound, "seperator_token_id", GgufUint32(3));
  size_t refused = 0;
  const auto load = [&](const Document& document) {
    std::ofstream(folder.file("v.gguf"), std::ios::binary) << document.Bytes();
    const auto file = GgufFile::Open(folder.file("v.gguf"));
    REQUIRE_OK(file);
    return Tokenizer::FromGguf(*file).status();
  };
  const auto refuse = [&](const std::string& key, const std::string& value, const char* word) {
    Status status;
    const Document document = set(sound, key, value);
    const Cost cost = MeasureCost([&] { status = load(document); });
    INFO(status.ToString());
    CHECK(status.code() == kInvalid);
    CHECK_THAT(status.message(), Catch::Contains(word));
    CHECK_THAT(status.message(), Catch::Contains("v.gguf"));
    CHECK(cost.bytes < kRefusalBytes);
    ++refused;
  };
  REQUIRE_OK(load(sound));
  auto nameless = tokens;
  nameless[2] = "\u2581x";
  Document no_ids = sound;
  no_ids.Drop(kPrefix + "cls_token_id");
  no_ids = set(no_ids, "tokens", GgufTexts(nameless));
  CHECK_THAT(load(no_ids).message(), Catch::Contains("lacks [CLS]"));
  for (const char* key : {"cls_token_id", "seperator_token_id", "unknown_token_id"}) {
    refuse(key, GgufUint32(9), key);
    refuse(key, GgufUint32(1u << 30), key);
    refuse(key, GgufText("[CLS]"), key);
  }
  refuse("token_type", GgufNumbers<int32_t>(5, {3, 3}), "tokenizer.ggml.token_type has 2");
  refuse("token_type", GgufNumbers<int32_t>(5, {3, 3, 3, 3, 1, 1, 1, 1, 9}), "token_type[8] is 9");
  refuse("tokens", GgufNumbers<int32_t>(5, {3}), "tokenizer.ggml.tokens");
  CHECK(refused == 12);
}

TEST_CASE("a chat template that cannot be is told when it is used") {
  HostileFiles files;
  Document document = GoldenDecoder("qwen2");
  for (const std::string& source :
       {std::string("{% for %}"), std::string("{{ messages"), std::string(1 << 20, '{')}) {
    document.Set("tokenizer.chat_template", GgufText(source));
    files.Write("model.gguf", document.Bytes());
    const auto generator = files.Load("model.gguf");
    if (!generator.ok()) {
      CHECK_THAT(generator.status().message(), Catch::Contains("template"));
      continue;
    }
    const ChatMessage message{.role = "user", .content = "hi"};
    CHECK_FALSE((*generator)->RenderChat({&message, 1}).ok());
  }
}

}  // namespace
}  // namespace rag::test
