// rag-bench: the benchmarks that users run.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/rag_bench/command.h"

namespace {

rag::CancelToken cancel_token;

extern "C" void OnSignal(int) { cancel_token.Cancel(); }

// The first SIGINT or SIGTERM ends the run with what was measured; the handler is gone then, so a
// second one ends the process at once.
void InstallSignalHandlers() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A peer's process that died is an error of its own, not the end of this one.
  std::signal(SIGPIPE, SIG_IGN);
}

int Usage(const std::string& message) {
  std::fprintf(stderr, "rag-bench: %s\nRun with --help for what is known.\n", message.c_str());
  return rag::bench::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures rag beside other libraries, on the same data in the same run.");
  app.name("rag-bench");
  app.set_version_flag("--version", std::string("rag-bench ") + RAG_VERSION);
  app.require_subcommand(1);
  app.footer("Exit codes: 0 done, 1 failed or stopped, 2 usage.");
  std::vector<std::pair<CLI::App*, std::unique_ptr<rag::bench::Command>>> commands;
  for (std::unique_ptr<rag::bench::Command> (*const make)() :
       {rag::bench::MakeSearchCommand, rag::bench::MakeEncodeCommand,
        rag::bench::MakeEncodeWorkerCommand, rag::bench::MakeDecodeCommand}) {
    std::unique_ptr<rag::bench::Command> command = make();
    CLI::App* const parser = command->AddTo(app);
    commands.emplace_back(parser, std::move(command));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version arrive here too, with exit code 0.
    if (error.get_exit_code() == 0) return app.exit(error);
    return Usage(error.what());
  }
  std::string line;
  for (int i = 0; i < argc; ++i) line += (i == 0 ? "" : " ") + std::string(argv[i]);
  for (const auto& [parser, command] : commands) {
    if (!parser->parsed()) continue;
    if (const rag::Status status = command->Finish(); !status.ok()) return Usage(status.message());
    InstallSignalHandlers();
    return command->Run(line, cancel_token);
  }
  return rag::bench::kExitUsage;
}
