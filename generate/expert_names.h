// Names of experts' matrices: one tensor of all of them, or one of each in old GGUF files.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rag {

// What the name of a tensor [experts, rows, cols] ends with.
inline constexpr std::string_view kStackedExperts = "_exps.weight";

// "blk.0.ffn_gate.3.weight" -> "blk.0.ffn_gate_exps.weight" and 3: one tensor of all experts is
// what other programs read. False, with nothing changed, for another name.
bool ParseExpert(const std::string& name, std::string& stacked, size_t& expert);

// The other way round; `stacked` ends with kStackedExperts.
std::string ExpertName(std::string_view stacked, size_t expert);

}  // namespace rag
