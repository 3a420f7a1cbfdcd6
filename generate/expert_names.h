// Names of experts' matrices in old GGUF files.
#pragma once

#include <cstddef>
#include <string>

namespace rag {

// "blk.0.ffn_gate.3.weight" -> "blk.0.ffn_gate_exps.weight" and 3: one tensor of all experts is
// what other programs read. False, with nothing changed, for another name.
bool ParseExpert(const std::string& name, std::string& stacked, size_t& expert);

}  // namespace rag
