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
    case Metric::kManhattan:
      return "manhattan";
    case Metric::kHamming:
      return "hamming";
    case Metric::kJaccard:
      return "jaccard";
  }
  return "unknown";
}

Result<Metric> ParseMetric(std::string_view name) {
  for (const Metric metric : {Metric::kInnerProduct, Metric::kCosine, Metric::kL2,
                              Metric::kManhattan, Metric::kHamming, Metric::kJaccard}) {
    if (name == MetricName(metric)) return metric;
  }
  return InvalidArgumentError("unknown metric '", name,
                              "'; known are ip, cosine, l2, manhattan, hamming and jaccard");
}

std::string_view ElementTypeName(ElementType type) {
  switch (type) {
    case ElementType::kF32:
      return "f32";
    case ElementType::kF16:
      return "f16";
    case ElementType::kBF16:
      return "bf16";
    case ElementType::kI8:
      return "i8";
    case ElementType::kU8:
      return "u8";
    case ElementType::kBinary:
      return "binary";
  }
  return "unknown";
}

Result<ElementType> ParseElementType(std::string_view name) {
  for (const ElementType type : {ElementType::kF32, ElementType::kF16, ElementType::kBF16,
                                 ElementType::kI8, ElementType::kU8, ElementType::kBinary}) {
    if (name == ElementTypeName(type)) return type;
  }
  return InvalidArgumentError("unknown element type '", name,
                              "'; known are f32, f16, bf16, i8, u8 and binary");
}

std::string_view CodeKindName(CodeKind kind) {
  switch (kind) {
    case CodeKind::kNone:
      return "none";
    case CodeKind::kSq8:
      return "sq8";
    case CodeKind::kPca8:
      return "pca8";
    case CodeKind::kRabitq:
      return "rabitq";
    case CodeKind::kSq4:
      return "sq4";
    case CodeKind::kPca4:
      return "pca4";
  }
  return "unknown";
}

Result<CodeKind> ParseCodeKind(std::string_view name) {
  for (const CodeKind kind : {CodeKind::kNone, CodeKind::kSq8, CodeKind::kPca8, CodeKind::kRabitq,
                              CodeKind::kSq4, CodeKind::kPca4}) {
    if (name == CodeKindName(kind)) return kind;
  }
  return InvalidArgumentError("unknown codes '", name,
                              "'; known are none, sq8, pca8, rabitq, sq4 and pca4");
}

std::string_view IndexKindName(IndexKind kind) {
  switch (kind) {
    case IndexKind::kFlat:
      return "flat";
    case IndexKind::kHnsw:
      return "hnsw";
    case IndexKind::kIvf:
      return "ivf";
  }
  return "unknown";
}

Result<IndexKind> ParseIndexKind(std::string_view name) {
  for (const IndexKind kind : {IndexKind::kFlat, IndexKind::kHnsw, IndexKind::kIvf}) {
    if (name == IndexKindName(kind)) return kind;
  }
  return InvalidArgumentError("unknown index kind '", name, "'; known are flat, hnsw and ivf");
}

std::string_view IvfCodesName(IvfCodes codes) {
  switch (codes) {
    case IvfCodes::kNone:
      return "none";
    case IvfCodes::kSq8:
      return "sq8";
    case IvfCodes::kPq8:
      return "pq8";
    case IvfCodes::kPq4:
      return "pq4";
    case IvfCodes::kRabitq:
      return "rabitq";
  }
  return "unknown";
}

Result<IvfCodes> ParseIvfCodes(std::string_view name) {
  for (const IvfCodes codes :
       {IvfCodes::kNone, IvfCodes::kSq8, IvfCodes::kPq8, IvfCodes::kPq4, IvfCodes::kRabitq}) {
    if (name == IvfCodesName(codes)) return codes;
  }
  return InvalidArgumentError("unknown codes '", name,
                              "'; known are none, sq8, pq8, pq4 and rabitq");
}

std::string_view RowPlaceName(RowPlace place) {
  switch (place) {
    case RowPlace::kMemory:
      return "memory";
    case RowPlace::kDisk:
      return "disk";
  }
  return "unknown";
}

Result<RowPlace> ParseRowPlace(std::string_view name) {
  for (const RowPlace place : {RowPlace::kMemory, RowPlace::kDisk}) {
    if (name == RowPlaceName(place)) return place;
  }
  return InvalidArgumentError("unknown place of rows '", name, "'; known are memory and disk");
}

}  // namespace rag
