// NodeCodec: how a graph's nodes are coded, and how far a query or a node is from codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "index/vector/projection.h"
#include "index/vector_index.h"

namespace rag {

// What a codec makes of a query or a node; keeps its memory between uses, with other codecs too.
struct CodeQuery {
  Matrix values;  // integers, in the form of the codec's kernels
  std::vector<float> projected;
  std::vector<int8_t> rounded;
  Projection::Scratch projection;
  const std::byte* node = nullptr;  // a node's code that is compared as it lies
  float base = 0;
  float factor = 0;
  float offset = 0;
};

inline constexpr float kLargestKeepRatio = 32;

class NodeCodec {
 public:
  virtual ~NodeCodec() = default;
  NodeCodec(const NodeCodec&) = delete;
  NodeCodec& operator=(const NodeCodec&) = delete;

  // The largest dimension that principal components are sought in: their covariance takes the
  // square of it.
  static constexpr size_t kMaxPcaDim = 4'096;
  static bool HasAxes(CodeKind kind);
  // Shorter vectors are compared as fast as their codes, which say too little about them.
  static size_t MinDim(CodeKind kind);
  // Rows of a sample for that dimension: fewer are not learned from, more are not needed.
  static size_t MinSample(CodeKind kind, size_t dim);
  static size_t MaxSample(size_t dim);

  // sample [n, dim], n > 0, as Rows decodes them (normalized under cosine). kind is not kNone;
  // dims as HnswOptions::code_dims. Uses the pool when it is free.
  static std::unique_ptr<NodeCodec> Train(MatrixView sample, CodeKind kind, size_t dims,
                                          Metric metric, const Runtime& runtime);
  // What Serialize gave. Errors: data_loss naming what is wrong.
  static Result<std::unique_ptr<NodeCodec>> Parse(std::span<const std::byte> bytes, CodeKind kind,
                                                  size_t dim, Metric metric,
                                                  const Runtime& runtime);

  // Bytes of a code, a multiple of 64.
  size_t code_bytes() const { return code_bytes_; }
  size_t code_dims() const { return projection_.dims(); }
  virtual size_t memory_bytes() const { return projection_.memory_bytes(); }
  // What Encode returned on the average over the sample.
  double trained_error() const { return trained_error_; }
  // Among so many times k of the nearest by codes are the k nearest, of a sample; 1 at least.
  float keep_ratio() const { return keep_ratio_; }
  // Whether two codes are far more like their vectors than neighbours are like each other, so that
  // links can be chosen by codes alone.
  virtual bool compares_nodes() const = 0;

  // vector [dim]; code [code_bytes()], aligned. Returns the squared length of what the code leaves
  // out as a share of the vector's, both from the mean.
  virtual double Encode(const float* vector, std::byte* code) const = 0;
  virtual void PrepareQuery(const float* query, CodeQuery& out) const = 0;
  // The code stays where it is while `out` is used.
  virtual void PrepareNode(const std::byte* code, CodeQuery& out) const = 0;
  // Distances on one scale: of what was prepared to codes. Under cosine they may be twice those of
  // the vectors, and some constant larger.
  virtual void Distances(const CodeQuery& query, const std::byte* const* codes, size_t count,
                         float* out) const = 0;
  std::string Serialize() const;

 protected:
  NodeCodec(Metric metric, Projection projection)
      : l2_(metric != Metric::kInnerProduct), projection_(std::move(projection)) {}
  size_t dim() const { return projection_.dim(); }
  // The one number that a kind of codec keeps besides what all have.
  virtual float scale() const = 0;
  // Sets trained_error_ and keep_ratio_ once everything else is learned.
  void Measure(MatrixView sample, const Runtime& runtime);

  bool l2_;  // else inner product
  Projection projection_;
  size_t code_bytes_ = 0;
  double trained_error_ = 0;
  float keep_ratio_ = 1;
};

}  // namespace rag
