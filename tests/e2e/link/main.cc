// A stranger's program: links the installed library, adds a document, finds it again.
#include <cstdio>

#include "engine/engine.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto runtime = rag::Runtime::Create();
  if (!runtime.ok()) return 1;
  auto engine = rag::Engine::Open({.db_path = argv[1], .encoder = "none"}, **runtime);
  if (!engine.ok()) {
    std::puts(engine.status().ToString().c_str());
    return 1;
  }
  rag::Document document;
  document.key = "note";
  document.media_type = "text/plain";
  document.text = "The key of the cellar hangs behind the clock.";
  const auto added = (*engine)->AddDocument("notes", std::move(document));
  if (!added.ok()) {
    std::puts(added.status().ToString().c_str());
    return 1;
  }
  rag::SearchRequest request;
  request.query = "where is the cellar key";
  request.mode = rag::SearchMode::kLexical;
  const auto found = (*engine)->Search("notes", request);
  if (!found.ok() || found->hits.empty()) {
    std::puts(found.ok() ? "nothing found" : found.status().ToString().c_str());
    return 1;
  }
  std::printf("%s: %s\n", found->hits[0].document.c_str(), found->hits[0].text.c_str());
  return 0;
}
