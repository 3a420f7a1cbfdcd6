#include "apps/ragd/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "engine/engine.h"

namespace rag {
namespace {

// A label's value: backslash, quote and new line are escaped.
std::string Label(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", value);
  // The shortest form that reads back the same.
  for (int digits = 1; digits < 17; ++digits) {
    char shorter[32];
    std::snprintf(shorter, sizeof(shorter), "%.*g", digits, value);
    if (std::strtod(shorter, nullptr) == value) return shorter;
  }
  return text;
}

void Head(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out += StrCat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

void Single(std::string& out, std::string_view name, std::string_view type, std::string_view help,
            double value) {
  Head(out, name, type, help);
  out += StrCat(name, " ", Number(value), "\n");
}

// The resident set in bytes; 0 when /proc does not tell. Read with a stream: files of /proc say
// that they are empty, so that a reader which goes by the size finds nothing.
uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t program_pages = 0;
  uint64_t resident_pages = 0;
  if (!(statm >> program_pages >> resident_pages)) return 0;
  return resident_pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

void Metrics::CountRequest(std::string_view route, std::string_view method, int status,
                           double seconds) {
  std::lock_guard lock(mutex_);
  ++requests_[Key{std::string(route), std::string(method), status}];
  Histogram& histogram = latencies_[std::string(route)];
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  ++histogram.counts[static_cast<size_t>(bound - kBounds.begin())];
  histogram.sum += seconds;
}

std::string Metrics::Render(const Engine& engine, size_t queue_length) const {
  std::string out;
  Head(out, "rag_build_info", "gauge", "Version of the program.");
  out += StrCat("rag_build_info{version=", Label(RAG_VERSION), "} 1\n");
  {
    std::lock_guard lock(mutex_);
    Head(out, "rag_http_requests_total", "counter", "Requests answered.");
    for (const auto& [key, count] : requests_) {
      out += StrCat("rag_http_requests_total{route=", Label(key.route),
                    ",method=", Label(key.method), ",code=\"", key.status, "\"} ", count, "\n");
    }
    Head(out, "rag_http_request_seconds", "histogram",
         "From the first byte of a request to the last of its answer.");
    for (const auto& [route, histogram] : latencies_) {
      uint64_t total = 0;
      for (size_t i = 0; i < histogram.counts.size(); ++i) {
        total += histogram.counts[i];
        const std::string bound = i < kBounds.size() ? Number(kBounds[i]) : "+Inf";
        out += StrCat("rag_http_request_seconds_bucket{route=", Label(route), ",le=\"", bound,
                      "\"} ", total, "\n");
      }
      out += StrCat("rag_http_request_seconds_sum{route=", Label(route), "} ",
                    Number(histogram.sum), "\n");
      out += StrCat("rag_http_request_seconds_count{route=", Label(route), "} ", total, "\n");
    }
  }
  Single(out, "rag_http_requests_in_flight", "gauge", "Requests being read, worked on or answered.",
         static_cast<double>(requests_in_flight.load()));
  Single(out, "rag_http_requests_queued", "gauge", "Requests waiting for a worker.",
         static_cast<double>(queue_length));
  Single(out, "rag_http_connections", "gauge", "Open connections.",
         static_cast<double>(connections.load()));
  Single(out, "rag_http_connections_refused_total", "counter",
         "Connections over the limit on their number.",
         static_cast<double>(connections_refused.load()));
  Single(out, "rag_tokens_generated_total", "counter", "Tokens made by the decoder.",
         static_cast<double>(tokens_generated.load()));
  if (const auto activity = engine.GetGeneratorActivity()) {
    Single(out, "rag_generations_running", "gauge", "Generations in the decoder's batch.",
           static_cast<double>(activity->running));
    Single(out, "rag_generations_waiting", "gauge", "Generations that wait for a place in it.",
           static_cast<double>(activity->waiting));
    Single(out, "rag_kv_cache_bytes", "gauge", "Memory taken for the decoder's keys and values.",
           static_cast<double>(activity->cache_bytes));
    Single(out, "rag_kv_cache_limit_bytes", "gauge", "Its limit.",
           static_cast<double>(activity->cache_max_bytes));
    Single(out, "rag_kv_cache_preemptions_total", "counter",
           "Generations that gave their place in the cache up and went on later.",
           static_cast<double>(activity->preemptions));
    Single(out, "rag_constraint_bytes", "gauge",
           "Memory of compiled grammars and schemas, with what they keep and the vocabulary they "
           "share.",
           static_cast<double>(activity->constraint_bytes));
  }
  Single(out, "rag_tokens_prompt_total", "counter", "Prompt tokens read by the decoder.",
         static_cast<double>(tokens_prompt.load()));
  Single(out, "rag_texts_encoded_total", "counter", "Texts encoded for /v1/embeddings.",
         static_cast<double>(texts_encoded.load()));
  Single(out, "rag_documents_written_total", "counter", "Documents added or replaced.",
         static_cast<double>(documents_written.load()));

  const Result<std::vector<CollectionInfo>> collections = engine.ListCollections();
  if (collections.ok()) {
    const auto per_collection = [&](std::string_view name, std::string_view help, auto field) {
      Head(out, name, "gauge", help);
      for (const CollectionInfo& info : *collections) {
        out += StrCat(name, "{collection=", Label(info.config.name), "} ", field(info.stats), "\n");
      }
    };
    per_collection("rag_documents", "Documents stored.",
                   [](const CollectionStats& stats) { return stats.documents; });
    per_collection("rag_chunks", "Chunks stored.",
                   [](const CollectionStats& stats) { return stats.chunks; });
    per_collection("rag_index_memory_bytes", "Memory of the vector index.",
                   [](const CollectionStats& stats) { return stats.index_memory_bytes; });
    per_collection("rag_index_disk_bytes", "Vectors that the vector index reads from files.",
                   [](const CollectionStats& stats) { return stats.index_disk_bytes; });
    per_collection("rag_sparse_memory_bytes", "Memory of the sparse vectors' lists that are kept.",
                   [](const CollectionStats& stats) { return stats.sparse_memory_bytes; });
    // Only what was measured: by /v1/admin/recall.
    Head(out, "rag_index_recall", "gauge",
         "Share of the k nearest stored vectors that the index found when it was last measured.");
    for (const CollectionInfo& info : *collections) {
      if (!info.stats.recall.has_value()) continue;
      out += StrCat("rag_index_recall{collection=", Label(info.config.name), ",k=\"",
                    info.stats.recall->k, "\"} ", Number(info.stats.recall->recall), "\n");
    }
    // Every collection tells the size of the store they share.
    Single(out, "rag_store_disk_bytes", "gauge", "Size of the store on disk.",
           collections->empty() ? 0.0 : static_cast<double>(collections->front().stats.disk_bytes));
  }
  Single(out, "process_resident_memory_bytes", "gauge", "Resident memory of the process.",
         static_cast<double>(ResidentBytes()));
  return out;
}

}  // namespace rag
