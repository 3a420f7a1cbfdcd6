#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "lib/base/file.h"
#include "lib/tokenizer/bpe.h"
#include "lib/tokenizer/loaders.h"
#include "lib/tokenizer/unigram.h"
#include "lib/tokenizer/word_piece.h"

namespace rag {
namespace {

constexpr size_t kMaxAddedTokens = 1 << 20;

// Ids that no piece has, beyond the number of pieces: each takes a place in the vocabulary.
constexpr size_t kMaxUnusedIds = 1 << 18;

Result<TokenId> ParseId(const Value& value, std::string_view piece, size_t pieces) {
  const size_t end = std::min(pieces + kMaxUnusedIds, size_t{Vocabulary::kMaxSize});
  if (!value.is_int() || value.as_int() < 0 || value.as_int() >= static_cast<int64_t>(end)) {
    return InvalidArgumentError("id ", ToJson(value), " of piece '", piece,
                                "' is not between 0 and ", end);
  }
  return static_cast<TokenId>(value.as_int());
}

Status ReadAddedTokens(const Value& json, TokenizerParts& parts) {
  const Value* list = json.Find("added_tokens");
  if (list == nullptr || list->is_null()) return OkStatus();
  if (!list->is_array() || list->as_array().size() > kMaxAddedTokens) {
    return InvalidArgumentError("added_tokens is no list of at most ", kMaxAddedTokens, " tokens");
  }
  const size_t pieces = parts.vocabulary.size() + list->as_array().size();
  for (const Value& entry : list->as_array()) {
    AddedToken token;
    RAG_ASSIGN_OR_RETURN(token.content, entry.GetString("content", ""));
    if (token.content.empty()) return InvalidArgumentError("an added token has no content");
    const Value* id = entry.Find("id");
    if (id == nullptr) return InvalidArgumentError("added token '", token.content, "' has no id");
    RAG_ASSIGN_OR_RETURN(token.id, ParseId(*id, token.content, pieces));
    RAG_ASSIGN_OR_RETURN(token.special, entry.GetBool("special", false));
    RAG_ASSIGN_OR_RETURN(token.single_word, entry.GetBool("single_word", false));
    RAG_ASSIGN_OR_RETURN(token.lstrip, entry.GetBool("lstrip", false));
    RAG_ASSIGN_OR_RETURN(token.rstrip, entry.GetBool("rstrip", false));
    RAG_ASSIGN_OR_RETURN(token.normalized, entry.GetBool("normalized", !token.special));
    parts.added_tokens.push_back(std::move(token));
  }
  return OkStatus();
}

// One of an added token's fields, as tokenizer_config.json has it.
Result<AddedToken> ReadConfiguredToken(const std::string& key, const Value& entry) {
  AddedToken token;
  RAG_ASSIGN_OR_RETURN(token.content, entry.GetString("content", ""));
  if (token.content.empty()) return InvalidArgumentError("token ", key, " has no content");
  RAG_ASSIGN_OR_RETURN(token.special, entry.GetBool("special", false));
  RAG_ASSIGN_OR_RETURN(token.single_word, entry.GetBool("single_word", false));
  RAG_ASSIGN_OR_RETURN(token.lstrip, entry.GetBool("lstrip", false));
  RAG_ASSIGN_OR_RETURN(token.rstrip, entry.GetBool("rstrip", false));
  RAG_ASSIGN_OR_RETURN(token.normalized, entry.GetBool("normalized", !token.special));
  return token;
}

// The files beside may have tokens that tokenizer.json lacks. transformers adds those behind the
// others, in the order of their ids there.
Status AddConfiguredTokens(const TokenizerConfig& config, TokenizerParts& parts) {
  RAG_ASSIGN_OR_RETURN(std::vector<AddedToken> tokens, ReadConfiguredTokens(config));
  if (tokens.empty()) return OkStatus();
  std::unordered_set<std::string> known;
  for (const AddedToken& token : parts.added_tokens) known.insert(token.content);
  auto next = static_cast<TokenId>(parts.vocabulary.size());
  for (const AddedToken& token : parts.added_tokens) next = std::max(next, token.id + 1);
  for (AddedToken& token : tokens) {
    if (known.contains(token.content)) continue;
    const auto piece = parts.vocabulary.Find(token.content);
    const TokenId id = piece.has_value() ? *piece : next++;
    if (token.id != id) {
      return InvalidArgumentError(config.ConfiguredTokensName(), " gives token '", token.content,
                                  "' the id ", token.id, ", and transformers ", id);
    }
    token.special |= config.NamesSpecial(token.content);
    parts.added_tokens.push_back(std::move(token));
  }
  return OkStatus();
}

std::string TypeOf(const Value& json) {
  const auto name = json.GetString("type", "");
  return name.ok() ? *name : std::string();
}

// A member of tokenizer.json as the classes of transformers make it, which take a setting of their
// own files over tokenizer.json's: (key there, key here, what a class takes where there is none).
struct OwnSetting {
  std::string_view key;
  std::string_view member;
  Value usual;
};
Result<Value> TakeOwnSettings(const Value& part, const TokenizerConfig& config, bool has_class,
                              std::initializer_list<OwnSetting> settings) {
  Value own = part;
  for (const OwnSetting& setting : settings) {
    const Value* value = config.json.Find(setting.key);
    if (value == nullptr && !has_class) continue;
    if (value != nullptr && !value->is_null() && !value->is_bool()) {
      return InvalidArgumentError("tokenizer_config.json: '", setting.key, "' is ", ToJson(*value),
                                  ", not true or false");
    }
    own.as_object().Set(setting.member, value != nullptr ? *value : setting.usual);
  }
  return own;
}

bool IsWordPieceClass(const TokenizerConfig& config) {
  return config.own_class == TokenizerClass::kBert || config.own_class == TokenizerClass::kMpnet;
}

bool IsByteLevelClass(const TokenizerConfig& config) {
  return config.own_class == TokenizerClass::kRoberta || config.own_class == TokenizerClass::kGpt2;
}

// The special tokens that the class makes of pieces.
void AddNamedTokens(const TokenizerConfig& config, TokenizerParts& parts) {
  if (!IsWordPieceClass(config) && !IsByteLevelClass(config)) return;
  for (const std::string_view key : {"cls_token", "sep_token", "bos_token", "eos_token",
                                     "pad_token", "unk_token", "mask_token"}) {
    AddedToken token;
    token.content = config.TokenOrUsual(key);
    const auto id = parts.vocabulary.Find(token.content);
    const bool there =
        std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(),
                    [&](const AddedToken& added) { return added.content == token.content; });
    if (!id.has_value() || there) continue;
    token.id = *id;
    token.special = true;
    parts.added_tokens.push_back(std::move(token));
  }
}

Result<Value> OwnNormalizer(const Value& normalizer, const TokenizerConfig& config) {
  if (TypeOf(normalizer) != "BertNormalizer") return normalizer;
  RAG_ASSIGN_OR_RETURN(const std::string name, config.json.GetString("tokenizer_class", ""));
  // Where nothing tells the class it is one of these.
  if (!IsWordPieceClass(config) && !name.empty()) return normalizer;
  return TakeOwnSettings(normalizer, config, IsWordPieceClass(config),
                         {{"do_lower_case", "lowercase", true},
                          {"strip_accents", "strip_accents", Value()},
                          {"tokenize_chinese_chars", "handle_chinese_chars", true}});
}

// Classes that make a pre-tokenizer of this setting, which is not made here: their usual value must
// stand.
Status CheckPrefixSpace(const TokenizerConfig& config) {
  const bool takes =
      config.class_name == "XLMRobertaTokenizer" || config.class_name == "CamembertTokenizer";
  if (!takes && config.class_name != "Qwen2Tokenizer") return OkStatus();
  RAG_ASSIGN_OR_RETURN(const bool wanted, config.json.GetBool("add_prefix_space", takes));
  if (wanted == takes) return OkStatus();
  return UnsupportedError("tokenizer_config.json: 'add_prefix_space' ", wanted ? "true" : "false",
                          " of ", config.class_name, " is not known");
}

Result<Value> OwnPreTokenizer(const Value& pre_tokenizer, const TokenizerConfig& config) {
  RAG_RETURN_IF_ERROR(CheckPrefixSpace(config));
  if (TypeOf(pre_tokenizer) != "ByteLevel" || !IsByteLevelClass(config)) return pre_tokenizer;
  return TakeOwnSettings(pre_tokenizer, config, true,
                         {{"add_prefix_space", "add_prefix_space", false}});
}

// GPT-2's class has no tokens of its own around a text, but for these two settings where there is
// no tokenizer.json.
Result<PostProcessor> Gpt2PostProcessor(const TokenizerConfig& config,
                                        const Vocabulary& vocabulary) {
  using Item = PostProcessor::Item;
  PostProcessor out;
  out.single.clear();
  out.pair.clear();
  const auto add = [&](std::string_view flag, std::string_view key, uint8_t type_id,
                       std::vector<Item>& items) -> Status {
    RAG_ASSIGN_OR_RETURN(const bool wanted, config.json.GetBool(flag, false));
    if (!wanted) return OkStatus();
    const std::string name = config.TokenOrUsual(key);
    const auto id = vocabulary.Find(name);
    if (!id) return InvalidArgumentError("the vocabulary lacks '", name, "', the ", key);
    items.push_back({Item::kSpecial, *id, type_id});
    return OkStatus();
  };
  for (std::vector<Item>* items : {&out.single, &out.pair}) {
    for (const uint8_t text : {uint8_t{0}, uint8_t{1}}) {
      if (text == 1 && items == &out.single) continue;
      RAG_RETURN_IF_ERROR(add("add_bos_token", "bos_token", text, *items));
      items->push_back({text == 0 ? Item::kFirst : Item::kSecond, 0, text});
      RAG_RETURN_IF_ERROR(add("add_eos_token", "eos_token", text, *items));
    }
  }
  return out;
}

// What the class puts around a text, whatever tokenizer.json says; `files_own` where the class is
// another one, or follows from the model's type alone and the vocabulary has other tokens.
Result<PostProcessor> OwnPostProcessor(const Value& json, const Value& model,
                                       const TokenizerConfig& config, const Vocabulary& vocabulary,
                                       PostProcessor files_own) {
  const Value* pre_tokenizer = json.Find("pre_tokenizer");
  const std::string type = TypeOf(model);
  const bool word_piece = IsWordPieceClass(config) && type == "WordPiece";
  const bool bytes = IsByteLevelClass(config) && type == "BPE" && pre_tokenizer != nullptr &&
                     TypeOf(*pre_tokenizer) == "ByteLevel";
  const bool clip = config.own_class == TokenizerClass::kClip && type == "BPE" &&
                    model.Find("end_of_word_suffix") != nullptr;
  if (!word_piece && !bytes && !clip) return files_own;
  if (config.own_class == TokenizerClass::kGpt2) {
    if (json.Find("post_processor") != nullptr) return files_own;
    return Gpt2PostProcessor(config, vocabulary);
  }
  TokenId ids[2] = {};
  size_t place = 0;
  for (const std::string_view key :
       {clip ? "bos_token" : "cls_token", clip ? "eos_token" : "sep_token"}) {
    const std::string named = config.Token(key);
    const Value* value = config.json.Find(key);
    if (named.empty() && value != nullptr && value->is_null()) {
      return InvalidArgumentError("tokenizer_config.json: '", key,
                                  "' is null, and the class "
                                  "puts it around every text");
    }
    const std::string name = config.TokenOrUsual(key);
    const auto id = vocabulary.Find(name);
    if (!id.has_value()) {
      if (!config.names_class && named.empty()) return files_own;
      return InvalidArgumentError("the vocabulary lacks '", name, "', the ", key);
    }
    ids[place++] = *id;
  }
  const auto [cls, sep] = ids;
  if (config.own_class == TokenizerClass::kBert) return PostProcessor::Bert(cls, sep);
  bool add_prefix_space = false;
  bool trim_offsets = !clip;
  if (config.own_class == TokenizerClass::kRoberta) {
    RAG_ASSIGN_OR_RETURN(add_prefix_space, config.json.GetBool("add_prefix_space", false));
    RAG_ASSIGN_OR_RETURN(trim_offsets, config.json.GetBool("trim_offsets", true));
  }
  return PostProcessor::Roberta(cls, sep, trim_offsets, add_prefix_space);
}

// The one that the files name, else the first of the usual names that is there.
std::optional<TokenId> FindSpecial(const Vocabulary& vocabulary, const TokenizerConfig& config,
                                   std::initializer_list<std::string_view> keys,
                                   std::initializer_list<std::string_view> usual) {
  for (const std::string_view key : keys) {
    const std::string name = config.Token(key);
    if (!name.empty()) {
      if (const auto id = vocabulary.Find(name)) return id;
    }
  }
  for (const std::string_view name : usual) {
    if (const auto id = vocabulary.Find(name)) return id;
  }
  return std::nullopt;
}

// The word pattern of Split + ByteLevel or of ByteLevel alone, and its settings; nullopt for other
// pre-tokenizers.
struct ByteLevelPlan {
  WordPattern pattern = WordPattern::kGpt2;
  bool add_prefix_space = false;
};
std::optional<ByteLevelPlan> PlanByteLevel(const Value& pre_tokenizer) {
  const auto flag = [](const Value& json, std::string_view key) {
    const auto value = json.GetBool(key, true);
    return value.ok() && *value;
  };
  if (TypeOf(pre_tokenizer) == "ByteLevel" && flag(pre_tokenizer, "use_regex")) {
    return ByteLevelPlan{WordPattern::kGpt2, flag(pre_tokenizer, "add_prefix_space")};
  }
  const Value* parts = pre_tokenizer.Find("pretokenizers");
  if (TypeOf(pre_tokenizer) != "Sequence" || parts == nullptr || !parts->is_array() ||
      parts->as_array().size() != 2) {
    return std::nullopt;
  }
  const Value& split = parts->as_array()[0];
  const Value& bytes = parts->as_array()[1];
  const Value* pattern = split.Find("pattern");
  const Value* regex = pattern != nullptr ? pattern->Find("Regex") : nullptr;
  if (TypeOf(split) != "Split" || TypeOf(bytes) != "ByteLevel" || flag(bytes, "use_regex") ||
      flag(bytes, "add_prefix_space") || regex == nullptr || !regex->is_string()) {
    return std::nullopt;
  }
  const auto behavior = split.GetString("behavior", "");
  const auto invert = split.GetBool("invert", false);
  const auto known = KnownWordPattern(regex->as_string());
  if (!known || *known == WordPattern::kClip || !behavior.ok() || !invert.ok()) return std::nullopt;
  // These patterns leave nothing between matches, so all of these come to the same.
  if (*behavior != "Isolated" && !(*behavior == "Removed" && *invert)) return std::nullopt;
  return ByteLevelPlan{*known, false};
}

// Whether pieces are in the byte-level alphabet: a ByteLevel somewhere in the pre-tokenizer.
bool IsByteLevel(const Value& json, int depth = 0) {
  if (depth > 16 || !json.is_object()) return false;
  const Value* type = json.Find("type");
  if (type != nullptr && type->is_string() && type->as_string() == "ByteLevel") return true;
  const Value* parts = json.Find("pretokenizers");
  if (parts == nullptr || !parts->is_array()) return false;
  return std::any_of(parts->as_array().begin(), parts->as_array().end(),
                     [depth](const Value& part) { return IsByteLevel(part, depth + 1); });
}

Result<WordPieceSettings> ParseWordPiece(const Value& model) {
  WordPieceSettings settings;
  RAG_ASSIGN_OR_RETURN(settings.unk_token, model.GetString("unk_token", "[UNK]"));
  RAG_ASSIGN_OR_RETURN(settings.continuing_prefix,
                       model.GetString("continuing_subword_prefix", "##"));
  RAG_ASSIGN_OR_RETURN(const int64_t max_chars, model.GetInt("max_input_chars_per_word", 100));
  if (max_chars < 1 || max_chars > 100000) {
    return InvalidArgumentError("max_input_chars_per_word ", max_chars,
                                " is not between 1 and 100000");
  }
  settings.max_chars_per_word = static_cast<size_t>(max_chars);
  return settings;
}

// "type" is absent in files of old versions; the fields tell.
Result<std::string> ModelType(const Value& model) {
  RAG_ASSIGN_OR_RETURN(std::string type, model.GetString("type", ""));
  if (!type.empty()) return type;
  if (model.Find("merges") != nullptr) return std::string("BPE");
  const Value* vocabulary = model.Find("vocab");
  const bool list = vocabulary != nullptr && vocabulary->is_array();
  return std::string(list ? "Unigram" : "WordPiece");
}

// The model's settings with the unknown token that the class puts there, where it does; without the
// vocabulary, which is read by itself.
Result<std::optional<Value>> OwnModel(const Value& model, const TokenizerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string type, ModelType(model));
  if (!IsWordPieceClass(config) || type != "WordPiece") return std::optional<Value>();
  Value::Object own{{"type", type}};
  for (const auto& [key, value] : model.as_object()) {
    if (key != "vocab") own.Set(key, value);
  }
  own.Set("unk_token", config.TokenOrUsual("unk_token"));
  return std::optional<Value>(Value(std::move(own)));
}

Status Assemble(const Value& json, const TokenizerConfig& config, TokenizerParts& parts) {
  const Value null;
  const auto member = [&](std::string_view key) -> const Value& {
    const Value* value = json.Find(key);
    return value != nullptr ? *value : null;
  };
  RAG_ASSIGN_OR_RETURN(const std::optional<Value> own_model, OwnModel(member("model"), config));
  const Value& model = own_model.has_value() ? *own_model : member("model");
  RAG_ASSIGN_OR_RETURN(const Value normalizer, OwnNormalizer(member("normalizer"), config));
  RAG_ASSIGN_OR_RETURN(const Value pre_tokenizer, OwnPreTokenizer(member("pre_tokenizer"), config));
  RAG_RETURN_IF_ERROR(ReadAddedTokens(json, parts));
  RAG_RETURN_IF_ERROR(AddConfiguredTokens(config, parts));
  AddNamedTokens(config, parts);
  // A special token that is a piece of the model too must not come out of ordinary text.
  std::vector<bool> excluded(parts.vocabulary.size());
  for (const AddedToken& token : parts.added_tokens) {
    const auto id = parts.vocabulary.Find(token.content);
    if (id && token.special) excluded[static_cast<size_t>(*id)] = true;
  }
  // The model sees its own vocabulary; the added tokens come after.
  RAG_ASSIGN_OR_RETURN(parts.model,
                       ParseModel(model, parts.vocabulary, IsByteLevel(pre_tokenizer), excluded));
  for (const AddedToken& token : parts.added_tokens) {
    RAG_RETURN_IF_ERROR(parts.vocabulary.Replace(token.content, token.id));
  }
  RAG_ASSIGN_OR_RETURN(parts.normalizer, ParseNormalizer(normalizer));
  RAG_ASSIGN_OR_RETURN(parts.pre_tokenizer, ParsePreTokenizer(pre_tokenizer));
  RAG_ASSIGN_OR_RETURN(PostProcessor files_own,
                       PostProcessor::Parse(member("post_processor"), parts.vocabulary));
  RAG_ASSIGN_OR_RETURN(parts.post_processor, OwnPostProcessor(json, model, config, parts.vocabulary,
                                                              std::move(files_own)));
  RAG_ASSIGN_OR_RETURN(parts.decoder, ParseDecoder(member("decoder")));
  const Value* suffix = model.Find("end_of_word_suffix");
  const Value* decoder = member("decoder").Find("type");
  if (suffix != nullptr && suffix->is_string() && !suffix->as_string().empty() &&
      decoder != nullptr && *decoder == Value("ByteLevel")) {
    // CLIP's file leaves the suffix in the text; transformers turns it into spaces afterwards
    // (tokenization_clip_fast.py), and so do we.
    std::vector<std::unique_ptr<Decoder>> decoders;
    decoders.push_back(std::move(parts.decoder));
    decoders.push_back(MakeSuffixDecoder(suffix->as_string()));
    parts.decoder = MakeSequenceDecoder(std::move(decoders));
  }
  const Value* truncation = json.Find("truncation");
  const Value* direction = truncation != nullptr ? truncation->Find("direction") : nullptr;
  RAG_ASSIGN_OR_RETURN(parts.truncate_left,
                       config.TruncateLeft(direction != nullptr && *direction == Value("Left")));

  if (const auto* word_piece = dynamic_cast<const WordPiece*>(parts.model.get());
      word_piece != nullptr && TypeOf(normalizer) == "BertNormalizer" &&
      TypeOf(pre_tokenizer) == "BertPreTokenizer") {
    Status status;
    parts.fused = MakeFusedBert(*word_piece, ParseBertNormalizer(normalizer, &status));
    RAG_RETURN_IF_ERROR(status);
  }
  if (const auto* bpe = dynamic_cast<const Bpe*>(parts.model.get());
      bpe != nullptr && normalizer.is_null()) {
    if (const auto plan = PlanByteLevel(pre_tokenizer)) {
      parts.fused = MakeFusedByteLevel(*bpe, plan->pattern, plan->add_prefix_space);
    }
  }

  const Vocabulary& vocabulary = parts.vocabulary;
  parts.bos_id = FindSpecial(vocabulary, config, {"bos_token", "cls_token"},
                             {"<s>", "<|begin_of_text|>", "<|startoftext|>", "[CLS]"});
  parts.eos_id = FindSpecial(vocabulary, config, {"eos_token", "sep_token"},
                             {"</s>", "<|end_of_text|>", "<|endoftext|>", "[SEP]"});
  parts.pad_id = FindSpecial(vocabulary, config, {"pad_token"}, {"<pad>", "[PAD]"});
  const Value* unk = model.Find("unk_token");
  const Value* unk_index = model.Find("unk_id");
  if (unk != nullptr && unk->is_string()) {
    parts.unk_id = vocabulary.Find(unk->as_string());
  } else if (unk_index != nullptr && unk_index->is_int() && unk_index->as_int() >= 0 &&
             unk_index->as_int() < static_cast<int64_t>(vocabulary.size())) {
    parts.unk_id = static_cast<TokenId>(unk_index->as_int());
  } else {
    parts.unk_id = vocabulary.Find(config.TokenOrUsual("unk_token"));
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<AddedToken>> ReadConfiguredTokens(const TokenizerConfig& config) {
  std::vector<AddedToken> tokens;
  const std::string_view file = config.ConfiguredTokensName();
  const Value& object =
      config.CountsOldFiles() ? config.added_tokens : *config.json.Find("added_tokens_decoder");
  if (!object.is_object() || object.as_object().size() > kMaxAddedTokens) {
    return InvalidArgumentError(file, " is no object of at most ", kMaxAddedTokens, " tokens");
  }
  for (const auto& [key, entry] : object.as_object()) {
    AddedToken token;
    if (config.CountsOldFiles()) {
      if (!entry.is_int() || entry.as_int() < 0 || entry.as_int() > Vocabulary::kMaxSize) {
        return InvalidArgumentError(file, " gives '", key, "' ", ToJson(entry), ", which is no id");
      }
      token.id = static_cast<TokenId>(entry.as_int());
      token.content = key;
      token.special = config.NamesSpecial(key);
      token.normalized = !token.special;
      if (key.empty()) return InvalidArgumentError(file, " has a token without content");
    } else {
      RAG_ASSIGN_OR_RETURN(token, ReadConfiguredToken(key, entry));
      const char* const end = key.data() + key.size();
      const auto [stop, error] = std::from_chars(key.data(), end, token.id);
      if (error != std::errc() || stop != end || token.id < 0) {
        return InvalidArgumentError("added_tokens_decoder's '", key, "' is no id");
      }
    }
    tokens.push_back(std::move(token));
  }
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return tokens;
}

Status ReadModelVocabulary(const Value& model, Vocabulary& vocabulary) {
  const Value* vocab = model.Find("vocab");
  if (vocab == nullptr) return InvalidArgumentError("model has no vocab");
  if (vocab->is_object()) {
    vocabulary.Reserve(vocab->as_object().size());
    for (const auto& [piece, value] : vocab->as_object()) {
      RAG_ASSIGN_OR_RETURN(const TokenId id, ParseId(value, piece, vocab->as_object().size()));
      RAG_RETURN_IF_ERROR(vocabulary.Add(piece, id));
    }
    return OkStatus();
  }
  if (!vocab->is_array()) return InvalidArgumentError("model's vocab is no object or list");
  vocabulary.Reserve(vocab->as_array().size());
  TokenId id = 0;
  for (const Value& entry : vocab->as_array()) {
    if (!entry.is_array() || entry.as_array().size() != 2 || !entry.as_array()[0].is_string()) {
      return InvalidArgumentError("entry ", id, " of model's vocab is no pair of piece and score");
    }
    RAG_RETURN_IF_ERROR(vocabulary.Add(entry.as_array()[0].as_string(), id));
    ++id;
  }
  return OkStatus();
}

Result<std::unique_ptr<TokenizerModel>> ParseModel(const Value& model, const Vocabulary& vocabulary,
                                                   bool byte_level,
                                                   const std::vector<bool>& excluded) {
  using Pointer = std::unique_ptr<TokenizerModel>;
  RAG_ASSIGN_OR_RETURN(const std::string type, ModelType(model));
  if (type == "WordPiece") {
    RAG_ASSIGN_OR_RETURN(const WordPieceSettings settings, ParseWordPiece(model));
    RAG_ASSIGN_OR_RETURN(auto word_piece, WordPiece::Create(vocabulary, settings));
    return Pointer(std::move(word_piece));
  }
  if (type == "BPE") {
    RAG_ASSIGN_OR_RETURN(auto bpe, Bpe::FromJson(model, vocabulary, excluded, byte_level));
    return Pointer(std::move(bpe));
  }
  if (type == "Unigram") {
    RAG_ASSIGN_OR_RETURN(auto unigram, Unigram::FromJson(model, vocabulary, excluded));
    return Pointer(std::move(unigram));
  }
  return UnsupportedError("tokenizer model '", type, "' is not supported");
}

Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(const Value& json,
                                                     const TokenizerConfig& config) {
  if (!json.is_object()) return InvalidArgumentError("is no JSON object");
  const Value* const model = json.Find("model");
  if (model == nullptr || !model->is_object()) return InvalidArgumentError("there is no 'model'");
  Vocabulary vocabulary;
  RAG_RETURN_IF_ERROR(ReadModelVocabulary(*model, vocabulary));
  return TokenizerFromJson(json, std::move(vocabulary), config);
}

Result<std::unique_ptr<Tokenizer>> TokenizerFromJson(const Value& json, Vocabulary vocabulary,
                                                     const TokenizerConfig& config) {
  TokenizerParts parts;
  parts.vocabulary = std::move(vocabulary);
  RAG_RETURN_IF_ERROR(Assemble(json, config, parts));
  return std::unique_ptr<Tokenizer>(new PipelineTokenizer(std::move(parts)));
}

Result<std::unique_ptr<Tokenizer>> LoadTokenizerJson(const std::string& path,
                                                     const TokenizerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenizerBytes));
  auto json = ParseJson(text);
  if (!json.ok()) return std::move(json).status().WithContext(path);
  auto tokenizer = TokenizerFromJson(*json, config);
  if (!tokenizer.ok()) return std::move(tokenizer).status().WithContext(path);
  return tokenizer;
}

}  // namespace rag
