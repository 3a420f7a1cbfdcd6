#include "apps/rag_bench/encode/report.h"

#include "apps/rag_bench/report/table.h"

namespace rag::bench {
namespace {

std::vector<double> Rates(const EncodeMeasure& measure, size_t count) {
  std::vector<double> rates;
  for (const double seconds : measure.seconds) {
    rates.push_back(static_cast<double>(count) / seconds);
  }
  return rates;
}

Value ToValue(const EncodeMeasure& measure, const EncodeReport& report) {
  const EncodeSetReport& set = report.sets[measure.set];
  Value::Object out{{"texts", set.name},
                    {"batch", measure.batch},
                    {"texts_per_second", SpreadToJson(SpreadOf(Rates(measure, set.texts)))},
                    {"tokens_per_second", SpreadOf(Rates(measure, set.tokens)).median},
                    {"processor_seconds", SpreadOf(measure.processor_seconds).median}};
  if (!measure.ratios.empty()) out.Set("ratio", SpreadToJson(SpreadOf(measure.ratios)));
  if (measure.lowest_cosine.has_value()) {
    out.Set("cosine",
            Value::Object{{"lowest", *measure.lowest_cosine}, {"mean", *measure.mean_cosine}});
  }
  return out;
}

Value ToValue(const EncodeSystemReport& system, const EncodeReport& report) {
  Value::Object out{{"name", system.name}, {"source", system.source}};
  if (!system.version.empty()) out.Set("version", system.version);
  out.Set("parameters", system.parameters);
  out.Set("load_seconds", system.load_seconds);
  out.Set("first_seconds", system.first_seconds);
  out.Set("base_bytes", system.base_bytes);
  out.Set("peak_bytes", system.peak_bytes);
  Value::Array measures;
  for (const EncodeMeasure& measure : system.measures) measures.push_back(ToValue(measure, report));
  out.Set("measures", std::move(measures));
  if (!system.error.ok()) out.Set("error", system.error.ToString());
  return out;
}

std::string Heading(const EncodeReport& report) {
  return StrCat(report.model, ": ", report.dim, " dimensions, up to ", report.max_tokens,
                " tokens, weights of ", Megabytes(report.weight_bytes), " MB, ", report.rounds,
                " rounds\n", report.info.processor, ", ", report.info.isa, "\n");
}

std::string ThreadsText(const EncodeRun& run) {
  return StrCat(run.threads, run.threads == 1 ? " thread" : " threads",
                run.pinned ? " (pinned)" : "");
}

Table SpeedTable(const EncodeReport& report, const EncodeRun& run, size_t set) {
  const EncodeSetReport& texts = report.sets[set];
  const std::string first = run.systems.empty() ? "" : run.systems.front().name;
  Table table{StrCat(texts.name, ", ", ThreadsText(run), ": ", texts.texts, " texts of ",
                     texts.shortest, " to ", texts.longest, " tokens, median ", texts.median),
              {"system", "batch", "texts/s", "min", "max", "tokens/s", StrCat("x ", first), "min",
               "max", "cosine", "lowest"},
              {}};
  for (const EncodeSystemReport& system : run.systems) {
    for (const EncodeMeasure& measure : system.measures) {
      if (measure.set != set) continue;
      const Spread rate = SpreadOf(Rates(measure, texts.texts));
      const bool has_ratio = !measure.ratios.empty();
      const Spread ratio = has_ratio ? SpreadOf(measure.ratios) : Spread();
      const auto times = [&](double value) { return has_ratio ? Fixed(value, 2) : "-"; };
      const auto cosine = [](const std::optional<double>& value) {
        return value.has_value() ? Fixed(*value, 5) : std::string("-");
      };
      table.rows.push_back({system.name, measure.batch == 0 ? "all" : std::to_string(measure.batch),
                            Fixed(rate.median, 1), Fixed(rate.low, 1), Fixed(rate.high, 1),
                            Fixed(SpreadOf(Rates(measure, texts.tokens)).median, 0),
                            times(ratio.median), times(ratio.low), times(ratio.high),
                            cosine(measure.mean_cosine), cosine(measure.lowest_cosine)});
    }
  }
  return table;
}

Table LoadTable(const EncodeRun& run) {
  Table table{StrCat("Loading and memory, ", ThreadsText(run)),
              {"system", "load s", "first vector s", "peak MB", "before loading MB"},
              {}};
  for (const EncodeSystemReport& system : run.systems) {
    if (system.first_seconds == 0) continue;
    table.rows.push_back({system.name, Fixed(system.load_seconds, 3),
                          Fixed(system.first_seconds, 3), Megabytes(system.peak_bytes),
                          Megabytes(system.base_bytes)});
  }
  return table;
}

std::vector<Table> Tables(const EncodeReport& report) {
  std::vector<Table> tables;
  for (const EncodeRun& run : report.runs) {
    for (size_t set = 0; set < report.sets.size(); ++set) {
      tables.push_back(SpeedTable(report, run, set));
    }
    tables.push_back(LoadTable(run));
  }
  return tables;
}

// What could not be measured, a line each.
std::string Notes(const EncodeReport& report) {
  std::string out;
  for (const EncodeRun& run : report.runs) {
    for (const EncodeSystemReport& system : run.systems) {
      if (system.error.ok()) continue;
      out += StrCat(system.name, ", ", ThreadsText(run), ": ", system.error.message(), "\n");
    }
  }
  out += RunNotes(report.info);
  return out.empty() ? out : StrCat("\n", out);
}

}  // namespace

Value EncodeReportToJson(const EncodeReport& report) {
  Value::Object out{{"benchmark", "encode"},
                    {"model", Value::Object{{"name", report.model},
                                            {"dim", report.dim},
                                            {"max_tokens", report.max_tokens},
                                            {"weight_bytes", report.weight_bytes}}},
                    {"rounds", report.rounds}};
  AddRunInfo(report.info, out);
  Value::Array sets;
  for (const EncodeSetReport& set : report.sets) {
    sets.push_back(Value::Object{{"name", set.name},
                                 {"texts", set.texts},
                                 {"tokens", set.tokens},
                                 {"shortest", set.shortest},
                                 {"median", set.median},
                                 {"longest", set.longest}});
  }
  out.Set("sets", std::move(sets));
  Value::Array runs;
  for (const EncodeRun& run : report.runs) {
    Value::Array systems;
    for (const EncodeSystemReport& system : run.systems) {
      systems.push_back(ToValue(system, report));
    }
    runs.push_back(Value::Object{
        {"threads", run.threads}, {"pinned", run.pinned}, {"systems", std::move(systems)}});
  }
  out.Set("runs", std::move(runs));
  return out;
}

std::string EncodeReportToText(const EncodeReport& report) {
  return Heading(report) + TablesToText(Tables(report)) + Notes(report);
}

std::string EncodeReportToMarkdown(const EncodeReport& report) {
  std::string heading = Heading(report);
  heading.pop_back();
  return StrCat(heading, ". `", report.info.command, "`\n", TablesToMarkdown(Tables(report)),
                Notes(report));
}

}  // namespace rag::bench
