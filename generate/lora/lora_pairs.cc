#include "generate/lora/lora_pairs.h"

#include "generate/expert_names.h"
#include "lib/kernels/quantized.h"

namespace rag {
namespace {

constexpr std::string_view kEmbeddings = "token_embd.weight";

// Matrix `index` of a tensor [count, rows, cols].
TensorView Slice(const TensorView& tensor, size_t index) {
  const size_t bytes = tensor.bytes.size() / tensor.shape[0];
  return {
      tensor.type, {tensor.shape[1], tensor.shape[2]}, tensor.bytes.subspan(index * bytes, bytes)};
}

}  // namespace

Status LoraPairs::Add(const std::string& weight, Half half, const std::string& name,
                      const TensorView& tensor) {
  if (weight == kEmbeddings) {
    return UnsupportedError(where_, ": tensor '", name,
                            "' changes the embeddings, which adapters cannot here");
  }
  const size_t dimensions = weight.ends_with(kStackedExperts) ? 3 : 2;
  if (tensor.shape.size() != dimensions || tensor.elements() == 0) {
    return InvalidArgumentError(where_, ": tensor '", name, "' has ", tensor.shape.size(),
                                " dimensions and ", tensor.elements(), " elements; it should have ",
                                dimensions, " dimensions and not be empty");
  }
  if (!HasProduct(tensor.type)) {
    return InvalidArgumentError(where_, ": tensor '", name, "' has type ",
                                GetDTypeInfo(tensor.type).name, ", which is no weight type");
  }
  if (dimensions == 3) {
    if (tensor.shape[0] != experts_) {
      return InvalidArgumentError(where_, ": tensor '", name, "' is for ", tensor.shape[0],
                                  " experts, the model has ", experts_);
    }
    for (size_t i = 0; i < tensor.shape[0]; ++i) {
      RAG_RETURN_IF_ERROR(Add(ExpertName(weight, i), half, name, Slice(tensor, i)));
    }
    return OkStatus();
  }
  Pair& pair = pairs_[weight];
  Part& part = half == Half::kA ? pair.a : pair.b;
  if (!part.name.empty()) {
    return InvalidArgumentError(where_, ": the tensors '", part.name, "' and '", name,
                                "' are for the same half of '", weight, "'");
  }
  part = {name, tensor};
  return OkStatus();
}

Status LoraPairs::Check(const Pair& pair) const {
  for (const auto& [part, other] : {std::pair(&pair.a, &pair.b), std::pair(&pair.b, &pair.a)}) {
    if (part->name.empty()) {
      return InvalidArgumentError(where_, ": tensor '", other->name, "' has no other half");
    }
  }
  const size_t rank = pair.a.tensor.shape[0];
  if (pair.b.tensor.shape[1] != rank) {
    return InvalidArgumentError(where_, ": tensor '", pair.a.name, "' is of rank ", rank, ", '",
                                pair.b.name, "' of rank ", pair.b.tensor.shape[1]);
  }
  if (rank > kMaxLoraRank) {
    return InvalidArgumentError(where_, ": tensor '", pair.a.name, "' is of rank ", rank,
                                ", over the limit of ", kMaxLoraRank);
  }
  return OkStatus();
}

Result<std::vector<LoraTensor>> LoraPairs::Take() {
  if (pairs_.empty()) return InvalidArgumentError(where_, ": there are no adapter tensors");
  std::vector<LoraTensor> tensors;
  for (const auto& [weight, pair] : pairs_) {
    RAG_RETURN_IF_ERROR(Check(pair));
    tensors.push_back({.weight = weight, .a = pair.a.tensor, .b = pair.b.tensor});
  }
  pairs_.clear();
  return tensors;
}

}  // namespace rag
