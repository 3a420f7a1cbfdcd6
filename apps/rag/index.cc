// rag index, rag eval: the commands that take documents in.
#include <algorithm>
#include <cstdio>

#include "apps/rag/commands.h"
#include "apps/rag/kept_settings.h"
#include "apps/rag/output.h"
#include "apps/rag/progress.h"
#include "apps/rag/query.h"
#include "engine/json.h"

namespace rag {
namespace {

// key=value pairs; a value that is JSON is taken as that (numbers, true, ["a"]), others as text.
Result<Value> ParseMetadata(const std::vector<std::string>& pairs) {
  Value::Object metadata;
  for (const std::string& pair : pairs) {
    const size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return InvalidArgumentError("metadata '", pair, "' is not key=value");
    }
    const std::string text = pair.substr(equals + 1);
    Result<Value> parsed = ParseJson(text);
    metadata.Set(pair.substr(0, equals), parsed.ok() ? std::move(parsed).value() : Value(text));
  }
  return Value(std::move(metadata));
}

void PrintReport(const IngestReport& report) {
  for (const IngestFailure& failure : report.failed) {
    // Most errors name the file themselves.
    const std::string& message = failure.error.message();
    const bool named = message.find(failure.path) != std::string::npos;
    std::fprintf(stderr, "failed: %s\n",
                 Printable(named ? message : StrCat(failure.path, ": ", message)).c_str());
  }
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%.1f s", report.seconds);
  Print(StrCat(
      Bold(StrCat(report.files, report.files == 1 ? " file: " : " files: ", report.indexed,
                  " indexed, ", report.unchanged, " unchanged, ", report.failed.size(), " failed")),
      "; ", report.documents, " documents and ", report.chunks, " chunks written, ", report.removed,
      " documents removed, ", seconds, "\n"));
  if (report.truncated != 0) {
    Print(
        StrCat(report.truncated,
               " chunks were longer than the encoder reads; dense search sees their beginning\n"));
  }
  if (report.tuned.has_value()) PrintTuning(*report.tuned);
  if (!report.tune_error.ok()) {
    std::fprintf(stderr, "rag: the index was not chosen: %s\n",
                 Printable(report.tune_error.message()).c_str());
  }
}

// `note` becomes what the command line says in vain.
Result<IngestReport> Index(Session& session, std::string& note) {
  const Options& options = session.options();
  IngestOptions ingest;
  RAG_ASSIGN_OR_RETURN(ingest.metadata, ParseMetadata(options.index.metadata));
  ingest.prune = options.index.prune;
  ingest.follow_hidden = options.index.hidden;
  ingest.stdin_name = options.index.stdin_name;
  ingest.parse.max_file_bytes = options.index.max_file_bytes;
  RAG_ASSIGN_OR_RETURN(const CollectionOptions create, ToCollectionOptions(options.settings));
  RAG_ASSIGN_OR_RETURN(Engine * engine, session.OpenEngine(StoreUse::kMake));
  if (const Result<CollectionInfo> info = engine->GetCollection(session.collection()); info.ok()) {
    note = KeptSettings(options, *info);
  }
  // At once: reading the files may take long.
  if (!note.empty()) std::fprintf(stderr, "rag: %s\n", Printable(note).c_str());
  IngestProgress progress;
  const ProgressBar bar(progress, options.quiet);
  return engine->Ingest(session.collection(), options.arguments, ingest, create, &progress,
                        &session.cancel());
}

// Bad files are told and the rest is indexed, so a run fails only when nothing came of it, or when
// --strict asks for more.
int ExitCode(const IngestReport& report, bool strict) {
  if (report.cancelled) return kExitFailed;
  if (strict && !report.tune_error.ok()) return kExitFailed;
  if (report.failed.empty()) return kExitDone;
  const bool nothing = report.indexed + report.unchanged + report.removed == 0;
  return strict || nothing ? kExitFailed : kExitDone;
}

Result<EvaluateReport> Evaluate(Session& session) {
  const Options& options = session.options();
  EvaluateRequest request;
  request.folder = options.arguments.front();
  request.cutoffs.assign(options.cutoffs.begin(), options.cutoffs.end());
  RAG_ASSIGN_OR_RETURN(request.search, ToSearchRequest(options, /*query=*/"", /*k=*/0));
  RAG_ASSIGN_OR_RETURN(Engine * engine, options.db_given ? session.OpenEngine(StoreUse::kMake)
                                                         : session.OpenScratchEngine());
  IngestProgress progress;
  const ProgressBar bar(progress, options.quiet);
  return engine->Evaluate(session.collection(), request, &progress, &session.cancel());
}

}  // namespace

int RunIndex(Session& session) {
  const Options& options = session.options();
  std::string note;
  const Result<IngestReport> report = Index(session, note);
  if (!report.ok()) return Fail(report.status(), options.json);
  if (options.json) {
    Value value = ToValue(*report);
    if (!note.empty()) value.as_object().Set("note", note);
    PrintJson(value);
  } else {
    PrintReport(*report);
    if (report->cancelled) {
      std::fprintf(stderr, "rag: stopped; what is written stays, run it again to go on\n");
    }
  }
  return ExitCode(*report, options.index.strict);
}

int RunEvaluate(Session& session) {
  const Options& options = session.options();
  const Result<EvaluateReport> report = Evaluate(session);
  if (!report.ok()) return Fail(report.status(), options.json);
  if (options.json) {
    PrintJson(ToValue(*report));
    return kExitDone;
  }
  for (const auto& [name, value] : report->metrics) {
    char line[64];
    std::snprintf(line, sizeof(line), "%-12s %.4f\n", name.c_str(), value);
    Print(line);
  }
  char line[160];
  std::snprintf(line, sizeof(line),
                "%llu queries over %llu documents; indexed in %.1f s, searched in %.1f s\n",
                static_cast<unsigned long long>(report->queries),
                static_cast<unsigned long long>(report->documents), report->index_seconds,
                report->search_seconds);
  Print(line);
  return kExitDone;
}

}  // namespace rag
