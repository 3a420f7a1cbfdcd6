#include "apps/common/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
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

}  // namespace rag
