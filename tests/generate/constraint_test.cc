// Grammars, regular expressions and choices: what they accept, and what random tokens make of them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <regex>
#include <thread>

#include "generate/constraint/constraint_cache.h"
#include "generate/generator.h"
#include "tests/generate/chat_model.h"
#include "tests/generate/constraint_support.h"
#include "tests/support/allocations.h"

namespace rag {
namespace {

using Kind = OutputConstraint::Kind;
using Catch::Matchers::Contains;

// The tiny SentencePiece vocabulary of the chat model: single bytes, and characters again.
struct TinyVocabulary {
  TinyVocabulary() {
    test::WriteRandomModel(test::ChatModel(""), folder.file("tiny.gguf"));
    auto file = GgufFile::Open(folder.file("tiny.gguf"));
    REQUIRE_OK(file);
    auto loaded = Tokenizer::FromGguf(*file);
    REQUIRE_OK(loaded);
    tokenizer = std::move(loaded).value();
    table = std::make_unique<TokenTable>(*tokenizer);
  }
  test::TemporaryFolder folder;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<TokenTable> table;
};

bool Accepts(const TinyVocabulary& tiny, const OutputConstraint& constraint,
             std::string_view text) {
  const auto compiled = test::MustCompile(constraint, *tiny.table);
  return compiled->Advance(text) && compiled->complete();
}

TEST_CASE("GBNF grammars accept what llama.cpp's documentation says") {
  const TinyVocabulary tiny;
  const auto accepts = [&](const char* grammar, std::string_view text) {
    return Accepts(tiny, {Kind::kGrammar, grammar, {}}, text);
  };
  const char* arithmetic =
      "# expressions\n"
      "root  ::= (expr \"=\" ws term \"\\n\")+\n"
      "expr  ::= term ([-+*/] term)*\n"
      "term  ::= ident | num | (\"(\" ws expr\n   \")\" ws)\n"
      "ident ::= [a-z] [a-z0-9_]* ws\n"
      "num   ::= [0-9]+ ws\n"
      "ws    ::= [ \\t\\n]*\n";
  CHECK(accepts(arithmetic, "a+1 = b\n"));
  CHECK(accepts(arithmetic, "(x1*(3 -y))/z=w\nq=1\n"));
  CHECK_FALSE(accepts(arithmetic, "a+1 = b"));
  CHECK_FALSE(accepts(arithmetic, "(a=b\n"));
  const char* counts = "root ::= \"a\"{2} \"b\"{1,} \"c\"{0,2} \"d\"? [^x-z\\]]";
  CHECK(accepts(counts, "aabe"));
  CHECK(accepts(counts, "aabbbccdq"));
  CHECK_FALSE(accepts(counts, "aabcccd!"));
  CHECK_FALSE(accepts(counts, "aabz"));
  CHECK_FALSE(accepts(counts, "aab]"));
  CHECK_FALSE(accepts(counts, "abq"));
  const char* letters = "root ::= [\xEA\xB0\x80-\xED\x9E\xA3]+ . \"\\u00e9\\x41\"";
  CHECK(accepts(letters,
                "\xED\x95\x9C\xEA\xB8\x80\xF0\x9F\x98\x80\xC3\xA9"
                "A"));
  CHECK_FALSE(accepts(letters,
                      "\xE3\x81\x82"
                      "x\xC3\xA9"
                      "A"));
  CHECK_FALSE(accepts(letters,
                      "\xED\x95\x9C\xED\xA0\x80\xC3\xA9"
                      "A"));  // a surrogate
}

TEST_CASE("grammars that cannot be are named with their place") {
  const auto fails = [](const char* grammar, StatusCode code, const char* message) {
    const Status status = ValidateConstraint({Kind::kGrammar, grammar, {}});
    INFO(grammar << ": " << status.ToString());
    CHECK(status.code() == code);
    CHECK_THAT(status.message(), Contains(message));
  };
  constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
  fails("", kInvalid, "no rule 'root'");
  fails("a ::= \"b\"", kInvalid, "no rule 'root'");
  fails("root ::= b", kInvalid, "rule 'b' is not defined");
  fails("root ::= root \"a\" | \"b\"", kInvalid, "left recursion");
  fails("root ::= a\na ::= b? root", kInvalid, "not defined");
  fails("root ::= e root \"x\" | \"y\"\ne ::= \"\"", kInvalid, "left recursion");
  fails("root ::= \"a\" root", kInvalid, "nothing can be written");
  fails("root ::= [^\\U00000000-\\U0010FFFF]", kInvalid, "nothing can be written");
  fails("root ::= \"abc", kInvalid, "does not end");
  fails("root ::= \"a\"\nroot ::= \"b\"", kInvalid, "defined twice");
  fails("root ::= \"a\" )", kInvalid, "line 1, column 14");
  fails("root = \"a\"", kInvalid, "'::=' is missing at line 1");
  fails("root ::= \"a\"{5,2}", kInvalid, "reversed");
  fails("root ::= [z-a]", kInvalid, "reversed");
  fails("root ::= (((\"a\"{1000}){1000}){1000}){1000}", StatusCode::kResourceExhausted, "states");
}

TEST_CASE("regular expressions accept what std::regex does") {
  const TinyVocabulary tiny;
  const char* patterns[] = {"a*b",       "(ab|c)+d?",     "[a-c]{2,3}",   "\\d+\\.\\d{2}",
                            "\\w+@\\w+", "(?:x|y){2}z*",  "[^0-9]\\s\\S", "a.c",
                            "^ab$",      "(a(b(c)?)?)?x", "\\(\\[\\]\\)"};
  const char* texts[] = {"b",   "aab",   "abcd",  "c",    "ab",  "abc",    "aaaa", "12.34",
                         "1.5", "q_1@z", "xyzzz", "xxz",  "a b", "5 b",    "a\nc", "abc",
                         "x",   "abcx",  "ax",    "([])", "",    "ababcd", "zz",   "a c"};
  for (const char* pattern : patterns) {
    const std::regex reference(pattern, std::regex::ECMAScript);
    for (const char* text : texts) {
      INFO(pattern << " on '" << text << "'");
      CHECK(Accepts(tiny, {Kind::kRegex, pattern, {}}, text) == std::regex_match(text, reference));
    }
  }
  for (const char* pattern : {"a(?=b)", "(a)\\1", "\\bword", "a^b", "^a|b", "(?i)a"}) {
    INFO(pattern);
    CHECK(ValidateConstraint({Kind::kRegex, pattern, {}}).code() == StatusCode::kUnsupported);
  }
  for (const char* pattern : {"a)", "(a", "*a", "[a", "a**", "a{3,1}", "\\"}) {
    INFO(pattern);
    CHECK(ValidateConstraint({Kind::kRegex, pattern, {}}).code() == StatusCode::kInvalidArgument);
  }
}

TEST_CASE("a choice is one of its strings, and the shortest way is known") {
  const TinyVocabulary tiny;
  const OutputConstraint yes_no = {Kind::kChoice, "", {"yes", "no", "not at all"}};
  CHECK(Accepts(tiny, yes_no, "no"));
  CHECK(Accepts(tiny, yes_no, "not at all"));
  CHECK_FALSE(Accepts(tiny, yes_no, "not"));
  CHECK_FALSE(Accepts(tiny, yes_no, "maybe"));
  const auto compiled = test::MustCompile(yes_no, *tiny.table);
  CHECK(compiled->shortest() == 2);
  CHECK(compiled->Advance("n"));
  CHECK_FALSE(compiled->Advance("y"));
  CHECK(compiled->Advance("o"));
  CHECK(compiled->complete());
  CHECK_FALSE(compiled->finished());
  CHECK(ValidateConstraint({Kind::kChoice, "", {}}).code() == StatusCode::kInvalidArgument);
}

TEST_CASE("random tokens of real vocabularies never leave a grammar, nor come to a dead end") {
  const auto vocabularies = test::SharedVocabularies();
  if (vocabularies.empty()) RAG_SKIP("no tok-llamacpp in the shared data");
  const std::pair<const char*, const char*> cases[] = {
      {"root ::= (pair \"\\n\"){1,5}\npair ::= name \": \" [0-9]{1,3}\nname ::= [a-z ]+",
       "([a-z ]+: [0-9]{1,3}\n){1,5}"},
      {"root ::= \"(\" root \")\" | [ab]", nullptr},
      {"root ::= [^\\n]{3,9} | \"\xEC\x95\x88\xEB\x85\x95\"+", nullptr},
  };
  std::mt19937 random(11);
  for (const auto& vocabulary : vocabularies) {
    for (const auto& [grammar, pattern] : cases) {
      const OutputConstraint constraint = {Kind::kGrammar, grammar, {}};
      const auto compiled = test::MustCompile(constraint, vocabulary->table);
      const auto reference = test::MustCompile(constraint, vocabulary->table);
      for (int i = 0; i < 30; ++i) {
        const std::string text =
            test::DrawText(*compiled, vocabulary->tokens, random, 10 + random() % 40);
        INFO(text);
        reference->Restart();
        for (const char byte : text) REQUIRE(reference->Advance(std::string_view(&byte, 1)));
        CHECK(reference->complete());
        if (pattern != nullptr) CHECK(std::regex_match(text, std::regex(pattern)));
      }
    }
  }
}

TEST_CASE("near the limit of tokens just those are allowed after which the rest still fits") {
  const auto vocabularies = test::SharedVocabularies();
  if (vocabularies.empty()) RAG_SKIP("no tok-llamacpp in the shared data");
  // Nearly all tokens leave the same cost, or many different ones.
  const OutputConstraint constraints[] = {
      {Kind::kJsonSchema,
       R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"boolean"}},)"
       R"("required":["a","b"],"additionalProperties":false})",
       {}},
      {Kind::kRegex, "[a-z ]{5,40}(end)?", {}}};
  const std::string_view written[] = {"{\"a\":\"x", "ab"};
  const auto& vocabulary = *vocabularies.front();
  for (size_t i = 0; i < std::size(constraints); ++i) {
    const auto compiled = test::MustCompile(constraints[i], vocabulary.table);
    REQUIRE(compiled->Advance(written[i]));
    const size_t shortest = compiled->shortest();
    for (size_t left = shortest; left < shortest + 8; ++left) {
      INFO("constraint " << i << ", " << left << " left");
      const auto allowed = compiled->Allowed(left);
      REQUIRE_OK(allowed);
      const std::vector<uint64_t> bits(allowed->begin(), allowed->end());
      size_t wrong = 0;
      for (const test::WrittenToken& token : vocabulary.tokens) {
        const auto id = static_cast<size_t>(token.id);
        const auto fits = compiled->Allows(token.bytes, left - 1);
        REQUIRE_OK(fits);
        if (*fits != ((bits[id / 64] >> (id % 64) & 1) != 0)) ++wrong;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("damaged grammars, expressions and schemas get an answer, never more") {
  const std::pair<Kind, std::string> sound[] = {
      {Kind::kGrammar,
       "root ::= (a | [^x-z\\n]{1,3})+ \"q\\u00e9\" # end\na ::= \"(\" root? \")\"\n"},
      {Kind::kRegex, "^(a|b[^c-e\\d]{2,4}\\.)*?x+(?:y|\\u0041)$"},
      {Kind::kJsonSchema,
       R"({"$defs":{"n":{"type":"array","items":{"$ref":"#/$defs/n"},"maxItems":2}},"type":"object",)"
       R"("properties":{"a":{"$ref":"#/$defs/n"},"b":{"enum":[1,"x",null]},"c":{"type":"integer",)"
       R"("minimum":-3,"maximum":12}},"required":["b"],"additionalProperties":{"type":"string"}})"},
  };
  std::mt19937 random(13);
  const std::string spice = "{}[]()|*+?\\\"':,^$-.#/0123456789 \n\xC3";
  size_t accepted = 0;
  const size_t rounds = test::Workload(600, 60, "damaged constraints of each kind");
  for (const auto& [kind, text] : sound) {
    REQUIRE_OK(ValidateConstraint({kind, text, {}}));
    for (size_t i = 0; i < rounds; ++i) {
      std::string damaged = text;
      for (size_t change = 0; change < 1 + random() % 3; ++change) {
        const size_t at = random() % damaged.size();
        const size_t way = random() % 3;
        if (way == 0) damaged.erase(at, 1 + random() % 5);
        if (way == 1) damaged[at] = spice[random() % spice.size()];
        if (way == 2) damaged.insert(at, 1, spice[random() % spice.size()]);
        if (damaged.empty()) damaged = "x";
      }
      const Status status = ValidateConstraint({kind, damaged, {}});
      accepted += status.ok() ? 1 : 0;
      if (!status.ok()) CHECK_FALSE(status.message().empty());
    }
  }
  CHECK(accepted > 0);
}

TEST_CASE("expressions that explode are refused, or forget what they were") {
  const auto code = [](const OutputConstraint& constraint) {
    return ValidateConstraint(constraint).code();
  };
  CHECK(code({Kind::kRegex, "((a{1000}){1000}){1000}", {}}) == StatusCode::kResourceExhausted);
  std::string wide = "(a";
  for (size_t i = 0; i < 5000; ++i) wide += "|a";
  CHECK(code({Kind::kRegex, wide + "){50000}", {}}) == StatusCode::kResourceExhausted);
  // Each rule needs the next one's cost.
  std::string chain = "root ::= r0\n";
  for (size_t i = 0; i < 30'000; ++i) {
    chain += StrCat("r", i, " ::= \"a\" r", i + 1, "\n");
  }
  CHECK(code({Kind::kGrammar, chain + "r30000 ::= \"b\"\n", {}}) == StatusCode::kOk);

  // A set of 400 positions for each way to write a's and b's: kept sets are given up on the way,
  // and the text still matches.
  const TinyVocabulary tiny;
  const auto compiled = test::MustCompile({Kind::kRegex, "[ab]*a[ab]{400}", {}}, *tiny.table);
  std::mt19937 random(3);
  std::string text;
  for (size_t i = 0; i < 13'000; ++i) {
    text += "ab"[random() % 2];
    REQUIRE(compiled->Advance(text.substr(i)));
    if (i % 16 == 0) REQUIRE_OK(compiled->Allowed(1'000));
    if (i >= 400) REQUIRE(compiled->complete() == (text[i - 400] == 'a'));
  }
}

TEST_CASE("an expression of few sets with very many positions ends with an error, soon") {
  const auto vocabularies = test::SharedVocabularies();
  if (vocabularies.empty()) RAG_SKIP("no tok-llamacpp in the shared data");
  const auto& table = vocabularies.front()->table;
  const auto compiled = test::MustCompile({Kind::kRegex, "([a-z ]?){100000}", {}}, table);
  const auto allowed = compiled->Allowed(200'000);
  CHECK(allowed.status().code() == StatusCode::kResourceExhausted);
  CHECK(allowed.status().message().find("positions") != std::string::npos);
  // A hundred of them are no trouble.
  const auto small = test::MustCompile({Kind::kRegex, "([a-z ]?){100}", {}}, table);
  REQUIRE_OK(small->Allowed(200));
}

TEST_CASE("what is counted of constraints is what lives of them") {
  if (!test::kCountsAllocations) RAG_SKIP("the sanitizers' allocator is not counted");
  const TinyVocabulary tiny;
  const OutputConstraint constraints[] = {{Kind::kRegex, "[ab]*a[ab]{400}", {}},
                                          {Kind::kRegex, "[^b]{1,600}", {}},
                                          {Kind::kJsonSchema, "{}", {}}};
  const std::string_view written[] = {"abaabbbabaababba", "a", "[[{\"a\":[1,\"b"};
  for (size_t i = 0; i < std::size(constraints); ++i) {
    INFO(constraints[i].text);
    const size_t before = test::StartCountingBytes();
    ConstraintCache cache(*tiny.tokenizer);
    auto taken = cache.Take(constraints[i]);
    REQUIRE_OK(taken);
    const auto check = [&](std::string_view when) {
      INFO(when);
      const size_t live = test::StartCountingBytes() - before;
      CHECK(cache.memory_bytes() > 0.8 * static_cast<double>(live));
      CHECK(cache.memory_bytes() < 1.5 * static_cast<double>(live));
    };
    // The table, what was compiled and the beginning.
    check("at first");
    for (size_t step = 0; step < 300; ++step) {
      const std::string_view text = written[i];
      const bool goes_on = taken.value()->Advance(text.substr(step % text.size(), 1));
      REQUIRE_OK(taken.value()->Allowed(1'000));
      REQUIRE_OK(taken.value()->Allowed(taken.value()->shortest() + 1));
      if (!goes_on) taken.value()->Restart();
    }
    check("when it has gone on for long");
  }
}

TEST_CASE("constraints together keep no more than their limit") {
  const TinyVocabulary tiny;
  const OutputConstraint large = {Kind::kRegex, "[ab]*a[ab]{400}", {}};
  const OutputConstraint small = {Kind::kRegex, "[ab]{1,20}", {}};
  constexpr size_t kLimit = size_t{16} << 20;
  ConstraintMemory memory(kLimit);
  std::mt19937 random(3);
  {
    std::vector<std::unique_ptr<TokenConstraint>> running;
    for (size_t i = 0; i < 8; ++i) {
      running.push_back(test::MustCompile(large, *tiny.table, memory));
    }
    const auto other = test::MustCompile(small, *tiny.table, memory);
    size_t most = 0;
    for (size_t i = 0; i < 3'000; ++i) {
      for (const auto& constraint : running) {
        const std::string text(1, "ab"[random() % 2]);
        REQUIRE(constraint->Advance(text));
        REQUIRE_OK(constraint->Allowed(1'000));
        most = std::max(most, memory.used());
      }
      // A small one goes on whatever the others take.
      if (i % 10 == 0) other->Restart();
      REQUIRE(other->Advance("a"));
      REQUIRE_OK(other->Allowed(100));
    }
    INFO(most << " bytes");
    CHECK(most > kLimit / 4);
    CHECK(most < kLimit + 9 * memory.share() + (size_t{1} << 20));
  }
  CHECK(memory.used() == 0);
}

TEST_CASE("what all constraints may take being used up, a large one ends with a typed error") {
  const TinyVocabulary tiny;
  constexpr size_t kLimit = size_t{1} << 16;
  ConstraintMemory memory(kLimit);
  const auto large = test::MustCompile({Kind::kRegex, "[ab]*a[ab]{400}", {}}, *tiny.table, memory);
  memory.Add(kLimit);
  const auto allowed = large->Allowed(1'000);
  CHECK(allowed.status().code() == StatusCode::kResourceExhausted);
  CHECK_THAT(allowed.status().message(), Catch::Contains("that all constraints may take"));
  memory.Remove(kLimit);
}

TEST_CASE("a cache of constraints keeps a part of its limit idle and refuses what does not fit") {
  const TinyVocabulary tiny;
  ConstraintCache cache(*tiny.tokenizer, size_t{2} << 20);
  const auto choice = [](size_t i) {
    return OutputConstraint{Kind::kRegex, StrCat("[ab]{", 2'000 + i, "}"), {}};
  };
  size_t one = 0;
  for (size_t i = 0; i < 40; ++i) {
    auto taken = cache.Take(choice(i));
    REQUIRE_OK(taken);
    one = taken.value()->memory_bytes();
    cache.GiveBack(choice(i), std::move(taken).value());
    CHECK(cache.memory_bytes() <= (size_t{2} << 20) / 4 + one);
  }
  std::vector<std::unique_ptr<TokenConstraint>> running;
  Status status;
  while (status.ok()) {
    auto taken = cache.Take(choice(running.size()));
    status = taken.status();
    if (taken.ok()) running.push_back(std::move(taken).value());
  }
  CHECK(status.code() == StatusCode::kUnavailable);
  size_t bytes = 0;
  for (const auto& constraint : running) bytes += constraint->memory_bytes();
  CHECK(bytes <= size_t{2} << 20);
  running.clear();
  REQUIRE_OK(cache.Take(choice(0)));
}

TEST_CASE("equal constraints that are kept idle count once what they share") {
  const TinyVocabulary tiny;
  const OutputConstraint large = {Kind::kRegex, "[ab]{2000}", {}};
  const OutputConstraint small = {Kind::kChoice, {}, {"a", "b"}};
  const size_t shared = [&] {
    ConstraintCache cache(*tiny.tokenizer);
    auto taken = cache.Take(large);
    REQUIRE_OK(taken);
    return taken.value()->compiled()->memory_bytes();
  }();
  // A quarter holds the large one once, not twice.
  ConstraintCache cache(*tiny.tokenizer, 6 * shared);
  auto other = cache.Take(small);
  REQUIRE_OK(other);
  const std::weak_ptr<const CompiledConstraint> kept = other.value()->compiled();
  cache.GiveBack(small, std::move(other).value());
  std::vector<std::unique_ptr<TokenConstraint>> equal;
  for (size_t i = 0; i < 4; ++i) {
    auto taken = cache.Take(large);
    REQUIRE_OK(taken);
    equal.push_back(std::move(taken).value());
  }
  for (auto& constraint : equal) cache.GiveBack(large, std::move(constraint));
  CHECK(!kept.expired());
}

TEST_CASE("answers with the same constraint share what was compiled") {
  const TinyVocabulary tiny;
  ConstraintCache cache(*tiny.tokenizer);
  const OutputConstraint wanted = {Kind::kRegex, "[ab]{1,3}", {}};
  auto checked = cache.Compile(wanted);
  REQUIRE_OK(checked);
  auto one = cache.Take(wanted);
  auto other = cache.Take(wanted);
  REQUIRE_OK(one);
  REQUIRE_OK(other);
  CHECK(one.value()->compiled() == *checked);
  CHECK(other.value()->compiled() == *checked);
  // Each has its own place in it.
  REQUIRE(one.value()->Advance("aba"));
  CHECK(one.value()->finished());
  CHECK_FALSE(other.value()->complete());
  auto unlike = cache.Take({Kind::kRegex, "[ab]{1,4}", {}});
  REQUIRE_OK(unlike);
  CHECK(unlike.value()->compiled() != *checked);
  // Nobody has it any more: its memory is free.
  const size_t bytes = cache.memory_bytes();
  one.value().reset();
  other.value().reset();
  CHECK(cache.memory_bytes() < bytes);
  checked.value().reset();
  unlike.value().reset();
  CHECK(cache.memory_bytes() == tiny.table->memory_bytes());
  REQUIRE_OK(cache.Take(wanted));
}

// The ids of the tokens that are these bytes.
std::vector<TokenId> TokensOf(const Tokenizer& tokenizer, std::string_view bytes) {
  std::vector<TokenId> ids;
  for (const test::WrittenToken& token : test::WrittenTokens(tokenizer)) {
    if (token.bytes == bytes) ids.push_back(token.id);
  }
  return ids;
}

TEST_CASE("what takes more bytes than can be counted is never begun") {
  // b29 takes 2^29 bytes, and after "h" eight of them follow.
  std::string grammar = "b0 ::= \"x\"\n";
  for (int i = 1; i < 30; ++i) grammar += StrCat("b", i, " ::= b", i - 1, " b", i - 1, "\n");
  grammar += "root ::= \"a\" | r1 b29\n";
  for (int i = 1; i < 8; ++i) grammar += StrCat("r", i, " ::= \"a\" | r", i + 1, " b29\n");
  grammar += "r8 ::= \"h\"\n";
  const TinyVocabulary tiny;
  const auto constraint = test::MustCompile({Kind::kGrammar, grammar, {}}, *tiny.table);
  const auto allowed = constraint->Allowed(1'000);
  REQUIRE_OK(allowed);
  const auto has = [&](TokenId id) {
    return ((*allowed)[static_cast<size_t>(id) / 64] >> (static_cast<size_t>(id) % 64) & 1) != 0;
  };
  REQUIRE(!TokensOf(*tiny.tokenizer, "h").empty());
  for (const TokenId id : TokensOf(*tiny.tokenizer, "h")) CHECK_FALSE(has(id));
  for (const TokenId id : TokensOf(*tiny.tokenizer, "a")) CHECK(has(id));
}

TEST_CASE("a token that ends the output writes nothing, whatever bytes it has") {
  const TinyVocabulary tiny;
  const std::vector<TokenId> ends = TokensOf(*tiny.tokenizer, "a");
  REQUIRE(!ends.empty());
  ConstraintCache cache(*tiny.tokenizer, ConstraintCache::kMaxBytes, ends);
  CHECK(cache.Compile({Kind::kRegex, "a", {}}).status().code() == StatusCode::kInvalidArgument);
  REQUIRE_OK(cache.Compile({Kind::kRegex, "a|b", {}}));
}

TEST_CASE("equal constraints that are asked for at the same time are compiled once") {
  const TinyVocabulary tiny;
  ConstraintCache cache(*tiny.tokenizer);
  const OutputConstraint wanted = {Kind::kRegex, "[ab]{20000}", {}};
  std::vector<std::shared_ptr<const CompiledConstraint>> found(4);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : found) {
      threads.emplace_back([&] {
        auto compiled = cache.Compile(wanted);
        if (compiled.ok()) mine = std::move(compiled).value();
      });
    }
  }
  REQUIRE(found[0] != nullptr);
  for (const auto& each : found) CHECK(each == found[0]);
  CHECK(cache.memory_bytes() == tiny.table->memory_bytes() + found[0]->memory_bytes());
}

TEST_CASE("a generator's output matches its constraint, whatever the sampling and the limit") {
  const test::TemporaryFolder folder;
  const auto runtime = test::MakeRuntime("", 1);
  test::WriteRandomModel(test::ChatModel(""), folder.file("tiny.gguf"));
  const auto generator = Generator::Load(folder.file("tiny.gguf"), {}, *runtime);
  REQUIRE_OK(generator);
  GenerateRequest request;
  const std::regex list("\\[-?\\d+(, -?\\d+){0,20}\\]");
  for (uint64_t seed = 0; seed < 40; ++seed) {
    request.prompt = {1};  // a lone beginning of text: the first token is special
    if (seed % 2 == 0) request.prompt.push_back(300);
    request.max_tokens = 4 + seed;
    request.sampling = {.temperature = seed % 3 == 0 ? 0.0 : 2.0, .seed = seed};
    request.constraint = {Kind::kRegex, "\\[-?\\d+(, -?\\d+){0,20}\\]", {}};
    const auto result = (*generator)->Generate(request);
    REQUIRE_OK(result);
    INFO(result->text);
    CHECK(std::regex_match(result->text, list));
    CHECK(result->tokens.size() <= request.max_tokens);
  }
  request.constraint = {Kind::kChoice, "", {"a long answer", "another long one"}};
  request.max_tokens = 5;
  const Status status = (*generator)->Generate(request).status();
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK_THAT(status.message(), Contains("13 tokens"));
}

}  // namespace
}  // namespace rag
