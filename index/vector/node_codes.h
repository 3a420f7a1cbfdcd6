// NodeCodes: the codes of a graph's nodes, by slot.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "index/vector/arena.h"
#include "index/vector/node_codec.h"

namespace rag {

class NodeCodes {
 public:
  // learned_rows: how many vectors there were when the codec was learned.
  NodeCodes(std::unique_ptr<const NodeCodec> codec, size_t learned_rows)
      : codec_(std::move(codec)), learned_rows_(learned_rows), codes_(codec_->code_bytes()) {}

  const NodeCodec& codec() const { return *codec_; }
  size_t learned_rows() const { return learned_rows_; }
  const Arena& codes() const { return codes_; }
  Arena& mutable_codes() { return codes_; }
  const std::byte* code(uint32_t slot) const { return codes_.Record(slot); }

  Status Ensure(uint32_t slot) { return codes_.Ensure(slot); }
  // vector [dim]. The slot is not linked yet, or nobody reads these codes yet; Ensure came before.
  void Encode(uint32_t slot, const float* vector) {
    const double error = codec_->Encode(vector, codes_.Record(slot));
    std::lock_guard lock(error_mutex_);
    ++encoded_;
    error_ += error;
  }
  void Erase(uint32_t slot) { std::memset(codes_.Record(slot), 0, codec_->code_bytes()); }

  // Whether the vectors that came since these codes were learned are so different from those they
  // were learned from that others should be learned.
  bool Drifted() const {
    constexpr size_t kEnough = 1'000;
    // Learning costs as much as there are vectors: not before so great a part of them is new.
    constexpr size_t kPart = 4;
    constexpr double kRatio = 1.5;
    std::lock_guard lock(error_mutex_);
    return encoded_ >= std::max(kEnough, learned_rows_ / kPart) &&
           error_ > kRatio * codec_->trained_error() * static_cast<double>(encoded_);
  }
  void ForgetErrors() {
    std::lock_guard lock(error_mutex_);
    encoded_ = 0;
    error_ = 0;
  }

 private:
  const std::unique_ptr<const NodeCodec> codec_;
  const size_t learned_rows_;
  Arena codes_;
  mutable std::mutex error_mutex_;  // guards encoded_ and error_
  size_t encoded_ = 0;
  double error_ = 0;
};

}  // namespace rag
