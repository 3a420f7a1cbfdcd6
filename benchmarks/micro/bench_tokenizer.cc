// Tokens per second of a tokenizer on one core. The peer does the same work in
// benchmarks/peers/tokenize_hf.py; both print one JSON object a line.
//
// bench_tokenizer TOKENIZER TEXT_FILE [REPEATS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/file.h"
#include "lib/tokenizer/tokenizer.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_tokenizer TOKENIZER TEXT_FILE [REPEATS]\n");
    return 2;
  }
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
  };
  const int repeats = argc > 3 ? std::max(1, std::atoi(argv[3])) : 7;
  const auto load_start = Clock::now();
  const auto tokenizer = rag::Tokenizer::Load(argv[1]);
  const double load_s = seconds(load_start);
  const auto text = rag::ReadFile(argv[2], size_t{1} << 30);
  if (!tokenizer.ok() || !text.ok()) {
    std::fprintf(stderr, "%s\n",
                 (tokenizer.ok() ? text.status() : tokenizer.status()).ToString().c_str());
    return 1;
  }
  // One call a line, as documents come; empty lines are left out.
  std::vector<std::string_view> lines;
  for (size_t begin = 0; begin < text->size();) {
    const size_t end = std::min(text->find('\n', begin), text->size());
    if (end > begin) lines.push_back(std::string_view(*text).substr(begin, end - begin));
    begin = end + 1;
  }
  std::vector<double> times;
  size_t tokens = 0;
  for (int round = -1; round < repeats; ++round) {  // the first round warms up
    tokens = 0;
    const auto start = Clock::now();
    for (const std::string_view line : lines) tokens += (*tokenizer)->Encode(line).ids.size();
    if (round >= 0) times.push_back(seconds(start));
  }
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  std::printf(
      "{\"who\":\"rag\",\"tokenizer\":\"%s\",\"bytes\":%zu,\"lines\":%zu,\"tokens\":%zu,\"load_s\":"
      "%.3f,"
      "\"median_s\":%.5f,\"min_s\":%.5f,\"max_s\":%.5f,\"tokens_per_s\":%.0f}\n",
      argv[1], text->size(), lines.size(), tokens, load_s, median, times.front(), times.back(),
      static_cast<double>(tokens) / median);
  return 0;
}
