// Completion scripts for shells.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace rag {

// One command: its path ("models add"; "" is the program), flags, and commands with descriptions.
struct CommandWords {
  std::string path;
  std::vector<std::string> flags;
  std::vector<std::pair<std::string, std::string>> commands;
};

// shell: "bash", "zsh" or "fish".
std::string CompletionScript(const std::string& shell, const std::vector<CommandWords>& words);

}  // namespace rag
