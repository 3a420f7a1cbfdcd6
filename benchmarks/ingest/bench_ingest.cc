// Indexing from files to durable, searchable chunks, timed as a whole.
//
//   bench_ingest CORPUS_JSONL [--threads N] [--chunks OUT_JSONL]
//
// Prints one JSON line: seconds (of Engine::Ingest, the encoder's loading included), documents,
// chunks.
// --chunks writes what was embedded, for the peer (run.py).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "engine/engine.h"
#include "lib/base/scratch_folder.h"

namespace rag {
namespace {

int Fail(const Status& status) {
  std::fprintf(stderr, "bench_ingest: %s\n", status.ToString().c_str());
  return 1;
}

Status WriteChunks(const Engine& engine, const std::string& path) {
  std::ofstream out(path);
  std::string after;
  for (;;) {
    RAG_ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                         engine.ListDocuments("bench", after, 1000));
    if (keys.empty()) return OkStatus();
    for (const std::string& key : keys) {
      RAG_ASSIGN_OR_RETURN(const StoredDocument document, engine.GetDocument("bench", key));
      for (const ChunkId id : document.chunk_ids) {
        RAG_ASSIGN_OR_RETURN(const Hit hit, engine.GetChunk("bench", id));
        out << ToJson(Value(Value::Object{{"text", StrCat(hit.title, "\n", hit.text)}})) << '\n';
      }
    }
    after = keys.back();
  }
}

int Main(int argc, char** argv) {
  std::string corpus, chunks;
  RuntimeOptions options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
      options.threads = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--chunks") == 0 && i + 1 < argc) {
      chunks = argv[++i];
    } else {
      corpus = argv[i];
    }
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "usage: bench_ingest CORPUS_JSONL [--threads N] [--chunks OUT_JSONL]\n");
    return 2;
  }
  const auto run = [&]() -> Status {
    RAG_ASSIGN_OR_RETURN(const ScratchFolder folder, ScratchFolder::Create("rag-bench"));
    RAG_ASSIGN_OR_RETURN(const auto runtime, Runtime::Create(options));
    EngineOptions engine_options;
    engine_options.db_path = folder.file("db");
    RAG_ASSIGN_OR_RETURN(const auto engine, Engine::Open(engine_options, *runtime));
    RAG_ASSIGN_OR_RETURN(const IngestReport report, engine->Ingest("bench", {&corpus, 1}, {}));
    std::printf("{\"seconds\": %.3f, \"documents\": %llu, \"chunks\": %llu, \"failed\": %zu}\n",
                report.seconds, static_cast<unsigned long long>(report.documents),
                static_cast<unsigned long long>(report.chunks), report.failed.size());
    if (!chunks.empty()) RAG_RETURN_IF_ERROR(WriteChunks(*engine, chunks));
    return engine->Close();
  };
  const Status status = run();
  return status.ok() ? 0 : Fail(status);
}

}  // namespace
}  // namespace rag

int main(int argc, char** argv) { return rag::Main(argc, argv); }
