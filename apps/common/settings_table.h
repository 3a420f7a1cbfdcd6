// The table of settings: for each its key in the file, its variable, its type and range, and what
// it means. The file, the environment and the flags are read by it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "apps/common/config.h"

namespace rag {

struct Setting {
  struct Text {
    std::string* field;
  };
  struct Path {
    std::string* field;
  };
  // A name of the models folder, or a path, which has a slash in it.
  struct Model {
    std::string* field;
  };
  // NAME=PATH, any number of them: an array of the file, separated by commas in the variable.
  struct NamedPaths {
    std::vector<std::string>* field;
  };
  struct Choice {
    std::string* field;
    std::string_view choices;  // "a|b|c"
  };
  struct Count {
    uint64_t* field;
    uint64_t min;
    uint64_t max;
  };
  struct Number {
    double* field;
    double min;
    double max;
  };
  struct Flag {
    bool* field;
  };
  using Slot = std::variant<Text, Path, Model, NamedPaths, Choice, Count, Number, Flag>;

  std::string_view key;  // "chunk.tokens"; "" for one that only the environment may give
  const char* variable;
  Slot slot;
  std::string_view meaning;
};

// All of them, bound to the fields of `settings`.
std::vector<Setting> BindSettings(Settings& settings);

// "a|b|c" -> {"a", "b", "c"}.
std::vector<std::string> SplitChoices(std::string_view choices, char separator = '|');

}  // namespace rag
