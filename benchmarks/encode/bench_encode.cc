// Encodes the texts of a JSONL file ("text", and "title" before it where there is one) and prints
// one JSON line for the loading and one for each repetition.
//
//   bench_encode MODEL_FOLDER TEXTS.jsonl [--threads N] [--limit N] [--batch N]
//                [--repetitions N] [--precision f32|bf16|int8] [--wait] [--vectors FILE]
//
// --batch: texts in a call of Encode (0: all). --wait: a repetition begins when a line arrives on
// standard input, so that a driver can interleave it with a peer's. --vectors: f32 rows.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "embed/encoder.h"
#include "lib/base/value.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Arguments {
  std::string model;
  std::string texts;
  std::string vectors;
  std::string precision = "f32";
  int threads = 0;
  size_t limit = 0;
  size_t batch = 0;
  int repetitions = 3;
  bool wait = false;
};

int PrintUsage() {
  std::fprintf(stderr,
               "usage: bench_encode MODEL_FOLDER TEXTS.jsonl [--threads N] [--limit N] [--batch N] "
               "[--repetitions N] [--precision f32|bf16|int8] [--wait] [--vectors FILE]\n");
  return 2;
}

bool Parse(int argc, char** argv, Arguments& arguments) {
  std::vector<std::string> words(argv + 1, argv + argc);
  std::vector<std::string> positional;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--wait") {
      arguments.wait = true;
      continue;
    }
    if (!words[i].starts_with("--")) {
      positional.push_back(words[i]);
      continue;
    }
    if (i + 1 == words.size()) return false;
    const std::string& value = words[i + 1];
    if (words[i] == "--threads") {
      arguments.threads = std::atoi(value.c_str());
    } else if (words[i] == "--limit") {
      arguments.limit = std::strtoul(value.c_str(), nullptr, 10);
    } else if (words[i] == "--batch") {
      arguments.batch = std::strtoul(value.c_str(), nullptr, 10);
    } else if (words[i] == "--repetitions") {
      arguments.repetitions = std::atoi(value.c_str());
    } else if (words[i] == "--precision") {
      arguments.precision = value;
    } else if (words[i] == "--vectors") {
      arguments.vectors = value;
    } else {
      return false;
    }
    ++i;
  }
  if (positional.size() != 2) return false;
  arguments.model = positional[0];
  arguments.texts = positional[1];
  return true;
}

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

rusage Usage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

// Of all threads, user and system: on a machine that others use too, it says more than the clock.
double ProcessorSeconds() {
  const rusage usage = Usage();
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

rag::Result<std::vector<std::string>> ReadTexts(const Arguments& arguments) {
  std::ifstream file(arguments.texts);
  if (!file) return rag::NotFoundError(arguments.texts);
  std::vector<std::string> texts;
  for (std::string line; std::getline(file, line);) {
    if (arguments.limit != 0 && texts.size() == arguments.limit) break;
    RAG_ASSIGN_OR_RETURN(const rag::Value entry, rag::ParseJson(line));
    RAG_ASSIGN_OR_RETURN(const std::string title, entry.GetString("title", ""));
    RAG_ASSIGN_OR_RETURN(const std::string text, entry.GetString("text", ""));
    texts.push_back(title.empty() ? text : title + " " + text);
  }
  return texts;
}

rag::Status Run(const Arguments& arguments) {
  RAG_ASSIGN_OR_RETURN(const std::vector<std::string> texts, ReadTexts(arguments));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  RAG_ASSIGN_OR_RETURN(const auto runtime, rag::Runtime::Create({.threads = arguments.threads}));
  const Clock::time_point begin = Clock::now();
  rag::EncoderOptions options;
  RAG_ASSIGN_OR_RETURN(options.precision, rag::ParsePrecision(arguments.precision));
  RAG_ASSIGN_OR_RETURN(const auto encoder, rag::Encoder::Load(arguments.model, *runtime, options));
  rag::Value::Object loaded;
  loaded.Set("load_seconds", SecondsSince(begin));
  loaded.Set("threads", runtime->pool().size());
  loaded.Set("isa", rag::IsaName(runtime->isa()));
  loaded.Set("texts", texts.size());
  std::cout << rag::ToJson(loaded) << std::endl;

  const size_t batch = arguments.batch == 0 ? std::max<size_t>(1, views.size()) : arguments.batch;
  std::ofstream vectors;
  if (!arguments.vectors.empty()) vectors.open(arguments.vectors, std::ios::binary);
  for (int repetition = 0; repetition < arguments.repetitions; ++repetition) {
    if (std::string line; arguments.wait && !std::getline(std::cin, line)) break;
    const Clock::time_point start = Clock::now();
    const double processor_start = ProcessorSeconds();
    rag::EncodeStats total;
    for (size_t first = 0; first < views.size(); first += batch) {
      const auto part = std::span(views).subspan(first, std::min(batch, views.size() - first));
      RAG_ASSIGN_OR_RETURN(const rag::Embeddings embeddings,
                           encoder->Encode(part, rag::TextRole::kPlain));
      total.tokens += embeddings.stats.tokens;
      total.truncated_texts += embeddings.stats.truncated_texts;
      if (repetition == 0 && vectors.is_open()) {
        vectors.write(reinterpret_cast<const char*>(embeddings.vectors.data()),
                      static_cast<std::streamsize>(embeddings.vectors.rows() *
                                                   embeddings.vectors.cols() * sizeof(float)));
      }
    }
    const double seconds = SecondsSince(start);
    const double processor_seconds = ProcessorSeconds() - processor_start;
    if (repetition == 0 && vectors.is_open()) vectors.close();
    rag::Value::Object result;
    result.Set("seconds", seconds);
    result.Set("processor_seconds", processor_seconds);
    result.Set("texts_per_second", static_cast<double>(texts.size()) / seconds);
    result.Set("tokens_per_second", static_cast<double>(total.tokens) / seconds);
    result.Set("tokens", total.tokens);
    result.Set("truncated_texts", total.truncated_texts);
    result.Set("peak_mb", static_cast<double>(Usage().ru_maxrss) / 1024.0);
    std::cout << rag::ToJson(result) << std::endl;
  }
  return rag::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, arguments)) return PrintUsage();
  const rag::Status status = Run(arguments);
  if (!status.ok()) {
    std::fprintf(stderr, "bench_encode: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
