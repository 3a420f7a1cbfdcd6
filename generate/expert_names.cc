#include "generate/expert_names.h"

#include <charconv>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

bool ParseExpert(const std::string& name, std::string& stacked, size_t& expert) {
  for (const std::string_view kind : {".ffn_gate.", ".ffn_up.", ".ffn_down."}) {
    const size_t at = name.find(kind);
    if (at == std::string::npos) continue;
    const char* digits = name.data() + at + kind.size();
    const char* end = name.data() + name.size();
    size_t number = 0;
    const auto [rest, error] = std::from_chars(digits, end, number);
    if (error != std::errc() || std::string_view(rest, end) != ".weight") continue;
    stacked = StrCat(name.substr(0, at + kind.size() - 1), "_exps.weight");
    expert = number;
    return true;
  }
  return false;
}

}  // namespace rag
