#include "lib/tensor/sparse_vector.h"

namespace rag {

float DotProduct(const SparseVector& a, const SparseVector& b) {
  float sum = 0;
  auto other = b.entries.begin();
  for (const SparseVector::Entry& entry : a.entries) {
    while (other != b.entries.end() && other->token < entry.token) ++other;
    if (other == b.entries.end()) break;
    if (other->token == entry.token) sum += entry.weight * other->weight;
  }
  return sum;
}

}  // namespace rag
