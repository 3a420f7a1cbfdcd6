// Encoder folders whose tokenizer cannot be: every kind of component of tokenizer.json, added
// tokens, vocabularies and merges, and the files that stand in for it.
#include "tests/embed/hostile_folder.h"

namespace rag::test {
namespace {

constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr StatusCode kUnknown = StatusCode::kUnsupported;
constexpr char kFile[] = "tokenizer.json";

Value Json(std::string_view text) {
  auto json = ParseJson(text);
  REQUIRE_OK(json);
  return std::move(json).value();
}

// BERT whose tokenizer.json is taken as it is, and not as BERT's own class makes it.
HostileFolder PlainBert() {
  HostileFolder folder = HostileEncoder("bert");
  WriteText(folder.path() / "tokenizer_config.json",
            R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  return folder;
}

class HostileTokenizer {
 public:
  explicit HostileTokenizer(HostileFolder folder) : folder_(std::move(folder)) {
    folder_.Harmless(kFile, folder_.Read(kFile));
  }

  // The file with `member` as this JSON text; `word` must be in the message.
  void Refuse(const char* member, std::string_view text, const std::string& word) {
    INFO(member << ": " << text);
    folder_.Refused(kFile, folder_.Changed(kFile, member, Json(text)),
                    {{word}, {kInvalid, kUnknown}});
  }
  // One setting of the model changed; null takes it out.
  void RefuseModel(const char* key, const Value& value, std::vector<std::string> words) {
    Value json = folder_.ReadJson(kFile);
    Value::Object& model = json.as_object().Find("model")->as_object();
    INFO("model's " << key << " = " << (value.is_array() ? "…" : ToJson(value).substr(0, 80)));
    if (value.is_null()) {
      model.Erase(key);
    } else {
      model.Set(key, value);
    }
    folder_.Refused(kFile, ToJson(json), {std::move(words), {kInvalid, kUnknown}});
  }
  Value Model(const char* key) { return *folder_.ReadJson(kFile).Find("model")->Find(key); }
  HostileFolder& folder() { return folder_; }

 private:
  HostileFolder folder_;
};

TEST_CASE("a tokenizer.json that is none is refused") {
  HostileFolder folder = HostileEncoder("bert");
  const std::string sound = folder.Read(kFile);
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("3"), std::string("null"),
        std::string("{}"), std::string("{\"model\": null}"), std::string("{\"model\": []}"),
        std::string("{\"model\": {\"type\": \"WordPiece\"}}"), sound.substr(0, sound.size() / 2),
        sound + "}", std::string(200'000, '['), std::string(1 << 20, '\0'),
        std::string("\xFF\xFE{\0}\0", 6)}) {
    INFO(text.substr(0, 40));
    folder.Refused(kFile, text, {{kFile}, {kInvalid, kUnknown, StatusCode::kResourceExhausted}});
  }
  for (const char* type : {"\"WordLevel\"", "\"wordpiece\"", "3", "[]"}) {
    Value json = Json(sound);
    json.as_object().Find("model")->as_object().Set("type", Json(type));
    folder.Refused(kFile, ToJson(json), {{"tokenizer model", "type"}, {kInvalid, kUnknown}});
  }
  CHECK(folder.refused() == 18);
}

TEST_CASE("normalizers that cannot be are refused by their kind") {
  HostileTokenizer tokenizer(PlainBert());
  const auto refuse = [&](std::string_view text, const std::string& word) {
    tokenizer.Refuse("normalizer", text, word);
    tokenizer.Refuse(
        "normalizer",
        StrCat(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, )", text, "]}"), word);
  };
  for (const char* text : {"3", "[]", "\"NFC\"", "{}", R"({"type": "nfc"})",
                           R"({"type": "ByteLevel"})", R"({"type": ""})"}) {
    refuse(text, "normalizer '");
  }
  refuse(R"({"type": 3})", "type");
  for (const char* key : {"clean_text", "handle_chinese_chars", "strip_accents", "lowercase"}) {
    for (const char* value : {"1", "\"true\"", "[]"}) {
      refuse(StrCat(R"({"type": "BertNormalizer", ")", key, "\": ", value, "}"), key);
    }
  }
  refuse(R"({"type": "Sequence"})", "normalizer Sequence has no normalizers");
  refuse(R"({"type": "Sequence", "normalizers": 3})", "normalizer Sequence has no normalizers");
  refuse(R"({"type": "Strip", "strip_left": 1})", "strip_left");
  refuse(R"({"type": "Strip", "strip_right": "no"})", "strip_right");
  refuse(R"({"type": "Prepend", "prepend": 3})", "prepend");
  refuse(R"({"type": "Replace", "content": "x"})", "Replace has no pattern");
  refuse(R"({"type": "Replace", "pattern": "a", "content": "x"})", "pattern");
  refuse(R"({"type": "Replace", "pattern": {"String": 3}, "content": "x"})", "pattern");
  refuse(R"({"type": "Replace", "pattern": {"Regex": "(a"}, "content": "x"})", "'(a'");
  refuse(R"({"type": "Replace", "pattern": {"Regex": "a{2,1}"}, "content": "x"})", "a{2,1}");
  refuse(R"({"type": "Replace", "pattern": {"String": "a"}, "content": 3})", "content");
  for (const char* blob :
       {"\"AAAA\"", "\"////fwAA\"", "\"CAAAAAAAAAA=\"", "\"not base64!\"", "3"}) {
    refuse(StrCat(R"({"type": "Precompiled", "precompiled_charsmap": )", blob, "}"),
           "precompiled_charsmap");
  }
  std::string deep = R"({"type": "NFC"})";
  for (int i = 0; i < 30; ++i)
    deep = StrCat(R"({"type": "Sequence", "normalizers": [)", deep, "]}");
  tokenizer.Refuse("normalizer", deep, "nested too deeply");
  CHECK(tokenizer.folder().refused() >= 60);
}

TEST_CASE("pre-tokenizers that cannot be are refused by their kind") {
  HostileTokenizer tokenizer(HostileEncoder("bert"));
  const auto refuse = [&](std::string_view text, const std::string& word) {
    tokenizer.Refuse("pre_tokenizer", text, word);
    tokenizer.Refuse(
        "pre_tokenizer",
        StrCat(R"({"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, )", text, "]}"),
        word);
  };
  for (const char* text : {"3", "[]", "{}", R"({"type": "UnicodeScripts2"})", R"({"type": ""})"}) {
    refuse(text, "pre-tokenizer '");
  }
  refuse(R"({"type": []})", "type");
  refuse(R"({"type": "Sequence", "pretokenizers": {}})", "pre-tokenizer Sequence has no");
  for (const char* key : {"add_prefix_space", "use_regex"}) {
    for (const char* value : {"1", "\"no\""}) {
      refuse(StrCat(R"({"type": "ByteLevel", ")", key, "\": ", value, "}"), key);
    }
  }
  refuse(R"({"type": "Digits", "individual_digits": 1})", "individual_digits");
  refuse(R"({"type": "Punctuation", "behavior": "Deleted"})", "behavior 'Deleted'");
  refuse(R"({"type": "Punctuation", "behavior": 1})", "behavior");
  for (const char* text : {"\"\"", "\"ab\"", "3"}) {
    refuse(StrCat(R"({"type": "Metaspace", "replacement": )", text, "}"), "replacement");
  }
  refuse(R"({"type": "Metaspace", "prepend_scheme": "sometimes"})", "prepend_scheme 'sometimes'");
  refuse(R"({"type": "Metaspace", "prepend_scheme": 1})", "prepend_scheme");
  refuse(R"({"type": "Metaspace", "split": 1})", "split");
  refuse(R"({"type": "Split"})", "Split has no pattern");
  refuse(R"({"type": "Split", "pattern": {}})", "pattern");
  refuse(R"({"type": "Split", "pattern": {"Regex": "[a"}})", "'[a'");
  refuse(R"({"type": "Split", "pattern": {"Regex": "(?<=a+)b"}})", "(?<=a+)b");
  refuse(R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Kept"})", "'Kept'");
  refuse(R"({"type": "Split", "pattern": {"String": "a"}, "invert": 1})", "invert");
  refuse(R"({"type": "CharDelimiterSplit", "delimiter": 3})", "'CharDelimiterSplit'");
  tokenizer.Refuse(
      "pre_tokenizer",
      StrCat(R"({"type": "Split", "pattern": {"Regex": ")", std::string(70'000, 'a'), "\"}}"),
      "bytes, over");
  std::string deep = R"({"type": "Whitespace"})";
  for (int i = 0; i < 30; ++i)
    deep = StrCat(R"({"type": "Sequence", "pretokenizers": [)", deep, "]}");
  tokenizer.Refuse("pre_tokenizer", deep, "nested too deeply");
  CHECK(tokenizer.folder().refused() >= 50);
}

TEST_CASE("post-processors and decoders that cannot be are refused by their kind") {
  HostileTokenizer tokenizer(HostileEncoder("bert"));
  const auto post = [&](std::string_view text, const std::string& word) {
    tokenizer.Refuse("post_processor", text, word);
  };
  for (const char* text : {"3", "[]", "{}", R"({"type": "Bert"})"}) post(text, "post-processor '");
  post(R"({"type": 3})", "type");
  post(R"({"type": "Sequence", "processors": 3})", "post-processor Sequence has no");
  post(R"({"type": "Sequence", "processors": [{"type": "Other"}]})", "post-processor 'Other'");
  for (const std::string type : {"BertProcessing", "RobertaProcessing"}) {
    for (const std::string key : {"cls", "sep"}) {
      const std::string other = key == "cls" ? "sep" : "cls";
      for (const std::string value :
           {"null", "3", "[]", "[\"[CLS]\"]", "[\"[CLS]\", \"2\"]", "[\"[CLS]\", -1]",
            "[\"[CLS]\", 180]", "[\"[CLS]\", 99999999999]", "[\"[CLS]\", 2, 3]"}) {
        post(StrCat(R"({"type": ")", type, R"(", ")", other, R"(": ["[SEP]", 3], ")", key,
                    "\": ", value, "}"),
             "'" + key + "'");
      }
    }
  }
  post(R"({"type": "RobertaProcessing", "cls": ["a", 1], "sep": ["b", 2], "trim_offsets": 1})",
       "trim_offsets");
  post(R"({"type": "ByteLevel", "trim_offsets": "x"})", "trim_offsets");
  const auto of_template = [&](const std::string& item, const std::string& specials,
                               const std::string& word) {
    for (const std::string which : {"single", "pair"}) {
      const std::string other = which == "single" ? "pair" : "single";
      post(StrCat(R"({"type": "TemplateProcessing", ")", other, R"(": [], ")", which, "\": ", item,
                  R"(, "special_tokens": )", specials, "}"),
           word);
    }
  };
  for (const char* list : {"null", "3", "{}", "\"$A\""})
    of_template(list, "{}", "template is no list");
  for (const char* item : {"[3]", "[{}]", "[null]", R"([{"Token": {"id": "A"}}])"}) {
    of_template(item, "{}", "unknown item");
  }
  of_template(R"([{"Sequence": {"id": "C", "type_id": 0}}])", "{}", "sequence 'C'");
  of_template(R"([{"Sequence": {"id": 3, "type_id": 0}}])", "{}", "id");
  for (const char* type_id : {"-1", "256", "99999999999", "\"0\"", "0.5"}) {
    of_template(StrCat(R"([{"Sequence": {"id": "A", "type_id": )", type_id, "}}]"), "{}",
                "type_id");
  }
  const std::string cls = R"([{"SpecialToken": {"id": "[CLS]", "type_id": 0}}])";
  for (const char* specials : {"{}", "3", "null", R"({"[CLS]": 3})", R"({"[CLS]": {"ids": 3}})"}) {
    of_template(cls, specials, "special token '[CLS]' has no ids");
  }
  for (const char* id : {"-1", "180", "\"2\"", "2.5", "99999999999", "null"}) {
    of_template(cls, StrCat(R"({"[CLS]": {"id": "[CLS]", "ids": [)", id, "]}}"),
                "special token '[CLS]' has an id");
  }
  std::string items = "{\"Sequence\": {\"id\": \"A\"}}";
  for (int i = 0; i < 9; ++i) items += "," + items;
  of_template("[" + items + "]", "{}", "at most 256");

  const auto decoder = [&](std::string_view text, const std::string& word) {
    tokenizer.Refuse("decoder", text, word);
  };
  for (const char* text : {"3", "[]", "{}", R"({"type": "Bert"})"}) decoder(text, "decoder '");
  decoder(R"({"type": 3})", "type");
  decoder(R"({"type": "Sequence", "decoders": 3})", "decoder Sequence has no decoders");
  decoder(R"({"type": "WordPiece", "prefix": 3})", "prefix");
  decoder(R"({"type": "WordPiece", "cleanup": 3})", "cleanup");
  decoder(R"({"type": "Metaspace", "replacement": 3})", "replacement");
  decoder(R"({"type": "Metaspace", "prepend_scheme": "x"})", "prepend_scheme");
  decoder(R"({"type": "BPEDecoder", "suffix": 3})", "suffix");
  decoder(R"({"type": "Strip", "content": 3})", "content");
  decoder(R"({"type": "Strip", "start": "x"})", "start");
  decoder(R"({"type": "Strip", "stop": 1.5})", "stop");
  decoder(R"({"type": "Replace"})", "Replace has no pattern");
  decoder(R"({"type": "Replace", "pattern": {"Regex": "(a"}})", "'(a'");
  CHECK(tokenizer.folder().refused() >= 110);
}

TEST_CASE("added tokens and truncation that cannot be are refused") {
  HostileTokenizer tokenizer(HostileEncoder("bert"));
  for (const char* text : {"3", "{}", "\"[CLS]\""}) {
    tokenizer.Refuse("added_tokens", text, "added_tokens is no list");
  }
  for (const char* text :
       {"[3]", "[null]", "[[]]", "[{}]", R"([{"id": 1, "content": ""}])", R"([{"id": 1}])"}) {
    tokenizer.Refuse("added_tokens", text, "an added token has no content");
  }
  tokenizer.Refuse("added_tokens", R"([{"id": 1, "content": 3}])", "content");
  tokenizer.Refuse("added_tokens", R"([{"content": "[X]"}])", "added token '[X]' has no id");
  for (const char* id : {"-1", "\"3\"", "1.5", "4194303", "99999999999", "null"}) {
    tokenizer.Refuse("added_tokens", StrCat(R"([{"content": "[X]", "id": )", id, "}]"), "[X]");
  }
  for (const char* key : {"special", "single_word", "lstrip", "rstrip", "normalized"}) {
    tokenizer.Refuse("added_tokens", StrCat(R"([{"content": "[X]", "id": 5, ")", key, "\": 1}]"),
                     key);
  }
  // More pieces than the network has rows.
  tokenizer.Refuse("added_tokens", R"([{"content": "[X]", "id": 180}])", "vocab_size");
  tokenizer.Refuse("added_tokens",
                   StrCat(R"([{"content": ")", std::string(3000, 'x'), R"(", "id": 180}])"),
                   "3000");
  CHECK(tokenizer.folder().refused() >= 24);
}

TEST_CASE("WordPiece models that cannot be are refused") {
  HostileTokenizer tokenizer(PlainBert());
  const Value array = Value::Array();
  for (const Value& value : {Value(), Value(3), Value("a")}) {
    tokenizer.RefuseModel("vocab", value, {"vocab"});
  }
  for (const Value& id : {Value(-1), Value("3"), Value(1.5), Value(4194303),
                          Value(int64_t{1} << 40), Value(Value::Array())}) {
    Value vocab = tokenizer.Model("vocab");
    vocab.as_object().Set("odd", id);
    tokenizer.RefuseModel("vocab", vocab, {"'odd'"});
  }
  Value vocab = tokenizer.Model("vocab");
  vocab.as_object().Set("odd", Value(7));
  tokenizer.RefuseModel("vocab", vocab, {"id 7 belongs to both"});
  vocab = tokenizer.Model("vocab");
  vocab.as_object().Set(std::string(2049, 'x'), Value(180));
  tokenizer.RefuseModel("vocab", vocab, {"2049 bytes"});
  tokenizer.RefuseModel("vocab", Value(Value::Object()), {"unknown token '[UNK]'"});
  tokenizer.RefuseModel("unk_token", Value("[OTHER]"), {"unknown token '[OTHER]'"});
  tokenizer.RefuseModel("unk_token", Value(3), {"unk_token"});
  tokenizer.RefuseModel("continuing_subword_prefix", Value(3), {"continuing_subword_prefix"});
  for (const Value& value :
       {Value(0), Value(-1), Value(1 << 30), Value("100"), Value(1.5), array}) {
    tokenizer.RefuseModel("max_input_chars_per_word", value, {"max_input_chars_per_word"});
  }
  CHECK(tokenizer.folder().refused() >= 20);
}

TEST_CASE("BPE models that cannot be are refused") {
  HostileTokenizer tokenizer(HostileEncoder("roberta"));
  for (const Value& value : {Value(), Value(3), Value("a b"), Value(Value::Object())}) {
    tokenizer.RefuseModel("merges", value, {"merges", "vocab"});
  }
  for (const char* merge :
       {"3", "\"ab\"", "[]", "[\"a\"]", "[\"a\", 3]", "[\"a\", \"b\", \"c\"]", "{}", "null"}) {
    Value merges = tokenizer.Model("merges");
    merges.as_array()[2] = Json(merge);
    tokenizer.RefuseModel("merges", merges, {"merge 2 is no pair"});
  }
  for (const char* merge : {"\"q absent\"", "\"absent q\"", "[\"z\", \"z\"]", "[\"\", \"a\"]"}) {
    Value merges = tokenizer.Model("merges");
    merges.as_array()[2] = Json(merge);
    tokenizer.RefuseModel("merges", merges, {"merge 2 '"});
  }
  for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    tokenizer.RefuseModel(key, Value(3), {key});
  }
  tokenizer.RefuseModel("unk_token", Value("[OTHER]"), {"unknown token '[OTHER]'"});
  for (const char* key : {"fuse_unk", "byte_fallback", "ignore_merges"}) {
    tokenizer.RefuseModel(key, Value(1), {key});
    tokenizer.RefuseModel(key, Value("no"), {key});
  }
  for (const Value& value : {Value(0.1), Value("0"), Value(true)}) {
    tokenizer.RefuseModel("dropout", value, {"dropout"});
  }
  CHECK(tokenizer.folder().refused() >= 28);
}

TEST_CASE("Unigram models that cannot be are refused") {
  HostileTokenizer tokenizer(HostileFamily("xlm-roberta"));
  for (const char* entry : {"3", "[]", "[\"a\"]", "[3, 0.5]", "[\"a\", \"0.5\"]", "[\"a\", null]",
                            "[\"a\", 0.5, 1]", "\"a\"", "{}"}) {
    Value vocab = tokenizer.Model("vocab");
    vocab.as_array()[9] = Json(entry);
    tokenizer.RefuseModel("vocab", vocab, {"entry 9 of model's vocab"});
  }
  Value vocab = tokenizer.Model("vocab");
  vocab.as_array()[9].as_array()[0] = Value(std::string(5000, 'x'));
  tokenizer.RefuseModel("vocab", vocab, {"id 9 has 5000 bytes"});
  for (const Value& value : {Value("3"), Value(1.5), Value(1100), Value(int64_t{1} << 40)}) {
    tokenizer.RefuseModel("unk_id", value, {"unk_id"});
  }
  tokenizer.RefuseModel("byte_fallback", Value(1), {"byte_fallback"});
  CHECK(tokenizer.folder().refused() >= 15);
}

// The files that a folder without tokenizer.json has.
TEST_CASE("vocab.txt, vocab.json and merges.txt that cannot be are refused") {
  HostileFolder bert = HostileEncoder("bert");
  std::filesystem::remove(bert.path() / kFile);
  const Value sound = Json(ReadAll(Golden("encoders/bert/tokenizer.json")));
  const Value::Object& vocab = sound.Find("model")->Find("vocab")->as_object();
  std::vector<std::string> pieces(vocab.size());
  for (const auto& [piece, id] : vocab) pieces[static_cast<size_t>(id.as_int())] = piece;
  std::string lines;
  for (const std::string& piece : pieces) lines += piece + "\n";
  bert.Harmless("vocab.txt", lines);
  const auto refuse = [&](const std::string& text, const std::string& word) {
    bert.Refused("vocab.txt", text, {{word}});
  };
  refuse("", "unknown token '[UNK]'");
  refuse("a\nb\n", "unknown token '[UNK]'");
  refuse("[UNK]\na\n", "the vocabulary lacks '[");
  refuse("[UNK]\n[CLS]\na\n", "the vocabulary lacks '[");
  refuse(lines + "more\n", "vocab_size");
  refuse(lines + std::string(3000, 'x') + "\n", "3000 bytes");
  refuse(std::string(400'000, '\n') + lines, "vocab_size");

  HostileFolder roberta = HostileEncoder("roberta");
  const Value tokenizer = roberta.ReadJson(kFile);
  std::filesystem::remove(roberta.path() / kFile);
  const std::string vocabulary = ToJson(*tokenizer.Find("model")->Find("vocab"));
  std::string merges = "#version: 0.2\n";
  for (const Value& merge : tokenizer.Find("model")->Find("merges")->as_array()) {
    merges += merge.as_array()[0].as_string() + " " + merge.as_array()[1].as_string() + "\n";
  }
  WriteText(roberta.path() / "vocab.json", vocabulary);
  roberta.Refused("merges.txt.other", "", {{"merges.txt"}, {StatusCode::kNotFound}});
  WriteText(roberta.path() / "merges.txt", merges);
  roberta.Harmless("merges.txt", merges);
  for (const char* text : {"", "[", "3", "[]", "{\"a\": -1}", "{\"a\": \"0\"}", "{\"a\": 4194303}",
                           "{\"a\": 0, \"b\": 0}"}) {
    INFO(text);
    roberta.Refused("vocab.json", text, {{"vocab.json", "merges.txt"}});
  }
  for (const char* text : {"ab\n", "a b\nc\n", "a absent\n", "absent a\n", "z z\n"}) {
    INFO(text);
    roberta.Refused("merges.txt", text, {{"merges.txt"}});
  }
  CHECK(bert.refused() + roberta.refused() >= 20);
}

TEST_CASE("a SentencePiece model that cannot be is refused") {
  const auto data = SharedData("tok-sentencepiece");
  if (!data) RAG_SKIP("no shared data");
  HostileFolder folder = HostileFamily("mistral");
  std::filesystem::remove(folder.path() / kFile);
  const std::string sound = ReadAll(*data / "test_model.model");
  folder.Harmless("tokenizer.model", sound);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, sound.size() / 2}) {
    INFO(size);
    folder.Refused("tokenizer.model", sound.substr(0, size), {{"tokenizer.model"}});
  }
  std::string flipped = sound;
  for (size_t i = 0; i < 64; ++i) flipped[i] = static_cast<char>(flipped[i] ^ 0x55);
  folder.Refused("tokenizer.model", flipped, {{"tokenizer.model"}});
  CHECK(folder.refused() == 5);
}

}  // namespace
}  // namespace rag::test
