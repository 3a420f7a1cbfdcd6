// DraftModel: a smaller decoder of the same vocabulary guesses what the larger one will say.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "generate/decoder.h"
#include "generate/guess_length.h"
#include "generate/kv_sequence.h"
#include "generate/prefix_tree.h"
#include "lib/model/model_file.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Speculative decoding (Leviathan et al. 2023; Chen et al. 2023) with the likeliest token at each
// place as the guess: a guess counts where the larger model draws the same, so that the output is
// what it is without, bit for bit, whatever the sampling. The draft has a cache of its own, by
// prefix as the decoder's is. Used by one thread at a time.
class DraftModel {
 public:
  struct Options {
    size_t context = 0;        // the larger model's
    size_t max_sequences = 1;  // as the scheduler's
    size_t tokens = 8;         // of a guess at most, at least 1
    // A guess ends before a token that the draft gives less: where it is not sure, it is wrong more
    // often, and a wrong guess costs a part of a step. [0, 1)
    double min_probability = 0;
    DType cache_type = DType::kF32;
    bool mapped_weights = false;
  };

  // `tokenizer` is the larger model's. Errors: those of Generator::Load; invalid_argument naming
  // the first token that is another one there, or the sizes of vocabularies that differ by more
  // than 1,024 tokens at the end (which files are filled up with).
  static Result<std::unique_ptr<DraftModel>> Load(const std::string& path,
                                                  const Tokenizer& tokenizer,
                                                  const Options& options, const Runtime& runtime);

  KvShape cache_shape() const;
  // Before anything else: blocks of the cache. Errors: resource_exhausted.
  Status Start(size_t blocks);

  // What the draft keeps of one sequence of the batch.
  class Sequence {
   public:
    Sequence(const DraftModel& model, KvPool& pool, PrefixTree& tree)
        : cache_(pool, tree), length_(model.options_.tokens, kFirstLength) {}
    size_t blocks() const { return cache_.blocks().size(); }

   private:
    friend class DraftModel;
    static constexpr size_t kFirstLength = 4;

    KvSequence cache_;
    GuessLength length_;
    std::vector<TokenId> guess_;  // the last one
    size_t guessed_at_ = 0;       // the history's size then
    size_t written_ = 0;          // of its tokens that the cache holds beyond cache_.size()
    bool foreign_ = false;        // the history has a token that the draft does not know
  };
  std::unique_ptr<Sequence> NewSequence() {
    return std::make_unique<Sequence>(*this, *pool_, *tree_);
  }

  struct Item {
    Sequence* sequence;
    std::span<const TokenId> history;
    size_t most;                 // tokens to guess at most; 0: the cache only follows the history
    std::vector<TokenId> guess;  // what came of it; empty: nothing
  };
  // Follows the histories, up to Decoder::kChunkTokens tokens and one for each sequence, and
  // guesses for those that it has followed to their end. `cancelled` is looked at between passes
  // and once a layer; nothing is guessed then.
  void Run(std::span<Item> items, const Decoder::Cancelled& cancelled);

  size_t most() const { return options_.tokens; }  // tokens of a guess
  KvPool& pool() { return *pool_; }
  const PrefixTree& tree() const { return *tree_; }

 private:
  DraftModel(GgufFile file, const Options& options, const Runtime& runtime)
      : file_(std::move(file)), options_(options), runtime_(runtime) {}
  Status Initialize(const Tokenizer& tokenizer);
  void Settle(Item& item) const;
  bool Wants(Item& item);
  // The items whose last token's logits are there, in the order of the rows.
  std::vector<Item*> Follow(std::span<Item> items, const Decoder::Cancelled& cancelled);
  bool Guess(Item& item, size_t row);

  const GgufFile file_;
  const Options options_;
  const Runtime& runtime_;
  DecoderConfig config_;
  DecoderWeights weights_;
  size_t vocab_size_ = 0;  // ids that both models know
  size_t context_ = 0;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<PrefixTree> tree_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace rag
