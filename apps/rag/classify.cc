// rag classify: labels of pictures, of texts and of places in texts.
#include "apps/rag/classify.h"

#include <algorithm>
#include <cstdio>
#include <span>
#include <utility>
#include <vector>

#include "apps/rag/commands.h"
#include "apps/rag/images.h"
#include "apps/rag/output.h"
#include "engine/json.h"

namespace rag {
namespace {

constexpr size_t kTextsAtOnce = 256;
constexpr size_t kSnippetCharacters = 120;

int ClassifyImages(Session& session) {
  const Options& options = session.options();
  ClassifyRequest request;
  request.labels = options.classify.labels;
  if (!options.classify.templates.empty()) request.templates = options.classify.templates;
  const Result<Engine*> engine = session.OpenScratchEngine();
  if (!engine.ok()) return Fail(engine.status(), options.json);
  return ClassifyImageFiles(options.arguments, options.json, [&](std::span<const Image> images) {
    return (*engine)->Classify(images, request, &session.cancel());
  });
}

// Each --text, or for - the lines of standard input.
Result<std::vector<std::string>> ReadTexts(const std::vector<std::string>& given) {
  std::vector<std::string> texts;
  for (const std::string& one : given) {
    RAG_ASSIGN_OR_RETURN(const std::string text, ReadArgument(one));
    if (one != "-") {
      texts.push_back(text);
      continue;
    }
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      if (end != begin) texts.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return texts;
}

void AddRanges(const std::string& text, const std::vector<LabelledRange>& ranges, bool json,
               Value::Array& list) {
  if (json) {
    Value::Array values;
    for (const LabelledRange& range : ranges) values.push_back(ToValue(range, text));
    list.emplace_back(Value::Object{{"text", text}, {"ranges", std::move(values)}});
    return;
  }
  Print(StrCat(Bold(Snippet(text, kSnippetCharacters)), "\n"));
  for (const LabelledRange& range : ranges) {
    char percent[32];
    std::snprintf(percent, sizeof(percent), "%6.2f%%", 100 * static_cast<double>(range.score));
    Print(StrCat("  ", percent, "  ", Printable(range.label), "  ",
                 Snippet(text.substr(range.begin, range.end - range.begin), kSnippetCharacters),
                 "\n"));
  }
}

Status ClassifyTexts(Session& session, Value::Array& list) {
  const Options& options = session.options();
  const Options::Classify& classify = options.classify;
  const ClassifyTextsRequest request{
      .labels = classify.labels, .hypothesis = classify.hypothesis, .several = classify.several};
  RAG_ASSIGN_OR_RETURN(const std::vector<std::string> texts, ReadTexts(classify.texts));
  RAG_ASSIGN_OR_RETURN(const Engine* engine, session.OpenScratchEngine());
  for (size_t first = 0; first < texts.size(); first += kTextsAtOnce) {
    const auto part = std::span(texts).subspan(first, std::min(kTextsAtOnce, texts.size() - first));
    const std::vector<std::string_view> views(part.begin(), part.end());
    if (classify.tokens) {
      RAG_ASSIGN_OR_RETURN(const auto found, engine->LabelRanges(views, &session.cancel()));
      for (size_t i = 0; i < part.size(); ++i) AddRanges(part[i], found[i], options.json, list);
    } else {
      RAG_ASSIGN_OR_RETURN(const std::vector<Classification> found,
                           engine->ClassifyTexts(views, request, &session.cancel()));
      for (size_t i = 0; i < part.size(); ++i) {
        AddClassification("text", part[i], found[i], options.json, list);
      }
    }
  }
  return OkStatus();
}

}  // namespace

void AddClassification(std::string_view kind, const std::string& what, const Classification& scores,
                       bool json, Value::Array& list) {
  if (json) {
    list.emplace_back(Value::Object{{std::string(kind), what}, {"labels", ToValue(scores)}});
    return;
  }
  Print(StrCat(Bold(kind == "text" ? Snippet(what, kSnippetCharacters) : Printable(what)), "\n"));
  for (const LabelScore& score : scores) {
    char percent[32];
    std::snprintf(percent, sizeof(percent), "%6.2f%%", 100 * score.probability);
    Print(StrCat("  ", percent, "  ", Printable(score.label), "\n"));
  }
}

int ClassifyImageFiles(
    std::span<const std::string> paths, bool json,
    FunctionRef<Result<std::vector<Classification>>(std::span<const Image>)> label) {
  Value::Array results;
  Value::Array failed;
  bool any = false;
  const auto leave_out = [&](size_t number, const Status& error) {
    if (!json) {
      std::fflush(stdout);
      std::fprintf(stderr, "failed: %s\n", Printable(error.message()).c_str());
    }
    failed.push_back(FailedImage(paths[number], error));
    return OkStatus();
  };
  const auto classify = [&](std::span<const size_t> numbers,
                            std::span<const Image> images) -> Status {
    RAG_ASSIGN_OR_RETURN(const std::vector<Classification> found, label(images));
    for (size_t i = 0; i < found.size(); ++i) {
      AddClassification("image", paths[numbers[i]], found[i], json, results);
    }
    any = true;
    return OkStatus();
  };
  const Status status = ForImages(paths, leave_out, classify);
  if (!status.ok()) return Fail(status, json);
  if (json) {
    PrintJson(Value::Object{{"results", std::move(results)}, {"failed", std::move(failed)}});
  }
  return any ? kExitDone : kExitFailed;
}

int RunClassify(Session& session) {
  const Options& options = session.options();
  if (options.classify.texts.empty()) return ClassifyImages(session);
  Value::Array list;
  const Status status = ClassifyTexts(session, list);
  if (!status.ok()) return Fail(status, options.json);
  if (options.json) PrintJson(Value::Object{{"results", std::move(list)}});
  return kExitDone;
}

}  // namespace rag
