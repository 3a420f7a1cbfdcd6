#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/ingest/queue.h"
#include "engine/ingest/walk.h"
#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;

void Write(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

struct Files : test::OpenedEngine {
  std::string docs = folder.file("docs");

  void Put(const std::string& name, const std::string& content) {
    Write(fs::path(docs) / name, content);
  }
  IngestReport Ingest(const IngestOptions& options = {}, std::vector<std::string> paths = {},
                      const CancelToken* cancel = nullptr) {
    if (paths.empty()) paths = {docs};
    Result<IngestReport> report = engine->Ingest("notes", paths, options, {}, nullptr, cancel);
    REQUIRE_OK(report);
    return std::move(report).value();
  }
  std::vector<std::string> Keys() {
    Result<std::vector<std::string>> keys = engine->ListDocuments("notes", "", 10'000);
    REQUIRE_OK(keys);
    return std::move(keys).value();
  }
  size_t Hits(const std::string& query) {
    SearchRequest request;
    request.query = query;
    Result<SearchResponse> response = engine->Search("notes", request);
    REQUIRE_OK(response);
    return response->hits.size();
  }
};

TEST_CASE("a walk is sorted, survives loops, and leaves hidden names out") {
  const TemporaryFolder folder;
  const fs::path root = folder.path();
  Write(root / "b.txt", "b");
  Write(root / "a/z.txt", "z");
  Write(root / "a/c.txt", "c");
  Write(root / ".git/config", "x");
  Write(root / "a/.secret.txt", "x");
  fs::create_directory_symlink(root, root / "a/loop");
  fs::create_symlink(root / "b.txt", root / "a/link.txt");
  fs::create_symlink(root / "absent", root / "broken.txt");
  const std::vector<std::string> paths = {root.string() + "/", (root / "b.txt").string()};
  IngestProgress progress;
  const WalkResult walked = WalkPaths(paths, false, "", &progress, nullptr);
  const auto at = [&](const char* name) { return (root / name).string(); };
  CHECK(walked.files ==
        std::vector<std::string>{at("a/c.txt"), at("a/link.txt"), at("a/z.txt"), at("b.txt")});
  REQUIRE(walked.failures.size() == 1);
  CHECK(walked.failures[0].path == at("broken.txt"));
  CHECK(walked.failures[0].error.code() == StatusCode::kNotFound);
  CHECK(progress.files_total == 4);
  CHECK(progress.bytes_total == 4);
  CHECK_FALSE(progress.walking);

  CHECK(WalkPaths(paths, true, "", nullptr, nullptr).files.size() == 6);
  // The store's own folder is never taken for documents.
  CHECK(WalkPaths(paths, false, at("a"), nullptr, nullptr).files.size() == 1);
  // A hidden file that is named is meant.
  const std::vector<std::string> named = {at("a/.secret.txt"), "-", ""};
  const WalkResult given = WalkPaths(named, false, "", nullptr, nullptr);
  CHECK(given.files == std::vector<std::string>{at("a/.secret.txt"), "-"});
  CHECK(given.failures.size() == 1);
}

TEST_CASE("a queue hands over in order, bounded, and ends when closed") {
  BoundedQueue<int> queue(2);
  std::thread producer([&] {
    for (int i = 0; i < 100; ++i) {
      if (!queue.Push(i)) return;
    }
    queue.Close();
  });
  for (int i = 0; i < 100; ++i) CHECK(queue.Pop() == i);
  CHECK_FALSE(queue.Pop().has_value());
  producer.join();
  CHECK_FALSE(queue.Push(1));
}

TEST_CASE("unchanged files are skipped, changed ones replaced, new ones added") {
  Files files;
  files.Put("a.txt", "Apples grow on trees.");
  files.Put("sub/b.md", "# Bees\n\nBees make honey.");
  IngestReport report = files.Ingest();
  CHECK(report.files == 2);
  CHECK(report.indexed == 2);
  CHECK(report.documents == 2);
  CHECK(report.chunks >= 2);
  CHECK(report.failed.empty());
  CHECK(files.Hits("honey") == 1);

  SECTION("nothing changed but the time") {
    fs::last_write_time(files.docs + "/a.txt", fs::file_time_type::clock::now());
    report = files.Ingest();
    CHECK(report.unchanged == 2);
    CHECK(report.indexed == 0);
    CHECK(report.chunks == 0);
  }
  SECTION("one changed, one new, over a reopened store") {
    files.Open();
    files.Put("a.txt", "Pears grow on trees.");
    files.Put("c.txt", "Cats sleep.");
    report = files.Ingest();
    CHECK(report.files == 3);
    CHECK(report.indexed == 2);
    CHECK(report.unchanged == 1);
    CHECK(files.Hits("apples") == 0);
    CHECK(files.Hits("pears") == 1);
    CHECK(files.Keys().size() == 3);
  }
  SECTION("metadata laid over them is a change") {
    IngestOptions options;
    options.metadata = Value(Value::Object{{"lang", "en"}});
    CHECK(files.Ingest(options).indexed == 2);
    CHECK(files.Ingest(options).unchanged == 2);
    const Result<StoredDocument> stored =
        files.engine->GetDocument("notes", AbsolutePath(files.docs + "/a.txt"));
    REQUIRE_OK(stored);
    CHECK(stored->metadata.Find("lang")->as_string() == "en");
    CHECK(stored->text == "Apples grow on trees.");
  }
  SECTION("a removed document comes back when its file is indexed again") {
    const std::string key = AbsolutePath(files.docs + "/a.txt");
    REQUIRE_OK(files.engine->RemoveDocument("notes", key));
    CHECK(files.engine->GetDocument("notes", key).status().code() == StatusCode::kNotFound);
    CHECK(files.Hits("apples") == 0);
    CHECK(files.Ingest().indexed == 1);
    CHECK(files.Hits("apples") == 1);
  }
}

TEST_CASE("prune removes what is gone under the given paths, and nothing else") {
  Files files;
  files.Put("a.txt", "Apples.");
  files.Put("sub/b.txt", "Bees.");
  files.Put("sub/c.jsonl", "{\"id\": \"one\", \"text\": \"Cats.\"}\n");
  Document mine;
  mine.key = "mine";
  mine.text = "From memory.";
  REQUIRE_OK(files.engine->AddDocument("notes", mine));
  CHECK(files.Ingest().indexed == 3);
  CHECK(files.Keys().size() == 4);
  fs::remove(files.docs + "/a.txt");
  fs::remove(files.docs + "/sub/c.jsonl");
  CHECK(files.Ingest().removed == 0);
  IngestOptions prune;
  prune.prune = true;
  CHECK(files.Ingest(prune, {files.docs + "/sub"}).removed == 1);
  CHECK(files.Keys().size() == 3);
  // The file itself may be named though it is gone.
  const IngestReport named = files.Ingest(prune, {files.docs + "/a.txt"});
  CHECK(named.removed == 1);
  CHECK(named.failed.empty());
  // One that never was is still a mistake.
  CHECK(files.Ingest(prune, {files.docs + "/never.txt"}).failed.size() == 1);
  CHECK(files.Keys() == std::vector<std::string>{AbsolutePath(files.docs + "/sub/b.txt"), "mine"});
}

TEST_CASE("a JSONL file is followed line by line") {
  Files files;
  files.Put("d.jsonl",
            "{\"id\": \"one\", \"text\": \"Apples are red.\", \"year\": 2020}\n"
            "{\"id\": \"two\", \"text\": \"Bees make honey.\"}\n");
  IngestReport report = files.Ingest();
  CHECK(report.files == 1);
  CHECK(report.indexed == 1);
  CHECK(report.documents == 2);
  CHECK(files.Keys() == std::vector<std::string>{"one", "two"});
  CHECK(files.Ingest().unchanged == 1);

  SECTION("a line that changed is the only one written; one that left is removed") {
    files.Put("d.jsonl",
              "{\"id\": \"one\", \"text\": \"Apples are green.\", \"year\": 2020}\n"
              "{\"id\": \"three\", \"text\": \"Cats sleep.\"}\n");
    report = files.Ingest();
    CHECK(report.documents == 2);
    CHECK(report.removed == 1);
    CHECK(files.Keys() == std::vector<std::string>{"one", "three"});
    CHECK(files.Hits("green") == 1);
    CHECK(files.Hits("honey") == 0);
    CHECK(files.Ingest().unchanged == 1);
  }
  SECTION("lines that did not change are not written again") {
    files.Put("d.jsonl",
              "{\"id\": \"one\", \"text\": \"Apples are red.\", \"year\": 2020}\n"
              "{\"id\": \"two\", \"text\": \"Bees make wax.\"}\n");
    CHECK(files.Ingest().documents == 1);
  }
  SECTION("a bad line is reported with its number, on every run, and the rest is there") {
    files.Put("d.jsonl",
              "{\"id\": \"one\", \"text\": \"Apples are red.\", \"year\": 2020}\n"
              "{broken\n"
              "{\"id\": \"two\", \"text\": \"Bees make honey.\"}\n");
    for (int run = 0; run < 2; ++run) {
      report = files.Ingest();
      REQUIRE(report.failed.size() == 1);
      CHECK_THAT(StrCat(report.failed[0].path, " ", report.failed[0].error.message()),
                 Catch::Contains("d.jsonl") && Catch::Contains("2"));
      CHECK(files.Keys().size() == 2);
    }
  }
  SECTION("a line that went bad keeps the document that it was") {
    files.Put("d.jsonl",
              "{\"id\": \"one\", \"text\": \"Apples are red.\", \"year\": 2020}\n{bad\n");
    report = files.Ingest();
    CHECK(report.failed.size() == 1);
    CHECK(report.removed == 0);
    CHECK(files.Hits("honey") == 1);
  }
  SECTION("a file of which nothing is new is unchanged, also beside what cannot be taken") {
    const std::string good = "{\"id\": \"one\", \"text\": \"Apples are green.\"}\n";
    const std::string no_text = "{\"text\": null}\n";
    for (const std::string& bad : {no_text, good}) {
      files.Put("d.jsonl", good + bad);
      files.Ingest();
      report = files.Ingest();
      CHECK(report.indexed == 0);
      CHECK(report.unchanged == 1);
      CHECK(report.failed.size() == 1);
    }
    files.Put("d.jsonl", no_text);
    CHECK(files.Ingest().unchanged == 0);
  }
  SECTION("a document removed by hand comes back with its file") {
    REQUIRE_OK(files.engine->RemoveDocument("notes", "two"));
    CHECK(files.Ingest().documents == 1);
    CHECK(files.Keys().size() == 2);
  }
  SECTION("an id that occurs twice is told, and the first one kept") {
    files.Put(
        "d.jsonl",
        "{\"id\": \"one\", \"text\": \"First.\"}\n{\"id\": \"one\", \"text\": \"Second.\"}\n");
    report = files.Ingest();
    REQUIRE(report.failed.size() == 1);
    CHECK_THAT(report.failed[0].error.message(), Catch::Contains("'one'"));
    CHECK(files.engine->GetDocument("notes", "one")->text == "First.");
  }
}

TEST_CASE("one id in two files belongs to the later, and neither run nor prune loses it") {
  Files files;
  files.Put("a.jsonl", "{\"id\": \"x\", \"text\": \"From a.\"}\n");
  files.Put("b.jsonl", "{\"id\": \"x\", \"text\": \"From b.\"}\n");
  CHECK(files.Ingest().documents == 2);
  CHECK(files.engine->GetDocument("notes", "x")->text == "From b.");
  // The document left a.jsonl, but it is b.jsonl's now.
  files.Put("a.jsonl", "{\"id\": \"y\", \"text\": \"Other.\"}\n");
  CHECK(files.Ingest().removed == 0);
  CHECK(files.Keys() == std::vector<std::string>{"x", "y"});
}

TEST_CASE("what two files hold comes back from the one when it goes from the other") {
  Files files;
  files.Put("a.jsonl", "{\"id\": \"x\", \"text\": \"From a.\"}\n");
  files.Put("b.jsonl",
            "{\"id\": \"x\", \"text\": \"From b.\"}\n{\"id\": \"y\", \"text\": \"Bees.\"}\n");
  files.Put("c.jsonl", "{\"id\": \"z\", \"text\": \"Zebras.\"}\n");
  CHECK(files.Ingest().documents == 4);
  IngestOptions prune;
  prune.prune = true;
  IngestReport report;
  SECTION("the line goes") {
    files.Put("b.jsonl", "{\"id\": \"y\", \"text\": \"Bees.\"}\n");
    report = files.Ingest();
    CHECK(report.removed == 1);
    CHECK(files.Keys() == std::vector<std::string>{"x", "y", "z"});
  }
  SECTION("the file goes") {
    fs::remove(files.docs + "/b.jsonl");
    report = files.Ingest(prune);
    CHECK(report.removed == 2);
    CHECK(files.Keys() == std::vector<std::string>{"x", "z"});
  }
  SECTION("the file goes while the other is not looked at") {
    fs::remove(files.docs + "/b.jsonl");
    CHECK(files.Ingest(prune, {files.docs + "/b.jsonl"}).removed == 2);
    CHECK(files.Keys() == std::vector<std::string>{"z"});
    report = files.Ingest();
    CHECK(files.Keys() == std::vector<std::string>{"x", "z"});
  }
  CHECK(report.documents == 1);
  CHECK(report.failed.empty());
  CHECK(files.engine->GetDocument("notes", "x")->text == "From a.");
  CHECK(files.Ingest(prune).unchanged == files.Ingest(prune).files);
}

TEST_CASE("what comes back from other files replaces nothing that is there") {
  Files files;
  files.Put("a.jsonl",
            "{\"id\": \"x\", \"text\": \"X of a.\"}\n{\"id\": \"w\", \"text\": \"W of a.\"}\n"
            "{\"id\": \"own\", \"text\": \"Of the file.\"}\n");
  files.Put("b.jsonl",
            "{\"id\": \"x\", \"text\": \"X of b.\"}\n{\"id\": \"w\", \"text\": \"W of b.\"}\n");
  files.Ingest();
  Document document;
  document.key = "own";
  document.text = "Of its user.";
  REQUIRE_OK(files.engine->AddDocument("notes", document));
  files.Put("b.jsonl", "{\"id\": \"w\", \"text\": \"W of b.\"}\n");
  const IngestReport report = files.Ingest();
  CHECK(report.removed == 1);
  CHECK(report.documents == 1);
  for (int again = 0; again < 2; ++again) {
    CHECK(files.engine->GetDocument("notes", "x")->text == "X of a.");
    CHECK(files.engine->GetDocument("notes", "w")->text == "W of b.");
    CHECK(files.engine->GetDocument("notes", "own")->text == "Of its user.");
    CHECK(files.Ingest().unchanged == 2);
  }
}

TEST_CASE("bad files are told one by one and the rest is indexed") {
  Files files;
  files.Put("good.txt", "Good text.");
  files.Put("empty.txt", "");
  files.Put("picture.png", std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16));
  files.Put("fake.pdf", "this is no PDF at all");
  files.Put("fake.docx", "nor is this a DOCX");
  files.Put("large.txt", "x");
  fs::resize_file(files.docs + "/large.txt", uint64_t{100} << 20);
  fs::create_symlink("/dev/null", files.docs + "/device.txt");
  const IngestReport report = files.Ingest();
  CHECK(report.indexed == 1);
  CHECK(report.files == 7);
  std::vector<std::string> failed;
  for (const IngestFailure& failure : report.failed) {
    failed.push_back(fs::path(failure.path).filename().string());
    CHECK_FALSE(failure.error.message().empty());
  }
  CHECK(failed == std::vector<std::string>{"device.txt", "empty.txt", "fake.docx", "fake.pdf",
                                           "large.txt", "picture.png"});
}

TEST_CASE("a file that goes bad keeps what was indexed of it") {
  Files files;
  files.Put("a.txt", "Apples.");
  files.Ingest();
  files.Put("a.txt", "");
  const IngestReport report = files.Ingest();
  CHECK(report.failed.size() == 1);
  CHECK(files.Hits("apples") == 1);
}

TEST_CASE("a cancelled run says so and the next one goes on") {
  Files files;
  for (int i = 0; i < 50; ++i) {
    files.Put(StrCat("f", i, ".txt"), StrCat("Document number ", i, "."));
  }
  CancelToken cancel;
  cancel.Cancel();
  const IngestReport stopped = files.Ingest({}, {}, &cancel);
  CHECK(stopped.cancelled);
  CHECK(stopped.indexed == 0);
  const IngestReport whole = files.Ingest();
  CHECK_FALSE(whole.cancelled);
  CHECK(whole.indexed == 50);
}

TEST_CASE("many documents go through in batches, in order") {
  Files files;
  std::string lines;
  constexpr int kDocuments = 3'000;
  for (int i = 0; i < kDocuments; ++i) {
    lines += StrCat("{\"id\": \"", i, "\", \"text\": \"Entry ", i, " of the ledger.\"}\n");
  }
  files.Put("many.jsonl", lines);
  files.Put("z.txt", "The last file.");
  const IngestReport report = files.Ingest();
  CHECK(report.documents == kDocuments + 1);
  CHECK(report.indexed == 2);
  CHECK(files.engine->GetCollection("notes")->stats.documents == kDocuments + 1);
  const Result<VerifyReport> verified = files.engine->Verify("notes");
  REQUIRE_OK(verified);
  CHECK(verified->problems.empty());
  CHECK(files.Hits("2741") == 1);
}

TEST_CASE("paths and text in Korean") {
  Files files;
  files.Put("문서/서울 안내.txt", "서울은 대한민국의 수도이다. 지하철이 편리하다.");
  CHECK(files.Ingest().indexed == 1);
  SearchRequest request;
  request.query = "서울은";
  const Result<SearchResponse> response = files.engine->Search("notes", request);
  REQUIRE_OK(response);
  REQUIRE(response->hits.size() == 1);
  CHECK_THAT(response->hits[0].document, Catch::EndsWith("서울 안내.txt"));
}

TEST_CASE("two runs into one collection at one time") {
  Files files;
  files.Put("a/1.txt", "One.");
  files.Put("b/2.txt", "Two.");
  Status errors[2];
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      const std::vector<std::string> paths = {files.docs + (i == 0 ? "/a" : "/b")};
      errors[i] = files.engine->Ingest("fresh", paths, {}).status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(errors[0].ToString() == "ok");
  CHECK(errors[1].ToString() == "ok");
  CHECK(files.engine->ListDocuments("fresh", "", 10)->size() == 2);
}

TEST_CASE("with an encoder, long headings do not push text out of its window") {
  if (!test::DefaultEncoderFolder().has_value()) RAG_SKIP("the default encoder is not set up");
  test::OpenedEngine opened(kDefaultEncoder);
  const TemporaryFolder& folder = opened.folder;
  std::string text = "# A title of a good many words about the rotation of signing keys\n\n";
  for (int i = 0; i < 400; ++i) text += StrCat("Sentence ", i, " says that a key was rotated. ");
  Write(folder.file("long.md"), text);
  const std::vector<std::string> paths = {folder.file("long.md")};
  const Result<IngestReport> report = opened.engine->Ingest("notes", paths, {});
  REQUIRE_OK(report);
  CHECK(report->chunks > 10);
  CHECK(report->truncated == 0);
}

}  // namespace
}  // namespace rag
