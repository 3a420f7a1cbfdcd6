// rag get, rm, collections, stats, verify, backup, restore, vacuum: the commands about what is
// stored.
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>

#include "apps/rag/commands.h"
#include "apps/rag/output.h"
#include "apps/rag/progress.h"
#include "apps/rag/query.h"
#include "engine/json.h"

namespace rag {
namespace {

void PrintInfo(const CollectionInfo& info) {
  Print(StrCat(Bold(info.config.name), "  ", info.stats.documents, " documents, ",
               info.stats.chunks, " chunks"));
  const size_t sparse_dim = info.config.sparse_dim;
  if (info.config.vectors.dim == 0 && sparse_dim == 0) Print(", lexical only");
  if (info.config.vectors.dim != 0) {
    Print(StrCat(", ", IndexKindName(info.config.vectors.kind), " of ", info.config.vectors.dim,
                 " dimensions, ", HumanBytes(info.stats.index_memory_bytes), " in memory"));
    if (info.stats.index_disk_bytes != 0) {
      Print(StrCat(", ", HumanBytes(info.stats.index_disk_bytes), " of vectors on disk"));
    }
  }
  if (sparse_dim != 0) {
    Print(StrCat(", sparse vectors of ", sparse_dim, " dimensions, ",
                 HumanBytes(info.stats.sparse_memory_bytes), " of their lists in memory"));
  }
  Print("\n");
}

constexpr size_t kRecallK = 10;

void PrintCopied(const char* what, const BackupReport& report, const std::string& folder) {
  Print(
      StrCat(what, " ", report.files, " files, ", HumanBytes(report.bytes), ", in ", folder, "\n"));
}

// The document of that key, or else of the file at that path, which a document of rag index has as
// its absolute path.
Result<StoredDocument> FindDocument(Session& session, const Engine& engine,
                                    const std::string& given) {
  Result<StoredDocument> document = engine.GetDocument(session.collection(), given);
  if (document.ok() || document.status().code() != StatusCode::kNotFound) return document;
  RAG_RETURN_IF_ERROR(engine.GetCollection(session.collection()).status());
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(given, error);
  if (!error && absolute.lexically_normal() != given) {
    Result<StoredDocument> file =
        engine.GetDocument(session.collection(), absolute.lexically_normal().string());
    if (file.ok() || file.status().code() != StatusCode::kNotFound) return file;
  }
  return NotFoundError(document.status().message(), "; rag get lists the documents");
}

Result<Value> Get(Session& session, const Engine& engine) {
  const Options& options = session.options();
  if (options.get.has_chunk) {
    RAG_ASSIGN_OR_RETURN(const Hit hit, engine.GetChunk(session.collection(), options.get.chunk));
    if (!options.json) Print(StrCat(Printable(hit.text), "\n"));
    Value value = ToValue(hit);
    // It is no answer to a question.
    value.as_object().Erase("rank");
    value.as_object().Erase("score");
    return value;
  }
  if (!options.arguments.empty()) {
    RAG_ASSIGN_OR_RETURN(const StoredDocument document,
                         FindDocument(session, engine, options.arguments.front()));
    if (!options.json) Print(Printable(document.text));
    return ToValue(document);
  }
  RAG_ASSIGN_OR_RETURN(
      const std::vector<std::string> keys,
      engine.ListDocuments(session.collection(), options.get.after, options.get.limit));
  Value::Array documents;
  for (const std::string& key : keys) {
    if (!options.json) Print(StrCat(Printable(key), "\n"));
    documents.push_back(key);
  }
  return Value(Value::Object{{"documents", std::move(documents)}});
}

// Runs `body` with an opened engine and prints its value with --json; body prints for people.
template <class Body>
int WithEngine(Session& session, StoreUse use, Body body) {
  const bool json = session.options().json;
  const Result<Engine*> engine = session.OpenEngine(use);
  if (!engine.ok()) return Fail(engine.status(), json);
  const Result<Value> value = body(**engine);
  if (!value.ok()) return Fail(value.status(), json);
  if (json) PrintJson(*value);
  return kExitDone;
}

}  // namespace

int RunGet(Session& session) {
  return WithEngine(session, StoreUse::kRead, [&](Engine& engine) { return Get(session, engine); });
}

int RunRemove(Session& session) {
  const Options& options = session.options();
  return WithEngine(session, StoreUse::kWrite, [&](Engine& engine) -> Result<Value> {
    // All are looked for first, so that a wrong name leaves everything as it was.
    std::set<std::string> keys;
    for (const std::string& given : options.arguments) {
      RAG_ASSIGN_OR_RETURN(const StoredDocument document, FindDocument(session, engine, given));
      keys.insert(document.key);
    }
    for (const std::string& key : keys) {
      RAG_RETURN_IF_ERROR(engine.RemoveDocument(session.collection(), key));
    }
    const uint64_t removed = keys.size();
    if (!options.json)
      Print(StrCat(removed, removed == 1 ? " document" : " documents", " removed\n"));
    return Value(Value::Object{{"removed", removed}});
  });
}

int RunCollectionsList(Session& session) {
  return WithEngine(session, StoreUse::kRead, [&](Engine& engine) -> Result<Value> {
    RAG_ASSIGN_OR_RETURN(const std::vector<CollectionInfo> infos, engine.ListCollections());
    Value::Array list;
    for (const CollectionInfo& info : infos) {
      if (!session.options().json) PrintInfo(info);
      list.push_back(ToValue(info));
    }
    return Value(Value::Object{{"collections", std::move(list)}});
  });
}

int RunCollectionsCreate(Session& session) {
  const Options& options = session.options();
  return WithEngine(session, StoreUse::kMake, [&](Engine& engine) -> Result<Value> {
    RAG_ASSIGN_OR_RETURN(const CollectionOptions create, ToCollectionOptions(options.settings));
    RAG_RETURN_IF_ERROR(engine.CreateCollection(options.arguments.front(), create));
    RAG_ASSIGN_OR_RETURN(const CollectionInfo info,
                         engine.GetCollection(options.arguments.front()));
    if (!options.json) PrintInfo(info);
    return ToValue(info);
  });
}

int RunCollectionsDrop(Session& session) {
  const Options& options = session.options();
  return WithEngine(session, StoreUse::kWrite, [&](Engine& engine) -> Result<Value> {
    RAG_RETURN_IF_ERROR(engine.DropCollection(options.arguments.front()));
    if (!options.json) Print("dropped\n");
    return Value(Value::Object{{"dropped", options.arguments.front()}});
  });
}

int RunStats(Session& session) {
  return WithEngine(session, StoreUse::kRead, [&](Engine& engine) -> Result<Value> {
    RAG_ASSIGN_OR_RETURN(const CollectionInfo info, engine.GetCollection(session.collection()));
    if (!session.options().json) {
      PrintInfo(info);
      char seconds[32];
      std::snprintf(seconds, sizeof(seconds), "%.2f s", info.stats.open_seconds);
      Print(StrCat("opened in ", seconds, " with ", info.stats.replayed, " records replayed; ",
                   HumanBytes(info.stats.disk_bytes), " on disk\n"));
    }
    return ToValue(info);
  });
}

int RunVerify(Session& session) {
  const Options& options = session.options();
  const Result<Engine*> engine = session.OpenEngine(StoreUse::kWrite);
  if (!engine.ok()) return Fail(engine.status(), options.json);
  const Result<VerifyReport> report = (*engine)->Verify(session.collection(), &session.cancel());
  if (!report.ok()) return Fail(report.status(), options.json);
  std::optional<RecallReport> recall;
  if (options.recall_sample > 0) {
    Result<RecallReport> measured = (*engine)->MeasureRecall(
        session.collection(), options.recall_sample, kRecallK, &session.cancel());
    if (!measured.ok()) return Fail(measured.status(), options.json);
    recall = *measured;
  }
  if (options.json) {
    Value value = ToValue(*report);
    if (recall.has_value()) value.as_object().Set("recall", ToValue(*recall));
    PrintJson(value);
  } else {
    for (const std::string& problem : report->problems) Print(StrCat(Printable(problem), "\n"));
    Print(StrCat(report->documents, " documents and ", report->chunks,
                 " chunks: ", report->problems.empty() ? "sound" : "damaged", "\n"));
    if (recall.has_value()) {
      char text[96];
      std::snprintf(text, sizeof(text), "recall@%llu %.4f over %llu stored vectors\n",
                    static_cast<unsigned long long>(recall->k), recall->recall,
                    static_cast<unsigned long long>(recall->queries));
      Print(text);
    }
  }
  return report->problems.empty() ? kExitDone : kExitFailed;
}

int RunBackup(Session& session) {
  const Options& options = session.options();
  return WithEngine(session, StoreUse::kWrite, [&](Engine& engine) -> Result<Value> {
    CareProgress progress;
    BackupReport report;
    {
      const ProgressBar bar("backup", progress, options.quiet || options.json);
      RAG_ASSIGN_OR_RETURN(report,
                           engine.Backup(options.arguments.front(), &progress, &session.cancel()));
    }
    if (!options.json) PrintCopied("saved", report, options.arguments.front());
    return ToValue(report);
  });
}

int RunRestore(Session& session) {
  const Options& options = session.options();
  CareProgress progress;
  Result<BackupReport> report = [&] {
    const ProgressBar bar("restore", progress, options.quiet || options.json);
    return Engine::Restore(options.arguments.front(), options.settings.db, &progress,
                           &session.cancel());
  }();
  if (!report.ok()) return Fail(report.status(), options.json);
  if (options.json) {
    PrintJson(ToValue(*report));
  } else {
    PrintCopied("restored", *report, options.settings.db);
  }
  return kExitDone;
}

int RunVacuum(Session& session) {
  const Options& options = session.options();
  return WithEngine(session, StoreUse::kWrite, [&](Engine& engine) -> Result<Value> {
    CareProgress progress;
    VacuumReport report;
    {
      const ProgressBar bar("vacuum", progress, options.quiet || options.json);
      RAG_ASSIGN_OR_RETURN(report, engine.Vacuum(&progress, &session.cancel()));
    }
    if (!options.json) {
      Print(StrCat(HumanBytes(report.bytes_before), " before, ", HumanBytes(report.bytes_after),
                   " after\n"));
    }
    return ToValue(report);
  });
}

}  // namespace rag
