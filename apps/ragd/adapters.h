// The decoder's adapters in requests.
#pragma once

#include <string>
#include <vector>

#include "apps/ragd/fields.h"
#include "apps/ragd/service.h"

namespace rag {

// The adapter that `model` names, as vLLM has it, or those of `lora`, as llama.cpp's server has it:
// [{"id": 0 or "name": "…", "scale": 0.5}], where the id is the place in /v1/models and no scale
// means the adapter's own. Anything wrong stays in `fields`.
std::vector<AdapterUse> ReadAdapters(Fields& fields, const Service& service,
                                     const std::string& model);

}  // namespace rag
