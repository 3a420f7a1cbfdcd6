// What a late interaction model's folder says besides its weights: PyLate's files, or Stanford's.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "embed/modules.h"
#include "embed/transformer_config.h"
#include "lib/base/status.h"

namespace rag {

struct LateInteractionConfig {
  TransformerConfig model;
  std::string folder;  // of config.json, the tokenizer and the weights
  bool lower_case = false;
  // Token vectors go through these, one after another. Empty: through the network's own "linear"
  // without a bias, as Stanford's files have it.
  std::vector<DenseConfig> dense;
  // Tokens that are written behind a text's first one; "": none.
  std::string query_prefix;
  std::string document_prefix;
  size_t query_tokens = 0;           // a query is cut or filled up to so many, prefix included
  size_t document_tokens = 0;        // a document is cut to so many
  bool expand_query = true;          // filled up with mask tokens
  bool see_expansion = false;        // these are seen by attention
  std::string mask_token;            // "": the tokenizer's own
  std::vector<std::string> skipped;  // tokens of documents that have no vector
  std::string source_bytes;          // of the files that were read, for fingerprints
};

// Whether the folder says that it is one: config_sentence_transformers.json with PyLate's keys, or
// config.json with Stanford's architecture HF_ColBERT.
bool IsLateInteraction(const std::string& folder);

// Errors: not_found; invalid_argument naming file and key; unsupported naming what is not known.
Result<LateInteractionConfig> ReadLateInteractionConfig(const std::string& folder);

}  // namespace rag
