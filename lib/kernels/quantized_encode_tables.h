// Encoders of one block: x and, where w is not null, the weights of its elements' errors.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rag {

using BlockEncoder = void (*)(const float* x, const float* w, std::byte* out);

void EncodeQ2_K(const float* x, const float* w, std::byte* out);
void EncodeQ3_K(const float* x, const float* w, std::byte* out);
// Q4_K (16 levels) and Q5_K (32).
template <int kLevels>
void EncodeAffineK(const float* x, const float* w, std::byte* out);
void EncodeQ6_K(const float* x, const float* w, std::byte* out);
void EncodeIQ4_XS(const float* x, const float* w, std::byte* out);

}  // namespace rag
