#include "lib/base/file.h"
#include "lib/tokenizer/bpe.h"
#include "lib/tokenizer/loaders.h"

namespace rag {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

// One merge a line; the first line may be a "#version" header.
Result<Merges> ReadMerges(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string merges_text, ReadFile(path, kMaxTokenizerBytes));
  Merges merges;
  size_t line = 0;
  for (size_t begin = 0; begin < merges_text.size(); ++line) {
    size_t end = merges_text.find('\n', begin);
    if (end == std::string::npos) end = merges_text.size();
    std::string_view text(merges_text.data() + begin, end - begin);
    begin = end + 1;
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.empty() || (line == 0 && text.starts_with("#version"))) continue;
    const size_t space = text.find(' ');
    if (space == std::string_view::npos) {
      return InvalidArgumentError(path, ": line ", line + 1, " is no pair of pieces");
    }
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

// CLIP's words are split and lower-cased otherwise than GPT-2's, and end in this.
constexpr std::string_view kClipSuffix = "</w>";

Value MergesJson(const Merges& merges) {
  Value::Array pairs;
  for (const auto& [left, right] : merges) pairs.push_back(Value::Array{Value(left), Value(right)});
  return Value(std::move(pairs));
}

// What transformers' conversion of CLIPTokenizer writes (convert_slow_tokenizer.py).
Result<Value> ClipTokenizerJson(const Vocabulary& pieces, const Merges& merges,
                                const TokenizerConfig& config) {
  Value::Array added;
  for (const std::string_view key : {"bos_token", "eos_token"}) {
    const std::string name = config.TokenOrUsual(key);
    const auto id = pieces.Find(name);
    if (!id) return InvalidArgumentError("the vocabulary lacks '", name, "'");
    added.push_back(Value::Object(
        {{"id", int64_t{*id}}, {"content", name}, {"special", true}, {"normalized", false}}));
  }
  const auto regex = [](std::string_view pattern) {
    return Value::Object({{"Regex", std::string(pattern)}});
  };
  const auto sequence = [](std::string_view key, Value::Array parts) {
    return Value::Object({{"type", "Sequence"}, {std::string(key), std::move(parts)}});
  };
  Value::Object model({{"type", "BPE"},
                       {"unk_token", config.TokenOrUsual("unk_token")},
                       {"end_of_word_suffix", std::string(kClipSuffix)}});
  model.Append("merges", MergesJson(merges));
  return Value::Object(
      {{"added_tokens", std::move(added)},
       {"normalizer",
        sequence(
            "normalizers",
            {Value::Object({{"type", "NFC"}}),
             Value::Object({{"type", "Replace"}, {"pattern", regex("\\s+")}, {"content", " "}}),
             Value::Object({{"type", "Lowercase"}})})},
       {"pre_tokenizer",
        sequence("pretokenizers",
                 {Value::Object({{"type", "Split"},
                                 {"pattern", regex("<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|"
                                                   "'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|"
                                                   "[^\\s\\p{L}\\p{N}]+")},
                                 {"behavior", "Removed"},
                                 {"invert", true}}),
                  Value::Object({{"type", "ByteLevel"}, {"add_prefix_space", false}})})},
       {"decoder", Value::Object({{"type", "ByteLevel"}})},
       {"model", std::move(model)}});
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> LoadByteLevelVocabulary(const std::string& vocabulary_path,
                                                           const std::string& merges_path,
                                                           const TokenizerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string vocabulary_text,
                       ReadFile(vocabulary_path, kMaxTokenizerBytes));
  auto json = ParseJson(vocabulary_text);
  if (!json.ok()) return std::move(json).status().WithContext(vocabulary_path);
  RAG_ASSIGN_OR_RETURN(const Merges merges, ReadMerges(merges_path));
  TokenizerParts parts;
  Value model = Value::Object();
  model.as_object().Set("vocab", std::move(json).value());
  RAG_RETURN_IF_ERROR(ReadModelVocabulary(model, parts.vocabulary).WithContext(vocabulary_path));
  TokenizerConfig own = config;
  own.names_class = true;
  if (parts.vocabulary.Find(StrCat("a", kClipSuffix))) {
    own.own_class = TokenizerClass::kClip;
    auto clip = ClipTokenizerJson(parts.vocabulary, merges, own);
    if (!clip.ok()) return std::move(clip).status().WithContext(vocabulary_path);
    return TokenizerFromJson(*clip, std::move(parts.vocabulary), own);
  }
  // Which of the two classes it is follows from the pieces where nothing names it.
  if (own.own_class != TokenizerClass::kGpt2 && own.own_class != TokenizerClass::kRoberta) {
    const bool has_both = parts.vocabulary.Find("<s>") && parts.vocabulary.Find("</s>");
    own.own_class = has_both ? TokenizerClass::kRoberta : TokenizerClass::kGpt2;
  }
  const Value::Object whole{
      {"model", Value::Object({{"type", "BPE"}, {"merges", MergesJson(merges)}})},
      {"pre_tokenizer", Value::Object({{"type", "ByteLevel"}, {"add_prefix_space", false}})},
      {"decoder", Value::Object({{"type", "ByteLevel"}})}};
  auto tokenizer = TokenizerFromJson(Value(whole), std::move(parts.vocabulary), own);
  if (!tokenizer.ok()) return std::move(tokenizer).status().WithContext(merges_path);
  return tokenizer;
}

}  // namespace rag
