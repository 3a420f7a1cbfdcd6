// The only file that sees the SentencePiece library. It brings its own protobuf, so nothing else in
// the process may link another one.
#include <algorithm>
#include <string>

#include "lib/tokenizer/loaders.h"

#ifdef RAG_WITH_SENTENCEPIECE
#include <sentencepiece_processor.h>

#include "lib/base/file.h"
#include "lib/text/utf8.h"
#endif

namespace rag {

#ifdef RAG_WITH_SENTENCEPIECE
namespace {

using sentencepiece::SentencePieceProcessor;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceProcessor> processor, bool add_bos,
                         bool add_eos, bool truncate_left)
      : processor_(std::move(processor)), truncate_left_(truncate_left) {
    const size_t size = static_cast<size_t>(processor_->GetPieceSize());
    for (size_t i = 0; i < size; ++i) {
      const int id = static_cast<int>(i);
      pieces_.push_back(processor_->IdToPiece(id));
      special_.push_back(processor_->IsControl(id) || processor_->IsUnknown(id));
      if (!processor_->IsControl(id)) continue;
      AddedToken token;
      token.id = id;
      token.content = pieces_.back();
      token.special = true;
      controls_.Add(token, token.content);
    }
    if (add_bos) bos_ = bos_id();
    if (add_eos) eos_ = eos_id();
  }

  Encoding Encode(std::string_view text, const EncodeOptions& options) const override {
    Encoding out;
    std::vector<Token> tokens = EncodeText(text, options, &out.invalid_bytes);
    const bool special = options.add_special_tokens;
    const size_t around = special ? size_t{bos_.has_value()} + size_t{eos_.has_value()} : 0;
    if (options.max_tokens > 0) {
      const size_t room = options.max_tokens - std::min(options.max_tokens, around);
      if (tokens.size() > room) {
        out.truncated = tokens.size() - room;
        Drop(tokens, out.truncated);
      }
    }
    if (special && bos_) Append({*bos_, 0, 0}, 0, out);
    for (const Token& token : tokens) Append(token, 0, out);
    if (special && eos_) Append({*eos_, 0, 0}, 0, out);
    Cut(options, out);
    return out;
  }

  // A model file says nothing of pairs: A and B, each with its end token.
  Encoding EncodePair(std::string_view first, std::string_view second,
                      const EncodeOptions& options) const override {
    Encoding out;
    std::vector<Token> a = EncodeText(first, options, &out.invalid_bytes);
    std::vector<Token> b = EncodeText(second, options, &out.invalid_bytes);
    const bool special = options.add_special_tokens;
    const size_t around = special ? size_t{bos_.has_value()} + 2 * size_t{eos_.has_value()} : 0;
    if (options.max_tokens > 0) {
      const size_t room = options.max_tokens - std::min(options.max_tokens, around);
      size_t kept[] = {a.size(), b.size()};
      for (; kept[0] + kept[1] > room; ++out.truncated) --kept[kept[0] > kept[1] ? 0 : 1];
      Drop(a, a.size() - kept[0]);
      Drop(b, b.size() - kept[1]);
    }
    if (special && bos_) Append({*bos_, 0, 0}, 0, out);
    for (const Token& token : a) Append(token, 0, out);
    if (special && eos_) Append({*eos_, 0, 0}, 0, out);
    for (const Token& token : b) Append(token, 1, out);
    if (special && eos_) Append({*eos_, 0, 0}, 1, out);
    Cut(options, out);
    return out;
  }

  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override {
    std::string out;
    std::vector<int> run;
    const auto flush = [&] {
      if (!run.empty()) out += processor_->DecodeIds(run);
      run.clear();
    };
    for (const TokenId id : ids) {
      if (id < 0 || static_cast<size_t>(id) >= pieces_.size()) continue;
      if (skip_special_tokens && IsSpecial(id)) continue;
      if (processor_->IsControl(id)) {
        flush();
        out += Piece(id);
      } else {
        run.push_back(id);
      }
    }
    flush();
    return out;
  }

  std::string TokenBytes(TokenId id) const override {
    std::string piece(Piece(id));
    if (const int byte = ParseBytePiece(piece); byte >= 0) {
      return std::string(1, static_cast<char>(byte));
    }
    static constexpr std::string_view kSpaceMark = "\xE2\x96\x81";
    for (size_t i = piece.find(kSpaceMark); i != std::string::npos; i = piece.find(kSpaceMark, i)) {
      piece.replace(i, kSpaceMark.size(), " ");
    }
    return piece;
  }

  size_t vocab_size() const override { return pieces_.size(); }
  std::string_view Piece(TokenId id) const override {
    return id >= 0 && static_cast<size_t>(id) < pieces_.size() ? pieces_[static_cast<size_t>(id)]
                                                               : std::string_view();
  }
  std::optional<TokenId> FindPiece(std::string_view piece) const override {
    const int id = processor_->PieceToId(absl::string_view(piece.data(), piece.size()));
    if (Piece(id) != piece) return std::nullopt;
    return id;
  }
  bool IsSpecial(TokenId id) const override {
    return id >= 0 && static_cast<size_t>(id) < special_.size() &&
           special_[static_cast<size_t>(id)];
  }
  std::optional<TokenId> bos_id() const override { return Known(processor_->bos_id()); }
  std::optional<TokenId> eos_id() const override { return Known(processor_->eos_id()); }
  std::optional<TokenId> pad_id() const override { return Known(processor_->pad_id()); }
  std::optional<TokenId> unk_id() const override { return Known(processor_->unk_id()); }

 private:
  static std::optional<TokenId> Known(int id) {
    return id < 0 ? std::nullopt : std::optional<TokenId>(id);
  }
  static void Append(const Token& token, uint8_t type_id, Encoding& out) {
    out.ids.push_back(token.id);
    out.type_ids.push_back(type_id);
    out.offsets.push_back({token.begin, token.end});
  }
  // From the side that the files say.
  void Drop(std::vector<Token>& tokens, size_t count) const {
    const auto begin = tokens.begin();
    const auto dropped = static_cast<ptrdiff_t>(count);
    if (truncate_left_) {
      tokens.erase(begin, begin + dropped);
    } else {
      tokens.resize(tokens.size() - count);
    }
  }
  static void Cut(const EncodeOptions& options, Encoding& out) {
    if (options.max_tokens == 0 || out.ids.size() <= options.max_tokens) return;
    out.truncated += out.ids.size() - options.max_tokens;
    out.ids.resize(options.max_tokens);
    out.type_ids.resize(options.max_tokens);
    out.offsets.resize(options.max_tokens);
  }

  std::vector<Token> EncodeText(std::string_view text, const EncodeOptions& options,
                                size_t* invalid_bytes) const {
    text = text.substr(0, UINT32_MAX);
    std::vector<Token> tokens;
    std::vector<AddedTokenMatcher::Found> found;
    if (options.parse_special_tokens) controls_.FindAll(text, true, found);
    size_t position = 0;
    for (const auto& match : found) {
      EncodeSegment(text.substr(position, match.begin - position), position, tokens, invalid_bytes);
      tokens.push_back(
          {match.id, static_cast<uint32_t>(match.begin), static_cast<uint32_t>(match.end)});
      position = match.end;
    }
    EncodeSegment(text.substr(position), position, tokens, invalid_bytes);
    return tokens;
  }

  void EncodeSegment(std::string_view text, size_t base, std::vector<Token>& out,
                     size_t* invalid_bytes) const {
    if (text.empty()) return;
    // Repaired here, so that offsets can be led back to the bytes given.
    std::string repaired;
    std::vector<uint32_t> source;  // of each repaired byte, and of the end
    const bool valid = IsValidUtf8(text);
    if (!valid) {
      for (size_t i = 0; i < text.size();) {
        const DecodedChar next = DecodeChar(text, i);
        AppendUtf8(repaired, next.code_point);
        source.resize(repaired.size(), static_cast<uint32_t>(i));
        if (!next.valid) *invalid_bytes += next.length;
        i += next.length;
      }
      source.push_back(static_cast<uint32_t>(text.size()));
      text = repaired;
    }
    const auto encoded =
        processor_->EncodeAsImmutableProto(absl::string_view(text.data(), text.size()));
    for (size_t i = 0; i < encoded.pieces_size(); ++i) {
      const auto piece = encoded.pieces(static_cast<int>(i));
      const auto place = [&](uint32_t offset) {
        return static_cast<uint32_t>(base) + (valid ? offset : source[offset]);
      };
      out.push_back({static_cast<TokenId>(piece.id()), place(piece.begin()), place(piece.end())});
    }
  }

  std::unique_ptr<SentencePieceProcessor> processor_;
  std::vector<std::string> pieces_;
  std::vector<bool> special_;
  AddedTokenMatcher controls_;
  std::optional<TokenId> bos_, eos_;
  bool truncate_left_ = false;
};

// What the model file says must be all there is: other classes move its ids, put tokens around a
// text and normalize it otherwise (convert_slow_tokenizer.py).
Status CheckSettings(const TokenizerConfig& config, const SentencePieceProcessor& processor) {
  constexpr std::string_view kPlain[] = {"",
                                         "LlamaTokenizer",
                                         "GemmaTokenizer",
                                         "PreTrainedTokenizer",
                                         "TokenizersBackend",
                                         "CodeLlamaTokenizer"};
  if (std::find(std::begin(kPlain), std::end(kPlain), config.class_name) == std::end(kPlain)) {
    return UnsupportedError("the class ", config.class_name,
                            " makes other ids than a SentencePiece model alone; a tokenizer.json "
                            "of the same model works");
  }
  RAG_ASSIGN_OR_RETURN(const bool add_prefix_space, config.json.GetBool("add_prefix_space", true));
  if (!add_prefix_space) {
    return UnsupportedError(
        "tokenizer_config.json: 'add_prefix_space' false is not known of a "
        "SentencePiece model; a tokenizer.json of the same model works");
  }
  RAG_ASSIGN_OR_RETURN(const std::vector<AddedToken> tokens, ReadConfiguredTokens(config));
  for (const AddedToken& token : tokens) {
    const bool there =
        token.id < processor.GetPieceSize() && processor.IdToPiece(token.id) == token.content;
    if (there && (token.special || processor.IsControl(token.id))) continue;
    return UnsupportedError(config.ConfiguredTokensName(), " has the token '", token.content,
                            "' of the id ", token.id, ", which is no special piece of the ",
                            "SentencePiece model; a tokenizer.json of the same model works");
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> LoadSentencePiece(const std::string& path,
                                                     const TokenizerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string model, ReadFile(path, kMaxTokenizerBytes));
  auto processor = std::make_unique<SentencePieceProcessor>();
  const auto status =
      processor->LoadFromSerializedProto(absl::string_view(model.data(), model.size()));
  if (!status.ok()) {
    return InvalidArgumentError(path, ": is no SentencePiece model: ", status.ToString());
  }
  if (processor->GetPieceSize() <= 0 || processor->GetPieceSize() > Vocabulary::kMaxSize) {
    return InvalidArgumentError(path, ": vocabulary of ", processor->GetPieceSize(), " pieces");
  }
  RAG_RETURN_IF_ERROR(CheckSettings(config, *processor));
  RAG_ASSIGN_OR_RETURN(const bool add_bos, config.json.GetBool("add_bos_token", false));
  RAG_ASSIGN_OR_RETURN(const bool add_eos, config.json.GetBool("add_eos_token", false));
  RAG_ASSIGN_OR_RETURN(const bool truncate_left, config.TruncateLeft(false));
  return std::unique_ptr<Tokenizer>(
      new SentencePieceTokenizer(std::move(processor), add_bos, add_eos, truncate_left));
}

#else

Result<std::unique_ptr<Tokenizer>> LoadSentencePiece(const std::string& path,
                                                     const TokenizerConfig&) {
  return UnsupportedError(path, ": this build is without SentencePiece; a tokenizer.json of the ",
                          "same model works");
}

#endif

}  // namespace rag
