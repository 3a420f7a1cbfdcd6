#include "apps/rag_bench/peers/hnswlib.h"

#include <hnswlib/hnswlib.h>

#include <exception>

namespace rag::bench {
namespace {

#ifdef RAG_BENCH_HNSWLIB_FILTERS
struct Functor final : hnswlib::BaseFilterFunctor {
  explicit Functor(const AllowedRows& rows) : rows(rows) {}
  bool operator()(hnswlib::labeltype id) override { return rows.Contains(id); }
  const AllowedRows& rows;
};
#endif

// hnswlib throws; nothing leaves this file but a Status.
template <class Body>
Status Guard(const Body& body) {
  try {
    body();
    return OkStatus();
  } catch (const std::exception& error) {
    return ResourceExhaustedError("hnswlib: ", error.what());
  }
}

}  // namespace

struct PeerHnswlib::Impl {
  explicit Impl(const Options& options)
      : space(options.inner_product ? std::unique_ptr<hnswlib::SpaceInterface<float>>(
                                          std::make_unique<hnswlib::InnerProductSpace>(options.dim))
                                    : std::make_unique<hnswlib::L2Space>(options.dim)),
#ifdef RAG_BENCH_HNSWLIB_FILTERS
        graph(space.get(), options.capacity, options.m, options.ef_construction, 100,
              options.replace_deleted),
        replace_deleted(options.replace_deleted) {
  }
#else
        graph(space.get(), options.capacity, options.m, options.ef_construction) {
  }
#endif

  std::unique_ptr<hnswlib::SpaceInterface<float>> space;
  hnswlib::HierarchicalNSW<float> graph;
  bool replace_deleted = false;
};

PeerHnswlib::PeerHnswlib(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PeerHnswlib::~PeerHnswlib() = default;

bool PeerHnswlib::HasFilters() {
#ifdef RAG_BENCH_HNSWLIB_FILTERS
  return true;
#else
  return false;
#endif
}

Result<std::unique_ptr<PeerHnswlib>> PeerHnswlib::Create(const Options& options) {
  std::unique_ptr<Impl> impl;
  RAG_RETURN_IF_ERROR(Guard([&] { impl = std::make_unique<Impl>(options); }));
  return std::unique_ptr<PeerHnswlib>(new PeerHnswlib(std::move(impl)));
}

Status PeerHnswlib::Add(const float* vector, Row row) {
  return Guard([&] {
#ifdef RAG_BENCH_HNSWLIB_FILTERS
    impl_->graph.addPoint(vector, row, impl_->replace_deleted);
#else
    impl_->graph.addPoint(vector, row);
#endif
  });
}

Status PeerHnswlib::Remove(Row row) {
  return Guard([&] { impl_->graph.markDelete(row); });
}

void PeerHnswlib::SetWidth(size_t ef) { impl_->graph.setEf(ef); }

Status PeerHnswlib::Search(const float* query, size_t k, const AllowedRows* filter,
                           Row* out) const {
  return Guard([&] {
#ifdef RAG_BENCH_HNSWLIB_FILTERS
    if (filter != nullptr) {
      Functor functor(*filter);
      auto found = impl_->graph.searchKnn(query, k, &functor);
      for (; !found.empty(); found.pop()) *out++ = static_cast<Row>(found.top().second);
      return;
    }
#else
    (void)filter;
#endif
    auto found = impl_->graph.searchKnn(query, k);
    for (; !found.empty(); found.pop()) *out++ = static_cast<Row>(found.top().second);
  });
}

}  // namespace rag::bench
