// Tokenizers inside GGUF files: tokenizer.ggml.* (ggml, docs/gguf.md, "Tokenizer"), with what
// llama.cpp's llama-vocab.cpp makes of them.
#include <algorithm>
#include <initializer_list>

#include "lib/model/model_file.h"
#include "lib/tokenizer/bpe.h"
#include "lib/tokenizer/loaders.h"
#include "lib/tokenizer/word_piece.h"

namespace rag {
namespace {

// llama.cpp, llama.h, llama_token_type.
enum TokenType : int64_t {
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

struct GgufVocabulary {
  const GgufFile& file;
  std::vector<std::string> pieces;
  std::vector<float> scores;   // empty when absent
  std::vector<int64_t> types;  // empty when absent

  int64_t type(size_t id) const { return id < types.size() ? types[id] : 1; }

  std::optional<TokenId> Id(std::string_view key) const {
    const Value* value = file.FindMetadata(StrCat("tokenizer.ggml.", key));
    // Absent ids are written as 2^32 - 1 too.
    if (value == nullptr || !value->is_int() || value->as_int() < 0 ||
        value->as_int() >= static_cast<int64_t>(pieces.size())) {
      return std::nullopt;
    }
    return static_cast<TokenId>(value->as_int());
  }
  bool Flag(std::string_view key, bool fallback) const {
    const Value* value = file.FindMetadata(StrCat("tokenizer.ggml.", key));
    return value != nullptr && value->is_bool() ? value->as_bool() : fallback;
  }
  std::string Text(std::string_view key) const {
    const Value* value = file.FindMetadata(StrCat("tokenizer.ggml.", key));
    return value != nullptr && value->is_string() ? value->as_string() : "";
  }
};

Result<GgufVocabulary> ReadVocabulary(const GgufFile& file) {
  GgufVocabulary out{file, {}, {}, {}};
  const auto array = [&](std::string_view key) -> const Value::Array* {
    const Value* value = file.FindMetadata(StrCat("tokenizer.ggml.", key));
    return value != nullptr && value->is_array() ? &value->as_array() : nullptr;
  };
  const Value::Array* tokens = array("tokens");
  if (tokens == nullptr) return InvalidArgumentError("tokenizer.ggml.tokens is missing");
  size_t bytes = 0;
  for (const Value& token : *tokens) {
    if (!token.is_string()) return InvalidArgumentError("tokenizer.ggml.tokens holds no strings");
    bytes += token.as_string().size();
    if (bytes > kMaxTokenizerBytes) {
      return ResourceExhaustedError("tokenizer.ggml.tokens has over ", kMaxTokenizerBytes,
                                    " bytes");
    }
    out.pieces.push_back(token.as_string());
  }
  if (const Value::Array* scores = array("scores")) {
    for (const Value& score : *scores) {
      if (!score.is_number()) return InvalidArgumentError("tokenizer.ggml.scores has no numbers");
      out.scores.push_back(static_cast<float>(score.as_double()));
    }
  }
  if (const Value::Array* types = array("token_type")) {
    for (const Value& type : *types) {
      if (!type.is_int()) return InvalidArgumentError("tokenizer.ggml.token_type has no numbers");
      out.types.push_back(type.as_int());
    }
  }
  for (const size_t size : {out.scores.size(), out.types.size()}) {
    if (size != 0 && size != out.pieces.size()) {
      return InvalidArgumentError("tokenizer.ggml has ", out.pieces.size(), " tokens, but ", size,
                                  " scores or types");
    }
  }
  return out;
}

// Pieces, ids, and the tokens that are cut out of a text before anything else.
Status FillCommon(const GgufVocabulary& source, TokenizerParts& parts) {
  for (size_t i = 0; i < source.pieces.size(); ++i) {
    const TokenId id = static_cast<TokenId>(i);
    RAG_RETURN_IF_ERROR(parts.vocabulary.Add(source.pieces[i], id));
    const int64_t type = source.type(i);
    if (type == kControl || type == kUnknown) parts.special_ids.push_back(id);
    if ((type == kControl || type == kUserDefined || type == kUnknown) &&
        !source.pieces[i].empty()) {
      AddedToken added;
      added.id = id;
      added.content = source.pieces[i];
      added.special = type != kUserDefined;
      parts.added_tokens.push_back(std::move(added));
    }
  }
  parts.bos_id = source.Id("bos_token_id");
  parts.eos_id = source.Id("eos_token_id");
  parts.pad_id = source.Id("padding_token_id");
  parts.unk_id = source.Id("unknown_token_id");
  return OkStatus();
}

void AddBosAndEos(const GgufVocabulary& source, bool bos_default, TokenizerParts& parts) {
  using Item = PostProcessor::Item;
  const auto around = [&](Item::Kind kind, std::vector<Item>& items) {
    if (source.Flag("add_bos_token", bos_default) && parts.bos_id) {
      items.push_back({Item::kSpecial, *parts.bos_id, 0});
    }
    items.push_back({kind, 0, 0});
    if (source.Flag("add_eos_token", false) && parts.eos_id) {
      items.push_back({Item::kSpecial, *parts.eos_id, 0});
    }
  };
  parts.post_processor.single.clear();
  parts.post_processor.pair.clear();
  around(Item::kFirst, parts.post_processor.single);
  around(Item::kFirst, parts.post_processor.pair);
  around(Item::kSecond, parts.post_processor.pair);
}

Status FillLlama(const GgufVocabulary& source, TokenizerParts& parts) {
  std::vector<bool> mergeable(source.pieces.size());
  for (size_t i = 0; i < mergeable.size(); ++i) {
    const int64_t type = source.type(i);
    mergeable[i] = type != kControl && type != kUnknown && type != kUnused && type != kByte;
  }
  if (source.scores.empty()) return InvalidArgumentError("tokenizer.ggml.scores is missing");
  BpeSettings settings;
  settings.byte_fallback = true;
  RAG_ASSIGN_OR_RETURN(parts.model,
                       Bpe::FromScores(source.scores, mergeable, parts.vocabulary, settings));
  std::vector<std::unique_ptr<Normalizer>> normalizers;
  const bool space_prefix = source.Flag("add_space_prefix", true);
  if (space_prefix) normalizers.push_back(MakePrependNormalizer(kSpaceMark));
  normalizers.push_back(MakeReplaceNormalizer(" ", kSpaceMark));
  parts.normalizer = MakeSequenceNormalizer(std::move(normalizers));
  std::vector<std::unique_ptr<Decoder>> decoders;
  decoders.push_back(MakeByteFallbackDecoder());
  decoders.push_back(MakeMetaspaceDecoder(std::string(kSpaceMark), space_prefix));
  parts.decoder = MakeSequenceDecoder(std::move(decoders));
  AddBosAndEos(source, true, parts);
  return OkStatus();
}

// The patterns of a "tokenizer.ggml.pre", each applied to what the one before left.
struct PreTokenizerKind {
  std::initializer_list<std::string_view> names;
  std::initializer_list<std::string_view> patterns;
  bool add_bos = false;
  bool ignore_merges = false;
};

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|)"
    R"(\s+(?!\S)|\s+)";
constexpr std::string_view kIdeographsPattern = "[一-龥ࠀ-一가-퟿]+";

const PreTokenizerKind* FindPreTokenizer(std::string_view name) {
  static const PreTokenizerKind kKinds[] = {
      {{"", "default"},
       {R"([\p{P}\$\+<=>\^~\|]+)",
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))", R"(\p{N}+)",
        "[0-9][0-9][0-9]"}},
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "smaug-bpe", "dbrx"},
       {kLlama3Pattern},
       true,
       true},
      {{"qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"}, {kQwen2Pattern}},
      {{"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de",
        "jina-v2-code", "mpt", "olmo", "gigachat", "roberta-bpe", "exaone4"},
       {kGpt2Pattern}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, "[0-9][0-9][0-9]"}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"},
       {R"(\p{N})", kGpt2Pattern}},
      {{"deepseek-coder"},
       {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kIdeographsPattern, R"(\p{N})"}},
      {{"deepseek-v3"},
       {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
        R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {{"gpt-4o", "llama4"}, {kO200kPattern}},
  };
  for (const PreTokenizerKind& kind : kKinds) {
    if (std::find(kind.names.begin(), kind.names.end(), name) != kind.names.end()) return &kind;
  }
  return nullptr;
}

Status FillGpt2(const GgufVocabulary& source, TokenizerParts& parts) {
  const std::string pre = source.Text("pre");
  const PreTokenizerKind* kind = FindPreTokenizer(pre);
  if (kind == nullptr) {
    return UnimplementedError("tokenizer.ggml.pre '", pre, "' is not supported");
  }
  const Value* list = source.file.FindMetadata("tokenizer.ggml.merges");
  if (list == nullptr || !list->is_array()) {
    return InvalidArgumentError("tokenizer.ggml.merges is missing");
  }
  std::vector<std::pair<std::string, std::string>> merges;
  for (const Value& merge : list->as_array()) {
    // A piece has no space, but its first character may be one in old files.
    const size_t space = merge.is_string() ? merge.as_string().find(' ', 1) : std::string::npos;
    if (space == std::string::npos) {
      return InvalidArgumentError("tokenizer.ggml.merges[", merges.size(), "] is no pair");
    }
    merges.emplace_back(merge.as_string().substr(0, space), merge.as_string().substr(space + 1));
  }
  std::vector<bool> excluded(source.pieces.size());
  for (const AddedToken& token : parts.added_tokens) {
    if (token.special) excluded[static_cast<size_t>(token.id)] = true;
  }
  BpeSettings settings;
  settings.byte_level = true;
  settings.ignore_merges = kind->ignore_merges;
  RAG_ASSIGN_OR_RETURN(auto bpe, Bpe::FromMerges(merges, parts.vocabulary, excluded, settings));
  const bool prefix = source.Flag("add_space_prefix", false);
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  if (prefix) {
    parts.normalizer = MakePrependNormalizer(" ");
  } else if (kind->patterns.size() == 1) {
    if (const auto known = KnownWordPattern(*kind->patterns.begin())) {
      parts.fused = MakeFusedByteLevel(*bpe, *known, false);
    }
  }
  for (const std::string_view pattern : kind->patterns) {
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<Pattern> compiled,
                         ParsePattern(Value(Value::Object{{"Regex", Value(pattern)}})));
    steps.push_back(MakeSplitPreTokenizer(std::move(compiled), SplitBehavior::kIsolated, false));
  }
  steps.push_back(MakeByteLevelPreTokenizer({.add_prefix_space = false, .use_regex = false}));
  parts.pre_tokenizer = MakeSequencePreTokenizer(std::move(steps));
  parts.model = std::move(bpe);
  parts.decoder = MakeByteLevelDecoder();
  AddBosAndEos(source, kind->add_bos, parts);
  return OkStatus();
}

// GGUF marks pieces that begin a word with U+2581 instead of the others with "##"; they are turned
// back, so that Piece() gives what every BERT vocabulary has.
Status FillBert(GgufVocabulary& source, TokenizerParts& parts) {
  for (size_t i = 0; i < source.pieces.size(); ++i) {
    std::string& piece = source.pieces[i];
    const int64_t type = source.type(i);
    if (type == kControl || type == kUnknown) continue;
    if (piece.starts_with(kSpaceMark)) {
      piece.erase(0, kSpaceMark.size());
    } else if (!(piece.starts_with('[') && piece.ends_with(']') && piece.size() > 2)) {
      piece.insert(0, "##");
    }
  }
  parts.vocabulary = Vocabulary();
  parts.special_ids.clear();
  parts.added_tokens.clear();
  RAG_RETURN_IF_ERROR(FillCommon(source, parts));
  const auto named = [&](std::initializer_list<std::string_view> keys, std::string_view usual) {
    for (const std::string_view key : keys) {
      if (const auto id = source.Id(key)) return id;
    }
    return parts.vocabulary.Find(usual);
  };
  const auto cls = named({"cls_token_id", "bos_token_id"}, "[CLS]");
  const auto sep = named({"seperator_token_id", "separator_token_id", "eos_token_id"}, "[SEP]");
  const auto unk = named({"unknown_token_id"}, "[UNK]");
  if (!cls || !sep || !unk)
    return InvalidArgumentError("the vocabulary lacks [CLS], [SEP] or [UNK]");
  parts.bos_id = cls;
  parts.eos_id = sep;
  parts.unk_id = unk;
  WordPieceSettings settings;
  settings.unk_token = std::string(parts.vocabulary.Piece(*unk));
  RAG_ASSIGN_OR_RETURN(auto model, WordPiece::Create(parts.vocabulary, settings));
  const BertNormalizerSettings normalizer;
  parts.normalizer = MakeBertNormalizer(normalizer);
  parts.pre_tokenizer = MakeBertPreTokenizer();
  parts.fused = MakeFusedBert(*model, normalizer);
  parts.model = std::move(model);
  parts.decoder = MakeWordPieceDecoder("##", true);
  parts.post_processor = PostProcessor::Bert(*cls, *sep);
  return OkStatus();
}

Status Fill(const GgufFile& file, TokenizerParts& parts) {
  RAG_ASSIGN_OR_RETURN(GgufVocabulary source, ReadVocabulary(file));
  const std::string model = source.Text("model");
  if (model == "bert") return FillBert(source, parts);
  RAG_RETURN_IF_ERROR(FillCommon(source, parts));
  if (model == "llama") return FillLlama(source, parts);
  if (model == "gpt2") return FillGpt2(source, parts);
  return UnimplementedError("tokenizer.ggml.model '", model, "' is not supported");
}

}  // namespace

std::string_view GgufPreTokenizerName(std::string_view pattern) {
  for (const auto& [known, name] :
       {std::pair{kGpt2Pattern, "gpt-2"}, std::pair{kLlama3Pattern, "llama-bpe"},
        std::pair{kQwen2Pattern, "qwen2"}, std::pair{kO200kPattern, "gpt-4o"}}) {
    if (pattern == known) return name;
  }
  return {};
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::FromGguf(const GgufFile& file) {
  TokenizerParts parts;
  RAG_RETURN_IF_ERROR(Fill(file, parts).WithContext(file.path()));
  return std::unique_ptr<Tokenizer>(new PipelineTokenizer(std::move(parts)));
}

}  // namespace rag
