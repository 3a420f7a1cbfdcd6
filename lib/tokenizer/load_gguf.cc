// Tokenizers inside GGUF files: tokenizer.ggml.* (ggml, docs/gguf.md, "Tokenizer"), with what
// llama.cpp's llama-vocab.cpp makes of them.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "lib/model/gguf_keys.h"
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

constexpr std::string_view kPrefix = "tokenizer.ggml.";

struct GgufVocabulary {
  const GgufFile& file;
  GgufKeys keys;
  std::string model;
  std::vector<std::string> pieces;
  std::vector<float> scores;   // empty when absent
  std::vector<int64_t> types;  // empty when absent

  int64_t type(size_t id) const { return id < types.size() ? types[id] : 1; }

  // The token of a key; none where it is absent, or written as 2^32 - 1 or -1.
  Result<std::optional<TokenId>> Id(std::string_view key) const {
    const Value* value = file.FindMetadata(StrCat(kPrefix, key));
    const bool none =
        value == nullptr ||
        (value->is_int() && (value->as_int() == -1 || value->as_int() == int64_t{0xFFFFFFFF}));
    if (none) return std::optional<TokenId>();
    RAG_ASSIGN_OR_RETURN(const size_t id,
                         keys.Size(key, 0, static_cast<int64_t>(pieces.size()) - 1, 0));
    return std::optional<TokenId>(static_cast<TokenId>(id));
  }
};

// Null when absent.
Result<const Value::Array*> FindArray(const GgufFile& file, std::string_view key) {
  const Value* value = file.FindMetadata(StrCat(kPrefix, key));
  if (value == nullptr) return static_cast<const Value::Array*>(nullptr);
  if (!value->is_array()) return InvalidArgumentError(kPrefix, key, " is no array");
  return &value->as_array();
}

// One number for each piece.
Status CheckCount(std::string_view key, size_t count, size_t pieces) {
  if (count == pieces) return OkStatus();
  return InvalidArgumentError(kPrefix, key, " has ", count, " numbers for ", pieces, " tokens");
}

Result<GgufVocabulary> ReadVocabulary(const GgufFile& file) {
  GgufVocabulary out{file, GgufKeys(file, std::string(kPrefix)), {}, {}, {}, {}};
  RAG_ASSIGN_OR_RETURN(out.model, out.keys.Text("model", ""));
  RAG_ASSIGN_OR_RETURN(const Value::Array* tokens, FindArray(file, "tokens"));
  if (tokens == nullptr) return InvalidArgumentError(kPrefix, "tokens is missing");
  size_t bytes = 0;
  for (const Value& token : *tokens) {
    if (!token.is_string()) return InvalidArgumentError(kPrefix, "tokens holds no strings");
    bytes += token.as_string().size();
    if (bytes > kMaxTokenizerBytes) {
      return ResourceExhaustedError(kPrefix, "tokens has over ", kMaxTokenizerBytes, " bytes");
    }
    out.pieces.push_back(token.as_string());
  }
  RAG_ASSIGN_OR_RETURN(const Value::Array* scores, FindArray(file, "scores"));
  if (scores != nullptr) {
    RAG_RETURN_IF_ERROR(CheckCount("scores", scores->size(), out.pieces.size()));
    for (const Value& score : *scores) {
      if (!score.is_number() || !std::isfinite(score.as_double())) {
        return InvalidArgumentError(kPrefix, "scores[", out.scores.size(), "] is no finite number");
      }
      out.scores.push_back(static_cast<float>(score.as_double()));
    }
  }
  RAG_ASSIGN_OR_RETURN(const Value::Array* types, FindArray(file, "token_type"));
  if (types != nullptr) {
    RAG_RETURN_IF_ERROR(CheckCount("token_type", types->size(), out.pieces.size()));
    for (const Value& type : *types) {
      if (!type.is_int() || type.as_int() < 0 || type.as_int() > kByte) {
        return InvalidArgumentError(kPrefix, "token_type[", out.types.size(), "] is ", ToJson(type),
                                    ", not between 0 and ", int64_t{kByte});
      }
      out.types.push_back(type.as_int());
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
  RAG_ASSIGN_OR_RETURN(parts.bos_id, source.Id("bos_token_id"));
  RAG_ASSIGN_OR_RETURN(parts.eos_id, source.Id("eos_token_id"));
  RAG_ASSIGN_OR_RETURN(parts.unk_id, source.Id("unknown_token_id"));
  // Nothing here pads, and files that name a padding token which they lack are published.
  if (const auto padding = source.Id("padding_token_id"); padding.ok()) parts.pad_id = *padding;
  return OkStatus();
}

Status AddBosAndEos(const GgufVocabulary& source, bool bos_default, TokenizerParts& parts) {
  using Item = PostProcessor::Item;
  RAG_ASSIGN_OR_RETURN(const bool add_bos, source.keys.Flag("add_bos_token", bos_default));
  RAG_ASSIGN_OR_RETURN(const bool add_eos, source.keys.Flag("add_eos_token", false));
  const auto around = [&](Item::Kind kind, std::vector<Item>& items) {
    if (add_bos && parts.bos_id) items.push_back({Item::kSpecial, *parts.bos_id, 0});
    items.push_back({kind, 0, 0});
    if (add_eos && parts.eos_id) items.push_back({Item::kSpecial, *parts.eos_id, 0});
  };
  parts.post_processor.single.clear();
  parts.post_processor.pair.clear();
  around(Item::kFirst, parts.post_processor.single);
  around(Item::kFirst, parts.post_processor.pair);
  around(Item::kSecond, parts.post_processor.pair);
  return OkStatus();
}

Status FillLlama(const GgufVocabulary& source, TokenizerParts& parts) {
  std::vector<bool> mergeable(source.pieces.size());
  for (size_t i = 0; i < mergeable.size(); ++i) {
    const int64_t type = source.type(i);
    mergeable[i] = type != kControl && type != kUnknown && type != kUnused && type != kByte;
  }
  if (source.scores.empty()) return InvalidArgumentError(kPrefix, "scores is missing");
  BpeSettings settings;
  settings.byte_fallback = true;
  RAG_ASSIGN_OR_RETURN(parts.model,
                       Bpe::FromScores(source.scores, mergeable, parts.vocabulary, settings));
  std::vector<std::unique_ptr<Normalizer>> normalizers;
  RAG_ASSIGN_OR_RETURN(const bool space_prefix, source.keys.Flag("add_space_prefix", true));
  if (space_prefix) normalizers.push_back(MakePrependNormalizer(kSpaceMark));
  normalizers.push_back(MakeReplaceNormalizer(" ", kSpaceMark));
  parts.normalizer = MakeSequenceNormalizer(std::move(normalizers));
  std::vector<std::unique_ptr<Decoder>> decoders;
  decoders.push_back(MakeByteFallbackDecoder());
  decoders.push_back(MakeMetaspaceDecoder(std::string(kSpaceMark), space_prefix));
  parts.decoder = MakeSequenceDecoder(std::move(decoders));
  return AddBosAndEos(source, true, parts);
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
  RAG_ASSIGN_OR_RETURN(const std::string pre, source.keys.Text("pre", ""));
  const PreTokenizerKind* kind = FindPreTokenizer(pre);
  if (kind == nullptr) {
    return UnsupportedError(kPrefix, "pre '", pre, "' is not supported");
  }
  RAG_ASSIGN_OR_RETURN(const Value::Array* list, FindArray(source.file, "merges"));
  if (list == nullptr) return InvalidArgumentError(kPrefix, "merges is missing");
  std::vector<std::pair<std::string, std::string>> merges;
  for (const Value& merge : *list) {
    // A piece has no space, but its first character may be one in old files.
    const size_t space = merge.is_string() ? merge.as_string().find(' ', 1) : std::string::npos;
    if (space == std::string::npos) {
      return InvalidArgumentError(kPrefix, "merges[", merges.size(), "] is no pair");
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
  auto made = Bpe::FromMerges(merges, parts.vocabulary, excluded, settings);
  if (!made.ok()) return std::move(made).status().WithContext(StrCat(kPrefix, "merges"));
  std::unique_ptr<Bpe> bpe = std::move(made).value();
  RAG_ASSIGN_OR_RETURN(const bool prefix, source.keys.Flag("add_space_prefix", false));
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
  return AddBosAndEos(source, kind->add_bos, parts);
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
  const auto named = [&](std::initializer_list<std::string_view> keys,
                         std::string_view usual) -> Result<std::optional<TokenId>> {
    for (const std::string_view key : keys) {
      RAG_ASSIGN_OR_RETURN(const std::optional<TokenId> id, source.Id(key));
      if (id) return id;
    }
    return parts.vocabulary.Find(usual);
  };
  RAG_ASSIGN_OR_RETURN(const auto cls, named({"cls_token_id", "bos_token_id"}, "[CLS]"));
  RAG_ASSIGN_OR_RETURN(
      const auto sep, named({"seperator_token_id", "separator_token_id", "eos_token_id"}, "[SEP]"));
  RAG_ASSIGN_OR_RETURN(const auto unk, named({"unknown_token_id"}, "[UNK]"));
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
  const std::string& model = source.model;
  if (model == "bert") return FillBert(source, parts);
  RAG_RETURN_IF_ERROR(FillCommon(source, parts));
  if (model == "llama") return FillLlama(source, parts);
  if (model == "gpt2") return FillGpt2(source, parts);
  return UnsupportedError(kPrefix, "model '", model, "' is not supported");
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
  Status status = Fill(file, parts);
  if (!status.ok() && !status.message().starts_with(StrCat(file.path(), ":"))) {
    status = std::move(status).WithContext(file.path());
  }
  RAG_RETURN_IF_ERROR(status);
  return std::unique_ptr<Tokenizer>(new PipelineTokenizer(std::move(parts)));
}

}  // namespace rag
