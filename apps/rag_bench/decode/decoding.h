// Decoding: what a generator of ours is measured by.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "generate/generator.h"
#include "lib/base/cancel.h"

namespace rag::bench {

struct DecodingOptions {
  size_t prompt = 512;         // tokens of a prefill
  size_t tokens = 64;          // decoded one after another
  std::vector<size_t> depths;  // tokens before those
  size_t most_sequences = 1;   // of a batch
  DType cache_type = DType::kF32;
  bool mapped_weights = false;
  size_t draft_tokens = 0;  // guessed at most, where a generator of guesses is asked for
};

struct Loaded {
  double seconds = 0;              // until it is there
  double first_token_seconds = 0;  // and from then to the first token of a short prompt
  size_t resident_bytes = 0;       // of this process, more than before
  size_t peak_bytes = 0;           // the most while it was loaded, likewise
  size_t cache_bytes = 0;          // of these, keys and values
};

class Decoding {
 public:
  // guesses: draft_tokens are guessed. Errors: those of Generator::Load.
  static Result<std::unique_ptr<Decoding>> Load(const std::string& model,
                                                const DecodingOptions& options, bool guesses,
                                                const Runtime& runtime);

  const Loaded& loaded() const { return loaded_; }
  const Generator& generator() const { return *generator_; }

  // Tokens a second of a prompt of which the cache holds nothing.
  Result<double> Prefill(const CancelToken& cancel);

  struct AtDepth {
    double first_token_ms = 0;   // of a prompt of which the cache holds nothing
    double cached_token_ms = 0;  // of the same again
    double step_ms = 0;
  };
  // Behind a prompt of `depth` tokens, at least one.
  Result<AtDepth> Decode(size_t depth, const CancelToken& cancel);

  // Tokens a second of so many sequences together, which begin together.
  Result<double> Batch(size_t sequences, const CancelToken& cancel);

  struct Repeated {
    double tokens_per_second = 0;
    double guessed = 0;  // share of the output
  };
  // Behind a prompt that repeats itself.
  Result<Repeated> Repeat(const CancelToken& cancel);

 private:
  Decoding(const DecodingOptions& options, std::unique_ptr<Generator> generator)
      : options_(options), generator_(std::move(generator)) {}
  GenerateRequest Request(size_t tokens, size_t salt, size_t max_tokens) const;
  Result<GenerateResult> Run(const GenerateRequest& request, const CancelToken& cancel);

  const DecodingOptions options_;
  const std::unique_ptr<Generator> generator_;
  Loaded loaded_;
  size_t salt_ = 0;  // of the last prompt that began like no other
};

}  // namespace rag::bench
