#include "tests/support/support.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

namespace rag::test {
namespace fs = std::filesystem;

std::optional<fs::path> SharedData(const std::string& name) {
  const char* given = std::getenv("RAG_TEST_DATA");
  const fs::path root = given != nullptr
                            ? fs::path(given)
                            : fs::path(RAG_SOURCE_DIR).parent_path() / "shared" / "data";
  const fs::path folder = root / name;
  if (!fs::exists(folder)) return std::nullopt;
  return folder;
}

std::optional<fs::path> DefaultEncoderFolder() {
  fs::path models;
  if (const char* given = std::getenv("RAG_MODELS")) {
    models = given;
  } else if (const char* cache = std::getenv("XDG_CACHE_HOME")) {
    models = fs::path(cache) / "rag" / "models";
  } else if (const char* home = std::getenv("HOME")) {
    models = fs::path(home) / ".cache" / "rag" / "models";
  }
  const fs::path folder = models / "all-MiniLM-L6-v2";
  if (!fs::exists(folder / "model.safetensors")) return std::nullopt;
  return folder;
}

fs::path Golden(const std::string& name) {
  return fs::path(RAG_SOURCE_DIR) / "tests" / "golden" / name;
}

std::string ReadAll(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  INFO("cannot read " << path);
  REQUIRE(in.good());
  std::ostringstream content;
  content << in.rdbuf();
  return std::move(content).str();
}

namespace {

ScratchFolder MakeFolder() {
  Result<ScratchFolder> folder = ScratchFolder::Create("rag-test");
  REQUIRE_OK(folder);
  return std::move(folder).value();
}

}  // namespace

TemporaryFolder::TemporaryFolder() : folder_(MakeFolder()) {}

fs::path CopyModel(const TemporaryFolder& folder, const std::string& golden,
                   const std::string& name) {
  const fs::path path = folder.path() / name;
  fs::copy(Golden(golden), path, fs::copy_options::recursive);
  fs::copy_file(Golden("encoder_families/tokenizers/word_piece.json"), path / "tokenizer.json");
  return path;
}

std::unique_ptr<Runtime> MakeRuntime(const std::string& isa, int threads) {
  RuntimeOptions options;
  options.isa = isa;
  options.threads = threads;
  options.device = "cpu";
  Result<std::unique_ptr<Runtime>> runtime = Runtime::Create(options);
  REQUIRE_OK(runtime);
  return std::move(runtime).value();
}

size_t Workload(size_t full, size_t part, const std::string& what) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::cout << "SMALLER under the sanitizer: " << part << " of " << full << " " << what
            << std::endl;
  return part;
#else
  (void)part;
  (void)what;
  return full;
#endif
}

void PrintSkip(const char* file, int line, const std::string& reason) {
  std::cout << "SKIPPED " << fs::path(file).filename().string() << ":" << line << ": " << reason
            << std::endl;
}

}  // namespace rag::test
