#include "engine/engine.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "lib/base/file.h"
#include "tests/engine/opened_engine.h"

namespace rag {
namespace {

using Opened = test::OpenedEngine;
using test::TemporaryFolder;
using test::TextDocument;

TEST_CASE("collections are made, listed and dropped") {
  Opened opened;
  CHECK(opened.engine->ListCollections()->empty());
  CollectionOptions options;
  options.chunk.chunk_tokens = 64;
  options.chunk.overlap_tokens = 8;
  REQUIRE_OK(opened.engine->CreateCollection("b", options));
  REQUIRE_OK(opened.engine->CreateCollection("a"));
  CHECK(opened.engine->CreateCollection("a").code() == StatusCode::kAlreadyExists);
  CHECK(opened.engine->CreateCollection("no/slash").code() == StatusCode::kInvalidArgument);
  CHECK(opened.engine->CreateCollection("_mine").code() == StatusCode::kInvalidArgument);
  options.chunk.overlap_tokens = 32;
  CHECK(opened.engine->CreateCollection("c", options).code() == StatusCode::kInvalidArgument);
  options.chunk = {ChunkStrategy::kFixed, 4, 0};
  CHECK(opened.engine->CreateCollection("c", options).code() == StatusCode::kInvalidArgument);
  options = {};
  options.vectors.element = ElementType::kU8;
  CHECK(opened.engine->CreateCollection("c", options).code() == StatusCode::kInvalidArgument);

  // What the engine keeps for itself is not listed.
  REQUIRE_OK(opened.engine->AddDocument("a", TextDocument("k", "text")));
  const Result<std::vector<CollectionInfo>> list = opened.engine->ListCollections();
  REQUIRE_OK(list);
  REQUIRE(list->size() == 2);
  CHECK((*list)[0].config.name == "a");
  CHECK((*list)[0].stats.documents == 1);
  CHECK((*list)[1].config.properties.Find("chunk")->Find("chunk_tokens")->as_int() == 64);
  CHECK(opened.engine->GetCollection("_manifest").status().code() == StatusCode::kInvalidArgument);

  REQUIRE_OK(opened.engine->DropCollection("a"));
  CHECK(opened.engine->DropCollection("a").code() == StatusCode::kNotFound);
  CHECK(opened.engine->GetDocument("a", "k").status().code() == StatusCode::kNotFound);
}

TEST_CASE("a collection that is dropped is forgotten by ingestion too") {
  Opened opened;
  test::TemporaryFolder docs;
  REQUIRE_OK(WriteFileAtomic(docs.file("d.jsonl"), "{\"id\": \"one\", \"text\": \"Apples.\"}\n"));
  const std::vector<std::string> paths = {docs.path().string()};
  CHECK(opened.engine->Ingest("notes", paths, {})->documents == 1);
  REQUIRE_OK(opened.engine->DropCollection("notes"));
  CHECK(opened.engine->Ingest("notes", paths, {})->documents == 1);
}

TEST_CASE("a document from memory is added, replaced and known again") {
  Opened opened;
  Document document = TextDocument("k", "# Keys\n\nRotate them.\n");
  document.media_type = "text/markdown";
  document.metadata = Value(Value::Object{{"lang", "en"}});
  Result<DocumentStatus> status = opened.engine->AddDocument("notes", document);
  REQUIRE_OK(status);
  CHECK_FALSE(status->replaced);
  CHECK(status->chunks == 1);
  status = opened.engine->AddDocument("notes", document);
  REQUIRE_OK(status);
  CHECK(status->unchanged);
  document.text = "# Keys\n\nNever rotate them.\n";
  status = opened.engine->AddDocument("notes", document);
  REQUIRE_OK(status);
  CHECK(status->replaced);
  opened.Open();
  const Result<StoredDocument> stored = opened.engine->GetDocument("notes", "k");
  REQUIRE_OK(stored);
  CHECK(stored->text == document.text);
  CHECK(stored->media_type == "text/markdown");
  CHECK(stored->metadata == document.metadata);
  REQUIRE(stored->chunk_ids.size() == 1);
  const Result<Hit> chunk = opened.engine->GetChunk("notes", stored->chunk_ids[0]);
  REQUIRE_OK(chunk);
  CHECK_THAT(chunk->text, Catch::Contains("Never rotate them."));
  CHECK(stored->text.substr(chunk->start, chunk->end - chunk->start) == chunk->text);
  CHECK(opened.engine->GetChunk("notes", 1'000'000).status().code() == StatusCode::kNotFound);
}

TEST_CASE("a document that cannot be added says why") {
  Opened opened;
  const auto code = [&](const Document& document) {
    return opened.engine->AddDocument("notes", document).status().code();
  };
  CHECK(code(TextDocument("", "text")) == StatusCode::kInvalidArgument);
  CHECK(code(TextDocument("k", "")) == StatusCode::kInvalidArgument);
  CHECK(code(TextDocument(std::string(5'000, 'k'), "text")) == StatusCode::kInvalidArgument);
  Document document = TextDocument("k", "text");
  document.media_type = "image/png";
  CHECK(code(document) == StatusCode::kInvalidArgument);
  document.media_type = "text/plain";
  document.metadata = Value("no object");
  CHECK(code(document) == StatusCode::kInvalidArgument);
}

TEST_CASE("many documents are added together, and a bad one harms no other") {
  Opened opened;
  REQUIRE_OK(opened.engine->AddDocument("notes", TextDocument("old", "An old text.")));
  REQUIRE_OK(opened.engine->AddDocument("notes", TextDocument("same", "The same text.")));
  std::vector<Document> documents;
  for (size_t i = 0; i < 700; ++i) {  // of more than one write
    documents.push_back(TextDocument(StrCat("k", i), StrCat("Text of number ", i, ".")));
  }
  documents[3] = TextDocument("empty", "");
  documents[4] = TextDocument(std::string(5'000, 'k'), "A key that is too long.");
  documents[5] = TextDocument("old", "A new text.");
  documents[6] = TextDocument("same", "The same text.");
  documents[8] = TextDocument("k7", "Another text of number 7.");
  const auto added = opened.engine->AddDocuments("notes", documents);
  REQUIRE_OK(added);
  REQUIRE(added->size() == documents.size());
  for (size_t i = 0; i < documents.size(); ++i) {
    INFO(i << " " << (*added)[i].status().ToString());
    const bool bad = i == 3 || i == 4;
    REQUIRE((*added)[i].status().code() == (bad ? StatusCode::kInvalidArgument : StatusCode::kOk));
    if (bad) continue;
    CHECK((*added)[i]->replaced == (i == 5 || i == 8));
    CHECK((*added)[i]->unchanged == (i == 6));
    CHECK((*added)[i]->chunks == (i == 6 ? 0 : 1));
  }
  opened.Open();
  CHECK(opened.engine->GetDocument("notes", "k7")->text == "Another text of number 7.");
  CHECK(opened.engine->GetDocument("notes", "old")->text == "A new text.");
  CHECK(opened.engine->GetDocument("notes", "k699")->text == "Text of number 699.");
  const Result<VerifyReport> report = opened.engine->Verify("notes");
  REQUIRE_OK(report);
  CHECK(report->problems.empty());
  CHECK(report->documents == 697);

  CancelToken cancel;
  cancel.Cancel();
  for (Document& document : documents) document.text += " More.";
  const auto cancelled = opened.engine->AddDocuments("notes", documents, {}, &cancel);
  REQUIRE_OK(cancelled);
  CHECK((*cancelled)[0].ok());  // of the first write
  CHECK(cancelled->back().status().code() == StatusCode::kCancelled);
}

TEST_CASE("documents are listed in pages and removed") {
  Opened opened;
  for (const char* key : {"a", "b", "c"}) {
    REQUIRE_OK(opened.engine->AddDocument("notes", TextDocument(key, StrCat("Text of ", key))));
  }
  CHECK(*opened.engine->ListDocuments("notes", "", 2) == std::vector<std::string>{"a", "b"});
  CHECK(*opened.engine->ListDocuments("notes", "b", 2) == std::vector<std::string>{"c"});
  REQUIRE_OK(opened.engine->RemoveDocument("notes", "b"));
  CHECK(opened.engine->RemoveDocument("notes", "b").code() == StatusCode::kNotFound);
  CHECK(*opened.engine->ListDocuments("notes", "", 9) == std::vector<std::string>{"a", "c"});
  const Result<VerifyReport> report = opened.engine->Verify("notes");
  REQUIRE_OK(report);
  CHECK(report->problems.empty());
  CHECK(report->documents == 2);
}

TEST_CASE("a limit on passages of a document makes room for other documents") {
  Opened opened;
  // One document that matches best with each of its chunks, and three with one each.
  std::string many;
  for (int i = 0; i < 40; ++i) {
    many += "# Part " + std::to_string(i) + "\n\nValves valves valves number " + std::to_string(i) +
            ".\n\n";
  }
  Document document = TextDocument("many", many);
  document.media_type = "text/markdown";
  REQUIRE_OK(opened.engine->AddDocument("notes", document));
  for (const char* key : {"a", "b", "c"}) {
    REQUIRE_OK(opened.engine->AddDocument(
        "notes", TextDocument(key, StrCat("A long text of document ", key,
                                          " that says among much else something of valves."))));
  }
  SearchRequest request;
  request.query = "valves";
  request.mode = SearchMode::kLexical;
  request.k = 4;
  const auto documents = [&] {
    const Result<SearchResponse> found = opened.engine->Search("notes", request);
    REQUIRE_OK(found);
    std::vector<std::string> names;
    for (const Hit& hit : found->hits) {
      names.push_back(hit.document);
      CHECK(hit.rank == names.size());
    }
    return names;
  };
  CHECK(documents() == std::vector<std::string>(4, "many"));
  request.per_document = 1;
  std::vector<std::string> names = documents();
  CHECK(names.front() == "many");
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"a", "b", "c", "many"});
  request.per_document = 2;
  names = documents();
  CHECK(std::count(names.begin(), names.end(), "many") == 2);
  CHECK(names.size() == 4);
}

TEST_CASE("an engine without models says so") {
  Opened opened;
  const std::string_view text = "x";
  CHECK(opened.engine->Embed({&text, 1}).status().code() == StatusCode::kFailedPrecondition);
  CHECK(opened.engine->GetEncoderInfo().status().code() == StatusCode::kFailedPrecondition);
  const ChatMessage message{"user", "hello"};
  const Status chat = opened.engine->Chat({&message, 1}, {.max_tokens = 8}).status();
  CHECK(chat.code() == StatusCode::kFailedPrecondition);
  const Result<std::optional<GeneratorInfo>> generator = opened.engine->GetGeneratorInfo();
  REQUIRE_OK(generator);
  CHECK_FALSE(generator->has_value());
}

TEST_CASE("a question is answered with checked citations, without a decoder by quoting") {
  Opened opened;
  REQUIRE_OK(opened.engine->AddDocument(
      "notes", TextDocument("keys",
                            "Cats sleep all day. The signing key is rotated every ninety days. "
                            "Dogs bark.")));
  AskRequest request;
  request.search.query = "How often is the signing key rotated?";
  request.search.k = 3;
  const Result<Answer> answer = opened.engine->Ask("notes", request);
  REQUIRE_OK(answer);
  CHECK(answer->mode == AnswerMode::kExtractive);
  CHECK_FALSE(answer->note.empty());
  REQUIRE_FALSE(answer->citations.empty());
  const Citation& citation = answer->citations.front();
  CHECK(citation.verified);
  CHECK(citation.document == "keys");
  CHECK_THAT(citation.quote, Catch::Contains("ninety days"));
  CHECK(opened.engine->GetDocument("notes", "keys")
            ->text.substr(citation.start, citation.end - citation.start) == citation.quote);
  CHECK(answer->total_ms > 0);
}

TEST_CASE("a decoder talks") {
  const auto models = test::SharedData("models");
  if (!models.has_value()) RAG_SKIP("no shared data set models/stories260K");
  TemporaryFolder folder;
  const auto runtime = test::MakeRuntime();
  EngineOptions options;
  options.db_path = folder.file("db");
  options.encoder = "none";
  options.llm = (*models / "stories260K" / "stories260K.gguf").string();
  const Result<std::unique_ptr<Engine>> engine = Engine::Open(options, *runtime);
  REQUIRE_OK(engine);
  const ChatMessage message{"user", "Once upon a time"};
  std::string streamed;
  const auto collect = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const Generator::TokenCallback on_text(collect);
  const Result<GenerateResult> result =
      (*engine)->Chat({&message, 1}, {.max_tokens = 20}, &on_text);
  REQUIRE_OK(result);
  CHECK_FALSE(result->text.empty());
  CHECK(result->text == streamed);
  CHECK((*engine)->GetGeneratorInfo()->value().architecture == "llama");
}

TEST_CASE("a folder that is in use by another engine is refused") {
  Opened opened;
  EngineOptions options = opened.options;
  CHECK(Engine::Open(options, *opened.runtime).status().code() == StatusCode::kUnavailable);
  options.db_path = "";
  CHECK(Engine::Open(options, *opened.runtime).status().code() == StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace rag
