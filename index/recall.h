// Recall: what share of the nearest vectors a search finds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/vector_index.h"

namespace rag {

// So many of the ids, or all, in random order; the same for the same ids and seed.
std::vector<uint64_t> DrawIds(std::vector<uint64_t> ids, size_t count, uint64_t seed);

// The least score that counts as being among those whose worst has the score `last`: two searches
// may sum one vector's score in another order.
double RecallBound(double last);

// What a search for an indexed vector found besides itself, k at most.
void DropSelf(std::vector<Neighbor>& found, uint64_t self, size_t k);

// How many of `found` are as good as the exact ones, of which there are as many as were asked for.
size_t CountFound(const std::vector<Neighbor>& found, const std::vector<Neighbor>& exact);

}  // namespace rag
