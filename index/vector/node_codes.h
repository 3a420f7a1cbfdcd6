// NodeCodes: the codes of a graph's nodes, by slot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

#include "index/vector/arena.h"
#include "index/vector/sq8_codec.h"

namespace rag {

class NodeCodes {
 public:
  explicit NodeCodes(Sq8Codec codec) : codec_(std::move(codec)), codes_(codec_.code_bytes()) {}

  const Sq8Codec& codec() const { return codec_; }
  const Arena& codes() const { return codes_; }
  Arena& mutable_codes() { return codes_; }
  const std::byte* code(uint32_t slot) const { return codes_.Record(slot); }

  Status Ensure(uint32_t slot) { return codes_.Ensure(slot); }
  // vector [dim]. The slot is not linked yet, or nobody reads these codes yet; Ensure came before.
  void Encode(uint32_t slot, const float* vector) {
    const double error = codec_.Encode(vector, codes_.Record(slot));
    std::lock_guard lock(error_mutex_);
    ++encoded_;
    error_ += error;
  }
  void Erase(uint32_t slot) { std::memset(codes_.Record(slot), 0, codec_.code_bytes()); }

  // Whether the vectors that came since these codes were learned are so different from those they
  // were learned from that others should be learned.
  bool Drifted() const {
    constexpr size_t kEnough = 1'000;
    constexpr double kRatio = 1.5;
    std::lock_guard lock(error_mutex_);
    return encoded_ >= kEnough &&
           error_ > kRatio * codec_.trained_error() * static_cast<double>(encoded_);
  }
  void ForgetErrors() {
    std::lock_guard lock(error_mutex_);
    encoded_ = 0;
    error_ = 0;
  }

 private:
  const Sq8Codec codec_;
  Arena codes_;
  mutable std::mutex error_mutex_;  // guards encoded_ and error_
  size_t encoded_ = 0;
  double error_ = 0;
};

}  // namespace rag
