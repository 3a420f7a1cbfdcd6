#include "generate/cache_fingerprint.h"

#include <algorithm>
#include <string>
#include <vector>

#include "lib/base/hash.h"
#include "lib/model/tensor_hash.h"

namespace rag {
namespace {

constexpr size_t kProbeTokens = 8;

// " 384 1536"
std::string SpacedShape(std::span<const size_t> shape) {
  std::string text;
  for (const size_t extent : shape) text += StrCat(' ', extent);
  return text;
}

constexpr TensorHashForm kHashForm = {.piece_bytes = size_t{16} << 20, .shape_text = SpacedShape};

// The tokens are spread over the vocabulary.
Result<uint64_t> HashProbe(Decoder& decoder, KvPool& pool) {
  const std::optional<KvPool::BlockId> block = pool.Take();
  if (!block) return ResourceExhaustedError("no memory for a block of keys and values");
  const std::span<std::byte> bytes = pool.bytes(*block);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  std::vector<TokenId> tokens;
  for (size_t i = 0; i < std::min(kProbeTokens, decoder.context()); ++i) {
    tokens.push_back(static_cast<TokenId>(i * decoder.config().vocab_size / kProbeTokens));
  }
  const DecoderChunk chunk = {
      .tokens = tokens, .blocks = {&*block, 1}, .logits = DecoderChunk::Logits::kLast};
  const Status run = decoder.Forward({&chunk, 1});
  const uint64_t hash = Hash64(bytes, Hash64(std::as_bytes(decoder.logits(0))));
  pool.Release(*block);
  if (!run.ok()) return run;
  return hash;
}

}  // namespace

Result<uint64_t> CacheFingerprint(const GgufFile& file, Decoder& decoder, KvPool& pool,
                                  bool mapped_weights, const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(const uint64_t probe, HashProbe(decoder, pool));
  const uint64_t weights =
      HashTensors(FileTensors(file), kHashForm, runtime.pool(),
                  [&file](std::span<const std::byte> bytes) { file.Forget(bytes); });
  const KvShape& shape = pool.shape();
  const std::string rest =
      StrCat(ToJson(Value(file.metadata())), "\n", shape.layers, " ", shape.heads, " ",
             shape.head_dim, " ", GetDTypeInfo(shape.type).name, " ", IsaName(runtime.isa()), " ",
             mapped_weights, " ", weights, " ", probe);
  return Hash64(rest);
}

}  // namespace rag
