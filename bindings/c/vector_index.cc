// The C ABI's vector index: every call is a call of rag::VectorIndex.
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "bindings/c/guard.h"
#include "index/index_spec.h"
#include "index/vector_index.h"

struct rag_vector_index {
  std::unique_ptr<rag::Runtime> runtime;  // outlives the index
  std::unique_ptr<rag::VectorIndex> index;
};

namespace {

using rag::InvalidArgumentError;
using rag::MatrixView;
using rag::OkStatus;
using rag::OutOfRangeError;
using rag::Status;
using rag::bindings::Guard;
using rag::bindings::NeedArgument;

constexpr int kMaxThreads = 1'024;
constexpr size_t kMaxK = 65'535;

struct Opened {
  std::unique_ptr<rag_vector_index> handle;
  rag::VectorIndexOptions options;
};

rag::Result<Opened> Open(const char* spec, const char* metric, size_t dim, int threads) {
  RAG_RETURN_IF_ERROR(NeedArgument(spec, "spec"));
  RAG_RETURN_IF_ERROR(NeedArgument(metric, "metric"));
  if (threads < 0 || threads > kMaxThreads) {
    return InvalidArgumentError("threads is ", threads, ", not between 0 and ", kMaxThreads);
  }
  Opened out;
  RAG_ASSIGN_OR_RETURN(out.options, rag::ParseIndexSpec(spec));
  RAG_ASSIGN_OR_RETURN(out.options.metric, rag::ParseMetric(metric));
  out.options.dim = dim;
  out.handle = std::make_unique<rag_vector_index>();
  RAG_ASSIGN_OR_RETURN(out.handle->runtime, rag::Runtime::Create({.threads = threads}));
  return out;
}

// `count` rows of `width` values can lie in memory.
Status CheckCount(const char* name, size_t count, size_t width) {
  constexpr size_t kMaxBytes = std::numeric_limits<ptrdiff_t>::max();
  if (count <= kMaxBytes / sizeof(uint64_t) / width) return OkStatus();
  return OutOfRangeError(name, " is ", count, ", more than memory can hold");
}

}  // namespace

extern "C" {

rag_code rag_vector_index_create(const char* spec, const char* metric, size_t dim, int threads,
                                 rag_vector_index** out) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(out, "out"));
    *out = nullptr;
    RAG_ASSIGN_OR_RETURN(Opened opened, Open(spec, metric, dim, threads));
    RAG_ASSIGN_OR_RETURN(opened.handle->index,
                         rag::VectorIndex::Create(opened.options, *opened.handle->runtime));
    *out = opened.handle.release();
    return OkStatus();
  });
}

void rag_vector_index_free(rag_vector_index* index) { delete index; }

rag_code rag_vector_index_add(rag_vector_index* index, const uint64_t* ids, const float* vectors,
                              size_t count) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(index, "index"));
    if (count == 0) return OkStatus();
    RAG_RETURN_IF_ERROR(NeedArgument(ids, "ids"));
    RAG_RETURN_IF_ERROR(NeedArgument(vectors, "vectors"));
    const size_t dim = index->index->options().dim;
    RAG_RETURN_IF_ERROR(CheckCount("count", count, dim));
    return index->index->Add({ids, count}, MatrixView(vectors, count, dim));
  });
}

rag_code rag_vector_index_remove(rag_vector_index* index, const uint64_t* ids, size_t count,
                                 size_t* removed) {
  return Guard([&]() -> Status {
    if (removed != nullptr) *removed = 0;
    RAG_RETURN_IF_ERROR(NeedArgument(index, "index"));
    if (count == 0) return OkStatus();
    RAG_RETURN_IF_ERROR(NeedArgument(ids, "ids"));
    RAG_RETURN_IF_ERROR(CheckCount("count", count, 1));
    RAG_ASSIGN_OR_RETURN(const size_t gone, index->index->Remove({ids, count}));
    if (removed != nullptr) *removed = gone;
    return OkStatus();
  });
}

rag_code rag_vector_index_search(const rag_vector_index* index, const float* queries, size_t count,
                                 size_t k, size_t width, uint64_t* ids, float* scores) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(index, "index"));
    if (count == 0) return OkStatus();
    RAG_RETURN_IF_ERROR(NeedArgument(queries, "queries"));
    RAG_RETURN_IF_ERROR(NeedArgument(ids, "ids"));
    if (k < 1 || k > kMaxK) {
      return InvalidArgumentError("k is ", k, ", not between 1 and ", kMaxK);
    }
    const size_t dim = index->index->options().dim;
    RAG_RETURN_IF_ERROR(CheckCount("count", count, std::max(dim, k)));
    rag::SearchOptions options;
    options.k = k;
    options.ef_search = width;
    options.probes = width;  // each kind looks at its own
    RAG_ASSIGN_OR_RETURN(const auto found,
                         index->index->Search(MatrixView(queries, count, dim), options));
    for (size_t q = 0; q < count; ++q) {
      for (size_t i = 0; i < k; ++i) {
        const bool there = i < found[q].size();
        ids[q * k + i] = there ? found[q][i].id : RAG_NO_ID;
        if (scores == nullptr) continue;
        scores[q * k + i] = there ? found[q][i].score : -std::numeric_limits<float>::infinity();
      }
    }
    return OkStatus();
  });
}

rag_code rag_vector_index_size(const rag_vector_index* index, size_t* vectors,
                               size_t* memory_bytes) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(index, "index"));
    if (vectors != nullptr) *vectors = index->index->size();
    if (memory_bytes != nullptr) *memory_bytes = index->index->memory_bytes();
    return OkStatus();
  });
}

rag_code rag_vector_index_save(const rag_vector_index* index, const char* path) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(index, "index"));
    RAG_RETURN_IF_ERROR(NeedArgument(path, "path"));
    return index->index->Save(path, 0);
  });
}

rag_code rag_vector_index_load(const char* path, const char* spec, const char* metric, size_t dim,
                               int threads, rag_vector_index** out) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(out, "out"));
    *out = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(path, "path"));
    RAG_ASSIGN_OR_RETURN(Opened opened, Open(spec, metric, dim, threads));
    RAG_ASSIGN_OR_RETURN(rag::VectorIndex::Loaded loaded,
                         rag::VectorIndex::Load(path, opened.options, *opened.handle->runtime));
    opened.handle->index = std::move(loaded.index);
    *out = opened.handle.release();
    return OkStatus();
  });
}

}  // extern "C"
