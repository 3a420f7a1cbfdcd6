// Settings as flags of a program: types, ranges and help come from the table of settings.
#pragma once

#include <string>
#include <string_view>

#include "apps/common/config.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace rag {

// The setting `key` as a flag: "--truncate-dim" for "truncate_dim", "--listen" for "server.listen",
// or as `name` says. The key must be one of the table's; `settings` outlives the parsing.
CLI::Option* AddFlag(CLI::App& app, Settings& settings, std::string_view key,
                     const std::string& name = "");

// Those of the engine and the machine, which every program takes: store, models, encoder, threads…
void AddEngineFlags(CLI::App& app, Settings& settings);

}  // namespace rag
