// An engine over a new folder, and documents for it.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

#include "engine/engine.h"
#include "tests/support/support.h"

namespace rag::test {

struct OpenedEngine {
  TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = MakeRuntime();
  EngineOptions options;
  std::unique_ptr<Engine> engine;

  explicit OpenedEngine(const std::string& encoder = "none") {
    options.db_path = folder.file("db");
    options.encoder = encoder;
    Open();
  }
  // Again, over what the one before left.
  void Open() {
    engine.reset();
    Result<std::unique_ptr<Engine>> opened = Engine::Open(options, *runtime);
    REQUIRE_OK(opened);
    engine = std::move(opened).value();
  }
};

inline Document TextDocument(const std::string& key, const std::string& text,
                             Value::Object metadata = {}) {
  Document document;
  document.key = key;
  document.text = text;
  if (!metadata.empty()) document.metadata = std::move(metadata);
  return document;
}

}  // namespace rag::test
