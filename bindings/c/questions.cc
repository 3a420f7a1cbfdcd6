// The C ABI's searches and what they are worth, answers, generations and vectors.
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/c/handles.h"
#include "bindings/c/rag.h"
#include "engine/json.h"
#include "lib/image/image.h"

namespace {

using rag::InvalidArgumentError;
using rag::OkStatus;
using rag::Result;
using rag::Status;
using rag::bindings::CancelOf;
using rag::bindings::Guard;
using rag::bindings::HandOut;
using rag::bindings::NeedArgument;
using rag::bindings::OrDefault;
using rag::bindings::OrEmpty;
using rag::bindings::ReadStrings;
using rag::bindings::ReadStruct;
using rag::bindings::ReadTexts;

constexpr size_t kSources = 6;        // of an answer
constexpr size_t kMaxBiases = 1'024;  // SamplingOptions::logit_bias
constexpr size_t kMaxCutoffs = 64;
// Of all the pictures of a call together, at three bytes each.
constexpr size_t kMaxPixels = size_t{1} << 28;

Result<rag::SearchRequest> ReadSearch(const rag_search_options* options, size_t default_k) {
  RAG_ASSIGN_OR_RETURN(
      const rag_search_options given,
      ReadStruct(options, offsetof(rag_search_options, rrf_k), "rag_search_options"));
  rag::SearchRequest request;
  request.k = given.k != 0 ? given.k : default_k;
  if (given.mode != nullptr) {
    RAG_ASSIGN_OR_RETURN(request.mode, rag::ParseSearchMode(given.mode));
  }
  request.filter = OrEmpty(given.filter);
  request.ef_search = given.ef_search;
  request.exact = given.exact != 0;
  request.per_document = given.per_document;
  request.rerank_top = given.rerank_top;
  if (given.image != nullptr) {
    request.image.assign(static_cast<const char*>(given.image), given.image_bytes);
  }
  if (given.rrf_k != 0) request.rrf_k = given.rrf_k;
  request.dense_weight = OrDefault(given.dense_weight, request.dense_weight);
  request.lexical_weight = OrDefault(given.lexical_weight, request.lexical_weight);
  request.sparse_weight = OrDefault(given.sparse_weight, request.sparse_weight);
  return request;
}

// What rag_ask and rag_chat hand to the engine of rag_generate_options.
struct Generation {
  rag::ChatOptions options;
  rag_on_text on_text = nullptr;
  void* user = nullptr;

  bool Deliver(std::string_view text) const {
    return text.empty() || on_text(text.data(), text.size(), user) == 0;
  }
};

Status ReadConstraint(const rag_generate_options& given, rag::OutputConstraint& constraint) {
  using Kind = rag::OutputConstraint::Kind;
  if (given.choice_count > 0) {
    if (given.constraint != nullptr) {
      return InvalidArgumentError("rag_generate_options.constraint and choices are both set");
    }
    constraint.kind = Kind::kChoice;
    RAG_ASSIGN_OR_RETURN(constraint.choices,
                         ReadStrings(given.choices, given.choice_count, "choices"));
    return OkStatus();
  }
  if (given.constraint == nullptr) return OkStatus();
  const std::string_view name = given.constraint;
  if (name == "json_schema") {
    constraint.kind = Kind::kJsonSchema;
  } else if (name == "grammar") {
    constraint.kind = Kind::kGrammar;
  } else if (name == "regex") {
    constraint.kind = Kind::kRegex;
  } else {
    return InvalidArgumentError("rag_generate_options.constraint '", name,
                                "' is none of json_schema, grammar and regex");
  }
  RAG_RETURN_IF_ERROR(NeedArgument(given.constraint_text, "rag_generate_options.constraint_text"));
  constraint.text = given.constraint_text;
  return OkStatus();
}

void ReadSampling(const rag_generate_options& given, rag::SamplingOptions& sampling) {
  const auto set = [](double value, double& option) {
    if (value != 0) option = value;
  };
  sampling.temperature = given.temperature;
  set(given.top_p, sampling.top_p);
  sampling.min_p = given.min_p;
  sampling.top_k = given.top_k;
  set(given.repetition_penalty, sampling.repetition_penalty);
  sampling.presence_penalty = given.presence_penalty;
  sampling.frequency_penalty = given.frequency_penalty;
  set(given.typical_p, sampling.typical_p);
  sampling.top_n_sigma = given.top_n_sigma;
  sampling.xtc_probability = given.xtc_probability;
  set(given.xtc_threshold, sampling.xtc_threshold);
  sampling.mirostat_tau = given.mirostat_tau;
  set(given.mirostat_eta, sampling.mirostat_eta);
  sampling.dry_multiplier = given.dry_multiplier;
  set(given.dry_base, sampling.dry_base);
  if (given.dry_allowed_length != 0) sampling.dry_allowed_length = given.dry_allowed_length;
  sampling.seed = given.seed;
}

Status ReadBias(const rag_generate_options& given, rag::SamplingOptions& sampling) {
  if (given.logit_bias_count == 0) return OkStatus();
  RAG_RETURN_IF_ERROR(NeedArgument(given.logit_bias, "rag_generate_options.logit_bias"));
  if (given.logit_bias_count > kMaxBiases) {
    return InvalidArgumentError("rag_generate_options.logit_bias_count is ", given.logit_bias_count,
                                "; at most ", kMaxBiases, " are taken");
  }
  for (size_t i = 0; i < given.logit_bias_count; ++i) {
    sampling.logit_bias.emplace_back(given.logit_bias[i].token, given.logit_bias[i].bias);
  }
  return OkStatus();
}

Result<Generation> ReadGeneration(const rag_generate_options* options) {
  RAG_ASSIGN_OR_RETURN(
      const rag_generate_options given,
      ReadStruct(options, offsetof(rag_generate_options, typical_p), "rag_generate_options"));
  Generation generation{.options = {}, .on_text = given.on_text, .user = given.user};
  rag::ChatOptions& out = generation.options;
  if (given.max_tokens != 0) out.max_tokens = given.max_tokens;
  ReadSampling(given, out.sampling);
  RAG_RETURN_IF_ERROR(ReadBias(given, out.sampling));
  RAG_ASSIGN_OR_RETURN(out.stop, ReadStrings(given.stop, given.stop_count, "stop"));
  RAG_RETURN_IF_ERROR(ReadConstraint(given, out.constraint));
  RAG_ASSIGN_OR_RETURN(const std::vector<std::string> adapters,
                       ReadStrings(given.adapters, given.adapter_count, "adapters"));
  for (size_t i = 0; i < adapters.size(); ++i) {
    rag::AdapterUse use{.name = adapters[i]};
    if (given.adapter_scales != nullptr && given.adapter_scales[i] != 0) {
      use.scale = given.adapter_scales[i];
    }
    out.adapters.push_back(std::move(use));
  }
  out.priority = given.priority;
  out.logprobs = given.logprobs != 0;
  out.top_logprobs = given.top_logprobs;
  if (out.top_logprobs != 0 && !out.logprobs) {
    return InvalidArgumentError("rag_generate_options.top_logprobs is set without logprobs");
  }
  return generation;
}

Result<std::vector<rag::ChatMessage>> ReadMessages(const rag_message* messages, size_t count,
                                                   std::string_view name) {
  std::vector<rag::ChatMessage> read;
  if (count > 0) RAG_RETURN_IF_ERROR(NeedArgument(messages, name));
  for (size_t i = 0; i < count; ++i) {
    if (messages[i].role == nullptr || messages[i].content == nullptr) {
      return InvalidArgumentError(name, "[", i, "] has no role or no content");
    }
    const std::string_view role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant") {
      return InvalidArgumentError(name, "[", i, "].role '", role,
                                  "' is not system, user or assistant");
    }
    read.push_back({std::string(role), messages[i].content});
  }
  return read;
}

Result<rag::AskRequest> ReadAsk(const rag_ask_options& given, const Generation& generation) {
  if (generation.options.logprobs) {
    return rag::UnsupportedError(
        "rag_generate_options.logprobs are of rag_chat alone: an answer is cut out of what the "
        "decoder writes");
  }
  rag::AskRequest request;
  RAG_ASSIGN_OR_RETURN(request.search, ReadSearch(given.search, kSources));
  request.search.image.clear();
  if (given.strategy != nullptr) {
    RAG_ASSIGN_OR_RETURN(request.prompt.strategy, rag::ParsePromptStrategy(given.strategy));
  }
  request.prompt.system = OrEmpty(given.system);
  request.prompt.template_path = OrEmpty(given.template_path);
  request.prompt.examples_path = OrEmpty(given.examples_path);
  RAG_ASSIGN_OR_RETURN(request.history,
                       ReadMessages(given.history, given.history_count, "history"));
  const rag::ChatOptions& options = generation.options;
  request.max_tokens = options.max_tokens;
  request.sampling = options.sampling;
  request.stop = options.stop;
  request.constraint = options.constraint;
  request.priority = options.priority;
  request.adapters = options.adapters;
  return request;
}

Result<std::vector<rag::Image>> ReadImages(const void* const* images, const size_t* image_bytes,
                                           size_t count) {
  std::vector<rag::Image> decoded;
  if (count == 0) return decoded;
  RAG_RETURN_IF_ERROR(NeedArgument(images, "images"));
  RAG_RETURN_IF_ERROR(NeedArgument(image_bytes, "image_bytes"));
  size_t pixels = 0;
  for (size_t i = 0; i < count; ++i) {
    const std::string name = rag::StrCat("images[", i, "]");
    RAG_RETURN_IF_ERROR(NeedArgument(images[i], name));
    const std::string_view bytes(static_cast<const char*>(images[i]), image_bytes[i]);
    RAG_ASSIGN_OR_RETURN(rag::Image image,
                         rag::DecodeImage(bytes, name, {.max_pixels = kMaxPixels - pixels}));
    pixels += image.width * image.height;
    decoded.push_back(std::move(image));
  }
  return decoded;
}

rag::Value LabelsOf(const std::vector<rag::Classification>& found) {
  rag::Value::Array results;
  for (const rag::Classification& scores : found) {
    results.emplace_back(rag::Value::Object{{"labels", rag::ToValue(scores)}});
  }
  return results;
}

// Copies the vectors that `encode` gives for `count` inputs, if there is room.
template <class Encode>
Status CopyVectors(const rag_engine& engine, size_t count, const Encode& encode, float* out,
                   size_t out_floats, size_t* dim) {
  RAG_ASSIGN_OR_RETURN(const rag::EncoderInfo info, engine.engine->GetEncoderInfo());
  *dim = info.dim;
  if (out == nullptr || count == 0) return OkStatus();
  if (count > out_floats / info.dim) {
    return rag::OutOfRangeError("out has room for ", out_floats, " floats; ", count, " vectors of ",
                                info.dim, " need more");
  }
  RAG_ASSIGN_OR_RETURN(const rag::Embeddings embeddings, encode());
  for (size_t i = 0; i < count; ++i) {
    const auto row = embeddings.vectors.row(i);
    std::copy(row.begin(), row.end(), out + i * info.dim);
  }
  return OkStatus();
}

}  // namespace

extern "C" {

rag_code rag_search(rag_engine* engine, const char* collection, const char* query,
                    const rag_search_options* options, rag_call* call, char** hits_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(hits_json, "hits_json"));
    *hits_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_ASSIGN_OR_RETURN(rag::SearchRequest request, ReadSearch(options, 10));
    if (request.image.empty()) {
      RAG_RETURN_IF_ERROR(NeedArgument(query, "query"));
      request.query = query;
    } else if (query != nullptr) {
      return InvalidArgumentError("query and rag_search_options.image are two questions; give one");
    }
    RAG_ASSIGN_OR_RETURN(const rag::SearchResponse response,
                         engine->engine->Search(collection, request, CancelOf(call)));
    HandOut(rag::ToValue(response), hits_json);
    return OkStatus();
  });
}

rag_code rag_evaluate(rag_engine* engine, const char* collection, const char* folder,
                      const rag_evaluate_options* options, rag_call* call, char** report_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(report_json, "report_json"));
    *report_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(folder, "folder"));
    RAG_ASSIGN_OR_RETURN(const rag_evaluate_options given,
                         ReadStruct(options, sizeof(rag_evaluate_options), "rag_evaluate_options"));
    rag::EvaluateRequest request;
    request.folder = folder;
    RAG_ASSIGN_OR_RETURN(request.search, ReadSearch(given.search, request.search.k));
    request.search.image.clear();
    request.search.k = rag::SearchRequest().k;  // not used: a rank is of the cutoffs
    if (given.cutoff_count > kMaxCutoffs) {
      return InvalidArgumentError("rag_evaluate_options.cutoff_count is ", given.cutoff_count,
                                  "; at most ", kMaxCutoffs, " are taken");
    }
    if (given.cutoff_count > 0) {
      RAG_RETURN_IF_ERROR(NeedArgument(given.cutoffs, "rag_evaluate_options.cutoffs"));
      request.cutoffs.assign(given.cutoffs, given.cutoffs + given.cutoff_count);
    }
    RAG_ASSIGN_OR_RETURN(
        const rag::EvaluateReport report,
        engine->engine->Evaluate(collection, request, call != nullptr ? &call->ingest : nullptr,
                                 CancelOf(call)));
    HandOut(rag::ToValue(report), report_json);
    return OkStatus();
  });
}

rag_code rag_ask(rag_engine* engine, const char* collection, const char* question,
                 const rag_ask_options* options, rag_call* call, char** answer_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(answer_json, "answer_json"));
    *answer_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(collection, "collection"));
    RAG_RETURN_IF_ERROR(NeedArgument(question, "question"));
    RAG_ASSIGN_OR_RETURN(const rag_ask_options given,
                         ReadStruct(options, sizeof(rag_ask_options), "rag_ask_options"));
    RAG_ASSIGN_OR_RETURN(const Generation generation, ReadGeneration(given.generate));
    RAG_ASSIGN_OR_RETURN(rag::AskRequest request, ReadAsk(given, generation));
    request.search.query = question;
    const auto deliver = [&](const rag::TextPiece& piece) { return generation.Deliver(piece); };
    const rag::Generator::TokenCallback on_text(deliver);
    RAG_ASSIGN_OR_RETURN(
        const rag::Answer answer,
        engine->engine->Ask(collection, request, generation.on_text != nullptr ? &on_text : nullptr,
                            CancelOf(call)));
    HandOut(rag::ToValue(answer), answer_json);
    return OkStatus();
  });
}

rag_code rag_chat(rag_engine* engine, const rag_message* messages, size_t message_count,
                  const rag_generate_options* options, rag_call* call, char** result_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(result_json, "result_json"));
    *result_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_ASSIGN_OR_RETURN(const std::vector<rag::ChatMessage> read,
                         ReadMessages(messages, message_count, "messages"));
    if (read.empty()) return InvalidArgumentError("message_count is 0; give at least one message");
    RAG_ASSIGN_OR_RETURN(const Generation generation, ReadGeneration(options));
    const auto deliver = [&](const rag::TextPiece& piece) { return generation.Deliver(piece); };
    const rag::Generator::TokenCallback on_text(deliver);
    RAG_ASSIGN_OR_RETURN(
        const rag::GenerateResult result,
        engine->engine->Chat(read, generation.options,
                             generation.on_text != nullptr ? &on_text : nullptr, CancelOf(call)));
    HandOut(rag::ToValue(result), result_json);
    return OkStatus();
  });
}

rag_code rag_embed(rag_engine* engine, const char* const* texts, const size_t* text_bytes,
                   size_t count, const char* role, rag_call* call, float* out, size_t out_floats,
                   size_t* dim) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(dim, "dim"));
    *dim = 0;
    RAG_ASSIGN_OR_RETURN(const std::vector<std::string_view> views,
                         ReadTexts(texts, text_bytes, count, "texts"));
    rag::TextRole of = rag::TextRole::kPlain;
    if (role != nullptr) {
      RAG_ASSIGN_OR_RETURN(of, rag::ParseTextRole(role));
    }
    return CopyVectors(
        *engine, count, [&] { return engine->engine->Embed(views, of, CancelOf(call)); }, out,
        out_floats, dim);
  });
}

rag_code rag_embed_images(rag_engine* engine, const void* const* images, const size_t* image_bytes,
                          size_t count, rag_call* call, float* out, size_t out_floats,
                          size_t* dim) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(dim, "dim"));
    *dim = 0;
    const auto encode = [&]() -> Result<rag::Embeddings> {
      RAG_ASSIGN_OR_RETURN(const std::vector<rag::Image> decoded,
                           ReadImages(images, image_bytes, count));
      return engine->engine->EmbedImages(decoded, CancelOf(call));
    };
    return CopyVectors(*engine, count, encode, out, out_floats, dim);
  });
}

rag_code rag_rerank(rag_engine* engine, const char* query, const char* const* passages,
                    const size_t* passage_bytes, size_t count, rag_call* call, float* scores) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_RETURN_IF_ERROR(NeedArgument(query, "query"));
    if (count > 0) RAG_RETURN_IF_ERROR(NeedArgument(scores, "scores"));
    RAG_ASSIGN_OR_RETURN(const std::vector<std::string_view> views,
                         ReadTexts(passages, passage_bytes, count, "passages"));
    RAG_ASSIGN_OR_RETURN(const rag::RerankScores found,
                         engine->engine->Rerank(query, views, CancelOf(call)));
    std::copy(found.scores.begin(), found.scores.end(), scores);
    return OkStatus();
  });
}

rag_code rag_classify(rag_engine* engine, const char* const* texts, const size_t* text_bytes,
                      size_t count, const rag_classify_options* options, rag_call* call,
                      char** results_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(results_json, "results_json"));
    *results_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_ASSIGN_OR_RETURN(const std::vector<std::string_view> views,
                         ReadTexts(texts, text_bytes, count, "texts"));
    RAG_ASSIGN_OR_RETURN(const rag_classify_options given,
                         ReadStruct(options, sizeof(rag_classify_options), "rag_classify_options"));
    rag::ClassifyTextsRequest request;
    RAG_ASSIGN_OR_RETURN(request.labels, ReadStrings(given.labels, given.label_count, "labels"));
    if (given.tokens != 0) {
      if (!request.labels.empty()) {
        return InvalidArgumentError(
            "labels are for whole texts; a classifier of tokens has its own");
      }
      RAG_ASSIGN_OR_RETURN(const auto found, engine->engine->LabelRanges(views, CancelOf(call)));
      rag::Value::Array results;
      for (size_t i = 0; i < views.size(); ++i) {
        rag::Value::Array ranges;
        for (const rag::LabelledRange& range : found[i]) {
          ranges.push_back(rag::ToValue(range, views[i]));
        }
        results.emplace_back(rag::Value::Object{{"ranges", std::move(ranges)}});
      }
      HandOut(results, results_json);
      return OkStatus();
    }
    if (given.hypothesis != nullptr) request.hypothesis = given.hypothesis;
    request.several = given.several != 0;
    RAG_ASSIGN_OR_RETURN(const std::vector<rag::Classification> found,
                         engine->engine->ClassifyTexts(views, request, CancelOf(call)));
    HandOut(LabelsOf(found), results_json);
    return OkStatus();
  });
}

rag_code rag_classify_images(rag_engine* engine, const void* const* images,
                             const size_t* image_bytes, size_t count,
                             const rag_classify_options* options, rag_call* call,
                             char** results_json) {
  return Guard([&]() -> Status {
    RAG_RETURN_IF_ERROR(NeedArgument(results_json, "results_json"));
    *results_json = nullptr;
    RAG_RETURN_IF_ERROR(NeedArgument(engine, "engine"));
    RAG_ASSIGN_OR_RETURN(const rag_classify_options given,
                         ReadStruct(options, sizeof(rag_classify_options), "rag_classify_options"));
    rag::ClassifyRequest request;
    RAG_ASSIGN_OR_RETURN(request.labels, ReadStrings(given.labels, given.label_count, "labels"));
    if (given.template_count > 0) {
      RAG_ASSIGN_OR_RETURN(request.templates,
                           ReadStrings(given.templates, given.template_count, "templates"));
    }
    RAG_ASSIGN_OR_RETURN(const std::vector<rag::Image> decoded,
                         ReadImages(images, image_bytes, count));
    RAG_ASSIGN_OR_RETURN(const std::vector<rag::Classification> found,
                         engine->engine->Classify(decoded, request, CancelOf(call)));
    HandOut(LabelsOf(found), results_json);
    return OkStatus();
  });
}

}  // extern "C"
