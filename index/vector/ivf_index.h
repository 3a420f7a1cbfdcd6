// IVF: inverted lists of codes, and exact comparison of the best (Jégou, Douze and Schmid, "Product
// quantization for nearest neighbor search", IEEE TPAMI 2011).
//
// Every vector also lies in Slots, whole: results have exact scores, GetVector what was stored, and
// whatever lists cannot answer (too few rows to train, a filter that allows few, k near the size)
// an exact scan does. Training reads the rows again.
//
// Threads. Searches take no lock; see IvfLists and Readers. A search takes its version first, then
// the trained state: a training waits for the searches of earlier versions before it gathers what
// is live, so that the state holds everything that the version shows. Adds hold the gate shared,
// and change lists under their mutex; Remove, Save, Verify and a training hold it alone. Nothing
// here waits for the gate inside a loop of the pool, so that its owner may wait for the pool.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "index/vector/chunked.h"
#include "index/vector/index_base.h"
#include "index/vector/ivf_lists.h"
#include "index/vector/ivf_model.h"

namespace rag {

class IvfIndex : public IndexBase {
 public:
  IvfIndex(const VectorIndexOptions& options, const Runtime& runtime);
  ~IvfIndex() override;

  Status Add(std::span<const uint64_t> ids, MatrixView vectors, const CancelToken* cancel) override;
  Result<size_t> Remove(std::span<const uint64_t> ids) override;
  size_t memory_bytes() const override;
  Status Save(const std::string& path, uint64_t tag) const override;
  Status LoadFrom(const SnapshotFile& file);
  Status Verify() const override;

 protected:
  std::vector<std::vector<Neighbor>> SearchPrepared(const Matrix& queries,
                                                    const SearchOptions& options) const override;

 private:
  // What a training made, and how the rows that came since fit.
  struct State {
    State(std::unique_ptr<IvfModel> trained, size_t rows)
        : model(std::move(trained)),
          lists(model->lists(), model->codec().layout()),
          trained_rows(rows) {}
    const std::unique_ptr<const IvfModel> model;
    IvfLists lists;
    const size_t trained_rows;
    mutable std::mutex mutex;  // guards the two below
    size_t added_rows = 0;     // since the training
    double added_error = 0;
  };

  static constexpr uint32_t kNoList = 0xFFFFFFFF;

  // How many lists there should be for so many vectors; 0: too few to train.
  size_t WantedLists(size_t rows) const;
  bool NeedsTraining(const State* state) const;
  // Trains on the rows that are there. The gate is held alone.
  Status Train();
  // Puts slots that are in no list yet into the nearest.
  void Place(State& state, std::span<const uint32_t> slots);
  // Dead slots leave their lists and become free. The gate is held.
  void Drop(std::span<const uint32_t> slots);

  // --- ivf_search.cc ---
  struct Plan {
    size_t probes = 0;
    size_t candidates = 0;  // that are compared exactly, or with lists without codes k
    bool exact = false;     // a scan costs less
  };
  Plan MakePlan(const State& state, const SearchOptions& options) const;
  class Tile;
  // Searches for queries [first, first + count) of `queries`; `complete` tells for which the lists
  // gave as many as there should be.
  void SearchTile(const Matrix& queries, size_t first, size_t count, const SearchOptions& options,
                  std::span<std::vector<Neighbor>> results, std::span<uint8_t> complete) const;

  std::atomic<State*> state_{nullptr};  // changed with the gate held alone
  Chunked<uint32_t> list_of_;           // by slot, for writers
};

}  // namespace rag
