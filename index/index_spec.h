// The text form of an index's options, "hnsw:m=16,ef_construction=200": the one place that knows
// the kinds' keys.
#pragma once

#include <string>
#include <string_view>

#include "index/vector_index.h"

namespace rag {

// KIND or KIND:key=value,...; the name of codes or of an element type may stand without its key:
// "hnsw:pca8,u8" is "hnsw:codes=pca8,element=u8". What the text does not say is as in `base` (dim
// and metric always are). Ranges are left to VectorIndex::Create.
// Errors: invalid_argument naming the part; resource_exhausted over 1 KiB.
Result<VectorIndexOptions> ParseIndexSpec(std::string_view text,
                                          const VectorIndexOptions& base = {});

// The text for which ParseIndexSpec gives these options (dim and metric aside), naming only what
// differs from the defaults.
std::string FormatIndexSpec(const VectorIndexOptions& options);

// A number with b, k, m or g behind it, or kb, kib and so on: powers of 1,024 all.
// Errors: invalid_argument.
Result<size_t> ParseByteCount(std::string_view text);

// The kinds' keys, for a program's help.
std::string_view IndexSpecHelp();

}  // namespace rag
