#include "generate/draft_model.h"

#include <algorithm>
#include <cmath>

#include "generate/open_decoder.h"

namespace rag {
namespace {

// What files of one vocabulary differ by: embeddings' rows are filled up to a round number.
constexpr size_t kMaxFilling = 1024;
// A sequence that guesses nothing for now is followed once so many of its tokens are new: a run of
// them costs little more than one.
constexpr size_t kWorthFollowing = KvPool::kBlockTokens;

Status CheckVocabulary(const std::string& path, const Tokenizer& own, const Tokenizer& target) {
  const size_t a = own.vocab_size();
  const size_t b = target.vocab_size();
  if (std::max(a, b) - std::min(a, b) > kMaxFilling) {
    return InvalidArgumentError(path, ": the draft model's vocabulary has ", a,
                                " tokens, that of the model ", b);
  }
  for (size_t i = 0; i < std::min(a, b); ++i) {
    const TokenId id = static_cast<TokenId>(i);
    if (own.Piece(id) == target.Piece(id)) continue;
    return InvalidArgumentError(path, ": token ", i, " of the draft model's vocabulary is '",
                                own.Piece(id), "', that of the model '", target.Piece(id), "'");
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<DraftModel>> DraftModel::Load(const std::string& path,
                                                     const Tokenizer& tokenizer,
                                                     const Options& options,
                                                     const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(GgufFile file, OpenDecoder(path));
  std::unique_ptr<DraftModel> draft(new DraftModel(std::move(file), options, runtime));
  RAG_RETURN_IF_ERROR(draft->Initialize(tokenizer));
  return draft;
}

Status DraftModel::Initialize(const Tokenizer& tokenizer) {
  RAG_ASSIGN_OR_RETURN(config_, ReadDecoderConfig(file_));
  RAG_ASSIGN_OR_RETURN(weights_, ReadDecoderWeights(file_, config_));
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> own, OpenTokenizer(file_, config_));
  RAG_RETURN_IF_ERROR(CheckVocabulary(file_.path(), *own, tokenizer));
  vocab_size_ = std::min(own->vocab_size(), tokenizer.vocab_size());
  context_ = std::min(options_.context, config_.file_context);
  if (!options_.mapped_weights) {
    RAG_RETURN_IF_ERROR(PackDecoderWeights(file_, runtime_, weights_));
  }
  return OkStatus();
}

KvShape DraftModel::cache_shape() const {
  return {.layers = config_.layers,
          .heads = config_.kv_heads,
          .head_dim = config_.head_dim,
          .type = options_.cache_type};
}

Status DraftModel::Start(size_t blocks) {
  const KvShape shape = cache_shape();
  RAG_ASSIGN_OR_RETURN(pool_, KvPool::Create(shape, blocks * KvPool::BlockBytes(shape)));
  tree_ = std::make_unique<PrefixTree>(*pool_);
  RAG_ASSIGN_OR_RETURN(decoder_,
                       Decoder::Create(config_, weights_, *pool_, context_,
                                       options_.max_sequences + Decoder::kChunkTokens, runtime_));
  return OkStatus();
}

// What came of the last guess: its tokens that came true and were run are in the cache.
void DraftModel::Settle(Item& item) const {
  Sequence& sequence = *item.sequence;
  if (sequence.guess_.empty()) return;
  const auto came = item.history.subspan(sequence.guessed_at_);
  const size_t right = static_cast<size_t>(
      std::mismatch(sequence.guess_.begin(), sequence.guess_.end(), came.begin(), came.end())
          .first -
      sequence.guess_.begin());
  // A pass that was given up says nothing.
  if (!came.empty()) sequence.length_.Learn(sequence.guess_.size(), right);
  sequence.cache_.Commit(item.history, std::min(right, sequence.written_));
  sequence.guess_.clear();
  sequence.written_ = 0;
}

// Whether there is something to do for the item now; it may be less than it asks for.
bool DraftModel::Wants(Item& item) {
  Sequence& sequence = *item.sequence;
  const auto added = item.history.subspan(sequence.cache_.size());
  const auto foreign = [&](TokenId id) { return static_cast<size_t>(id) >= vocab_size_; };
  sequence.foreign_ = sequence.foreign_ || std::any_of(added.begin(), added.end(), foreign);
  if (sequence.foreign_ || item.history.size() >= context_) return false;
  item.most = std::min({item.most, sequence.length_.length(), context_ - item.history.size()});
  if (item.most > 0 && sequence.length_.Pauses()) item.most = 0;
  return item.most > 0 || added.size() >= kWorthFollowing;
}

std::vector<DraftModel::Item*> DraftModel::Follow(std::span<Item> items,
                                                  const Decoder::Cancelled& cancelled) {
  std::vector<DecoderChunk> chunks;
  std::vector<std::pair<Item*, size_t>> followed;  // tokens
  std::vector<Item*> complete;
  size_t left = Decoder::kChunkTokens + options_.max_sequences;
  for (Item& item : items) {
    Settle(item);
    if (!Wants(item)) continue;
    KvSequence& cache = item.sequence->cache_;
    cache.MatchBlocks(item.history);
    const size_t pending = item.history.size() - cache.size();
    if (pending > 1) cache.CopyBeginning(item.history);
    const size_t tokens = std::min(item.history.size() - cache.size(), left);
    if (tokens == 0 || !cache.Reserve(tokens)) continue;
    const bool all = cache.size() + tokens == item.history.size() && item.most > 0;
    using Logits = DecoderChunk::Logits;
    chunks.push_back({.tokens = item.history.subspan(cache.size(), tokens),
                      .position = cache.size(),
                      .blocks = cache.blocks(),
                      .logits = all ? Logits::kLast : Logits::kNone});
    followed.emplace_back(&item, tokens);
    if (all) complete.push_back(&item);
    left -= tokens;
  }
  if (chunks.empty() || !decoder_->Forward(chunks, &cancelled).ok()) return {};
  for (const auto& [item, tokens] : followed) {
    item->sequence->cache_.Commit(item->history, tokens);
  }
  return complete;
}

// Takes the likeliest token after the last one; false when the guess ends before or with it.
bool DraftModel::Guess(Item& item, size_t row) {
  const std::span<const float> logits = decoder_->logits(row).first(vocab_size_);
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(*largest)) return false;
  if (options_.min_probability > 0) {
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - *largest);
    if (!(sum * options_.min_probability <= 1)) return false;
  }
  item.guess.push_back(static_cast<TokenId>(largest - logits.begin()));
  if (item.guess.size() == item.most) return false;
  // The guess itself is run for the next one.
  return item.sequence->cache_.Reserve(item.guess.size());
}

void DraftModel::Run(std::span<Item> items, const Decoder::Cancelled& cancelled) {
  std::vector<Item*> running = Follow(items, cancelled);
  while (!running.empty()) {
    std::vector<DecoderChunk> chunks;
    std::vector<Item*> next;
    for (size_t row = 0; row < running.size(); ++row) {
      if (Guess(*running[row], row)) next.push_back(running[row]);
    }
    for (const Item* item : next) {
      const KvSequence& cache = item->sequence->cache_;
      chunks.push_back({.tokens = std::span(item->guess).last(1),
                        .position = item->history.size() + item->guess.size() - 1,
                        .blocks = cache.blocks()});
    }
    running = std::move(next);
    if (running.empty()) break;
    if (!decoder_->Forward(chunks, &cancelled).ok()) break;
    for (Item* item : running) item->sequence->written_ = item->guess.size();
  }
  for (Item& item : items) {
    if (item.guess.empty()) continue;
    item.sequence->guess_ = item.guess;
    item.sequence->guessed_at_ = item.history.size();
  }
}

}  // namespace rag
