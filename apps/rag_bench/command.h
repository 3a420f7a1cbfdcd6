// A command of `rag-bench`. Its file (…_command.cc) alone knows its flags; what runs gets plain
// values.
#pragma once

#include <memory>
#include <string>

#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace CLI {
class App;
}

namespace rag::bench {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

class Command {
 public:
  virtual ~Command() = default;
  // Adds a subcommand to the parser, whose flags are bound to this object.
  virtual CLI::App* AddTo(CLI::App& app) = 0;
  // Checks what the parser cannot. Errors: invalid_argument, a mistake of usage.
  virtual Status Finish() = 0;
  // line: the command as it was typed. Returns the exit code; errors are printed.
  virtual int Run(const std::string& line, const CancelToken& cancel) = 0;
};

std::unique_ptr<Command> MakeEncodeCommand();
std::unique_ptr<Command> MakeEncodeWorkerCommand();
std::unique_ptr<Command> MakeSearchCommand();
std::unique_ptr<Command> MakeDecodeCommand();

}  // namespace rag::bench
