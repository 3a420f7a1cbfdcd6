// rag-bench decode: a decoder and its peers take turns on the same GGUF files; reports.
#pragma once

#include <string>
#include <vector>

#include "apps/rag_bench/decode/llama_bench.h"
#include "lib/base/cancel.h"
#include "lib/tensor/tensor.h"

namespace rag::bench {

struct DecodeBenchOptions {
  std::vector<std::string> models;
  std::vector<int> threads = {1, 2};
  size_t prompt = 512;
  size_t tokens = 64;
  std::vector<size_t> depths = {0, 512};
  std::vector<size_t> batches = {1, 2, 4, 8};
  size_t rounds = 5;
  DType cache_type = DType::kF32;
  bool mapped_weights = false;
  size_t draft_tokens = 0;  // 0: repetitions are not measured
  std::vector<LlamaBench> peers;
  std::string json;  // "-": standard output, and nothing else there
  std::string markdown;
  bool quiet = false;
  std::string command;  // as it was typed
};

// Returns the exit code; errors are printed.
int RunDecode(const DecodeBenchOptions& options, const CancelToken& cancel);

}  // namespace rag::bench
