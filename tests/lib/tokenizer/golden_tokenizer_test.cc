// Ids, byte ranges and decoded text against the tokenizers package (tests/golden/tokenizers).
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "lib/base/value.h"
#include "lib/tokenizer/tokenizer.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

// By its name in the golden files; null when its data is absent.
std::unique_ptr<Tokenizer> Open(const std::string& name) {
  const test::TemporaryFolder folder;
  std::string path;
  const fs::path trained = test::Golden("tokenizers/trained/" + name + ".json");
  const auto shared = [&](const char* set, const char* file) {
    const auto data = test::SharedData(set);
    return data ? (*data / file).string() : std::string();
  };
  if (fs::exists(trained)) {
    path = trained.string();
  } else if (name == "default") {
    const auto encoder = test::DefaultEncoderFolder();
    if (encoder) path = (*encoder / "tokenizer.json").string();
  } else if (name == "koelectra") {
    const std::string vocabulary = shared("tok-korean", "koelectra-vocab.txt");
    if (vocabulary.empty()) return nullptr;
    fs::copy(vocabulary, folder.path() / "vocab.txt");
    test::WriteBytes(folder.file("tokenizer_config.json"), R"({"do_lower_case": false})");
    path = folder.path().string();
  } else if (name == "gpt2") {
    const std::string encoder = shared("tok-gpt2", "encoder.json");
    if (encoder.empty()) return nullptr;
    fs::copy(encoder, folder.path() / "vocab.json");
    fs::copy(shared("tok-gpt2", "vocab.bpe"), folder.path() / "merges.txt");
    path = folder.path().string();
  } else if (name == "roberta") {
    path = shared("tok-sentencepiece", "roberta-base-tokenizer.json");
  } else if (name == "clip") {
    path = shared("tok-clip", "tokenizer.json");
  } else if (name == "t5") {
    path = shared("tok-sentencepiece", "t5-small-tokenizer.json");
  }
  if (path.empty()) return nullptr;
  auto tokenizer = Tokenizer::Load(path);
  REQUIRE_OK(tokenizer);
  return std::move(tokenizer).value();
}

std::vector<int64_t> Numbers(const Value& json) {
  std::vector<int64_t> out;
  for (const Value& item : json.as_array()) out.push_back(item.as_int());
  return out;
}

std::vector<int64_t> Flat(const Encoding& encoding) {
  std::vector<int64_t> out;
  for (const auto& range : encoding.offsets) {
    out.push_back(range.begin);
    out.push_back(range.end);
  }
  return out;
}

// Where a normalizer makes one character of several, the package gives it the range of the first
// (or last) one, we that of all; and an unknown run's byte pieces get the run's range there, the
// character's here. In these tokenizers the two ranges must then meet.
bool HasExactRanges(const std::string& name) {
  static const std::vector<std::string> kOthers = {
      "bpe_gpt2", "bpe_qwen2", "bpe_splits",    "bpe_suffix",
      "clip",     "t5",        "unigram_first", "unigram_byte_fallback"};
  return std::find(kOthers.begin(), kOthers.end(), name) == kOthers.end();
}

void CheckEncoding(const std::string& name, const Encoding& encoding, const Value& expected) {
  CHECK(std::vector<int64_t>(encoding.ids.begin(), encoding.ids.end()) ==
        Numbers(*expected.Find("ids")));
  const std::vector<int64_t> ours = Flat(encoding);
  const std::vector<int64_t> theirs = Numbers(*expected.Find("offsets"));
  if (HasExactRanges(name)) {
    CHECK(ours == theirs);
    return;
  }
  REQUIRE(ours.size() == theirs.size());
  for (size_t i = 0; i < ours.size(); i += 2) {
    CHECK((ours[i] <= theirs[i + 1] && theirs[i] <= ours[i + 1]));
    CHECK((ours[i] <= ours[i + 1] && (i == 0 || ours[i] >= ours[i - 2] || ours[i] == 0)));
  }
}

TEST_CASE("tokenizers agree with the tokenizers package on hard texts") {
  auto json = ParseJson(test::ReadAll(test::Golden("tokenizers/cases.json")));
  REQUIRE_OK(json);
  const Value::Array& texts = json->Find("texts")->as_array();
  size_t compared = 0;
  for (const auto& [name, rows] : json->Find("tokenizers")->as_object()) {
    const auto tokenizer = Open(name);
    if (!tokenizer) {
      test::PrintSkip(__FILE__, __LINE__, name + " is absent");
      continue;
    }
    for (const Value& row : rows.as_array()) {
      const std::string& text = texts[static_cast<size_t>(row.Find("text")->as_int())].as_string();
      INFO(name << ", text " << row.Find("text")->as_int() << ": " << text);
      const Value& plain = *row.Find("plain");
      const Value& parsed = row.Find("parsed") ? *row.Find("parsed") : plain;
      CheckEncoding(name, tokenizer->Encode(text, {.parse_special_tokens = true}), parsed);
      const Encoding encoding = tokenizer->Encode(text, {.add_special_tokens = false});
      for (const TokenId id : encoding.ids) {
        CHECK((!tokenizer->IsSpecial(id) || id == tokenizer->unk_id()));
      }
      // The package's Unigram makes control tokens of "<s>" even when it is told not to parse it.
      const bool unigram = name == "t5" || name.starts_with("unigram");
      if (unigram && text.find("<s>") != std::string::npos) continue;
      const Encoding whole = tokenizer->Encode(text);
      CheckEncoding(name, whole, plain);
      std::string decoded = row.Find("decoded")->as_string();
      if (name == "clip") {
        // The package leaves the suffix to transformers, which makes spaces of it.
        for (size_t at; (at = decoded.find("</w>")) != std::string::npos;) {
          decoded.replace(at, 4, at + 4 == decoded.size() ? "" : " ");
        }
      }
      CHECK(tokenizer->Decode(whole.ids) == decoded);
      ++compared;
    }
  }
  CHECK(compared >= 12 * texts.size() - 2);
}

TEST_CASE("tokenizers agree with the tokenizers package in 98 languages") {
  const auto data = test::SharedData("docs-udhr");
  if (!data) RAG_SKIP("no shared data");
  const test::TemporaryFolder folder;
  const std::string command = "python3 -m zipfile -e '" + (*data / "udhr2.zip").string() + "' '" +
                              folder.path().string() + "'";
  if (std::system(command.c_str()) != 0) RAG_SKIP("no python3 to unpack the texts");
  const std::vector<std::string> names = {"default", "koelectra", "gpt2", "roberta", "clip", "t5"};
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  for (const std::string& name : names) tokenizers.push_back(Open(name));
  std::istringstream rows(test::ReadAll(test::Golden("tokenizers/udhr.txt")));
  std::string row;
  size_t languages = 0;
  while (std::getline(rows, row)) {
    std::istringstream fields(row);
    std::string file, count, hash, ids_hash;
    fields >> file;
    const std::string text = test::ReadAll(folder.path() / file);
    for (size_t i = 0; i < names.size(); ++i) {
      fields >> count >> hash >> ids_hash;
      if (!tokenizers[i]) continue;
      INFO(file << " by " << names[i]);
      const Encoding encoding = tokenizers[i]->Encode(text);
      CHECK(std::to_string(encoding.ids.size()) == count);
      std::string listing, ids;
      for (size_t k = 0; k < encoding.ids.size(); ++k) {
        ids += StrCat(encoding.ids[k], ";");
        listing += StrCat(encoding.ids[k], ",", encoding.offsets[k].begin, ",",
                          encoding.offsets[k].end, ";");
      }
      CHECK(test::Fnv(ids) == ids_hash);
      if (HasExactRanges(names[i])) CHECK(test::Fnv(listing) == hash);
    }
    ++languages;
  }
  CHECK(languages == 98);
}

}  // namespace
}  // namespace rag
