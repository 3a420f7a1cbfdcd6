// rag probe: a classifier of pictures over an encoder's vectors.
#include "engine/probe.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <utility>

#include "apps/rag/classify.h"
#include "apps/rag/commands.h"
#include "apps/rag/images.h"
#include "apps/rag/output.h"
#include "engine/json.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

// Pictures and, of each, the name of its folder.
struct ExampleFiles {
  std::vector<std::string> paths;
  std::vector<std::string> labels;
};

Result<std::vector<fs::path>> SortedEntries(const fs::path& folder) {
  RAG_ASSIGN_OR_RETURN(std::vector<fs::path> paths, ListFolder(folder));
  std::erase_if(paths,
                [](const fs::path& path) { return path.filename().string().starts_with('.'); });
  std::sort(paths.begin(), paths.end());
  return paths;
}

// FOLDER/LABEL/PICTURE; other files of FOLDER are no examples.
Result<ExampleFiles> ListExamples(const std::string& folder) {
  ExampleFiles files;
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> label_folders, SortedEntries(folder));
  for (const fs::path& label_folder : label_folders) {
    std::error_code ignored;
    if (!fs::is_directory(label_folder, ignored)) continue;
    RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> pictures, SortedEntries(label_folder));
    for (const fs::path& path : pictures) {
      files.paths.push_back(path.string());
      files.labels.push_back(label_folder.filename().string());
    }
  }
  if (files.paths.empty()) {
    return InvalidArgumentError("'", folder, "' has no folder of a label with pictures in it");
  }
  return files;
}

// The vectors of the files that can be read; the others are told in `failed`.
struct Examples {
  std::vector<float> vectors;  // [labels, dim]
  std::vector<std::string> labels;
  Value::Array failed;
};

Result<Examples> EncodeExamples(const Engine& engine, const ExampleFiles& files,
                                const CancelToken& cancel) {
  Examples examples;
  const auto leave_out = [&](size_t number, const Status& error) {
    examples.failed.push_back(FailedImage(files.paths[number], error));
    return OkStatus();
  };
  const auto encode = [&](std::span<const size_t> numbers,
                          std::span<const Image> images) -> Status {
    RAG_ASSIGN_OR_RETURN(const Embeddings embeddings, engine.EmbedImages(images, &cancel));
    const Matrix& rows = embeddings.vectors;
    examples.vectors.insert(examples.vectors.end(), rows.data(),
                            rows.data() + rows.rows() * rows.cols());
    for (const size_t number : numbers) examples.labels.push_back(files.labels[number]);
    return OkStatus();
  };
  RAG_RETURN_IF_ERROR(ForImages(files.paths, leave_out, encode));
  return examples;
}

Result<Value> Train(Session& session) {
  const Options& options = session.options();
  RAG_ASSIGN_OR_RETURN(const ExampleFiles files, ListExamples(options.arguments.front()));
  RAG_ASSIGN_OR_RETURN(const Engine* engine, session.OpenScratchEngine());
  RAG_ASSIGN_OR_RETURN(const EncoderInfo encoder, engine->GetEncoderInfo());
  RAG_ASSIGN_OR_RETURN(const Runtime* runtime, session.GetRuntime());
  RAG_ASSIGN_OR_RETURN(Examples examples, EncodeExamples(*engine, files, session.cancel()));
  RAG_ASSIGN_OR_RETURN(
      const ProbeReport report,
      TrainProbe(MatrixView(examples.vectors.data(), examples.labels.size(), encoder.dim),
                 examples.labels, encoder, {.c = options.probe.c}, *runtime, &session.cancel()));
  RAG_RETURN_IF_ERROR(WriteFileAtomic(options.probe.output, ToJson(ToValue(report.probe))));
  return Value::Object{
      {"output", options.probe.output},       {"images", examples.labels.size()},
      {"labels", report.probe.labels.size()}, {"iterations", report.iterations},
      {"converged", report.converged},        {"training_accuracy", report.accuracy},
      {"failed", std::move(examples.failed)}};
}

Result<std::vector<Classification>> Predict(Session& session, const Probe& probe,
                                            std::span<const Image> images) {
  RAG_ASSIGN_OR_RETURN(const Engine* engine, session.OpenScratchEngine());
  RAG_ASSIGN_OR_RETURN(const EncoderInfo encoder, engine->GetEncoderInfo());
  RAG_ASSIGN_OR_RETURN(const Embeddings embeddings, engine->EmbedImages(images, &session.cancel()));
  return ApplyProbe(probe, embeddings, encoder);
}

}  // namespace

int RunProbeTrain(Session& session) {
  const Options& options = session.options();
  const Result<Value> report = Train(session);
  if (!report.ok()) return Fail(report.status(), options.json);
  if (options.json) {
    PrintJson(*report);
    return kExitDone;
  }
  Print(StrCat(options.probe.output, ": ", report->Find("labels")->as_int(), " labels from ",
               report->Find("images")->as_int(), " pictures, of which ",
               100 * report->Find("training_accuracy")->as_double(), "% are told right\n"));
  for (const Value& failure : report->Find("failed")->as_array()) {
    Print(StrCat("left out: ", Printable(failure.Find("error")->as_string()), "\n"));
  }
  return kExitDone;
}

int RunProbePredict(Session& session) {
  const Options& options = session.options();
  const Result<Probe> probe = ReadProbe(options.arguments.front());
  if (!probe.ok()) return Fail(probe.status(), options.json);
  return ClassifyImageFiles(
      std::span(options.arguments).subspan(1), options.json,
      [&](std::span<const Image> images) { return Predict(session, *probe, images); });
}

}  // namespace rag
