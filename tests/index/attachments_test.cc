// Attachments of chunks: opaque bytes that come, go and are kept with them.
#include <catch2/catch.hpp>

#include "index/store.h"
#include "tests/index/store_support.h"

using namespace rag;
using namespace rag::test;

TEST_CASE("a chunk's attachment is read apart from it, and goes with it") {
  const TemporaryFolder folder;
  CollectionConfig config = Config("c");
  config.attachments = true;
  const std::string large(100'000, 'x');
  ChunkId kept = 0, replaced = 0, without = 0;
  {
    Opened opened(folder.file("db"));
    const auto collection = opened.Create(config);
    for (const char* const key : {"a", "b", "none"}) {
      DocumentInput document = Document(key, 1, "zebra");
      if (key[0] == 'a') document.chunks[0].attachment = large;
      if (key[0] == 'b') document.chunks[0].attachment = std::string("secretmark\0er", 13);
      REQUIRE_OK(collection->Replace(document));
    }
    kept = collection->GetDocument("a")->chunk_ids[0];
    replaced = collection->GetDocument("b")->chunk_ids[0];
    without = collection->GetDocument("none")->chunk_ids[0];
    CHECK(collection->GetAttachment(replaced)->size() == 13);
    REQUIRE_OK(collection->Replace(Document("b", 2, "lion")));
    RequireSound(*collection);
    REQUIRE_OK(opened.store->Vacuum());
    CHECK_FALSE(AnyFileHolds(folder.file("db"), "secretmark"));
    REQUIRE_OK(opened.store->Backup(folder.file("backup")));
  }
  REQUIRE_OK(Store::Restore(folder.file("backup"), folder.file("restored")));
  for (const char* const name : {"db", "restored"}) {
    Opened opened(folder.file(name));
    const auto collection = opened.Open("c");
    CHECK(collection->config().attachments);
    CHECK(*collection->GetAttachment(kept) == large);
    CHECK(collection->GetAttachment(replaced).status().code() == StatusCode::kNotFound);
    CHECK(collection->GetAttachment(without).status().code() == StatusCode::kNotFound);
    RequireSound(*collection);
  }
}

TEST_CASE("a collection that was made without attachments takes none") {
  const TemporaryFolder folder;
  Opened opened(folder.file("db"));
  const auto collection = opened.Create(Config("c"));
  DocumentInput document = Document("a", 1, "zebra");
  document.chunks[0].attachment = "x";
  const Status refused = collection->Replace(document).status();
  CHECK(refused.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(refused.message(), Catch::Contains("document 'a', chunk 0"));
  CHECK(collection->Stats()->documents == 0);
}
