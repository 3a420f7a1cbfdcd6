// A collection of bodies, a generator that says what it is told, and their tokenizer: what an
// answer needs, without a store and a model.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "embed/encoder.h"
#include "engine/ask.h"
#include "generate/generator.h"
#include "index/store.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag::test {

// One token a word, with its white space.
class WordTokenizer : public Tokenizer {
 public:
  Encoding Encode(std::string_view text, const EncodeOptions& options) const override {
    parsed_special_ |= options.parse_special_tokens;
    Encoding encoding;
    for (size_t i = 0; i < text.size();) {
      size_t end = i;
      while (end < text.size() && text[end] == ' ') ++end;
      while (end < text.size() && text[end] != ' ') ++end;
      encoding.ids.push_back(static_cast<TokenId>(encoding.ids.size()));
      encoding.offsets.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(end)});
      i = end;
    }
    return encoding;
  }
  Encoding EncodePair(std::string_view first, std::string_view,
                      const EncodeOptions& options) const override {
    return Encode(first, options);
  }
  std::string Decode(std::span<const TokenId>, bool) const override { return ""; }
  std::string TokenBytes(TokenId) const override { return ""; }
  size_t vocab_size() const override { return 1; }
  std::string_view Piece(TokenId) const override { return ""; }
  std::optional<TokenId> FindPiece(std::string_view) const override { return std::nullopt; }
  bool IsSpecial(TokenId) const override { return false; }
  std::optional<TokenId> bos_id() const override { return std::nullopt; }
  std::optional<TokenId> eos_id() const override { return std::nullopt; }
  std::optional<TokenId> pad_id() const override { return std::nullopt; }
  std::optional<TokenId> unk_id() const override { return std::nullopt; }
  bool parsed_special() const { return parsed_special_; }

 private:
  mutable bool parsed_special_ = false;
};

class FakeGenerator : public Generator {
 public:
  explicit FakeGenerator(std::string output, size_t context_tokens = 4096)
      : output_(std::move(output)) {
    info_.context_tokens = context_tokens;
    info_.trained_context = info_.largest_context = 8192;
  }

  Result<GenerateResult> Generate(const GenerateRequest& request, const TokenCallback* on_text,
                                  const CancelToken*) override {
    GenerateResult result;
    result.prompt_tokens = request.prompt.size();
    for (size_t i = 0; i < output_.size(); i += 3) {
      const std::string piece = output_.substr(i, 3);
      result.text += piece;
      result.tokens.push_back(1);
      if (on_text != nullptr && !(*on_text)(piece)) {
        result.finish_reason = FinishReason::kCancelled;
        break;
      }
    }
    return result;
  }
  Result<std::vector<TokenId>> RenderChat(std::span<const ChatMessage> messages,
                                          bool) const override {
    messages_.assign(messages.begin(), messages.end());
    if (refuse_system && !messages.empty() && messages[0].role == "system") {
      return InvalidArgumentError("System role not supported");
    }
    std::string all;
    for (const ChatMessage& message : messages) all += message.content + " ";
    return tokenizer_.Encode(all, {}).ids;
  }
  Result<std::vector<TokenId>> EncodePrompt(std::string_view text) const override {
    return tokenizer_.Encode(text, {}).ids;
  }
  Result<std::vector<float>> Score(std::span<const TokenId>, std::span<const AdapterUse>) override {
    return std::vector<float>();
  }
  Result<std::shared_ptr<const CompiledConstraint>> CompileConstraint(
      const OutputConstraint&) override {
    return UnsupportedError("a fake");
  }
  Result<CacheSaveReport> SaveCache() override { return FailedPreconditionError("no file"); }
  bool CacheChanged() override { return false; }
  GeneratorActivity activity() const override { return {}; }
  const GeneratorInfo& info() const override { return info_; }
  const WordTokenizer& tokenizer() const override { return tokenizer_; }

  // Of the last prompt that was rendered.
  const std::vector<ChatMessage>& messages() const { return messages_; }
  bool refuse_system = false;

 private:
  std::string output_;
  GeneratorInfo info_;
  WordTokenizer tokenizer_;
  mutable std::vector<ChatMessage> messages_;
};

// GetBody is all that an answer asks of a collection.
class FakeCollection : public Collection {
 public:
  std::map<std::string, std::string, std::less<>> bodies;

  // A hit over bytes [begin, end) of a stored document.
  Hit MakeHit(const std::string& key, size_t begin, size_t end) const {
    Hit hit;
    hit.document = key;
    hit.title = key;
    hit.start = static_cast<uint32_t>(begin);
    hit.end = static_cast<uint32_t>(end);
    hit.text = bodies.at(key).substr(begin, end - begin);
    return hit;
  }
  Hit Add(const std::string& key, const std::string& text) {
    bodies[key] = text;
    return MakeHit(key, 0, text.size());
  }

  const CollectionConfig& config() const override { return config_; }
  Result<WriteResult> Replace(const DocumentInput&) override { return Refuse(); }
  Result<std::vector<WriteResult>> ReplaceMany(std::span<const DocumentInput>) override {
    return Refuse();
  }
  Result<WriteResult> Remove(std::string_view) override { return Refuse(); }
  Result<std::vector<WriteResult>> RemoveMany(std::span<const std::string_view>) override {
    return Refuse();
  }
  Result<DocumentRecord> GetDocument(std::string_view) const override { return Refuse(); }
  Result<std::string> GetBody(std::string_view key) const override {
    const auto found = bodies.find(key);
    if (found == bodies.end()) return NotFoundError("no document '", key, "'");
    return found->second;
  }
  Result<ChunkRecord> GetChunk(ChunkId) const override { return Refuse(); }
  Result<std::vector<float>> GetVector(ChunkId) const override { return Refuse(); }
  Result<SparseVector> GetSparseVector(ChunkId) const override { return Refuse(); }
  Result<std::string> GetAttachment(ChunkId) const override { return Refuse(); }
  Result<std::vector<DocumentRecord>> ListDocuments(std::string_view, size_t) const override {
    return Refuse();
  }
  Result<std::vector<Neighbor>> SearchVectors(std::span<const float>, size_t, const Filter*, size_t,
                                              bool) const override {
    return Refuse();
  }
  Result<std::vector<Neighbor>> SearchLexical(std::string_view, size_t,
                                              const Filter*) const override {
    return Refuse();
  }
  Result<std::vector<Neighbor>> SearchSparse(const SparseVector&, size_t,
                                             const Filter*) const override {
    return Refuse();
  }
  Result<std::string> ExplainFilter(const Filter&) const override { return Refuse(); }
  Result<CollectionStats> Stats() const override { return Refuse(); }
  Result<VerifyReport> Verify(const CancelToken*) const override { return Refuse(); }
  Result<RecallReport> MeasureRecall(size_t, size_t, const CancelToken*) const override {
    return Refuse();
  }
  Result<TuneReport> Tune(const TuneGoal&, bool, CareProgress*, const CancelToken*) override {
    return Refuse();
  }
  Status Checkpoint() override { return Refuse(); }

 private:
  static Status Refuse() { return UnsupportedError("not in this test"); }
  CollectionConfig config_;
};

}  // namespace rag::test
