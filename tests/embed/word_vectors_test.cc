// Word vectors against gensim (tests/golden/word_vectors/make_word_vectors.py).
#include "embed/word_vectors.h"

#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

Value Expected() {
  Result<Value> json = ParseJson(ReadAll(Golden("word_vectors/expected.json")));
  REQUIRE_OK(json);
  return std::move(json).value();
}

TEST_CASE("Analogies are those of the reference, from both forms") {
  const auto runtime = MakeRuntime();
  const Value expected = Expected();
  for (const std::string name : {"words.vec", "words.bin"}) {
    INFO(name);
    const Result<WordVectors> words = WordVectors::Load(Golden("word_vectors/" + name));
    REQUIRE_OK(words);
    CHECK(words->size() == 28);
    CHECK(words->dim() == 12);
    for (const Value& want : expected.Find("analogies")->as_array()) {
      const std::string& expression = want.Find("expression")->as_string();
      INFO(expression);
      const auto found = words->Analogy(expression, 5, *runtime);
      REQUIRE_OK(found);
      const Value::Array& nearest = want.Find("words")->as_array();
      REQUIRE(found->size() == nearest.size());
      for (size_t i = 0; i < nearest.size(); ++i) {
        CHECK((*found)[i].word == nearest[i].as_array()[0].as_string());
        CHECK((*found)[i].cosine == Approx(nearest[i].as_array()[1].as_double()).margin(1e-6));
      }
    }
  }
}

TEST_CASE("Analogies that cannot be had say why") {
  const auto runtime = MakeRuntime();
  const Result<WordVectors> words = WordVectors::Load(Golden("word_vectors/words.vec"));
  REQUIRE_OK(words);
  const std::pair<std::string, std::string> wrong[] = {
      {"king - dragon", "dragon"}, {"king queen", "queen"}, {"king - + man", "'+'"},
      {"king -", "does not end"},  {"", "does not end"},    {"+ - king", "'-'"},
  };
  for (const auto& [expression, word] : wrong) {
    INFO(expression);
    const auto found = words->Analogy(expression, 5, *runtime);
    CHECK(found.status().code() == StatusCode::kInvalidArgument);
    CHECK(found.status().message().find(word) != std::string::npos);
  }
  CHECK(words->Analogy("king", 0, *runtime).status().code() == StatusCode::kInvalidArgument);
  CHECK(words->Analogy("king", 1'000, *runtime)->size() == 27);
}

TEST_CASE("A text is the mean of its words, as the reference has it") {
  const Value expected = Expected();
  for (const std::string isa : {"scalar", ""}) {
    const auto runtime = MakeRuntime(isa);
    for (const std::string name : {"words.vec", "words.bin"}) {
      const auto encoder = Encoder::Load(Golden("word_vectors/" + name), *runtime);
      REQUIRE_OK(encoder);
      CHECK((*encoder)->info().dim == 12);
      CHECK((*encoder)->info().fingerprint.starts_with("word-vectors-12-mean-"));
      for (const Value& want : expected.Find("texts")->as_array()) {
        const std::string& text = want.Find("text")->as_string();
        INFO(name << " " << text);
        const Embeddings found = EncodeAll(**encoder, {text});
        for (size_t d = 0; d < 12; ++d) {
          CHECK(found.vectors.row(0)[d] ==
                Approx(want.Find("mean")->as_array()[d].as_double()).margin(1e-5));
        }
      }
    }
  }
}

TEST_CASE("Words are found where they stand; a text without any is the mean of all") {
  const auto runtime = MakeRuntime();
  const auto encoder = Encoder::Load(Golden("word_vectors/words.vec"), *runtime);
  REQUIRE_OK(encoder);
  const Tokenizer& tokenizer = (*encoder)->tokenizer();
  const Encoding encoding = tokenizer.Encode("Le café, 서울\xff king");
  REQUIRE(encoding.ids.size() == 4);
  CHECK(encoding.ids[0] == *tokenizer.unk_id());
  CHECK(tokenizer.Piece(encoding.ids[1]) == "café");
  CHECK(encoding.offsets[1].begin == 3);
  CHECK(encoding.offsets[1].end == 8);
  CHECK(tokenizer.Piece(encoding.ids[2]) == "서울");
  CHECK(encoding.invalid_bytes == 1);
  CHECK(tokenizer.Encode("a b c d", {.max_tokens = 3}).truncated == 1);
  const Embeddings none = EncodeAll(**encoder, {"", "dragon"});
  double squares = 0;
  for (size_t d = 0; d < 12; ++d) {
    CHECK(none.vectors.row(0)[d] == none.vectors.row(1)[d]);
    squares += static_cast<double>(none.vectors.row(0)[d]) * none.vectors.row(0)[d];
  }
  CHECK(squares > 0);
  const Embeddings both = EncodeAll(**encoder, {"king", "king dragon"});
  CHECK(std::equal(both.vectors.row(0).begin(), both.vectors.row(0).end(),
                   both.vectors.row(1).begin()));
}

TEST_CASE("GloVe's form without a first line is read, and of two alike the first counts") {
  const TemporaryFolder folder;
  WriteText(folder.path() / "glove.vec", "cat 1 2\nsea water 3 4\ncat 5 6\n");
  const Result<WordVectors> words = WordVectors::Load((folder.path() / "glove.vec").string());
  REQUIRE_OK(words);
  CHECK(words->size() == 2);
  CHECK(words->dim() == 2);
  CHECK(words->vectors().row(*words->Find("cat"))[0] == 1.0f);
  CHECK(words->vectors().row(*words->Find("sea water"))[1] == 4.0f);
  CHECK_FALSE(words->Find("dog").has_value());
}

TEST_CASE("Damaged word vectors are refused, naming file and place") {
  struct Refusal {
    std::string name, content;
    StatusCode code;
    std::string word;
  };
  const std::string magic = "\xba\x16\x4f\x2f";
  const Refusal refusals[] = {
      {"a.vec", "", StatusCode::kInvalidArgument, "line 1"},
      {"a.vec", "2 3\ncat 1 2 3\ndog 1 2\n", StatusCode::kInvalidArgument, "line 3"},
      {"a.vec", "2 3\ncat 1 2 x\ndog 1 2 3\n", StatusCode::kInvalidArgument, "line 2"},
      {"a.vec", "2 3\ncat 1 2 nan\ndog 1 2 3\n", StatusCode::kInvalidArgument, "line 2"},
      {"a.vec", "3 2\ncat 1 2\ndog 1 2\n", StatusCode::kInvalidArgument, "names 3"},
      {"a.vec", "1 2\ncat 1 2\ndog 1 2\n", StatusCode::kInvalidArgument, "line 3"},
      {"a.vec", "10000000 300\ncat 1\n", StatusCode::kInvalidArgument, "10000000"},
      {"a.vec", "2 0\ncat\n", StatusCode::kInvalidArgument, "0 elements"},
      {"a.bin", "2 2\ncat 12345678dog 1234", StatusCode::kInvalidArgument, "word 2"},
      {"a.bin", "9000000 9000\ncat ", StatusCode::kInvalidArgument, "9000000"},
      {"a.bin", "nothing", StatusCode::kInvalidArgument, "first line"},
      {"a.bin", magic + std::string(60, '\0'), StatusCode::kUnsupported, "fastText"},
      {"a.bin", "PK\3\4" + std::string(60, '\0'), StatusCode::kInvalidArgument, "PyTorch"},
      {"a.bin", "\x80\2\x8A\x0A" + std::string(60, '\n'), StatusCode::kInvalidArgument, "PyTorch"},
  };
  for (const Refusal& refusal : refusals) {
    const TemporaryFolder folder;
    WriteText(folder.path() / refusal.name, refusal.content);
    const Result<WordVectors> words = WordVectors::Load((folder.path() / refusal.name).string());
    INFO(refusal.content);
    REQUIRE_FALSE(words.ok());
    INFO(words.status().ToString());
    CHECK(words.status().code() == refusal.code);
    CHECK(words.status().message().find(refusal.word) != std::string::npos);
    CHECK(words.status().message().find(refusal.name) != std::string::npos);
  }
  CHECK(WordVectors::Load("/nowhere/a.vec").status().code() == StatusCode::kNotFound);
}

}  // namespace
}  // namespace rag::test
