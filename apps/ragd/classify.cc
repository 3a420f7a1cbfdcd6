// POST /v1/classify: which of some labels pictures show.
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

void Classify(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  const Result<Value> body = ParseBody(request);
  if (!body.ok()) {
    SentError(body.status(), out);
    return;
  }
  Fields fields(*body);
  fields.AllowOnly({"images", "labels", "templates"});
  ClassifyRequest wanted;
  wanted.labels = fields.Strings("labels", kMaxClassifyLabels);
  if (wanted.labels.empty()) fields.Fail("labels", "must hold at least one");
  if (fields.Has("templates")) {
    wanted.templates = fields.Strings("templates", kMaxClassifyTemplates);
  }
  const std::vector<Image> images = ReadImages(fields);
  if (SentError(fields, out)) return;
  const Result<std::vector<Classification>> found =
      service.engine.Classify(images, wanted, &out.cancel());
  if (!found.ok()) {
    SentError(found.status(), out);
    return;
  }
  Value::Array results;
  for (const Classification& scores : *found) {
    results.emplace_back(Value::Object{{"labels", ToValue(scores)}});
  }
  out.Send(JsonResponse(Value::Object{{"results", std::move(results)}}));
}

}  // namespace

void AddClassifyRoutes(const Service& service, Router& router) {
  router.Add({"POST", "/v1/classify", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                Classify(service, request, out);
              }});
}

}  // namespace rag
