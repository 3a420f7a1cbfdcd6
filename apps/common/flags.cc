#include "apps/common/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>
#include <variant>

#include "apps/common/settings_table.h"

namespace rag {
namespace {

std::string FlagName(std::string_view key) {
  std::string name(key.substr(key.find('.') == std::string_view::npos ? 0 : key.find('.') + 1));
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

// Adds the flag for each type of setting.
struct Adder {
  CLI::App& app;
  const std::string& name;
  const std::string meaning;

  // Of Text, Path and Model.
  template <typename T>
  CLI::Option* operator()(const T& text) const {
    return app.add_option(name, *text.field, meaning)->capture_default_str();
  }
  CLI::Option* operator()(const Setting::NamedPaths& paths) const {
    return app.add_option(name, *paths.field, meaning + "; may be given again")
        ->allow_extra_args(false);
  }
  CLI::Option* operator()(const Setting::Choice& choice) const {
    return app.add_option(name, *choice.field, meaning)
        ->check(CLI::IsMember(SplitChoices(choice.choices)))
        ->capture_default_str();
  }
  CLI::Option* operator()(const Setting::Count& count) const {
    return app.add_option(name, *count.field, meaning)
        ->check(CLI::Range(count.min, count.max))
        ->capture_default_str();
  }
  CLI::Option* operator()(const Setting::Number& number) const {
    return app.add_option(name, *number.field, meaning)
        ->check(CLI::Range(number.min, number.max))
        ->capture_default_str();
  }
  CLI::Option* operator()(const Setting::Flag& flag) const {
    return app.add_flag(name, *flag.field, meaning);
  }
};

// Insertions, deletions and replacements from one to the other (Levenshtein 1965).
size_t EditDistance(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < to.size(); ++j) {
      const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// "; did you mean 'x'?" for the nearest of `known` that at most two edits, and a third of the word,
// lie between; else "".
std::string Suggestion(std::string_view word, const std::vector<std::string>& known) {
  std::string_view nearest;
  size_t fewest = std::min<size_t>(2, word.size() / 3) + 1;
  for (const std::string& name : known) {
    const size_t edits = EditDistance(word, name);
    if (edits < fewest) {
      fewest = edits;
      nearest = name;
    }
  }
  return nearest.empty() ? "" : StrCat("; did you mean '", nearest, "'?");
}

void AppendFlagNames(const CLI::App& app, std::vector<std::string>& names) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
}

bool HasOption(const CLI::App& app, std::string_view word) {
  const bool is_long = word.starts_with("--");
  const std::string name(is_long ? word.substr(2) : word.substr(1, 1));  // -k5 is -k too
  for (const CLI::Option* option : app.get_options()) {
    const std::vector<std::string>& names = is_long ? option->get_lnames() : option->get_snames();
    if (std::find(names.begin(), names.end(), name) != names.end()) return true;
  }
  return false;
}

// The first command below `app`, in the order of the help, that has the option; null for none.
const CLI::App* CommandWith(const CLI::App& app, std::string_view word) {
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (HasOption(*sub, word)) return sub;
    if (const CLI::App* below = CommandWith(*sub, word); below != nullptr) return below;
  }
  return nullptr;
}

// "rag models quantize".
std::string CommandPath(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : StrCat(CommandPath(*parent), " ", app.get_name());
}

// What to say of an option that stands before the command which has it; "" when it does not.
std::string StandsTooEarly(const CLI::App& app, const CLI::App& innermost,
                           const std::string& name) {
  for (const CLI::App* command = &innermost; command != &app; command = command->get_parent()) {
    if (HasOption(*command, name)) {
      return StrCat("'", name, "' is an option of '", CommandPath(*command), "' and goes after it");
    }
  }
  const CLI::App* other = &innermost == &app ? CommandWith(app, name) : nullptr;
  if (other == nullptr) return "";
  return StrCat("'", name, "' goes after a command that has it, such as '", CommandPath(*other),
                "'");
}

std::vector<std::string> CommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(sub->get_name());
  }
  return names;
}

}  // namespace

CLI::Option* AddFlag(CLI::App& app, Settings& settings, std::string_view key,
                     const std::string& name) {
  for (const Setting& setting : BindSettings(settings)) {
    if (setting.key != key) continue;
    const std::string flag = name.empty() ? FlagName(key) : name;
    return std::visit(Adder{app, flag, std::string(setting.meaning)}, setting.slot);
  }
  std::abort();  // no such setting: a mistake of the program
}

void AddEngineFlags(CLI::App& app, Settings& settings) {
  for (const char* const key :
       {"db", "models", "encoder", "truncate_dim", "query_prompt", "document_prompt", "precision",
        "sparse", "sparse_cache_bytes", "threads", "device", "isa", "log_level"}) {
    AddFlag(app, settings, key);
  }
}

void RefuseNegativeCounts(CLI::App& app) {
  const CLI::Validator not_negative(
      [](std::string& value) {
        return value.starts_with('-') ? StrCat("Value ", value, " is negative") : std::string();
      },
      /*validator_desc=*/"");
  for (CLI::Option* option : app.get_options([](const CLI::Option*) { return true; })) {
    if (option->get_type_name().starts_with("UINT")) option->check(not_negative);
  }
  for (CLI::App* sub : app.get_subcommands([](CLI::App*) { return true; })) {
    RefuseNegativeCounts(*sub);
  }
}

std::string DescribeParseError(const CLI::App& app, const CLI::ParseError& error) {
  std::vector<std::string> flags;
  AppendFlagNames(app, flags);
  const CLI::App* innermost = &app;
  while (!innermost->get_subcommands().empty()) {
    innermost = innermost->get_subcommands().front();
    AppendFlagNames(*innermost, flags);
  }
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  for (const std::string& word : unknown) {
    if (word == "--") return "what follows '--' is text, also what looks like an option";
    if (word.size() < 2 || word.front() != '-') continue;
    const std::string name = word.substr(0, word.find('='));
    if (name.find(' ') != std::string::npos) {
      return StrCat("there is no option '", word,
                    "'; a text that begins with '-' goes last, after '--'");
    }
    const std::string too_early = StandsTooEarly(app, *innermost, name);
    if (!too_early.empty()) return too_early;
    return StrCat("there is no option '", name, "'", Suggestion(name, flags));
  }
  const std::vector<std::string> commands = CommandNames(*innermost);
  if (commands.empty()) {
    if (!unknown.empty()) return StrCat("'", unknown.front(), "' is not expected");
    const std::string_view problem = error.what();
    const bool too_many = dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr &&
                          problem.find("At Most") != std::string_view::npos;
    return StrCat(problem, too_many ? "; what has spaces in it wants quotes" : "");
  }
  if (!unknown.empty()) {
    return StrCat("there is no command '", unknown.front(), "'",
                  Suggestion(unknown.front(), commands));
  }
  std::string list;
  for (const std::string& name : commands) list += StrCat(list.empty() ? "" : ", ", name);
  return StrCat("a command is missing; there is ", list);
}

}  // namespace rag
