// The members of a POST /v1/chat/completions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/ragd/fields.h"
#include "apps/ragd/service.h"

namespace rag {

struct ChatRequest {
  std::string model;
  std::vector<ChatMessage> messages;
  size_t max_tokens = 0;
  SamplingOptions sampling;
  std::vector<std::string> stop;
  OutputConstraint constraint;
  std::shared_ptr<const CompiledConstraint> compiled;  // held: its answers share it
  std::vector<AdapterUse> adapters;
  int priority = 0;  // of the engine: higher first
  size_t answers = 1;
  bool logprobs = false;
  size_t top_logprobs = 0;
  bool stream = false;
  bool include_usage = false;
  bool has_rag = false;
  std::string collection;
  AskRequest ask;  // with has_rag
};

// Reads and checks everything; the first error stays in `fields`.
void ReadChat(Fields& fields, const Service& service, ChatRequest& chat);

}  // namespace rag
