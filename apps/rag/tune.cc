// rag tune: the index that reaches a goal.
#include <cstdio>

#include "apps/rag/commands.h"
#include "apps/rag/output.h"
#include "apps/rag/progress.h"
#include "engine/json.h"

namespace rag {

void PrintTuning(const TuneReport& report) {
  Print(StrCat(report.sample_rows, " of ", report.rows, " vectors, ", report.queries,
               " others as queries; ", FormatTuneGoal(report.goal), "\n"));
  for (size_t i = 0; i < report.trials.size(); ++i) {
    const TuneTrial& trial = report.trials[i];
    char line[160];
    if (trial.measured) {
      std::snprintf(line, sizeof(line), "%s %-44s recall %.4f  %9.0f queries/s  %9s%s%s\n",
                    i == report.picked ? "*" : " ", trial.spec.c_str(), trial.recall,
                    trial.queries_per_second, HumanBytes(trial.memory_bytes).c_str(),
                    trial.fits ? "" : "  too large",
                    trial.finds_enough ? "" : "  finds too little");
    } else {
      std::snprintf(line, sizeof(line), "  %-44s not measured: over %s\n", trial.spec.c_str(),
                    HumanBytes(trial.memory_bytes).c_str());
    }
    Print(line);
  }
  Print(StrCat("picked ", Bold(report.trials[report.picked].spec),
               ", the fastest that finds enough and fits\n"));
}

int RunTune(Session& session) {
  const Options& options = session.options();
  const auto tune = [&]() -> Result<TuneReport> {
    TuneGoal goal;
    goal.recall = options.tune.recall;
    goal.k = options.tune.k;
    if (!options.tune.memory.empty()) {
      const Result<size_t> memory = ParseByteCount(options.tune.memory);
      if (!memory.ok()) return memory.status().WithContext("--memory");
      goal.memory_bytes = *memory;
    }
    RAG_ASSIGN_OR_RETURN(
        Engine * engine,
        session.OpenEngine(options.tune.dry_run ? StoreUse::kRead : StoreUse::kWrite));
    CareProgress progress;
    const ProgressBar bar("tune", progress, options.quiet || options.json);
    return engine->Tune(session.collection(), goal, !options.tune.dry_run, &progress,
                        &session.cancel());
  };
  const Result<TuneReport> report = tune();
  if (!report.ok()) return Fail(report.status(), options.json);
  if (options.json) {
    PrintJson(ToValue(*report));
  } else {
    PrintTuning(*report);
  }
  return kExitDone;
}

}  // namespace rag
