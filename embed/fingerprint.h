// The name of everything that an encoder's vectors depend on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "embed/encoder_config.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/model/tensor_hash.h"
#include "lib/runtime/runtime.h"

namespace rag {

// The hash of the tokenizer's files in `folder` and of tokenizer_config.json. Errors: those of
// reading them.
Result<uint64_t> HashTokenizer(const std::string& folder);

// Of the hashes of weights, here and in a file in 8 bits.
extern const TensorHashForm kWeightsHashForm;

// Keys of the metadata of a file whose layers are in 8 bits: the hash of the tensors that it was
// made of, which give the same vectors, and that of its own.
inline constexpr std::string_view kSourceHashKey = "rag.source_hash";
inline constexpr std::string_view kOwnHashKey = "rag.hash";

// Of a file's tensors or, where it was made of another's with the same vectors, of those. Errors:
// data_loss when it says so and its own tensors are not those that were written. None of them stays
// in memory.
Result<uint64_t> HashWeights(const TensorFile& file, ThreadPool& pool);

struct FingerprintParts {
  uint64_t tokenizer = 0;
  uint64_t weights = 0;
  uint64_t head = 0;  // of what stands behind the pooling; 0: nothing
  Precision precision = Precision::kF32;
};

// Whether QuantizeEncoder wrote the file in 8 bits.
bool StoresInt8(const TensorFile& file);

// "<name>-<hash>", and behind it, of another precision than f32, "-bf16x3", "-bf16" or "-int8.2";
// source_bytes: all of the files' settings.
std::string MakeFingerprint(std::string name, std::string_view source_bytes,
                            const FingerprintParts& parts);
// "bert-384-mean-<hash>" likewise.
std::string MakeFingerprint(const EncoderConfig& config, const FingerprintParts& parts);

}  // namespace rag
