// How the commands that label pictures and texts print what they found.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/classify.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/image/image.h"
#include "lib/runtime/runtime.h"

namespace rag {

// What stands for one picture or text (`kind`: "image" or "text") among those of rag classify and
// rag probe predict: printed, or added to the list that --json gives.
void AddClassification(std::string_view kind, const std::string& what, const Classification& scores,
                       bool json, Value::Array& list);

// Labels pictures by `label`, which gives one Classification for each of the images. Those that
// cannot be read are told and left out. Gives the exit code: failed when none was labelled.
int ClassifyImageFiles(
    std::span<const std::string> paths, bool json,
    FunctionRef<Result<std::vector<Classification>>(std::span<const Image>)> label);

}  // namespace rag
