// Names of the enumerations, as flags and files write them.
#include "index/vector_index.h"

namespace rag {

std::string_view MetricName(Metric metric) {
  switch (metric) {
    case Metric::kInnerProduct:
      return "ip";
    case Metric::kCosine:
      return "cosine";
    case Metric::kL2:
      return "l2";
  }
  return "unknown";
}

Result<Metric> ParseMetric(std::string_view name) {
  for (const Metric metric : {Metric::kInnerProduct, Metric::kCosine, Metric::kL2}) {
    if (name == MetricName(metric)) return metric;
  }
  return InvalidArgumentError("unknown metric '", name, "'; known are ip, cosine and l2");
}

std::string_view IndexKindName(IndexKind kind) {
  switch (kind) {
    case IndexKind::kFlat:
      return "flat";
    case IndexKind::kHnsw:
      return "hnsw";
  }
  return "unknown";
}

Result<IndexKind> ParseIndexKind(std::string_view name) {
  for (const IndexKind kind : {IndexKind::kFlat, IndexKind::kHnsw}) {
    if (name == IndexKindName(kind)) return kind;
  }
  return InvalidArgumentError("unknown index kind '", name, "'; known are flat and hnsw");
}

}  // namespace rag
