// A process of ours that encodes when it is told to: one for each precision, as the peers have one
// each, so that memory and the time of loading are its own.
#pragma once

#include <istream>
#include <ostream>

namespace rag::bench {

// Answers each line of `requests` with one line, until they end or {"do": "quit"}; the messages are
// those of benchmarks/peers/encode_peers.py, with "precision" in the place of "system". Returns the
// exit code.
int RunEncodeWorker(std::istream& requests, std::ostream& answers);

}  // namespace rag::bench
