// What the masks of constrained output cost a token: the making of the vocabulary's table, and for
// each case the compilation, the mask where a state is visited first and again, and the bytes kept.
// Outputs are drawn at random among the allowed tokens and then run once more.
// benchmarks/peers/constraint_llguidance.py runs the same outputs through llguidance. Prints one
// JSON object a case.
//
// bench_constraint TOKENIZER CASES.json [OUTPUTS.jsonl]
//
// OUTPUTS.jsonl gets the drawn outputs: a line of token ids for each, with the case's name.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "generate/constraint/constraint_memory.h"
#include "generate/constraint/token_constraint.h"
#include "generate/constraint/token_table.h"
#include "generate/output_constraint.h"
#include "lib/base/file.h"
#include "lib/base/value.h"
#include "lib/model/model_file.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {
namespace {

constexpr int kOutputs = 50;
constexpr size_t kMaxTokens = 150;
constexpr int kCompiles = 5;

using Clock = std::chrono::steady_clock;
using Output = std::vector<size_t>;                               // places in the vocabulary
using Vocabulary = std::vector<std::pair<std::string, TokenId>>;  // by bytes

template <class T>
T Take(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "bench_constraint: %s\n", result.status().ToString().c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

Value Summary(std::vector<double> times) {
  if (times.empty()) return Value();
  std::sort(times.begin(), times.end());
  double sum = 0;
  for (const double time : times) sum += time;
  return Value::Object{{"count", times.size()},
                       {"mean_us", sum / static_cast<double>(times.size())},
                       {"median_us", times[times.size() / 2]},
                       {"p99_us", times[times.size() * 99 / 100]},
                       {"max_us", times.back()}};
}

OutputConstraint ReadConstraint(const Value& entry) {
  const std::string kind = Take(entry.GetString("kind", ""));
  if (kind == "json_schema") {
    return {OutputConstraint::Kind::kJsonSchema, ToJson(*entry.Find("schema")), {}};
  }
  return {kind == "grammar" ? OutputConstraint::Kind::kGrammar : OutputConstraint::Kind::kRegex,
          Take(entry.GetString("text", "")),
          {}};
}

// Draws an output; the times of masks go to `first` where something new was found, else to `again`.
Output Draw(TokenConstraint& constraint, const Vocabulary& vocabulary, std::mt19937& random,
            std::vector<double>& first, std::vector<double>& again) {
  constraint.Restart();
  if (constraint.shortest() > kMaxTokens) std::abort();
  Output output;
  std::vector<size_t> allowed;
  for (size_t left = kMaxTokens; left > 0; --left) {
    if (constraint.finished() || (constraint.complete() && random() % 4 == 0)) break;
    const size_t kept = constraint.memory_bytes();
    const auto start = Clock::now();
    const std::span<const uint64_t> bits = Take(constraint.Allowed(left));
    const double time = MicrosecondsSince(start);
    (constraint.memory_bytes() == kept ? again : first).push_back(time);
    allowed.clear();
    for (size_t i = 0; i < vocabulary.size(); ++i) {
      const auto id = static_cast<size_t>(vocabulary[i].second);
      if ((bits[id / 64] >> (id % 64) & 1) != 0) allowed.push_back(i);
    }
    if (allowed.empty()) break;
    output.push_back(allowed[random() % allowed.size()]);
    if (!constraint.Advance(vocabulary[output.back()].first)) std::abort();
  }
  return output;
}

// The mask and the step after it, of states that were all visited before.
void Repeat(TokenConstraint& constraint, const Vocabulary& vocabulary, const Output& output,
            std::vector<double>& times) {
  constraint.Restart();
  size_t left = kMaxTokens;
  for (const size_t token : output) {
    const auto start = Clock::now();
    Take(constraint.Allowed(left--));
    if (!constraint.Advance(vocabulary[token].first)) std::abort();
    times.push_back(MicrosecondsSince(start));
  }
}

Value Measure(const Value& entry, const TokenTable& table, const Vocabulary& vocabulary,
              std::ostream& outputs) {
  const std::string name = Take(entry.GetString("name", ""));
  const OutputConstraint constraint = ReadConstraint(entry);
  ConstraintMemory memory(size_t{1} << 30);
  std::vector<double> compile, first, again, repeated;
  std::unique_ptr<TokenConstraint> compiled;
  for (int i = 0; i < kCompiles; ++i) {
    compiled.reset();
    const auto start = Clock::now();
    auto shared = Take(CompiledConstraint::Compile(constraint, table, memory));
    compiled = std::make_unique<TokenConstraint>(std::move(shared));
    compile.push_back(MicrosecondsSince(start));
  }
  const size_t compiled_bytes = compiled->memory_bytes();
  std::mt19937 random(1);
  std::vector<Output> drawn;
  for (int i = 0; i < kOutputs; ++i) {
    drawn.push_back(Draw(*compiled, vocabulary, random, first, again));
    Value::Array ids;
    for (const size_t token : drawn.back()) {
      ids.push_back(static_cast<int64_t>(vocabulary[token].second));
    }
    outputs << ToJson(Value::Object{{"case", name}, {"ids", std::move(ids)}}) << "\n";
  }
  for (const Output& output : drawn) Repeat(*compiled, vocabulary, output, repeated);
  return Value::Object{{"who", "rag"},
                       {"case", name},
                       {"compile", Summary(compile)},
                       {"compiled_bytes", compiled_bytes},
                       {"bytes", compiled->memory_bytes()},
                       {"first_visit", Summary(first)},
                       {"drawn_again", Summary(again)},
                       {"repeated", Summary(repeated)}};
}

// The tokens that an output may have.
Vocabulary ReadVocabulary(const Tokenizer& tokenizer) {
  Vocabulary vocabulary;
  for (size_t i = 0; i < tokenizer.vocab_size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    std::string bytes = tokenizer.TokenBytes(id);
    if (!tokenizer.IsSpecial(id) && !bytes.empty()) vocabulary.emplace_back(std::move(bytes), id);
  }
  std::sort(vocabulary.begin(), vocabulary.end());
  return vocabulary;
}

std::unique_ptr<Tokenizer> LoadTokenizer(const std::string& path) {
  if (!path.ends_with(".gguf")) return Take(Tokenizer::Load(path));
  return Take(Tokenizer::FromGguf(Take(GgufFile::Open(path))));
}

}  // namespace
}  // namespace rag

int main(int argc, char** argv) {
  using namespace rag;
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_constraint TOKENIZER CASES.json [OUTPUTS.jsonl]\n");
    return 2;
  }
  const auto tokenizer = LoadTokenizer(argv[1]);
  const auto start = Clock::now();
  const TokenTable table(*tokenizer);
  const double table_us = MicrosecondsSince(start);
  const Vocabulary vocabulary = ReadVocabulary(*tokenizer);
  const Value cases = Take(ParseJson(Take(ReadFile(argv[2], size_t{1} << 20))));
  std::ofstream outputs(argc > 3 ? argv[3] : "/dev/null");
  for (const Value& entry : cases.as_array()) {
    Value result = Measure(entry, table, vocabulary, outputs);
    result.as_object().Set("tokens", table.size());
    result.as_object().Set("table_us", table_us);
    std::printf("%s\n", ToJson(result).c_str());
    std::fflush(stdout);
  }
  return 0;
}
