// rag classify, and what the commands that take pictures share.
#include "apps/rag/images.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <span>
#include <utility>

#include "apps/rag/commands.h"
#include "apps/rag/output.h"
#include "engine/json.h"
#include "lib/base/file.h"

namespace rag {
namespace {

Result<std::vector<Classification>> ClassifyFiles(Session& session) {
  const Options& options = session.options();
  ClassifyRequest request;
  request.labels = options.classify.labels;
  if (!options.classify.templates.empty()) request.templates = options.classify.templates;
  RAG_ASSIGN_OR_RETURN(const Engine* engine, session.OpenScratchEngine());
  std::vector<Classification> results;
  const std::span<const std::string> paths = options.arguments;
  for (size_t begin = 0; begin < paths.size(); begin += kImagesAtOnce) {
    RAG_ASSIGN_OR_RETURN(
        const std::vector<Image> images,
        ReadImages(paths.subspan(begin, std::min(kImagesAtOnce, paths.size() - begin))));
    RAG_ASSIGN_OR_RETURN(std::vector<Classification> some,
                         engine->Classify(images, request, &session.cancel()));
    std::move(some.begin(), some.end(), std::back_inserter(results));
  }
  return results;
}

}  // namespace

Result<std::string> ReadImageFile(const std::string& path) {
  return ReadFile(path, kMaxImageBytes);
}

Result<Image> ReadImage(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string bytes, ReadImageFile(path));
  return DecodeImage(bytes, path);
}

Result<std::vector<Image>> ReadImages(std::span<const std::string> paths) {
  std::vector<Image> images;
  for (const std::string& path : paths) {
    RAG_ASSIGN_OR_RETURN(Image image, ReadImage(path));
    images.push_back(std::move(image));
  }
  return images;
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
  const Result<std::vector<Classification>> results = ClassifyFiles(session);
  if (!results.ok()) return Fail(results.status(), options.json);
  Value::Array list;
  for (size_t i = 0; i < results->size(); ++i) {
    AddClassification(options.arguments[i], (*results)[i], options.json, list);
  }
  if (options.json) PrintJson(Value::Object{{"results", std::move(list)}});
  return kExitDone;
}

}  // namespace rag
