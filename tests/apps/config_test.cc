#include "apps/common/config.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <map>

#include "tests/support/support.h"

namespace rag {
namespace {

// Sets variables for one test and puts back what was there.
class Environment {
 public:
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value.has_value()) {
        ::setenv(name.c_str(), value->c_str(), 1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }
  void Set(const std::string& name, const std::string& value) {
    const char* old = std::getenv(name.c_str());
    before_.emplace(name, old != nullptr ? std::optional<std::string>(old) : std::nullopt);
    ::setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

std::string Write(const test::TemporaryFolder& folder, const std::string& content) {
  const std::string path = folder.file("config.toml");
  std::ofstream(path) << content;
  return path;
}

Status Load(const test::TemporaryFolder& folder, const std::string& content, Settings& settings) {
  return LoadSettings(Write(folder, content), settings);
}

}  // namespace

TEST_CASE("the environment lies over the file, the file over the defaults") {
  test::TemporaryFolder folder;
  Environment environment;
  environment.Set("RAG_CHUNK_TOKENS", "128");
  environment.Set("RAG_LLM", "");
  Settings settings = DefaultSettings();
  REQUIRE_OK(Load(folder, R"(
llm = "small"
collection = "notes"
[chunk]
tokens = 512
strategy = "sentence"
[server]
idle_timeout_seconds = 5
insecure_no_auth = true
)",
                  settings));
  CHECK(settings.chunk.tokens == 128);
  CHECK(settings.chunk.strategy == "sentence");
  CHECK(settings.chunk.overlap == 32);
  CHECK(settings.collection == "notes");
  CHECK(settings.llm == "small");
  CHECK(settings.server.idle_timeout_seconds == 5.0);
  CHECK(settings.server.insecure_no_auth);
}

TEST_CASE("paths of the file lie beside it, and ~ is the home folder") {
  test::TemporaryFolder folder;
  Environment environment;
  environment.Set("HOME", "/home/someone");
  environment.Set("RAG_DB", "");
  environment.Set("RAG_MODELS", "");
  Settings settings = DefaultSettings();
  REQUIRE_OK(Load(folder, "db = \"./store\"\nmodels = \"~/m\"\nllm = \"tiny\"\n", settings));
  CHECK(settings.db == folder.file("store"));
  CHECK(settings.models == "/home/someone/m");
  CHECK(settings.llm == "tiny");
  REQUIRE_OK(Load(folder, "llm = \"models/tiny.gguf\"\n", settings));
  CHECK(settings.llm == folder.file("models/tiny.gguf"));
}

TEST_CASE("errors of the file name it, the line and what is wrong, and change nothing") {
  struct Case {
    const char* content;
    const char* message;
  };
  const Case cases[] = {
      {"db = \"a\"\nchunks = 4\n", ":2: 'chunks' is not a setting; known here: db, models"},
      {"[chunk]\ntoken = 4\n",
       ":2: 'chunk.token' is not a setting; known here: strategy, tokens, overlap"},
      {"\n\n\"chunk.tokens\" = 9\n", ":3: 'chunk.tokens' is not a setting"},
      {"db = 5\n", ":1: 'db' must be a string"},
      {"chunk = 5\n", ":1: 'chunk' must be a table"},
      {"db = {}\n", ":1: 'db' must be a string"},
      {"[chunk]\ntokens = \"9\"\n", ":2: 'chunk.tokens' must be an integer"},
      {"[chunk]\ntokens = 9.5\n", ":2: 'chunk.tokens' must be an integer"},
      {"[chunk]\ntokens = 7\n", ":2: 'chunk.tokens' 7 is not between 8 and 8192"},
      {"[chunk]\ntokens = -1\n", ":2: 'chunk.tokens' -1 is not between 8 and 8192"},
      {"[ask]\ntemperature = nan\n", ":2: 'ask.temperature' nan is not between 0 and 100"},
      {"[ask]\ntemperature = true\n", ":2: 'ask.temperature' must be a number"},
      {"[server]\ninsecure_no_auth = 1\n", ":2: 'server.insecure_no_auth' must be true or false"},
      {"[server]\napi_key = \"k\"\n", ":2: 'server.api_key' is not a setting"},
      {"[search]\nmode = \"both\"\n",
       ":2: 'search.mode' 'both' is not one of dense, lexical, sparse, hybrid"},
      {"db = \"a\\u0000b\"\n", ":1: 'db' has a NUL byte"},
      {"db = \"x\"\ndb = \"y\"\n", ":2: "},
      {"db = \n", ":1: "},
      {"[chunk\n", ":1: "},
      {"\xff\xfe", ":1: "},
  };
  for (const Case& c : cases) {
    test::TemporaryFolder folder;
    Settings settings;
    settings.db = "before";
    const Status status = Load(folder, c.content, settings);
    INFO(c.content << " -> " << status.ToString());
    REQUIRE(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find(folder.file("config.toml") + c.message) == 0);
    CHECK(settings.db == "before");
  }
}

TEST_CASE("errors of a variable name it") {
  test::TemporaryFolder folder;
  const std::string path = Write(folder, "");
  const std::pair<const char*, const char*> cases[] = {
      {"RAG_CHUNK_TOKENS", "many"},      {"RAG_CHUNK_TOKENS", "12 "},
      {"RAG_CHUNK_TOKENS", "-4"},        {"RAG_CHUNK_TOKENS", "99999999999999999999"},
      {"RAG_ASK_TEMPERATURE", "warm"},   {"RAG_SEARCH_MODE", "both"},
      {"RAG_INSECURE_NO_AUTH", "maybe"}, {"RAG_ISA", "mmx"},
  };
  for (const auto& [name, value] : cases) {
    Environment environment;
    environment.Set(name, value);
    Settings settings;
    const Status status = LoadSettings(path, settings);
    INFO(name << "=" << value << " -> " << status.ToString());
    REQUIRE(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find(name) == 0);
  }
}

TEST_CASE("a named file must be there, the default one need not") {
  test::TemporaryFolder folder;
  Settings settings;
  CHECK(LoadSettings(folder.file("none.toml"), settings).code() == StatusCode::kNotFound);
  Environment environment;
  environment.Set("XDG_CONFIG_HOME", folder.path().string());
  CHECK(DefaultConfigPath() == folder.file("rag/config.toml"));
  REQUIRE_OK(LoadSettings("", settings));
  std::filesystem::create_directory(folder.path() / "rag");
  std::ofstream(folder.file("rag/config.toml")) << "collection = \"x\"\n";
  REQUIRE_OK(LoadSettings("", settings));
  CHECK(settings.collection == "x");
}

TEST_CASE("the --config flag is found before the flags are parsed") {
  Environment environment;
  environment.Set("RAG_CONFIG", "env.toml");
  const auto flag = [](std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "rag");
    return ConfigFlag(static_cast<int>(arguments.size()), arguments.data());
  };
  CHECK(flag({}) == "env.toml");
  CHECK(flag({"--config", "a.toml", "search"}) == "a.toml");
  CHECK(flag({"--config=a.toml", "--config=b.toml"}) == "b.toml");
  CHECK(flag({"search", "--", "--config=a.toml"}) == "env.toml");
  CHECK(flag({"--config"}) == "env.toml");
}

TEST_CASE("adapters are named with their paths and scales") {
  test::TemporaryFolder folder;
  Settings settings = DefaultSettings();
  REQUIRE_OK(Load(folder, "lora = [\"style=style.gguf:0.5\", \"/models/law\"]", settings));
  auto adapters = ParseAdapters(settings.lora);
  REQUIRE_OK(adapters);
  REQUIRE(adapters->size() == 2);
  CHECK((*adapters)[0].name == "style");
  CHECK((*adapters)[0].path == folder.file("style.gguf"));
  CHECK((*adapters)[0].scale == 0.5);
  CHECK((*adapters)[1].name == "law");
  CHECK((*adapters)[1].path == "/models/law");
  CHECK((*adapters)[1].scale == 1);

  adapters = ParseAdapters({"/a/b.gguf", "x=c:\\y:-2", "folder/:2"});
  REQUIRE_OK(adapters);
  CHECK((*adapters)[0].name == "b");
  CHECK((*adapters)[1].path == "c:\\y");
  CHECK((*adapters)[1].scale == -2);
  CHECK((*adapters)[2].name == "folder");
  CHECK((*adapters)[2].path == "folder/");
  for (const char* wrong : {"", "x=", "=y", "x=:2"}) {
    const Status status = ParseAdapters({wrong}).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find("NAME=PATH") != std::string::npos);
  }

  for (const char* wrong : {"lora = \"x=y\"", "lora = [3]"}) {
    const Status status = Load(folder, wrong, settings);
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find("an array of strings") != std::string::npos);
  }
  Environment environment;
  environment.Set("RAG_LORA", "a=b,c");
  REQUIRE_OK(Load(folder, "", settings));
  CHECK(settings.lora == std::vector<std::string>{"a=b", "c"});
}

TEST_CASE("settings become the engine's options") {
  Settings settings = DefaultSettings();
  settings.chunk.strategy = "fixed";
  settings.index.kind = "flat";
  Result<CollectionOptions> options = ToCollectionOptions(settings);
  REQUIRE_OK(options);
  CHECK(options->chunk.strategy == ChunkStrategy::kFixed);
  CHECK(options->vectors.kind == IndexKind::kFlat);
  settings.index.kind = "hnsw:pca8,m=24";
  settings.index.ef_search = 99;
  options = ToCollectionOptions(settings);
  REQUIRE_OK(options);
  CHECK(options->vectors.hnsw.codes == CodeKind::kPca8);
  CHECK(options->vectors.hnsw.m == 24);
  CHECK(options->vectors.hnsw.ef_search == 99);
  settings.index.kind = "hnsw";
  CHECK(ToCollectionOptions(settings)->vectors.hnsw.codes == CodeKind::kNone);
  CHECK(ToCollectionOptions(DefaultSettings())->vectors.hnsw.codes == CodeKind::kPca8);
  CHECK(CollectionOptions().vectors.hnsw.codes == CodeKind::kPca8);
  settings.index.kind = "tree";
  CHECK(ToCollectionOptions(settings).status().message().find("index.kind") != std::string::npos);
  settings.index.kind = "hnsw";
  settings.chunk.overlap = 128;
  CHECK(ToCollectionOptions(settings).status().code() == StatusCode::kInvalidArgument);
  CHECK(DescribeSettings().find("chunk.tokens  RAG_CHUNK_TOKENS  an integer 8..8192") !=
        std::string::npos);
}

}  // namespace rag
