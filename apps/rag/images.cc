// rag classify, and what the commands that take pictures share.
#include "apps/rag/images.h"

#include <cstdio>
#include <utility>
#include <vector>

#include "apps/rag/commands.h"
#include "apps/rag/output.h"
#include "engine/json.h"
#include "lib/base/file.h"

namespace rag {
namespace {

constexpr size_t kMaxImageBytes = size_t{64} << 20;
// Pictures, and pixels of three bytes, that are held at a time.
constexpr size_t kImagesAtOnce = 32;
constexpr size_t kPixelsAtOnce = size_t{1} << 26;

Result<Image> ReadImage(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string bytes, ReadImageFile(path));
  return DecodeImage(bytes, path);
}

Status Classify(Session& session, Value::Array& list) {
  const Options& options = session.options();
  ClassifyRequest request;
  request.labels = options.classify.labels;
  if (!options.classify.templates.empty()) request.templates = options.classify.templates;
  RAG_ASSIGN_OR_RETURN(const Engine* engine, session.OpenScratchEngine());
  const auto classify = [&](std::span<const size_t> numbers,
                            std::span<const Image> images) -> Status {
    RAG_ASSIGN_OR_RETURN(const std::vector<Classification> found,
                         engine->Classify(images, request, &session.cancel()));
    for (size_t i = 0; i < found.size(); ++i) {
      AddClassification(options.arguments[numbers[i]], found[i], options.json, list);
    }
    return OkStatus();
  };
  return ForImages(options.arguments, classify);
}

}  // namespace

Result<std::string> ReadImageFile(const std::string& path) {
  return ReadFile(path, kMaxImageBytes);
}

Status ForImages(std::span<const std::string> paths,
                 FunctionRef<Status(size_t, const Status&)> on_error,
                 FunctionRef<Status(std::span<const size_t>, std::span<const Image>)> use) {
  std::vector<size_t> numbers;
  std::vector<Image> images;
  size_t pixels = 0;
  for (size_t i = 0; i < paths.size(); ++i) {
    Result<Image> image = ReadImage(paths[i]);
    if (!image.ok()) {
      RAG_RETURN_IF_ERROR(on_error(i, image.status()));
      continue;
    }
    pixels += image->width * image->height;
    images.push_back(std::move(*image));
    numbers.push_back(i);
    if (images.size() < kImagesAtOnce && pixels < kPixelsAtOnce) continue;
    RAG_RETURN_IF_ERROR(use(numbers, images));
    numbers.clear();
    images.clear();
    pixels = 0;
  }
  return images.empty() ? OkStatus() : use(numbers, images);
}

Status ForImages(std::span<const std::string> paths,
                 FunctionRef<Status(std::span<const size_t>, std::span<const Image>)> use) {
  return ForImages(
      paths, [](size_t, const Status& error) { return error; }, use);
}

void AddClassification(const std::string& path, const Classification& scores, bool json,
                       Value::Array& list) {
  if (json) {
    list.emplace_back(Value::Object{{"image", path}, {"labels", ToValue(scores)}});
    return;
  }
  Print(StrCat(Bold(Printable(path)), "\n"));
  for (const LabelScore& score : scores) {
    char percent[32];
    std::snprintf(percent, sizeof(percent), "%6.2f%%", 100 * score.probability);
    Print(StrCat("  ", percent, "  ", Printable(score.label), "\n"));
  }
}

int RunClassify(Session& session) {
  const Options& options = session.options();
  Value::Array list;
  const Status status = Classify(session, list);
  if (!status.ok()) return Fail(status, options.json);
  if (options.json) PrintJson(Value::Object{{"results", std::move(list)}});
  return kExitDone;
}

}  // namespace rag
