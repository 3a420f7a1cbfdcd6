#include "engine/record.h"

#include <catch2/catch.hpp>

#include "tests/support/support.h"

namespace rag {
namespace {

Document Sample() {
  Document document;
  document.key = "/docs/서울.md";
  document.title = "Seoul";
  document.source = "/docs/서울.md";
  document.media_type = "text/markdown";
  document.text = "# History\n\nOld city.\n";
  document.metadata = Value::Object{{"year", 1394}, {"title", "Hanyang"}};
  return document;
}

ChunkRecord Stored(const Document& document, const DocumentInput& input, const ChunkInput& chunk) {
  // As a collection hands it out: the document's attributes with the chunk's over them.
  ChunkRecord record;
  record.id = 7;
  record.document_key = document.key;
  record.payload = chunk.payload;
  Value::Object attributes = input.attributes.as_object();
  if (chunk.attributes.is_object()) {
    for (const auto& [name, value] : chunk.attributes.as_object()) attributes.Set(name, value);
  }
  record.attributes = std::move(attributes);
  return record;
}

TEST_CASE("a chunk comes back as a hit with its own metadata alone") {
  const Document document = Sample();
  Chunk chunk;
  chunk.begin = 11;
  chunk.end = 20;
  chunk.page = 3;
  chunk.headings = {"History", "Joseon"};
  const DocumentInput input = PackDocumentInput(document, "c", "s");
  const ChunkInput packed = PackChunkInput(document, chunk);
  // Filters see these.
  const ChunkRecord record = Stored(document, input, packed);
  CHECK(*record.attributes.Find("page") == Value(3));
  CHECK(*record.attributes.Find("heading") == Value("History > Joseon"));
  CHECK(*record.attributes.Find("document") == Value(document.key));
  CHECK(*record.attributes.Find("title") == Value("Hanyang"));  // the file's own word

  const Result<Hit> hit = UnpackHit(record);
  REQUIRE_OK(hit);
  CHECK(hit->text == "Old city.");
  CHECK(hit->start == 11);
  CHECK(hit->end == 20);
  CHECK(hit->page == 3);
  CHECK(hit->title == "Seoul");
  CHECK(hit->headings == chunk.headings);
  CHECK(hit->chunk_id == 7);
  CHECK(hit->metadata == document.metadata);
}

TEST_CASE("metadata of the engine's own names stays the document's") {
  Document document = Sample();
  document.metadata = Value::Object{{"page", "cover"}, {"document", 5}};
  Chunk chunk;
  chunk.end = 5;
  chunk.page = 2;
  const ChunkInput packed = PackChunkInput(document, chunk);
  const DocumentInput input = PackDocumentInput(document, "c", "s");
  const Result<Hit> hit = UnpackHit(Stored(document, input, packed));
  REQUIRE_OK(hit);
  CHECK(hit->page == 2);
  CHECK(hit->metadata == document.metadata);
}

TEST_CASE("a document comes back whole") {
  const Document document = Sample();
  const DocumentInput input = PackDocumentInput(document, "content", "source");
  CHECK(input.body == document.text);
  const Result<DocumentPayload> payload = UnpackDocument(input.payload);
  REQUIRE_OK(payload);
  CHECK(payload->content_hash == "content");
  CHECK(payload->source_hash == "source");
  DocumentRecord record;
  record.key = document.key;
  record.payload = input.payload;
  record.attributes = input.attributes;
  record.chunk_ids = {1, 2};
  const Result<StoredDocument> stored = UnpackStoredDocument(record, input.body);
  REQUIRE_OK(stored);
  CHECK(stored->title == document.title);
  CHECK(stored->source == document.source);
  CHECK(stored->media_type == document.media_type);
  CHECK(stored->text == document.text);
  CHECK(stored->metadata == document.metadata);
  CHECK(stored->chunk_ids == std::vector<ChunkId>{1, 2});
}

TEST_CASE("damaged payloads are data loss at every length, never more") {
  Chunk chunk;
  chunk.end = 9;
  chunk.headings = {"A", "B"};
  const std::string whole = PackChunkInput(Sample(), chunk).payload;
  REQUIRE_OK(UnpackChunk(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    CHECK(UnpackChunk(whole.substr(0, size)).status().code() == StatusCode::kDataLoss);
  }
  CHECK(UnpackChunk(whole + "x").status().code() == StatusCode::kDataLoss);
  // Every byte changed: an error or another value, but no crash and no huge allocation.
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(0xff);
    UnpackChunk(damaged).status().Ignore();
  }
  const std::string document = PackDocumentInput(Sample(), "c", "s").payload;
  for (size_t size = 0; size < document.size(); ++size) {
    CHECK(UnpackDocument(document.substr(0, size)).status().code() == StatusCode::kDataLoss);
  }
}

TEST_CASE("a document's hash changes with everything that is stored of it") {
  const Document base = Sample();
  const std::string hash = HashDocument(base);
  CHECK(hash.size() == 32);
  CHECK(HashDocument(Sample()) == hash);
  std::vector<Document> others(7, base);
  others[0].text += "x";
  others[1].title += "x";
  others[2].key += "x";
  others[3].source += "x";
  others[4].media_type += "x";
  others[5].metadata.as_object().Set("year", 1395);
  others[6].blocks.push_back({});
  for (const Document& other : others) CHECK(HashDocument(other) != hash);
}

TEST_CASE("the hash is XXH3-128") {
  // xxHash's own test vector of the empty input (XXH128, seed 0).
  CHECK(HashContent("") == "99aa06d3014798d86001c324468d497f");
}

TEST_CASE("a chunk is indexed with its title and headings before it") {
  Document document = Sample();
  Chunk chunk;
  chunk.begin = 11;
  chunk.end = 20;
  chunk.headings = {"History"};
  CHECK(ContextualText(document, chunk, 100) == "Seoul History Old city.");
  chunk.headings = {"Seoul", "History"};
  CHECK(ContextualText(document, chunk, 100) == "Seoul History Old city.");
  document.title = "";
  chunk.headings.clear();
  CHECK(ContextualText(document, chunk, 100) == "Old city.");
  // Cut between characters: each of these has three bytes.
  document.title = "서울";
  CHECK(ContextualText(document, chunk, 5) == "서 Old city.");
}

TEST_CASE("collection settings are kept, and those of a newer program refused") {
  CollectionProperties properties;
  properties.chunk.strategy = ChunkStrategy::kSentence;
  properties.chunk.chunk_tokens = 99;
  properties.chunk.overlap_tokens = 7;
  properties.encoder_name = "some";
  properties.evaluation = true;
  CollectionConfig config;
  config.name = "c";
  config.properties = PackProperties(properties);
  const Result<CollectionProperties> back = UnpackProperties(config);
  REQUIRE_OK(back);
  CHECK(back->chunk.strategy == ChunkStrategy::kSentence);
  CHECK(back->chunk.chunk_tokens == 99);
  CHECK(back->chunk.overlap_tokens == 7);
  CHECK(back->encoder_name == "some");
  CHECK(back->evaluation);
  config.properties.as_object().Set("format_version", kEngineFormatVersion + 1);
  CHECK(UnpackProperties(config).status().code() == StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace rag
