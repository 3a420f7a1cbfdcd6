// What a command line of `rag` says, as plain values: parse.cc alone knows the argument parser.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/common/config.h"

namespace rag {

enum class Command {
  kIndex,
  kSearch,
  kAsk,
  kChat,
  kEmbed,
  kClassify,
  kProbeTrain,
  kProbePredict,
  kGet,
  kRemove,
  kCollectionsList,
  kCollectionsCreate,
  kCollectionsDrop,
  kStats,
  kModelsList,
  kModelsShow,
  kModelsAdd,
  kModelsQuantize,
  kModelsImportance,
  kVerify,
  kBackup,
  kRestore,
  kVacuum,
  kTune,
  kEvaluate,
  kBench,
  kCompletion,
};

struct Options {
  Command command = Command::kIndex;
  Settings settings;      // flags over RAG_* variables over the file over defaults
  bool db_given = false;  // by a flag, a variable or the file
  bool json = false;
  bool quiet = false;

  std::vector<std::string> arguments;  // what stands after the command
  std::vector<std::string> given;      // the flags of the command line, as "chunk-tokens"

  struct Index {
    bool prune = false;
    bool hidden = false;
    bool strict = false;
    uint64_t max_file_bytes = uint64_t{64} << 20;
    std::vector<std::string> metadata;  // key=value
    std::string stdin_name = "stdin.txt";
  } index;

  struct Search {
    std::string image;          // search alone: a file instead of the query
    bool mode_given = false;    // by a flag, not by a variable or the file
    bool rerank_given = false;  // likewise
    std::string filter;
    bool exact = false;
    uint64_t per_document = 0;
    uint64_t ef_search = 0;
    uint64_t rrf_k = 60;
    double dense_weight = 1.0;
    double lexical_weight = 1.0;
    double sparse_weight = 1.0;
    bool no_retrieval = false;  // chat alone
  } search;

  SamplingOptions sampling;  // but the temperature, which is a setting
  // Of ask and chat.
  struct Answer {
    std::vector<std::string> stop;
    std::string grammar_path;
    std::string json_schema_path;
    std::string regex;
    uint64_t example_count = 3;
    bool first_examples = false;
  } answer;

  struct Get {
    uint64_t chunk = 0;
    bool has_chunk = false;
    std::string after;
    uint64_t limit = 100;
  } get;

  struct Models {
    std::string name;
    bool copy = false;
    std::string type;               // of quantize; "": the model's default
    std::vector<std::string> lora;  // of quantize: PATH[:SCALE]
    std::string importance;         // of quantize: a file
    // Of imatrix.
    std::string output;
    uint64_t chunk_tokens = 512;
    uint64_t max_chunks = 0;
  } models;

  struct Tune {
    double recall = 0.95;
    std::string memory;  // "512mb"; "": any
    uint64_t k = 10;
    bool dry_run = false;
  } tune;

  struct Classify {
    std::vector<std::string> labels;
    std::vector<std::string> templates;
    std::vector<std::string> texts;
    std::string hypothesis = "This example is {}.";
    bool several = false;
    bool tokens = false;
  } classify;

  struct Probe {
    std::string output;
    double c = 1.0;
  } probe;

  struct Embed {
    std::string role = "plain";
    std::vector<std::string> images;  // files
    std::string analogy;              // "king - man + woman"; "": none
    uint64_t k = 10;                  // words that the analogy gives
  } embed;

  uint64_t recall_sample = 0;                 // of verify; 0: recall is not measured
  std::vector<uint64_t> cutoffs = {10, 100};  // of eval
  double bench_seconds = 3;
  std::string completion;  // the script, when that is asked for
};

// Fills in options and returns -1, or the exit code when there is nothing left to do (help, version
// and usage errors, which are printed).
int ParseCommandLine(int argc, const char* const* argv, Options& options);

}  // namespace rag
