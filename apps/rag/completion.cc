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

// A case over the command's path, shared by bash and zsh. Commands that have commands of their own
// offer these first.
std::string Cases(const std::vector<CommandWords>& all) {
  const std::string globals = Join(all.front().flags);
  std::string cases;
  for (const CommandWords& words : all) {
    cases +=
        StrCat("    ", Quote(words.path), ") commands=", Quote(Names(words)),
               "; flags=", Quote(words.path.empty() ? globals : Join(words.flags) + " " + globals),
               " ;;\n");
  }
  return cases;
}

std::string PathWords(const std::vector<CommandWords>& all) {
  std::string paths;
  for (const CommandWords& words : all) {
    if (!words.path.empty()) paths += StrCat(paths.empty() ? "" : "|", Quote(words.path));
  }
  return paths;
}

std::string BashScript(const std::vector<CommandWords>& all) {
  return StrCat(
      "# bash completion of rag\n"
      "_rag() {\n"
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\" command='' commands='' flags='' word\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"${command:+$command }$word\" in\n"
      "      ",
      PathWords(all),
      ") command=\"${command:+$command }$word\" ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$command\" in\n",
      Cases(all),
      "  esac\n"
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
  return StrCat(
      "#compdef rag\n"
      "_rag() {\n"
      "  local command='' commands='' flags='' word\n"
      "  for word in ${words[2,CURRENT-1]}; do\n"
      "    case \"${command:+$command }$word\" in\n"
      "      ",
      PathWords(all),
      ") command=\"${command:+$command }$word\" ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$command\" in\n",
      Cases(all),
      "  esac\n"
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
