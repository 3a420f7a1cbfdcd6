#include "generate/cache_fingerprint.h"

#include <algorithm>
#include <string>
#include <vector>

#include "lib/base/hash.h"

namespace rag {
namespace {

constexpr size_t kPieceBytes = size_t{16} << 20;
constexpr size_t kProbeTokens = 8;

uint64_t HashTensors(const GgufFile& file, const Runtime& runtime) {
  std::string names;
  std::vector<std::span<const std::byte>> pieces;
  for (const std::string& name : file.TensorNames()) {
    const TensorView& tensor = *file.Find(name);
    names += StrCat(name, " ", GetDTypeInfo(tensor.type).name);
    for (const size_t extent : tensor.shape) names += StrCat(" ", extent);
    names += "\n";
    for (size_t at = 0; at < tensor.bytes.size(); at += kPieceBytes) {
      pieces.push_back(tensor.bytes.subspan(at, std::min(kPieceBytes, tensor.bytes.size() - at)));
    }
  }
  std::vector<uint64_t> hashes(pieces.size());
  runtime.pool().ParallelFor(pieces.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) hashes[i] = Hash64(pieces[i]);
  });
  for (const std::string& name : file.TensorNames()) file.Forget(*file.Find(name));
  return Hash64(std::as_bytes(std::span(hashes)), Hash64(names));
}

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
  const KvShape& shape = pool.shape();
  const std::string rest =
      StrCat(ToJson(Value(file.metadata())), "\n", shape.layers, " ", shape.heads, " ",
             shape.head_dim, " ", GetDTypeInfo(shape.type).name, " ", IsaName(runtime.isa()), " ",
             mapped_weights, " ", HashTensors(file, runtime), " ", probe);
  return Hash64(rest);
}

}  // namespace rag
