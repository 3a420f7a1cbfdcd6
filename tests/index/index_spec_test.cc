// The text form of index options.
#include "index/index_spec.h"

#include <catch2/catch.hpp>

#include "tests/support/support.h"

namespace rag {
namespace {

TEST_CASE("a spec sets what it names and keeps the rest") {
  VectorIndexOptions base;
  base.dim = 7;
  base.metric = Metric::kL2;
  base.hnsw.m = 20;
  const auto plain = ParseIndexSpec("hnsw", base);
  REQUIRE_OK(plain);
  CHECK(plain->kind == IndexKind::kHnsw);
  CHECK(plain->dim == 7);
  CHECK(plain->metric == Metric::kL2);
  CHECK(plain->hnsw.m == 20);
  const auto full = ParseIndexSpec(
      "hnsw:m=8,ef_construction=50,ef_search=30,seed=5,codes=pca8,code_dims=16,element=f16", base);
  REQUIRE_OK(full);
  CHECK(full->hnsw.m == 8);
  CHECK(full->hnsw.ef_construction == 50);
  CHECK(full->hnsw.ef_search == 30);
  CHECK(full->hnsw.seed == 5);
  CHECK(full->hnsw.codes == CodeKind::kPca8);
  CHECK(full->hnsw.code_dims == 16);
  CHECK(full->element == ElementType::kF16);
  const auto brief = ParseIndexSpec("hnsw:sq8,u8");
  REQUIRE_OK(brief);
  CHECK(brief->hnsw.codes == CodeKind::kSq8);
  CHECK(brief->element == ElementType::kU8);
  CHECK(ParseIndexSpec("flat:i8")->element == ElementType::kI8);
  CHECK(ParseIndexSpec("hnsw:rabitq")->hnsw.codes == CodeKind::kRabitq);
  CHECK(ParseIndexSpec("hnsw:codes=sq4")->hnsw.codes == CodeKind::kSq4);
  CHECK(ParseIndexSpec("hnsw:pca4")->hnsw.codes == CodeKind::kPca4);
  CHECK(ParseIndexSpec("ivf:rabitq")->ivf.codes == IvfCodes::kRabitq);
  CHECK(ParseIndexSpec("ivf:anisotropic=0.25")->ivf.anisotropic == 0.25);
  CHECK(ParseIndexSpec("ivf:anisotropic=0")->ivf.anisotropic == 0);
  const auto lists =
      ParseIndexSpec("ivf:pq8,lists=9,pq_bytes=8,rotate=1,probes=7,rerank=6,seed=5,bf16");
  REQUIRE_OK(lists);
  CHECK(lists->ivf.codes == IvfCodes::kPq8);
  CHECK(lists->ivf.lists == 9);
  CHECK(lists->ivf.pq_bytes == 8);
  CHECK(lists->ivf.rotate);
  CHECK(lists->ivf.probes == 7);
  CHECK(lists->ivf.rerank == 6);
  CHECK(lists->ivf.seed == 5);
  CHECK(lists->element == ElementType::kBF16);
}

TEST_CASE("what a spec says wrong is named") {
  struct Case {
    const char* text;
    const char* words;
  };
  for (const Case& c :
       {Case{"", "kind"}, Case{"tree", "tree"}, Case{"hnsw:", "''"}, Case{"hnsw:m", "'m'"},
        Case{"hnsw:m=", "m="}, Case{"hnsw:m=-1", "-1"}, Case{"hnsw:m=8x", "8x"},
        Case{"hnsw:m=99999999999999999999", "9999"}, Case{"hnsw:size=4", "size"},
        Case{"ivf:anisotropic=", "anisotropic="}, Case{"ivf:anisotropic=0.2x", "0.2x"},
        Case{"hnsw:anisotropic=0.2", "anisotropic"}, Case{"flat:m=8", "flat"},
        Case{"hnsw:codes=pq", "pq"}, Case{"flat:sq8", "codes"}}) {
    INFO(c.text);
    const Status status = ParseIndexSpec(c.text).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find(c.words) != std::string::npos);
  }
  CHECK(ParseIndexSpec(std::string(2'000, 'x')).status().code() == StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace rag
