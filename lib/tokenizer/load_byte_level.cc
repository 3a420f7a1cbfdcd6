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

// What transformers' conversion of CLIPTokenizer writes (convert_slow_tokenizer.py).
Result<Value> ClipTokenizerJson(Value vocabulary, const Vocabulary& pieces, const Merges& merges,
                                const TokenizerConfig& config) {
  const auto token = [&](std::string_view key, std::string_view usual) {
    const std::string name = config.Token(key);
    return name.empty() ? std::string(usual) : name;
  };
  const std::string begin = token("bos_token", "<|startoftext|>");
  const std::string end = token("eos_token", "<|endoftext|>");
  Value::Array added;
  for (const std::string& name : {begin, end}) {
    const auto id = pieces.Find(name);
    if (!id) return InvalidArgumentError("the vocabulary lacks '", name, "'");
    added.push_back(Value::Object(
        {{"id", int64_t{*id}}, {"content", name}, {"special", true}, {"normalized", false}}));
  }
  const auto name_and_id = [&](const std::string& name) {
    return Value::Array{Value(name), Value(int64_t{*pieces.Find(name)})};
  };
  Value::Array pairs;
  for (const auto& [left, right] : merges) pairs.push_back(Value::Array{Value(left), Value(right)});
  const auto regex = [](std::string_view pattern) {
    return Value::Object({{"Regex", std::string(pattern)}});
  };
  const auto sequence = [](std::string_view key, Value::Array parts) {
    return Value::Object({{"type", "Sequence"}, {std::string(key), std::move(parts)}});
  };
  Value::Object model({{"type", "BPE"},
                       {"unk_token", token("unk_token", "<|endoftext|>")},
                       {"end_of_word_suffix", std::string(kClipSuffix)}});
  model.Append("vocab", std::move(vocabulary));
  model.Append("merges", std::move(pairs));
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
       {"post_processor", Value::Object({{"type", "RobertaProcessing"},
                                         {"cls", name_and_id(begin)},
                                         {"sep", name_and_id(end)},
                                         {"trim_offsets", false},
                                         {"add_prefix_space", false}})},
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
  if (parts.vocabulary.Find(StrCat("a", kClipSuffix))) {
    auto clip = ClipTokenizerJson(std::move(*model.as_object().Find("vocab")), parts.vocabulary,
                                  merges, config);
    if (!clip.ok()) return std::move(clip).status().WithContext(vocabulary_path);
    return TokenizerFromJson(*clip, config);
  }
  BpeSettings settings;
  settings.byte_level = true;
  auto bpe = Bpe::FromMerges(merges, parts.vocabulary, {}, settings);
  if (!bpe.ok()) return std::move(bpe).status().WithContext(merges_path);

  // GPT2Tokenizer's and RobertaTokenizer's special tokens (transformers).
  const auto find = [&](std::string_view key, std::initializer_list<std::string_view> usual) {
    if (const std::string name = config.Token(key); !name.empty()) {
      return parts.vocabulary.Find(name);
    }
    for (const std::string_view name : usual) {
      if (const auto id = parts.vocabulary.Find(name)) return id;
    }
    return std::optional<TokenId>();
  };
  parts.bos_id = find("bos_token", {"<s>", "<|endoftext|>"});
  parts.eos_id = find("eos_token", {"</s>", "<|endoftext|>"});
  parts.pad_id = find("pad_token", {"<pad>"});
  parts.unk_id = find("unk_token", {"<unk>", "<|endoftext|>"});
  const auto mask = find("mask_token", {"<mask>"});
  for (const auto& special : {parts.bos_id, parts.eos_id, parts.pad_id, parts.unk_id, mask}) {
    if (!special) continue;
    AddedToken added;
    added.id = *special;
    added.content = std::string(parts.vocabulary.Piece(*special));
    added.special = true;
    added.lstrip = special == mask;
    parts.added_tokens.push_back(std::move(added));
  }
  ByteLevelSettings pre_tokenizer;
  RAG_ASSIGN_OR_RETURN(pre_tokenizer.add_prefix_space,
                       config.json.GetBool("add_prefix_space", false));
  const auto cls = parts.vocabulary.Find("<s>");
  const auto sep = parts.vocabulary.Find("</s>");
  if (cls && sep) {
    using Item = PostProcessor::Item;
    const Item begin{Item::kSpecial, *cls, 0};
    const Item end{Item::kSpecial, *sep, 0};
    parts.post_processor.single = {begin, {Item::kFirst, 0, 0}, end};
    parts.post_processor.trim_offsets = true;  // as transformers converts RoBERTa; not GPT-2
    parts.post_processor.pair = {begin, {Item::kFirst, 0, 0}, end, end, {Item::kSecond, 0, 0}, end};
  }
  RAG_ASSIGN_OR_RETURN(parts.truncate_left, config.TruncateLeft(false));
  parts.post_processor.add_prefix_space = pre_tokenizer.add_prefix_space;
  parts.pre_tokenizer = MakeByteLevelPreTokenizer(pre_tokenizer);
  parts.fused = MakeFusedByteLevel(**bpe, WordPattern::kGpt2, pre_tokenizer.add_prefix_space);
  parts.model = std::move(*bpe);
  parts.decoder = MakeByteLevelDecoder();
  return std::unique_ptr<Tokenizer>(new PipelineTokenizer(std::move(parts)));
}

}  // namespace rag
