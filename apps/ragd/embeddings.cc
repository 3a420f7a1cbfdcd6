// POST /v1/embeddings, as https://platform.openai.com/docs/api-reference/embeddings has it.
#include <bit>
#include <cstring>

#include "apps/ragd/fields.h"
#include "apps/ragd/service.h"
#include "lib/base/base64.h"

namespace rag {
namespace {

constexpr size_t kMaxTexts = 2048;  // OpenAI's own bound

Value EncodeVector(std::span<const float> vector, bool base64) {
  if (base64) {
    static_assert(std::endian::native == std::endian::little, "the bytes are little-endian floats");
    return EncodeBase64(std::as_bytes(vector));
  }
  return Value::Array(vector.begin(), vector.end());
}

void Embed(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  const Result<Value> body = ParseBody(request);
  if (!body.ok()) {
    SentError(body.status(), out);
    return;
  }
  Fields fields(*body);
  const std::string model = fields.RequiredString("model");
  const std::string format = fields.String("encoding_format", "float");
  const int64_t dimensions = fields.Int("dimensions", 0, 1, 1 << 20);
  const Value* input = fields.Find("input");
  if (input == nullptr) {
    fields.Fail("input", "is missing");
  } else if (input->is_array() && !input->as_array().empty() &&
             (input->as_array()[0].is_int() || input->as_array()[0].is_array())) {
    // Their ids would be of another model's vocabulary.
    fields.Fail("input", "is made of token ids; only text is taken", 400, "tokens_not_supported");
  }
  const std::vector<std::string> texts = fields.Strings("input", kMaxTexts);
  if (texts.empty()) fields.Fail("input", "must hold at least one text");
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) fields.Fail("input", StrCat("[", i, "] must not be an empty text"));
  }
  if (format != "float" && format != "base64") {
    fields.Fail("encoding_format", StrCat("'", format, "' is not float or base64"));
  }
  if (service.encoder_name.empty()) {
    fields.Fail("model", "cannot be served: this daemon runs without an encoder", 400,
                "no_encoder");
  } else if (model != service.encoder_name) {
    fields.Fail("model",
                StrCat("'", model, "' is not here; the encoder is '", service.encoder_name, "'"),
                404, "model_not_found");
  }
  if (dimensions != 0 && static_cast<size_t>(dimensions) != service.encoder_dim) {
    // Cutting vectors of a model that was not trained for it would silently spoil them.
    fields.Fail("dimensions", StrCat(dimensions, " cannot be had: this model's vectors have ",
                                     service.encoder_dim, " and cannot be shortened"));
  }
  if (SentError(fields, out)) return;

  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const Result<Embeddings> embeddings =
      service.engine.Embed(views, TextRole::kPlain, &out.cancel());
  if (!embeddings.ok()) {
    const bool of_input = embeddings.status().code() == StatusCode::kInvalidArgument;
    SentError(embeddings.status(), out, of_input ? "input" : "");
    return;
  }
  service.metrics.texts_encoded += texts.size();
  Value::Array data;
  data.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    data.emplace_back(
        Value::Object{{"object", "embedding"},
                      {"index", i},
                      {"embedding", EncodeVector(embeddings->vectors.row(i), format == "base64")}});
  }
  const size_t tokens = embeddings->stats.tokens;
  Value::Object answer;
  answer.Set("object", "list");
  answer.Set("data", std::move(data));
  answer.Set("model", service.encoder_name);
  answer.Set("usage", Value::Object{{"prompt_tokens", tokens}, {"total_tokens", tokens}});
  // Ours: a text longer than the encoder reads was cut, and that is said.
  Value::Array truncated;
  for (size_t i = 0; i < embeddings->truncated.size(); ++i) {
    if (embeddings->truncated[i] == 0) continue;
    truncated.emplace_back(Value::Object{{"index", i}, {"tokens_lost", embeddings->truncated[i]}});
  }
  if (!truncated.empty()) {
    answer.Set("rag", Value::Object{{"truncated", std::move(truncated)}});
  }
  out.Send(JsonResponse(answer));
}

}  // namespace

void AddEmbeddingRoutes(const Service& service, Router& router) {
  router.Add({"POST", "/v1/embeddings", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                Embed(service, request, out);
              }});
}

}  // namespace rag
