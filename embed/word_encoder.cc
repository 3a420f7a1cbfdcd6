#include "embed/word_encoder.h"

#include <algorithm>
#include <utility>

#include "embed/word_vectors.h"
#include "lib/base/hash.h"
#include "lib/kernels/kernels.h"
#include "lib/text/unicode.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

// Part of the fingerprint: raised when the same file begins to give other vectors.
constexpr int kWordVersion = 1;
// Words of a text that are read: more than any chunk has.
constexpr size_t kMaxTextWords = 1 << 16;
constexpr size_t kTextGrain = 64;

// Words as tokens: those of the table, in its order, and one more for all that have no vector.
class WordTokenizer final : public Tokenizer {
 public:
  explicit WordTokenizer(const WordVectors& words) : words_(words) {}

  Encoding Encode(std::string_view text, const EncodeOptions& options) const override {
    Encoding out;
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      DecodedChar c = DecodeChar(text, at);
      while (at < text.size() && (c = DecodeChar(text, at), IsWordChar(c.code_point))) {
        at += c.length;
      }
      if (at > begin) {
        const std::optional<size_t> row = words_.Find(text.substr(begin, at - begin));
        out.ids.push_back(static_cast<TokenId>(row.value_or(words_.size())));
        out.offsets.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(at)});
        continue;
      }
      if (!c.valid) out.invalid_bytes += c.length;
      at += c.length;
    }
    if (options.max_tokens != 0 && out.ids.size() > options.max_tokens) {
      out.truncated = out.ids.size() - options.max_tokens;
      out.ids.resize(options.max_tokens);
      out.offsets.resize(options.max_tokens);
    }
    out.type_ids.resize(out.ids.size());
    return out;
  }

  Encoding EncodePair(std::string_view first, std::string_view second,
                      const EncodeOptions& options) const override {
    Encoding out = Encode(first, options);
    const size_t room = options.max_tokens == 0 ? 0 : options.max_tokens - out.ids.size();
    if (options.max_tokens != 0 && room == 0) return out;
    const Encoding more = Encode(second, {.max_tokens = room});
    out.ids.insert(out.ids.end(), more.ids.begin(), more.ids.end());
    out.offsets.insert(out.offsets.end(), more.offsets.begin(), more.offsets.end());
    out.type_ids.resize(out.ids.size(), 1);
    out.truncated += more.truncated;
    out.invalid_bytes += more.invalid_bytes;
    return out;
  }

  std::string Decode(std::span<const TokenId> ids, bool) const override {
    std::string text;
    for (const TokenId id : ids) {
      if (text.empty()) {
        text = Piece(id);
      } else {
        text += StrCat(' ', Piece(id));
      }
    }
    return text;
  }
  std::string TokenBytes(TokenId id) const override { return std::string(Piece(id)); }
  size_t vocab_size() const override { return words_.size() + 1; }
  std::string_view Piece(TokenId id) const override {
    const bool known = id >= 0 && static_cast<size_t>(id) < words_.size();
    return known ? std::string_view(words_.word(static_cast<size_t>(id))) : std::string_view();
  }
  std::optional<TokenId> FindPiece(std::string_view piece) const override {
    const std::optional<size_t> row = words_.Find(piece);
    if (!row.has_value()) return std::nullopt;
    return static_cast<TokenId>(*row);
  }
  bool IsSpecial(TokenId) const override { return false; }
  std::optional<TokenId> bos_id() const override { return std::nullopt; }
  std::optional<TokenId> eos_id() const override { return std::nullopt; }
  std::optional<TokenId> pad_id() const override { return std::nullopt; }
  std::optional<TokenId> unk_id() const override { return static_cast<TokenId>(words_.size()); }

 private:
  const WordVectors& words_;
};

class WordEncoder final : public Encoder {
 public:
  WordEncoder(std::unique_ptr<const WordVectors> words, EncoderInfo info, const Runtime& runtime)
      : words_(std::move(words)), tokenizer_(*words_), info_(std::move(info)), runtime_(runtime) {
    mean_.resize(words_->dim());
    for (size_t i = 0; i < words_->size(); ++i) {
      runtime_.kernels().axpy(1.0f / static_cast<float>(words_->size()),
                              words_->vectors().row(i).data(), mean_.data(), mean_.size());
    }
  }

  Result<Embeddings> Encode(std::span<const std::string_view> texts, TextRole role,
                            const CancelToken* cancel) const override {
    Embeddings result;
    result.vectors = Matrix(texts.size(), info_.dim);
    result.truncated.resize(texts.size());
    std::vector<size_t> tokens(texts.size());
    const std::string& prompt = info_.prompt(role).text;
    runtime_.pool().ParallelFor(texts.size(), kTextGrain, [&](size_t begin, size_t end, int) {
      if (cancel != nullptr && cancel->cancelled()) return;
      for (size_t i = begin; i < end; ++i) {
        const Encoding encoding = tokenizer_.Encode(
            prompt.empty() ? std::string(texts[i]) : prompt + std::string(texts[i]),
            {.max_tokens = kMaxTextWords});
        tokens[i] = encoding.ids.size();
        result.truncated[i] = static_cast<uint32_t>(encoding.truncated);
        Mean(encoding.ids, result.vectors.row(i));
      }
    });
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("encoding was cancelled");
    result.stats.texts = texts.size();
    for (size_t i = 0; i < texts.size(); ++i) {
      result.stats.tokens += tokens[i];
      result.stats.truncated_texts += result.truncated[i] > 0;
      result.stats.truncated_tokens += result.truncated[i];
    }
    return result;
  }

  Result<Embeddings> EncodeImages(std::span<const Image>, const CancelToken*) const override {
    return FailedPreconditionError("word vectors do not encode images");
  }

  const EncoderInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return tokenizer_; }

 private:
  void Mean(std::span<const TokenId> ids, std::span<float> out) const {
    float count = 0;
    for (const TokenId id : ids) {
      if (static_cast<size_t>(id) >= words_->size()) continue;
      runtime_.kernels().add(out.data(), words_->vectors().row(static_cast<size_t>(id)).data(),
                             out.size());
      ++count;
    }
    for (float& value : out) value /= std::max(count, 1.0f);
    if (count == 0) std::copy_n(mean_.data(), out.size(), out.data());
  }

  const std::unique_ptr<const WordVectors> words_;
  const WordTokenizer tokenizer_;
  const EncoderInfo info_;
  const Runtime& runtime_;
  std::vector<float> mean_;  // of the whole table
};

}  // namespace

Result<std::unique_ptr<Encoder>> LoadWordEncoder(const std::string& path, const Runtime& runtime,
                                                 const EncoderOptions& options) {
  RAG_ASSIGN_OR_RETURN(WordVectors read, WordVectors::Load(path));
  if (options.truncate_dim > read.dim()) {
    return InvalidArgumentError("truncate_dim ", options.truncate_dim, " is more than the ",
                                read.dim(), " elements of the vectors of ", path);
  }
  const size_t dim = options.truncate_dim == 0 ? read.dim() : options.truncate_dim;
  uint64_t hash = Hash64(StrCat(kWordVersion, ' ', read.hash()));
  EncoderInfo info{.model_type = "word-vectors",
                   .dim = dim,
                   .max_tokens = kMaxTextWords,
                   .pooling = {Pooling::kMean},
                   .weight_bytes = read.size() * read.dim() * sizeof(float)};
  auto words = std::make_unique<const WordVectors>(std::move(read));
  const WordTokenizer tokenizer(*words);
  for (size_t role = 0; role < kTextRoles; ++role) {
    const std::string& prompt = options.prompts[role];
    if (prompt.empty()) continue;
    info.prompts[role] = {prompt, tokenizer.Encode(prompt, {}).ids.size()};
    hash = Hash64(StrCat("prompt ", role, ' ', prompt), hash);
  }
  info.fingerprint = StrCat("word-vectors-", dim, "-mean-", HashToHex(hash));
  return std::unique_ptr<Encoder>(
      std::make_unique<WordEncoder>(std::move(words), std::move(info), runtime));
}

}  // namespace rag
