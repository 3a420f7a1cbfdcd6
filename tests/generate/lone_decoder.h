// A decoder with a cache for one sequence.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <span>
#include <vector>

#include "generate/decoder.h"
#include "tests/support/support.h"

namespace rag::test {

class LoneDecoder {
 public:
  LoneDecoder(const DecoderConfig& config, const DecoderWeights& weights, size_t context,
              const Runtime& runtime, DType cache_type = DType::kF32) {
    const KvShape shape = {.layers = config.layers,
                           .heads = config.kv_heads,
                           .head_dim = config.head_dim,
                           .type = cache_type};
    const size_t blocks = KvPool::BlocksFor(context);
    auto pool = KvPool::Create(shape, blocks * KvPool::BlockBytes(shape));
    REQUIRE_OK(pool);
    pool_ = std::move(pool).value();
    for (size_t i = 0; i < blocks; ++i) blocks_.push_back(*pool_->Take());
    auto decoder = Decoder::Create(config, weights, *pool_, context, kTokens, runtime);
    REQUIRE_OK(decoder);
    decoder_ = std::move(decoder).value();
  }

  // Tokens of one pass.
  static constexpr size_t kTokens = Decoder::kChunkTokens;

  // A row of logits for each token.
  Status Forward(std::span<const TokenId> tokens, size_t position,
                 const Decoder::Cancelled* cancelled = nullptr,
                 std::span<const LoraUse> adapters = {}) {
    const DecoderChunk chunk = {.tokens = tokens,
                                .position = position,
                                .blocks = blocks_,
                                .logits = DecoderChunk::Logits::kAll,
                                .adapters = adapters};
    return decoder_->Forward({&chunk, 1}, cancelled);
  }
  std::span<float> logits(size_t row) { return decoder_->logits(row); }

 private:
  std::unique_ptr<KvPool> pool_;
  std::vector<KvPool::BlockId> blocks_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace rag::test
