#include "apps/rag/completion.h"

#include <algorithm>

#include "lib/base/status.h"

namespace rag {
namespace {

std::string Join(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined += ' ';
    joined += word;
  }
  return joined;
}

// 'text' with the quotes inside escaped as every POSIX shell reads them.
std::string Quote(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string Names(const CommandWords& words) {
  std::vector<std::string> names;
  for (const auto& [name, description] : words.commands) names.push_back(name);
  return Join(names);
}

// Shell code, shared by bash and zsh: finds the command in the words typed so far, and sets
// `commands` and `flags` to what may follow it. `typed` is the shell's expression for these words.
std::string FindCommand(const std::string& typed, const std::vector<CommandWords>& all) {
  std::string paths;
  std::string cases;
  const std::string globals = Join(all.front().flags);
  for (const CommandWords& words : all) {
    const bool root = words.path.empty();
    if (!root) paths += StrCat(paths.empty() ? "" : "|", Quote(words.path));
    cases += StrCat("    ", Quote(words.path), ") commands=", Quote(Names(words)),
                    "; flags=", Quote(root ? globals : Join(words.flags) + " " + globals), " ;;\n");
  }
  return StrCat("  local command='' commands='' flags='' word\n  for word in ", typed,
                "; do\n"
                "    case \"${command:+$command }$word\" in\n"
                "      ",
                paths,
                ") command=\"${command:+$command }$word\" ;;\n"
                "    esac\n"
                "  done\n"
                "  case \"$command\" in\n",
                cases, "  esac\n");
}

// Commands that have commands of their own offer these first.
std::string BashScript(const std::vector<CommandWords>& all) {
  return StrCat(
      "# bash completion of rag\n"
      "_rag() {\n"
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\"\n",
      FindCommand("\"${COMP_WORDS[@]:1:COMP_CWORD-1}\"", all),
      "  if [[ $current == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$flags\" -- \"$current\"))\n"
      "  elif [[ -n $commands ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$commands\" -- \"$current\"))\n"
      "  else\n"
      "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
      "  fi\n"
      "}\n"
      "complete -o filenames -F _rag rag\n");
}

std::string ZshScript(const std::vector<CommandWords>& all) {
  return StrCat("#compdef rag\n_rag() {\n", FindCommand("${words[2,CURRENT-1]}", all),
                "  if [[ ${words[CURRENT]} == -* ]]; then\n"
                "    compadd -- ${=flags}\n"
                "  elif [[ -n $commands ]]; then\n"
                "    compadd -- ${=commands}\n"
                "  else\n"
                "    _files\n"
                "  fi\n"
                "}\n"
                "_rag \"$@\"\n");
}

std::string FishScript(const std::vector<CommandWords>& all) {
  std::string script = "# fish completion of rag\n";
  for (const CommandWords& words : all) {
    std::string condition = "__fish_use_subcommand";
    if (!words.path.empty()) {
      condition.clear();
      std::string rest = words.path;
      while (!rest.empty()) {
        const size_t end = std::min(rest.find(' '), rest.size());
        if (!condition.empty()) condition += "; and ";
        condition += "__fish_seen_subcommand_from " + rest.substr(0, end);
        rest.erase(0, std::min(end + 1, rest.size()));
      }
    }
    for (const auto& [name, description] : words.commands) {
      script += StrCat("complete -c rag -n ", Quote(condition), " -a ", Quote(name), " -d ",
                       Quote(description), "\n");
    }
    for (const std::string& flag : words.flags) {
      const bool is_long = flag.starts_with("--");
      script += StrCat("complete -c rag");
      if (!words.path.empty()) script += StrCat(" -n ", Quote(condition));
      script += StrCat(is_long ? " -l " : " -s ", flag.substr(is_long ? 2 : 1), "\n");
    }
  }
  return script;
}

}  // namespace

std::string CompletionScript(const std::string& shell, const std::vector<CommandWords>& words) {
  if (shell == "bash") return BashScript(words);
  if (shell == "zsh") return ZshScript(words);
  return FishScript(words);
}

}  // namespace rag
