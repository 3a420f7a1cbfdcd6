#include "generate/expert_names.h"

#include <charconv>

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
    stacked = StrCat(name.substr(0, at + kind.size() - 1), kStackedExperts);
    expert = number;
    return true;
  }
  return false;
}

std::string ExpertName(std::string_view stacked, size_t expert) {
  return StrCat(stacked.substr(0, stacked.size() - kStackedExperts.size()), ".", expert, ".weight");
}

}  // namespace rag
