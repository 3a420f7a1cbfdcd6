#include "benchmarks/search/peer_hnswlib.h"

#include <hnswlib/hnswlib.h>

namespace rag::bench {

struct PeerHnswlib::Impl {
  Impl(size_t dim, size_t capacity, size_t m, size_t ef_construction)
      : space(dim), graph(&space, capacity, m, ef_construction) {}
  hnswlib::L2Space space;
  hnswlib::HierarchicalNSW<float> graph;
};

PeerHnswlib::PeerHnswlib(size_t dim, size_t capacity, size_t m, size_t ef_construction)
    : impl_(std::make_unique<Impl>(dim, capacity, m, ef_construction)) {}
PeerHnswlib::~PeerHnswlib() = default;

void PeerHnswlib::Add(const float* vector, size_t label) { impl_->graph.addPoint(vector, label); }

void PeerHnswlib::Search(const float* query, size_t k, size_t ef, std::vector<size_t>& labels) {
  impl_->graph.setEf(ef);
  auto found = impl_->graph.searchKnn(query, k);
  labels.clear();
  for (; !found.empty(); found.pop()) labels.push_back(found.top().second);
}

}  // namespace rag::bench
