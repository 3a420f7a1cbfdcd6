// What a reranker's files say of its scores.
#pragma once

#include <string>

#include "embed/config_file.h"
#include "lib/base/status.h"

namespace rag {

struct ScoreSettings {
  bool sigmoid = true;  // scores are in (0, 1); else they are the model's logits
  std::string prompt;   // the one that is used by default; of every query
};

// The activation that config.json (`file`) or config_sentence_transformers.json of `folder` names,
// and the latter's prompt, as sentence-transformers' CrossEncoder takes them. Errors:
// invalid_argument naming file and key; unsupported for another activation.
Result<ScoreSettings> ReadScoreSettings(const std::string& folder, const ConfigFile& file);

}  // namespace rag
