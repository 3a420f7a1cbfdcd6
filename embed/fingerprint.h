// The name of everything that an encoder's vectors depend on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "embed/encoder_config.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/runtime/runtime.h"

namespace rag {

// The hash of the tokenizer's files in `folder` and of tokenizer_config.json. Errors: those of
// reading them.
Result<uint64_t> HashTokenizer(const std::string& folder);

// The hash of all tensors: names, types, shapes and bytes, these in pieces on all threads. Nothing
// of the file stays in memory.
uint64_t HashTensors(const SafetensorsFile& file, ThreadPool& pool);

struct FingerprintParts {
  uint64_t tokenizer = 0;
  uint64_t weights = 0;
  uint64_t head = 0;  // of what stands behind the pooling; 0: nothing
  Precision precision = Precision::kF32;
};

// "<name>-<hash>", and "-bf16" or "-int8" behind it; source_bytes: all of the files' settings.
std::string MakeFingerprint(std::string name, std::string_view source_bytes,
                            const FingerprintParts& parts);
// "bert-384-mean-<hash>" likewise.
std::string MakeFingerprint(const EncoderConfig& config, const FingerprintParts& parts);

}  // namespace rag
