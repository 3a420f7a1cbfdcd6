// Settings as flags of a program: types, ranges and help come from the table of settings.
#pragma once

#include <string>
#include <string_view>

#include "apps/common/config.h"

namespace CLI {
class App;
class Option;
class ParseError;
}  // namespace CLI

namespace rag {

// The setting `key` as a flag: "--truncate-dim" for "truncate_dim", "--listen" for "server.listen",
// or as `name` says. The key must be one of the table's; `settings` outlives the parsing.
CLI::Option* AddFlag(CLI::App& app, Settings& settings, std::string_view key,
                     const std::string& name = "");

// Those of the engine and the machine, which every program takes: store, models, encoder, threads…
void AddEngineFlags(CLI::App& app, Settings& settings);

// To be called once all options are there: a negative number for an option without sign is an error
// then, where CLI11 would take it modulo 2^64.
void RefuseNegativeCounts(CLI::App& app);

// What is wrong with a command line that `app` did not parse. A word that nothing knows is named
// before all that follows from it, with what it may have been meant for; an option that stands
// before its command, with the command; a command that is missing, with those there are.
std::string DescribeParseError(const CLI::App& app, const CLI::ParseError& error);

}  // namespace rag
