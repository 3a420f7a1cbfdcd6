#include "apps/rag_bench/decode/report.h"

#include <algorithm>

#include "apps/rag_bench/report/spread.h"

namespace rag::bench {
namespace {

// In each round, at least one: how many times as much the first system does.
std::vector<double> Ratios(const DecodeCase& of_case, const DecodeSeries& peer) {
  std::vector<double> out;
  const std::vector<double>& ours = of_case.systems.front().values;
  for (size_t i = 0; i < std::min(ours.size(), peer.values.size()); ++i) {
    out.push_back(ours[i] / peer.values[i]);
  }
  return out;
}

// Bytes of weights a second, of decoding one sequence; 0 of everything else.
double BytesPerSecond(const DecodeModel& model, const DecodeCase& of_case) {
  if (of_case.what != "decode") return 0;
  return SpreadOf(of_case.systems.front().values).median *
         static_cast<double>(model.info.token_bytes);
}

double MemoryLimit(const DecodeRun& run) {
  return run.memory_reads.empty() ? 0 : SpreadOf(run.memory_reads).high;
}

// In each round, what decoding reads of what memory gives.
std::vector<double> SharesOfMemory(const DecodeModel& model, const DecodeRun& run,
                                   const DecodeCase& of_case) {
  std::vector<double> out;
  const std::vector<double>& rates = of_case.systems.front().values;
  for (size_t i = 0; i < std::min(rates.size(), run.memory_reads.size()); ++i) {
    out.push_back(rates[i] * static_cast<double>(model.info.token_bytes) / run.memory_reads[i]);
  }
  return out;
}

Value ToValue(const std::vector<double>& values, bool with_rounds) {
  Value::Object out = SpreadToJson(SpreadOf(values));
  if (with_rounds) out.Set("rounds", Value::Array(values.begin(), values.end()));
  return out;
}

Value ToValue(const DecodeModel& model, const DecodeRun& run, const DecodeCase& of_case) {
  Value::Object out{{"threads", run.threads},         {"what", of_case.what},
                    {"context", of_case.context},     {"tokens", of_case.tokens},
                    {"sequences", of_case.sequences}, {"unit", of_case.unit}};
  if (const double rate = BytesPerSecond(model, of_case); rate > 0) {
    out.Set("weight_bytes_per_second", rate);
    if (const double limit = MemoryLimit(run); limit > 0) {
      out.Set("share_of_memory", rate / limit);
      out.Set("share_of_memory_within_a_round",
              ToValue(SharesOfMemory(model, run, of_case), false));
    }
  }
  Value::Array systems;
  for (size_t i = 0; i < of_case.systems.size(); ++i) {
    const DecodeSeries& series = of_case.systems[i];
    Value value = ToValue(series.values, true);
    Value::Object system{{"name", series.system}};
    for (auto& [key, of_value] : value.as_object()) system.Set(key, std::move(of_value));
    if (i > 0) system.Set("ratio", ToValue(Ratios(of_case, series), false));
    systems.push_back(std::move(system));
  }
  out.Set("systems", std::move(systems));
  return out;
}

Value ToValue(const DecodeModel& model) {
  Value::Array loads;
  Value::Array reads;
  Value::Array cases;
  for (const DecodeRun& run : model.runs) {
    loads.push_back(Value::Object{{"threads", run.threads},
                                  {"file_read_seconds", run.file_read_seconds},
                                  {"seconds", run.loaded.seconds},
                                  {"first_token_seconds", run.loaded.first_token_seconds},
                                  {"resident_bytes", run.loaded.resident_bytes},
                                  {"peak_bytes", run.loaded.peak_bytes},
                                  {"cache_bytes", run.loaded.cache_bytes}});
    if (!run.memory_reads.empty()) {
      Value::Object read{{"threads", run.threads}};
      read.Set("bytes_per_second", ToValue(run.memory_reads, true));
      reads.push_back(std::move(read));
    }
    for (const DecodeCase& of_case : run.cases) cases.push_back(ToValue(model, run, of_case));
  }
  return Value::Object{{"file", model.file},
                       {"file_bytes", model.file_bytes},
                       {"architecture", model.info.architecture},
                       {"quantization", model.info.quantization},
                       {"parameters", model.info.parameters},
                       {"weight_bytes", model.info.weight_bytes},
                       {"token_bytes", model.info.token_bytes},
                       {"loads", std::move(loads)},
                       {"memory_reads", std::move(reads)},
                       {"cases", std::move(cases)}};
}

std::string Name(const DecodeCase& of_case) {
  std::string out = of_case.what;
  if (of_case.what == "prefill") out += StrCat(" of ", of_case.tokens);
  if (of_case.what == "batch") out += StrCat(" of ", of_case.sequences);
  if (of_case.context > 1) out += StrCat(" after ", of_case.context);
  return out;
}

std::string Range(const Spread& spread, int digits) {
  return StrCat(Fixed(spread.low, digits), "-", Fixed(spread.high, digits));
}

// The peers of all cases, in the order in which they were asked.
std::vector<std::string> Peers(const DecodeModel& model) {
  std::vector<std::string> out;
  for (const DecodeRun& run : model.runs) {
    for (const DecodeCase& of_case : run.cases) {
      for (const DecodeSeries& series : of_case.systems) {
        const bool known = std::find(out.begin(), out.end(), series.system) != out.end();
        if (series.system != kOurs && !known) out.push_back(series.system);
      }
    }
  }
  return out;
}

// Its median, spread and ratio; blanks where it did nothing.
void AppendPeer(const DecodeCase& of_case, const std::string& peer, std::vector<std::string>& row) {
  for (const DecodeSeries& series : of_case.systems) {
    if (series.system != peer) continue;
    const Spread rate = SpreadOf(series.values);
    const Spread ratio = SpreadOf(Ratios(of_case, series));
    row.insert(row.end(), {Fixed(rate.median, 1), Range(rate, 1),
                           StrCat(Fixed(ratio.median, 2), " (", Range(ratio, 2), ")")});
    return;
  }
  row.insert(row.end(), 3, "");
}

Table CasesTable(const DecodeModel& model) {
  Table table{StrCat(model.file, " (", model.info.quantization, ", ", Megabytes(model.file_bytes),
                     " MB); x: how many times a peer's rate, within a round"),
              {"what", "threads", "unit", kOurs, "min-max"},
              {}};
  const std::vector<std::string> peers = Peers(model);
  for (const std::string& peer : peers) {
    table.header.insert(table.header.end(), {peer, "min-max", StrCat("x ", peer)});
  }
  for (const DecodeRun& run : model.runs) {
    for (const DecodeCase& of_case : run.cases) {
      const Spread ours = SpreadOf(of_case.systems.front().values);
      std::vector<std::string> row = {Name(of_case), StrCat(run.threads), of_case.unit,
                                      Fixed(ours.median, 1), Range(ours, 1)};
      for (const std::string& peer : peers) AppendPeer(of_case, peer, row);
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

Table ReadingTable(const DecodeModel& model) {
  Table table{
      "Weights read while decoding, GB/s, beside the best that the threads read memory with in "
      "any round, and in the same one",
      {"what", "threads", "weights", "memory", "share", "share within a round"},
      {}};
  for (const DecodeRun& run : model.runs) {
    const double limit = MemoryLimit(run);
    for (const DecodeCase& of_case : run.cases) {
      const double rate = BytesPerSecond(model, of_case);
      if (rate == 0 || limit == 0) continue;
      const Spread within = SpreadOf(SharesOfMemory(model, run, of_case));
      table.rows.push_back({Name(of_case), StrCat(run.threads), Fixed(rate / 1e9, 1),
                            Fixed(limit / 1e9, 1), Fixed(rate / limit, 2),
                            StrCat(Fixed(within.median, 2), " (", Range(within, 2), ")")});
    }
  }
  return table;
}

// What the peak is without the cache, to the file.
std::string ToFile(const Loaded& loaded, size_t file_bytes) {
  if (file_bytes == 0) return "-";
  const size_t rest = loaded.peak_bytes - std::min(loaded.peak_bytes, loaded.cache_bytes);
  return Fixed(static_cast<double>(rest) / static_cast<double>(file_bytes), 2);
}

Table LoadTable(const DecodeModel& model) {
  Table table{"Loading, the file being in the system's cache",
              {"threads", "read the file s", "load s", "first token s", "resident MB", "peak MB",
               "of it the cache MB", "the rest to file"},
              {}};
  for (const DecodeRun& run : model.runs) {
    table.rows.push_back({StrCat(run.threads), Fixed(run.file_read_seconds, 2),
                          Fixed(run.loaded.seconds, 2), Fixed(run.loaded.first_token_seconds, 2),
                          Megabytes(run.loaded.resident_bytes), Megabytes(run.loaded.peak_bytes),
                          Megabytes(run.loaded.cache_bytes), ToFile(run.loaded, model.file_bytes)});
  }
  return table;
}

}  // namespace

Value DecodeReportToJson(const DecodeReport& report) {
  Value::Array models;
  for (const DecodeModel& model : report.models) models.push_back(ToValue(model));
  Value::Object out{
      {"benchmark", "decode"},
      {"cache_type", report.cache_type},
      {"rounds", report.rounds},
      {"load_average", Value::Object{{"before", report.load_before}, {"after", report.load_after}}},
      {"models", std::move(models)}};
  AddRunInfo(report.info, out);
  out.Find("machine")->as_object().Set("processors", report.processors);
  if (!report.errors.empty()) {
    out.Set("errors", Value::Array(report.errors.begin(), report.errors.end()));
  }
  return out;
}

std::vector<Table> DecodeTables(const DecodeReport& report) {
  std::vector<Table> tables;
  for (const DecodeModel& model : report.models) {
    if (model.runs.empty() || model.runs.front().cases.empty()) continue;
    tables.push_back(CasesTable(model));
    tables.push_back(ReadingTable(model));
    tables.push_back(LoadTable(model));
  }
  return tables;
}

std::string Heading(const DecodeReport& report) {
  return StrCat(report.info.processor, ", ", report.processors, " processors, ", report.info.isa,
                ", ", report.rounds, " rounds, keys and values in ", report.cache_type,
                ", load before and after ", Fixed(report.load_before, 1), " and ",
                Fixed(report.load_after, 1), "\n");
}

std::string Notes(const DecodeReport& report) {
  std::string out;
  for (const std::string& error : report.errors) out += StrCat(error, "\n");
  return out + RunNotes(report.info);
}

}  // namespace rag::bench
