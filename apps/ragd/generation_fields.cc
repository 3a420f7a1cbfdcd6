#include "apps/ragd/generation_fields.h"

#include <charconv>
#include <cmath>
#include <utility>

namespace rag {
namespace {

constexpr size_t kMaxMessages = 4096;
constexpr size_t kMaxBiases = 1024;

// A string, or OpenAI's array of parts, of which only text can be read here.
std::string ReadContent(Fields& fields, const Value& message, const std::string& place) {
  const Value* content = message.Find("content");
  if (content == nullptr || content->is_null()) {
    fields.Fail(place + ".content", "is missing");
    return "";
  }
  if (content->is_string()) return content->as_string();
  if (!content->is_array()) {
    fields.Fail(place + ".content", "must be a string or an array of parts");
    return "";
  }
  std::string text;
  for (const Value& part : content->as_array()) {
    const Value* type = part.Find("type");
    const Value* piece = part.Find("text");
    if (type == nullptr || !type->is_string() || type->as_string() != "text" || piece == nullptr ||
        !piece->is_string()) {
      fields.Fail(place + ".content", "has a part that is not text", 400, "unsupported_content");
      return "";
    }
    text += piece->as_string();
  }
  return text;
}

// {"token id": bias, ...}
void ReadBias(Fields& fields, SamplingOptions& sampling) {
  const Value* bias = fields.Find("logit_bias");
  if (bias == nullptr || bias->is_null()) return;
  if (!bias->is_object() || bias->as_object().size() > kMaxBiases) {
    return fields.Fail("logit_bias", StrCat("must be an object of at most ", kMaxBiases, " ids"));
  }
  for (const auto& [key, value] : bias->as_object()) {
    TokenId id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0) {
      return fields.Fail("logit_bias", StrCat("has the key '", key, "', which is no token id"));
    }
    if (!value.is_number() || !(std::fabs(value.as_double()) <= 100)) {
      return fields.Fail("logit_bias",
                         StrCat("has for '", key, "' ",
                                value.is_number() ? StrCat(value.as_double()) : value.type_name(),
                                ", not a number from -100 to 100"));
    }
    sampling.logit_bias.emplace_back(id, value.as_double());
  }
}

}  // namespace

std::vector<ChatMessage> ReadMessages(Fields& fields, std::string_view key) {
  std::vector<ChatMessage> read;
  const Value* messages = fields.Find(key);
  if (messages == nullptr) return read;
  if (!messages->is_array()) {
    fields.Fail(key, StrCat("must be an array of messages, not ", messages->type_name()));
    return read;
  }
  if (messages->as_array().size() > kMaxMessages) {
    fields.Fail(key, StrCat("has more than ", kMaxMessages, " members"));
    return read;
  }
  for (size_t i = 0; i < messages->as_array().size() && fields.ok(); ++i) {
    const Value& message = messages->as_array()[i];
    const std::string place = StrCat(key, "[", i, "]");
    const Value* role = message.Find("role");
    if (role == nullptr || !role->is_string()) {
      fields.Fail(place + ".role", "must be a string");
      return read;
    }
    ChatMessage parsed;
    // "developer" is the newer name of the same role.
    parsed.role = role->as_string() == "developer" ? "system" : role->as_string();
    if (parsed.role != "system" && parsed.role != "user" && parsed.role != "assistant") {
      fields.Fail(place + ".role",
                  StrCat("'", parsed.role, "' is not system, developer, user or assistant"), 400,
                  "unsupported_role");
      return read;
    }
    // An assistant's message that called tools has null there.
    const Value* content = message.Find("content");
    const bool empty = parsed.role == "assistant" && content != nullptr && content->is_null();
    if (!empty) parsed.content = ReadContent(fields, message, place);
    read.push_back(std::move(parsed));
  }
  return read;
}

void ReadSampling(Fields& fields, double temperature, SamplingOptions& sampling) {
  sampling.temperature = fields.Number("temperature", temperature, 0, 100);
  sampling.top_p = fields.Number("top_p", 1, 0, 1);
  if (sampling.top_p == 0) fields.Fail("top_p", "must be above 0");
  sampling.top_k = static_cast<size_t>(fields.Int("top_k", 0, 0, 1 << 24));
  sampling.min_p = fields.Number("min_p", 0, 0, 0.999999);
  sampling.repetition_penalty = fields.Number("repetition_penalty", 1, 0.01, 100);
  sampling.presence_penalty = fields.Number("presence_penalty", 0, -2, 2);
  sampling.frequency_penalty = fields.Number("frequency_penalty", 0, -2, 2);
  ReadBias(fields, sampling);
  sampling.typical_p = fields.Number("typical_p", 1, 0.000001, 1);
  sampling.top_n_sigma = fields.Number("top_n_sigma", 0, 0, 1000);
  sampling.xtc_probability = fields.Number("xtc_probability", 0, 0, 1);
  sampling.xtc_threshold = fields.Number("xtc_threshold", 0.1, 0.000001, 1);
  sampling.mirostat_tau = fields.Number("mirostat_tau", 0, 0, 1000);
  sampling.mirostat_eta = fields.Number("mirostat_eta", 0.1, 0.000001, 1);
  sampling.dry_multiplier = fields.Number("dry_multiplier", 0, 0, 1000);
  sampling.dry_base = fields.Number("dry_base", 1.75, 1, 1000);
  sampling.dry_allowed_length =
      static_cast<size_t>(fields.Int("dry_allowed_length", 2, 1, 1 << 20));
}

OutputConstraint ReadResponseFormat(Fields& fields) {
  using Kind = OutputConstraint::Kind;
  const Value* format = fields.Find("response_format");
  if (format == nullptr || format->is_null()) return {};
  const Value* type = format->Find("type");
  const std::string name = type != nullptr && type->is_string() ? type->as_string() : "";
  const auto text = [&](Kind kind) -> OutputConstraint {
    const Value* value = format->Find("value");
    if (value != nullptr && value->is_string()) return {kind, value->as_string(), {}};
    fields.Fail("response_format.value", "must be a string");
    return {};
  };
  if (name == "json_object") return {Kind::kJsonSchema, R"({"type": "object"})", {}};
  if (name == "json_schema") {
    const Value* member = format->Find("json_schema");
    const Value* schema = member == nullptr ? nullptr : member->Find("schema");
    if (schema != nullptr && schema->is_object()) return {Kind::kJsonSchema, ToJson(*schema), {}};
    fields.Fail("response_format.json_schema.schema", "must be an object");
    return {};
  }
  if (name == "grammar") return text(Kind::kGrammar);
  if (name == "regex") return text(Kind::kRegex);
  if (name == "choice") {
    Fields own(*format, "response_format.");
    OutputConstraint choice{Kind::kChoice, "", own.Strings("choices", SIZE_MAX)};
    if (own.ok()) return choice;
    fields.Adopt(own.error());
  } else if (name != "text") {
    fields.Fail("response_format.type",
                "must be text, json_object, json_schema, grammar, regex or choice");
  }
  return {};
}

}  // namespace rag
