// Masks of whole vocabularies, which are found in runs of characters and parts of tries, compared
// with the constraint's answer for each token by itself.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <thread>

#include "generate/constraint/character_runs.h"
#include "lib/base/file.h"
#include "lib/base/value.h"
#include "lib/text/utf8.h"
#include "tests/generate/constraint_support.h"

namespace rag {
namespace {

using Kind = OutputConstraint::Kind;

// All bytes, and random tokens of what masks are made of: words, quotes, escapes, line breaks, long
// runs, characters of two to four bytes, whole, cut off or damaged.
std::unique_ptr<test::Vocabulary> MixedVocabulary(size_t tokens) {
  const std::string_view kPieces[] = {
      "a",    "b",        "e",    "end",  "word",       "Q",    "_",        "0",        "17",
      " ",    "  ",       "\"",   "\",",  "\":",        "\\",   "\\n",      "\\u0",     "/",
      "\n",   "\n  ",     "{",    "}",    "[",          "]",    ",",        ".",        ":",
      "-",    "é",        "안",   "日",   "\U0001F600", "\xC3", "\xEC\x95", "\xF0\x9F", "\xF0",
      "\xA9", "\x98\x80", "\x7F", "\x01", "\xFF",       "true"};
  std::mt19937 random(5);
  std::set<std::string> all;
  for (int byte = 0; byte < 256; ++byte) all.insert(std::string(1, static_cast<char>(byte)));
  while (all.size() < tokens) {
    std::string token;
    const size_t pieces = 1 + random() % 5;
    for (size_t i = 0; i < pieces; ++i) {
      const std::string_view piece = kPieces[random() % std::size(kPieces)];
      const size_t times = random() % 16 == 0 ? 1 + random() % 24 : 1;
      for (size_t k = 0; k < times; ++k) token += piece;
    }
    all.insert(token);
  }
  // GPT-2's letters for bytes.
  std::array<std::string, 256> letters;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte < 173) || byte > 173;
    const uint32_t letter = printable ? byte : next++;
    if (letter < 0x80) {
      letters[byte] = static_cast<char>(letter);
    } else {
      letters[byte] = {static_cast<char>(0xC0 | letter >> 6),
                       static_cast<char>(0x80 | (letter & 63))};
    }
  }
  Value::Object vocab;
  for (const std::string& token : all) {
    std::string name;
    for (const char byte : token) name += letters[static_cast<uint8_t>(byte)];
    vocab.Set(name, static_cast<int64_t>(vocab.size()));
  }
  const Value end = Value::Object{{"id", static_cast<int64_t>(vocab.size())},
                                  {"content", "<|end|>"},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", true}};
  const Value level = Value::Object{{"type", "ByteLevel"},
                                    {"add_prefix_space", false},
                                    {"trim_offsets", false},
                                    {"use_regex", true}};
  const Value tokenizer = Value::Object{
      {"version", "1.0"},
      {"added_tokens", Value::Array{end}},
      {"normalizer", Value()},
      {"pre_tokenizer", level},
      {"decoder", level},
      {"model", Value::Object{{"type", "BPE"}, {"vocab", vocab}, {"merges", Value::Array{}}}}};
  const test::TemporaryFolder folder;
  REQUIRE_OK(WriteFileAtomic(folder.file("tokenizer.json"), ToJson(tokenizer)));
  auto loaded = Tokenizer::Load(folder.file("tokenizer.json"));
  REQUIRE_OK(loaded);
  return std::make_unique<test::Vocabulary>(std::move(loaded).value());
}

bool Has(std::span<const uint64_t> bits, TokenId id) {
  return (bits[static_cast<size_t>(id) / 64] >> (static_cast<size_t>(id) % 64) & 1) != 0;
}

const OutputConstraint kConstraints[] = {
    {Kind::kJsonSchema, R"({"type":"string"})", {}},
    {Kind::kJsonSchema, R"({"type":"string","maxLength":5})", {}},
    {Kind::kJsonSchema, R"({"type":"string","minLength":20,"maxLength":24})", {}},
    {Kind::kJsonSchema, R"({"type":"string","minLength":30})", {}},
    {Kind::kJsonSchema, R"({"type":"string","minLength":18,"maxLength":18})", {}},
    {Kind::kJsonSchema, R"({"type":"string","pattern":"^[a-e]{2,30}( .{3,20})?$"})", {}},
    {Kind::kJsonSchema,
     R"({"type":"object","properties":{"a":{"type":"string","maxLength":9},"b":{"type":"integer"},)"
     R"("word":{"enum":["end","a\"b",true]}},"required":["a","word"],"additionalProperties":false})",
     {}},
    {Kind::kJsonSchema, R"({"type":"object","additionalProperties":{"type":"string"}})", {}},
    {Kind::kJsonSchema, "{}", {}},
    {Kind::kRegex, ".{3,40}", {}},
    {Kind::kRegex, "[^\\n]{0,18}\\n[a-z_.]{2,20}: [^\"]*", {}},
    {Kind::kRegex, "[a-z]{3}[a-e]{4,30}|[ab]{9}Q", {}},
    {Kind::kRegex, "[^é]{5,20}(é|안.*)", {}},
    {Kind::kRegex, "(a|.|é){1,25}", {}},
    // Runs that some characters end before others.
    {Kind::kRegex, "[^\\n]{5}[^\\nQ]{0,30}", {}},
    {Kind::kRegex, "[^\\n]{3}[^\\né]{0,40}", {}},
    {Kind::kRegex, "[^\\né]{2,30}", {}},
    {Kind::kRegex, "[^\\n]{4}|[^\\n]{2,30}x", {}},
    {Kind::kRegex, "[가-힣a-z ]{2,30}", {}},
    {Kind::kGrammar,
     "root ::= line{1,4}\nline ::= [a-z] [a-z0-9_]{0,20} \"=\" [^\\n]* \"\\n\"",
     {}},
    {Kind::kGrammar, "root ::= \"[\" (root | [^\\x00-\\x1F]{1,12}) \"]\" | \"안\"+", {}},
    {Kind::kChoice,
     "",
     {"word", "wordend", "\xFF\xF0\x9F damaged", "안 é", "aaaaaaaaaaaaaaaaaaaaaaaae"}},
};

// Every mask on the way of random outputs, with what is left and near the fewest tokens.
void CompareMasks(const OutputConstraint& constraint, const test::Vocabulary& vocabulary,
                  std::mt19937& random, size_t outputs) {
  const auto masked = test::MustCompile(constraint, vocabulary.table);
  const auto reference = test::MustCompile(constraint, vocabulary.table);
  for (size_t output = 0; output < outputs; ++output) {
    masked->Restart();
    reference->Restart();
    std::string text;
    for (size_t left = masked->shortest() + random() % 30; left > 0; --left) {
      if (masked->finished()) break;
      std::vector<std::string_view> allowed;
      for (const size_t limit : {masked->shortest() + random() % 6, size_t{1'000}, left}) {
        const auto mask = masked->Allowed(limit);
        REQUIRE_OK(mask);
        size_t wrong = 0;
        allowed.clear();
        for (const auto& [id, bytes] : vocabulary.tokens) {
          const auto fits = limit == 0 ? false : reference->Allows(bytes, limit - 1);
          if (!fits.ok()) FAIL(fits.status().ToString());
          if (*fits != Has(*mask, id)) ++wrong;
          if (*fits) allowed.push_back(bytes);
        }
        INFO(constraint.text << " after '" << text << "' with " << limit << " tokens left");
        REQUIRE(wrong == 0);
      }
      INFO(constraint.text << " after '" << text << "'");
      REQUIRE((!allowed.empty() || masked->complete()));
      if (allowed.empty()) break;
      const std::string_view bytes = allowed[random() % allowed.size()];
      REQUIRE(masked->Advance(bytes));
      for (const char byte : bytes) REQUIRE(reference->Advance(std::string_view(&byte, 1)));
      text += bytes;
    }
    INFO(constraint.text << " wrote '" << text << "'");
    REQUIRE(masked->complete());
  }
}

TEST_CASE("every mask has just the tokens that are allowed one by one") {
  const auto vocabulary = MixedVocabulary(3'000);
  std::mt19937 random(7);
  const size_t outputs = test::Workload(12, 3, "outputs of each constraint");
  for (const OutputConstraint& constraint : kConstraints) {
    CompareMasks(constraint, *vocabulary, random, outputs);
  }
}

TEST_CASE("every mask of real vocabularies has just the tokens that are allowed one by one") {
  const auto vocabularies = test::SharedVocabularies();
  if (vocabularies.empty()) RAG_SKIP("no tok-llamacpp in the shared data");
  std::mt19937 random(8);
  for (const auto& vocabulary : vocabularies) {
    for (const size_t constraint : {1, 2, 6, 10, 14, 19}) {
      CompareMasks(kConstraints[constraint], *vocabulary, random, 1);
    }
  }
}

TEST_CASE("a token is a run of characters, or is where what follows its run is walked") {
  const auto vocabulary = MixedVocabulary(2'000);
  const TokenTable& table = vocabulary->table;
  const CharacterRuns::Characters& json = table.common_runs().front()->characters();
  CharacterRuns::Characters letters;
  for (char letter = 'a'; letter <= 'z'; ++letter) letters.ascii.set(static_cast<size_t>(letter));
  CharacterRuns::Characters others = letters;
  others.beyond_ascii = true;
  for (const CharacterRuns::Characters& characters : {json, letters, others}) {
    const CharacterRuns runs(table.trie(), table.vocab_size(), characters);
    std::vector<size_t> times(table.vocab_size());
    const auto count = [&](const TokenTrie& trie, TokenTrie::Range nodes) {
      for (uint32_t at = nodes.begin; at < nodes.end; ++at) {
        for (const TokenId id : trie.tokens(at)) ++times[static_cast<size_t>(id)];
      }
    };
    for (const TokenTrie::Range& nodes : runs.without_run()) count(table.trie(), nodes);
    for (size_t run = 0; run <= CharacterRuns::kMaxRun; ++run) {
      count(runs.rests(), runs.after(run));
    }
    size_t whole = 0;
    CHECK(table.size() == vocabulary->tokens.size());
    for (const auto& [id, bytes] : vocabulary->tokens) {
      size_t length = 0;
      bool all = true;
      for (size_t at = 0; at < bytes.size() && all;) {
        const auto lead = static_cast<uint8_t>(bytes[at]);
        const size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        all = lead < 0x80 ? characters.ascii[lead]
                          : characters.beyond_ascii && lead >= 0xC2 && lead <= 0xF4 &&
                                IsValidUtf8(bytes.substr(at, size));
        at += size;
        ++length;
      }
      for (size_t run = 0; run <= CharacterRuns::kMaxRun; ++run) {
        const bool expected = all && length <= run;
        if (Has(runs.tokens(run), id) != expected) FAIL(id << " in runs of " << run);
      }
      const bool is_run = all && length <= CharacterRuns::kMaxRun;
      whole += is_run ? 1 : 0;
      CHECK(times[static_cast<size_t>(id)] == (is_run ? 0 : 1));
    }
    CHECK(whole > 20);
  }
}

TEST_CASE("no runs are made of characters that do not lead on alike") {
  const auto vocabulary = MixedVocabulary(2'000);
  // The third character may be an x that ends it, or any; the second set's runs are there already.
  for (const char* expression : {"[^\n\"]{4}|[^\n\"]{2,30}x", "[^\n]{4}|[^\n]{2,30}x"}) {
    INFO(expression);
    ConstraintMemory memory(size_t{1} << 30);
    auto compiled =
        CompiledConstraint::Compile({Kind::kRegex, expression, {}}, vocabulary->table, memory);
    REQUIRE_OK(compiled);
    const size_t bytes = (*compiled)->memory_bytes();
    for (size_t i = 0; i < 8; ++i) {
      TokenConstraint answer(*compiled);
      REQUIRE_OK(answer.Allowed(1'000));
    }
    CHECK((*compiled)->memory_bytes() == bytes);
  }
}

TEST_CASE("runs are made once they are worth it, shared by answers at the same time, and counted") {
  const auto vocabulary = MixedVocabulary(2'000);
  const OutputConstraint constraint = {Kind::kRegex, "[^\"\\n]{300}", {}};
  ConstraintMemory memory(size_t{1} << 30);
  CharacterRuns::Characters characters{.beyond_ascii = true};
  characters.ascii.set().reset('\n').reset('"');
  {
    auto compiled = CompiledConstraint::Compile(constraint, vocabulary->table, memory);
    REQUIRE_OK(compiled);
    const size_t bytes = (*compiled)->memory_bytes();
    CHECK((*compiled)->Runs(characters) == nullptr);
    // Of each answer all masks, one after another; empty after a failure.
    constexpr size_t kSteps = 250;
    const auto write = [&](TokenConstraint& answer) {
      std::vector<std::vector<uint64_t>> masks;
      for (size_t i = 0; i < kSteps; ++i) {
        const auto allowed = answer.Allowed(1'000);
        if (!allowed.ok()) break;
        masks.emplace_back(allowed->begin(), allowed->end());
        if (!answer.Advance("x")) break;
      }
      return masks;
    };
    std::array<std::vector<std::vector<uint64_t>>, 3> all;
    {
      std::vector<std::jthread> threads;
      for (auto& masks : all) {
        threads.emplace_back([&] {
          TokenConstraint answer(*compiled);
          masks = write(answer);
        });
      }
    }
    const CharacterRuns* runs = (*compiled)->Runs(characters);
    REQUIRE(runs != nullptr);
    CHECK((*compiled)->memory_bytes() == bytes + runs->memory_bytes());
    CHECK(memory.used() == (*compiled)->memory_bytes());
    const auto alone = test::MustCompile(constraint, vocabulary->table);
    const std::vector<std::vector<uint64_t>> expected = write(*alone);
    REQUIRE(expected.size() == kSteps);
    for (const auto& masks : all) CHECK(masks == expected);
  }
  CHECK(memory.used() == 0);
  // A smaller set's are worth it as soon: its walks are short, and so is the making of its runs.
  CharacterRuns::Characters printable;
  for (size_t character = ' '; character <= '~'; ++character) printable.ascii.set(character);
  auto few =
      CompiledConstraint::Compile({Kind::kRegex, "[ -~]{300}", {}}, vocabulary->table, memory);
  REQUIRE_OK(few);
  {
    TokenConstraint answer(*few);
    for (int i = 0; i < 2; ++i) {
      CHECK((*few)->Runs(printable) == nullptr);
      REQUIRE_OK(answer.Allowed(1'000));
      REQUIRE(answer.Advance("a"));
    }
    CHECK((*few)->Runs(printable) != nullptr);
  }
  // Not while memory is tight.
  auto compiled = CompiledConstraint::Compile(constraint, vocabulary->table, memory);
  REQUIRE_OK(compiled);
  for (int i = 0; i < 2; ++i) (*compiled)->MissedRuns(characters);
  memory.Add(memory.limit());
  CHECK((*compiled)->Runs(characters) == nullptr);
  memory.Remove(memory.limit());
  CHECK((*compiled)->Runs(characters) != nullptr);
}

TEST_CASE("the memory of one call is kept for the next, but not while memory is tight") {
  const auto vocabulary = MixedVocabulary(2'000);
  const auto kept = [&](bool tight) {
    ConstraintMemory memory(size_t{1} << 30);
    if (tight) memory.Add(memory.limit() * 3 / 4);
    const auto answer =
        test::MustCompile({Kind::kRegex, "[^\"\\n]{300}", {}}, vocabulary->table, memory);
    REQUIRE_OK(answer->Allowed(1'000));
    return answer->kept_bytes();
  };
  // A cost and an id for each token that may come, which most may.
  CHECK(kept(false) - kept(true) > vocabulary->tokens.size() / 2 * 8);
}

}  // namespace
}  // namespace rag
