#include "apps/rag_bench/decode/llama_bench.h"

#include <algorithm>

#include "apps/rag_bench/peers/child.h"
#include "lib/base/value.h"

namespace rag::bench {
namespace {

Result<std::string> Run(const LlamaBench& peer, const std::vector<std::string>& arguments,
                        const CancelToken& cancel) {
  std::vector<std::string> command = peer.command;
  command.insert(command.end(), arguments.begin(), arguments.end());
  RAG_ASSIGN_OR_RETURN(const auto child, Child::Start(command));
  return child->ReadToEnd(cancel);
}

Result<LlamaBenchRates> ReadRates(const std::string& output, const LlamaBenchWork& work) {
  Result<Value> parsed = ParseJson(output);
  if (!parsed.ok() || !parsed->is_array()) return UnavailableError("printed no JSON array");
  LlamaBenchRates rates;
  for (const Value& entry : parsed->as_array()) {
    RAG_ASSIGN_OR_RETURN(const int64_t generated, entry.GetInt("n_gen", 0));
    RAG_ASSIGN_OR_RETURN(const double rate, entry.GetDouble("avg_ts", 0));
    (generated > 0 ? rates.decode : rates.prefill) = rate;
  }
  if (work.prompt > 0 && !(rates.prefill > 0)) return UnavailableError("measured no prefill");
  if (work.tokens > 0 && !(rates.decode > 0)) return UnavailableError("measured no decoding");
  return rates;
}

}  // namespace

Result<LlamaBench> ParseLlamaBench(std::string_view text) {
  LlamaBench peer;
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string_view::npos) {
    return InvalidArgumentError("'", text, "' is not NAME=COMMAND");
  }
  peer.name = text.substr(0, equals);
  text.remove_prefix(equals + 1);
  while (!text.empty()) {
    const size_t space = std::min(text.find(' '), text.size());
    if (space > 0) peer.command.emplace_back(text.substr(0, space));
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  if (peer.command.empty()) return InvalidArgumentError("peer '", peer.name, "' has no command");
  return peer;
}

Status AskForHelp(LlamaBench& peer, const CancelToken& cancel) {
  RAG_ASSIGN_OR_RETURN(const std::string help, Run(peer, {"--help"}, cancel));
  peer.takes_pairs = help.find("--n-depth") == std::string::npos;
  return OkStatus();
}

Result<LlamaBenchRates> RunLlamaBench(const LlamaBench& peer, const LlamaBenchWork& work,
                                      const CancelToken& cancel) {
  const bool pair = work.depth > 0 && peer.takes_pairs;
  std::vector<std::string> arguments = {"-m", work.model,
                                        "-t", StrCat(work.threads),
                                        "-p", StrCat(work.prompt),
                                        "-n", StrCat(pair ? 0 : work.tokens),
                                        "-r", "1",
                                        "-o", "json"};
  if (pair) {
    arguments.insert(arguments.end(), {"-gp", StrCat(work.depth, ",", work.tokens)});
  } else if (work.depth > 0) {
    arguments.insert(arguments.end(), {"-d", StrCat(work.depth)});
  }
  const Result<std::string> output = Run(peer, arguments, cancel);
  RAG_RETURN_IF_ERROR(output.status());
  return ReadRates(*output, work);
}

}  // namespace rag::bench
