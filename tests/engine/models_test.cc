#include "engine/models.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "engine/engine.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;

std::optional<fs::path> Stories() {
  const auto folder = test::SharedData("models");
  if (!folder.has_value()) return std::nullopt;
  for (const auto& entry : fs::directory_iterator(*folder / "stories260K")) {
    if (entry.path().extension() == ".gguf") return entry.path();
  }
  return std::nullopt;
}

TEST_CASE("a models folder that is not there holds none") {
  const TemporaryFolder folder;
  const Result<std::vector<ModelEntry>> none = ListModels(folder.file("absent"));
  REQUIRE_OK(none);
  CHECK(none->empty());
  const Status missing = FindModel(folder.file("absent"), "x").status();
  CHECK(missing.code() == StatusCode::kNotFound);
  CHECK_THAT(missing.message(), Catch::Contains("'x'") && Catch::Contains("holds none"));
}

TEST_CASE("what is no model is not added") {
  const TemporaryFolder folder;
  const std::string models = folder.file("models");
  CHECK(AddModel(models, folder.file("absent"), "", false).status().code() ==
        StatusCode::kNotFound);
  std::ofstream(folder.file("notes.txt")) << "text";
  CHECK(AddModel(models, folder.file("notes.txt"), "", false).status().code() ==
        StatusCode::kInvalidArgument);
  // The right name, but the bytes are none of GGUF's.
  std::ofstream(folder.file("fake.gguf")) << "text that is long enough for a header of GGUF";
  CHECK_FALSE(AddModel(models, folder.file("fake.gguf"), "", false).ok());
  fs::create_directories(folder.file("empty-model"));
  std::ofstream(folder.file("empty-model/config.json")) << "{}";
  CHECK_FALSE(AddModel(models, folder.file("empty-model"), "", false).ok());
  CHECK(ListModels(models)->empty());
}

TEST_CASE("a decoder is added by link or copy, found by name, and described") {
  const auto gguf = Stories();
  if (!gguf.has_value()) RAG_SKIP("no shared data set models/stories260K");
  const TemporaryFolder folder;
  const std::string models = folder.file("models");
  const bool copy = GENERATE(false, true);
  const Result<ModelEntry> added = AddModel(models, gguf->string(), "tiny", copy);
  REQUIRE_OK(added);
  CHECK(added->name == "tiny");
  CHECK(added->kind == "decoder");
  CHECK(added->bytes == fs::file_size(*gguf));
  CHECK(fs::is_symlink(added->path) != copy);
  CHECK(AddModel(models, gguf->string(), "tiny", copy).status().code() ==
        StatusCode::kAlreadyExists);
  CHECK(AddModel(models, gguf->string(), "../tiny", copy).status().code() ==
        StatusCode::kInvalidArgument);
  REQUIRE_OK(FindModel(models, "tiny"));
  REQUIRE_OK(FindModel(models, "tiny.gguf"));
  REQUIRE_OK(FindModel(models, gguf->string()));
  const Status missing = FindModel(models, "huge").status();
  CHECK_THAT(missing.message(), Catch::Contains("tiny"));

  const Result<Value> described = DescribeModel(*added);
  REQUIRE_OK(described);
  CHECK(described->Find("parameters")->as_int() > 200'000);
  CHECK(described->Find("tokenizer")->Find("vocab_size")->as_int() == 512);
  CHECK(described->Find("metadata")->Find("general.architecture")->as_string() == "llama");
}

TEST_CASE("a folder is copied whole, and one that is being copied is not listed") {
  const TemporaryFolder folder;
  const std::string models = folder.file("models");
  const fs::path source = test::Golden("encoders/bert");
  const Result<ModelEntry> added = AddModel(models, source.string(), "tiny", true);
  REQUIRE_OK(added);
  CHECK_FALSE(fs::is_symlink(added->path));
  size_t files = 0;
  const mode_t masked = ::umask(0);
  ::umask(masked);
  for (const auto& entry : fs::recursive_directory_iterator(source)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const fs::path copy = fs::path(added->path) / entry.path().lexically_relative(source);
    CHECK(test::ReadAll(copy) == test::ReadAll(entry.path()));
    CHECK(fs::status(copy).permissions() ==
          (entry.status().permissions() & ~static_cast<fs::perms>(masked)));
  }
  CHECK(files > 2);
  // As a process killed between two files leaves it.
  const fs::path partial = fs::path(models) / "other.partial";
  fs::copy(source, partial, fs::copy_options::recursive);
  std::ofstream(partial / "more.txt") << "half";
  REQUIRE_OK(ListModels(models));
  CHECK(ListModels(models)->size() == 1);
  CHECK(FindModel(models, "other.partial").status().code() == StatusCode::kNotFound);
  CHECK(FindModel(models, partial.string()).status().code() == StatusCode::kInvalidArgument);
  CHECK(AddModel(models, partial.string(), "half", true).status().code() ==
        StatusCode::kInvalidArgument);
  const Result<ModelEntry> other = AddModel(models, source.string(), "other", true);
  REQUIRE_OK(other);
  CHECK_FALSE(fs::exists(partial));
  CHECK_FALSE(fs::exists(fs::path(other->path) / "more.txt"));
  CHECK(other->bytes == added->bytes);
}

TEST_CASE("no model is called as what is being copied, nor copied into itself") {
  const TemporaryFolder folder;
  const fs::path source = test::Golden("encoders/bert");
  const bool copy = GENERATE(false, true);
  const Status named =
      AddModel(folder.file("models"), source.string(), "tiny.partial", copy).status();
  CHECK(named.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(named.message(), Catch::Contains(".partial"));
  CHECK_FALSE(fs::exists(folder.file("models")));
  const std::string around = folder.file("around");
  fs::copy(source, around, fs::copy_options::recursive);
  CHECK(AddModel(around + "/models", around, "", true).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK(fs::is_empty(around + "/models"));
}

TEST_CASE(
    "word vectors are an encoder that is added, found, described, searched and indexed with") {
  const TemporaryFolder folder;
  const std::string models = folder.file("models");
  const Result<ModelEntry> added =
      AddModel(models, test::Golden("word_vectors/words.vec"), "tiny", false);
  REQUIRE_OK(added);
  CHECK(added->name == "tiny.vec");
  CHECK(added->kind == "encoder");
  const Result<Value> described = DescribeModel(*FindModel(models, "tiny.vec"));
  REQUIRE_OK(described);
  CHECK(described->Find("words")->as_int() == 28);
  CHECK(described->Find("dim")->as_int() == 12);
  const auto runtime = test::MakeRuntime();
  const auto words = FindAnalogy(models, "tiny.vec", "king - man + woman", 3, *runtime);
  REQUIRE_OK(words);
  CHECK(words->size() == 3);
  const Status encoder = FindAnalogy(models, "absent.vec", "king", 3, *runtime).status();
  CHECK(encoder.code() == StatusCode::kNotFound);

  const Result<std::unique_ptr<Engine>> engine = Engine::Open(
      {.db_path = folder.file("db"), .models_folder = models, .encoder = "tiny.vec"}, *runtime);
  REQUIRE_OK(engine);
  for (const std::string text : {"the king of france", "the river and the sea", "no known words"}) {
    Document document;
    document.key = text;
    document.text = text;
    REQUIRE_OK((*engine)->AddDocument("notes", document));
  }
  SearchRequest request;
  request.query = "river sea";
  request.mode = SearchMode::kDense;
  const Result<SearchResponse> found = (*engine)->Search("notes", request);
  REQUIRE_OK(found);
  REQUIRE(found->hits.size() == 3);
  CHECK(found->hits.front().document == "the river and the sea");
}

TEST_CASE("the default encoder is described") {
  const auto encoder = test::DefaultEncoderFolder();
  if (!encoder.has_value()) RAG_SKIP("the default encoder is not set up");
  const Result<ModelEntry> entry = FindModel("", encoder->string());
  REQUIRE_OK(entry);
  CHECK(entry->kind == "encoder");
  const Result<Value> described = DescribeModel(*entry);
  REQUIRE_OK(described);
  CHECK(described->Find("config")->Find("hidden_size")->as_int() == 384);
  CHECK(described->Find("tokenizer")->Find("vocab_size")->as_int() == 30'522);
  CHECK(described->Find("parameters")->as_int() > 22'000'000);
}

TEST_CASE("an engine says which model is missing or of the wrong kind") {
  const TemporaryFolder folder;
  const auto runtime = test::MakeRuntime();
  EngineOptions options;
  options.db_path = folder.file("db");
  options.models_folder = folder.file("models");
  options.encoder = "absent";
  options.llm = "also-absent";
  const Result<std::unique_ptr<Engine>> engine = Engine::Open(options, *runtime);
  REQUIRE_OK(engine);
  CHECK_THAT((*engine)->GetEncoderInfo().status().message(), Catch::Contains("'absent'"));
  CHECK_THAT((*engine)->GetGeneratorInfo().status().message(), Catch::Contains("'also-absent'"));
}

}  // namespace
}  // namespace rag
