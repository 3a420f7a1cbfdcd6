#include "embed/encoder.h"

namespace rag {

std::string_view PoolingName(Pooling pooling) {
  switch (pooling) {
    case Pooling::kMean:
      return "mean";
    case Pooling::kCls:
      return "cls";
    case Pooling::kMax:
      return "max";
    case Pooling::kMeanSqrtLength:
      return "mean_sqrt_len_tokens";
    case Pooling::kWeightedMean:
      return "weightedmean";
    case Pooling::kLastToken:
      return "lasttoken";
  }
  return "unknown";
}

std::string_view SimilarityName(Similarity similarity) {
  switch (similarity) {
    case Similarity::kCosine:
      return "cosine";
    case Similarity::kDot:
      return "dot";
    case Similarity::kEuclidean:
      return "euclidean";
    case Similarity::kManhattan:
      return "manhattan";
  }
  return "unknown";
}

Result<Similarity> ParseSimilarity(std::string_view name) {
  for (const Similarity similarity :
       {Similarity::kCosine, Similarity::kDot, Similarity::kEuclidean, Similarity::kManhattan}) {
    if (name == SimilarityName(similarity)) return similarity;
  }
  return InvalidArgumentError("similarity '", name,
                              "' is none of cosine, dot, euclidean and manhattan");
}

std::string_view TextRoleName(TextRole role) {
  switch (role) {
    case TextRole::kPlain:
      return "plain";
    case TextRole::kQuery:
      return "query";
    case TextRole::kDocument:
      return "document";
  }
  return "unknown";
}

Result<TextRole> ParseTextRole(std::string_view name) {
  for (const TextRole role : {TextRole::kPlain, TextRole::kQuery, TextRole::kDocument}) {
    if (name == TextRoleName(role)) return role;
  }
  return InvalidArgumentError("text role '", name, "' is none of plain, query and document");
}

}  // namespace rag
