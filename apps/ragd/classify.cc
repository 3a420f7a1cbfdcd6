// POST /v1/classify: which labels pictures or texts have, or the tokens of texts.
#include <span>
#include <utility>
#include <vector>

#include "apps/ragd/fields.h"
#include "apps/ragd/image_field.h"
#include "apps/ragd/service.h"
#include "engine/classify.h"
#include "engine/json.h"
#include "lib/image/image.h"

namespace rag {
namespace {

constexpr size_t kMaxImages = 32;
constexpr size_t kMaxTexts = 256;
// Of all the pictures of a request together, at three bytes each.
constexpr size_t kMaxPixels = size_t{1} << 26;

std::vector<Image> ReadImages(Fields& fields) {
  std::vector<Image> images;
  size_t pixels = 0;
  const std::vector<std::string> texts = fields.Strings("images", kMaxImages);
  if (texts.empty()) fields.Fail("images", "must hold at least one picture in base64");
  for (size_t i = 0; i < texts.size() && fields.ok(); ++i) {
    const std::string place = StrCat("images[", i, "]");
    Result<std::string> bytes = DecodeImageText(texts[i]);
    if (!bytes.ok()) {
      fields.Check("images", bytes.status().WithContext(place));
      break;
    }
    Result<Image> image = DecodeImage(*bytes, place, {.max_pixels = kMaxPixels - pixels});
    if (!image.ok()) {
      fields.Check("images", image.status());
      break;
    }
    pixels += image->width * image->height;
    images.push_back(std::move(*image));
  }
  return images;
}

Result<Value::Array> ClassifyImages(const Service& service, std::span<const Image> images,
                                    const ClassifyRequest& wanted, const CancelToken& cancel) {
  RAG_ASSIGN_OR_RETURN(const std::vector<Classification> found,
                       service.engine.Classify(images, wanted, &cancel));
  Value::Array results;
  for (const Classification& scores : found) {
    results.emplace_back(Value::Object{{"labels", ToValue(scores)}});
  }
  return results;
}

Result<Value::Array> ClassifyTexts(const Service& service, std::span<const std::string> texts,
                                   const ClassifyTextsRequest& wanted, bool tokens,
                                   const CancelToken& cancel) {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  Value::Array results;
  if (tokens) {
    RAG_ASSIGN_OR_RETURN(const auto found, service.engine.LabelRanges(views, &cancel));
    for (size_t i = 0; i < texts.size(); ++i) {
      Value::Array ranges;
      for (const LabelledRange& range : found[i]) ranges.push_back(ToValue(range, texts[i]));
      results.emplace_back(Value::Object{{"ranges", std::move(ranges)}});
    }
    return results;
  }
  RAG_ASSIGN_OR_RETURN(const std::vector<Classification> found,
                       service.engine.ClassifyTexts(views, wanted, &cancel));
  for (const Classification& scores : found) {
    results.emplace_back(Value::Object{{"labels", ToValue(scores)}});
  }
  return results;
}

void Classify(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  const Result<Value> body = ParseBody(request);
  if (!body.ok()) {
    SentError(body.status(), out);
    return;
  }
  Fields fields(*body);
  const bool of_texts = fields.Has("texts");
  ClassifyRequest of_images;
  ClassifyTextsRequest wanted;
  std::vector<Image> images;
  std::vector<std::string> texts;
  bool tokens = false;
  if (of_texts) {
    fields.AllowOnly({"texts", "labels", "hypothesis", "several", "tokens"});
    texts = fields.Strings("texts", kMaxTexts);
    if (texts.empty()) fields.Fail("texts", "must hold at least one text");
    wanted.labels = fields.Strings("labels", kMaxClassifyTextLabels);
    wanted.hypothesis = fields.String("hypothesis", wanted.hypothesis);
    wanted.several = fields.Bool("several", false);
    tokens = fields.Bool("tokens", false);
    if (tokens && !wanted.labels.empty()) {
      fields.Fail("labels", "of the caller's are for whole texts; a model of tokens has its own");
    }
    if (service.classifier_name.empty()) {
      fields.Fail("texts", "cannot be classified: this daemon runs without a classifier", 400,
                  "no_classifier");
    }
  } else {
    fields.AllowOnly({"images", "texts", "labels", "templates"});
    of_images.labels = fields.Strings("labels", kMaxClassifyLabels);
    if (of_images.labels.empty()) fields.Fail("labels", "must hold at least one");
    if (fields.Has("templates")) {
      of_images.templates = fields.Strings("templates", kMaxClassifyTemplates);
    }
    images = ReadImages(fields);
  }
  if (SentError(fields, out)) return;
  Result<Value::Array> results = of_texts
                                     ? ClassifyTexts(service, texts, wanted, tokens, out.cancel())
                                     : ClassifyImages(service, images, of_images, out.cancel());
  if (!results.ok()) {
    SentError(results.status(), out);
    return;
  }
  out.Send(JsonResponse(Value::Object{{"results", std::move(results).value()}}));
}

}  // namespace

void AddClassifyRoutes(const Service& service, Router& router) {
  router.Add({"POST", "/v1/classify", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                Classify(service, request, out);
              }});
}

}  // namespace rag
