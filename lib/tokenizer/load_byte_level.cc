#include "lib/base/file.h"
#include "lib/tokenizer/bpe.h"
#include "lib/tokenizer/loaders.h"

namespace rag {

Result<std::unique_ptr<Tokenizer>> LoadByteLevelVocabulary(const std::string& vocabulary_path,
                                                           const std::string& merges_path,
                                                           const TokenizerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string vocabulary_text,
                       ReadFile(vocabulary_path, kMaxTokenizerBytes));
  RAG_ASSIGN_OR_RETURN(const std::string merges_text, ReadFile(merges_path, kMaxTokenizerBytes));
  auto json = ParseJson(vocabulary_text);
  if (!json.ok()) return std::move(json).status().WithContext(vocabulary_path);
  TokenizerParts parts;
  Value::Object model;
  model.Set("vocab", std::move(json).value());
  RAG_RETURN_IF_ERROR(
      ReadModelVocabulary(Value(std::move(model)), parts.vocabulary).WithContext(vocabulary_path));
  // CLIP's, whose words are split and lower-cased otherwise and end in this.
  if (parts.vocabulary.Find("a</w>")) {
    return UnimplementedError(vocabulary_path,
                              ": a vocabulary whose words end in '</w>' is read from "
                              "tokenizer.json, which is not here");
  }

  // One merge a line; the first line may be a "#version" header.
  std::vector<std::pair<std::string, std::string>> merges;
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
      return InvalidArgumentError(merges_path, ": line ", line + 1, " is no pair of pieces");
    }
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
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
  parts.post_processor.add_prefix_space = pre_tokenizer.add_prefix_space;
  parts.pre_tokenizer = MakeByteLevelPreTokenizer(pre_tokenizer);
  parts.fused = MakeFusedByteLevel(**bpe, WordPattern::kGpt2, pre_tokenizer.add_prefix_space);
  parts.model = std::move(*bpe);
  parts.decoder = MakeByteLevelDecoder();
  return std::unique_ptr<Tokenizer>(new PipelineTokenizer(std::move(parts)));
}

}  // namespace rag
