// How the commands that label pictures and texts print what they found.
#pragma once

#include <string>
#include <string_view>

#include "engine/classify.h"
#include "lib/base/value.h"

namespace rag {

// What stands for one picture or text (`kind`: "image" or "text") among those of rag classify and
// rag probe predict: printed, or added to the list that --json gives.
void AddClassification(std::string_view kind, const std::string& what, const Classification& scores,
                       bool json, Value::Array& list);

}  // namespace rag
