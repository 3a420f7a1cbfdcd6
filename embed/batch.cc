#include "embed/batch.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

namespace rag {
namespace {

// Tokens of a batch: enough that a product's weights, read once for each block of rows, cost little
// against its arithmetic, and small enough that the activations (7 kB a token for MiniLM) stay
// near.
constexpr size_t kBatchTokens = 512;

// Cut into runs of at most `budget` tokens (a single sequence may be longer). In order of length
// the long ones start early, and a run's members are alike.
std::vector<std::span<const size_t>> CutBatches(std::span<const TokenSequence> sequences,
                                                std::span<const size_t> order, size_t budget) {
  std::vector<std::span<const size_t>> batches;
  size_t first = 0;
  size_t tokens = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t length = sequences[order[i]].size();
    if (i > first && tokens + length > budget) {
      batches.push_back(order.subspan(first, i - first));
      first = i;
      tokens = 0;
    }
    tokens += length;
  }
  if (first < order.size()) batches.push_back(order.subspan(first));
  return batches;
}

}  // namespace

Status RunSequences(const Transformer& transformer, const Runtime& runtime,
                    std::span<const TokenSequence> sequences, SequenceConsumer consume,
                    const CancelToken* cancel) {
  ThreadPool& pool = runtime.pool();
  std::vector<size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sequences[a].size() > sequences[b].size(); });
  const size_t workers = static_cast<size_t>(pool.size());
  std::vector<TransformerWorkspace> workspaces(workers);
  std::vector<TransformerScratch> scratch(workers);
  for (TransformerScratch& each : scratch) each = transformer.MakeScratch();

  // False when cancelled.
  const auto run = [&](std::span<const size_t> batch, TransformerWorkspace& workspace) {
    std::vector<TokenSequence> members;
    for (const size_t index : batch) members.push_back(sequences[index]);
    if (!transformer.Run(members, workspace, scratch, cancel)) return false;
    const float* states = workspace.hidden.data();
    for (const size_t index : batch) {
      const size_t length = sequences[index].size();
      consume(index, MatrixView(states, length, transformer.hidden()));
      states += length * transformer.hidden();
    }
    return true;
  };

  std::atomic<bool> stopped = false;
  if (sequences.size() < workers) {
    // Too few for a worker each: all work on one batch.
    stopped = !run(order, workspaces[0]);
  } else {
    size_t tokens = 0;
    for (const TokenSequence& sequence : sequences) tokens += sequence.size();
    const size_t share = (tokens + workers - 1) / workers;
    const auto batches = CutBatches(sequences, order, std::clamp<size_t>(share, 1, kBatchTokens));
    pool.ParallelFor(batches.size(), 1, [&](size_t begin, size_t end, int worker) {
      for (size_t i = begin; i < end && !stopped; ++i) {
        if (!run(batches[i], workspaces[static_cast<size_t>(worker)])) stopped = true;
      }
    });
  }
  if (stopped) return CancelledError("encoding was cancelled");
  return OkStatus();
}

}  // namespace rag
