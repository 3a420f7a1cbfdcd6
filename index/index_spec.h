// The text form of an index's options, "hnsw:m=16,ef_construction=200": the one place that knows
// the kinds' keys.
#pragma once

#include <string_view>

#include "index/vector_index.h"

namespace rag {

// KIND or KIND:key=value,...; the name of codes or of an element type may stand without its key:
// "hnsw:pca8,u8" is "hnsw:codes=pca8,element=u8". What the text does not say is as in `base` (dim
// and metric always are). Ranges are left to VectorIndex::Create.
// Errors: invalid_argument naming the part; resource_exhausted over 1 KiB.
Result<VectorIndexOptions> ParseIndexSpec(std::string_view text,
                                          const VectorIndexOptions& base = {});

// The kinds' keys, for a program's help.
std::string_view IndexSpecHelp();

}  // namespace rag
