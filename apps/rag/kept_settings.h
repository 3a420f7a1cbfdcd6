// What a command line says of a collection that is there already and keeps what it was made with.
#pragma once

#include <string>

#include "apps/rag/options.h"
#include "engine/engine.h"

namespace rag {

// Which flags were given that are for new collections and say otherwise than this collection: what
// it keeps, the flag, and how to have the other. "" when there are none.
std::string KeptSettings(const Options& options, const CollectionInfo& info);

}  // namespace rag
