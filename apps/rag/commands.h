// The commands: each does what its options say, prints, and gives the exit code.
#pragma once

#include "apps/rag/session.h"

namespace rag {

int RunIndex(Session& session);
int RunSearch(Session& session);
int RunAsk(Session& session);
int RunChat(Session& session);
int RunEmbed(Session& session);
int RunClassify(Session& session);
int RunProbeTrain(Session& session);
int RunProbePredict(Session& session);
int RunGet(Session& session);
int RunRemove(Session& session);
int RunCollectionsList(Session& session);
int RunCollectionsCreate(Session& session);
int RunCollectionsDrop(Session& session);
int RunStats(Session& session);
int RunModelsList(Session& session);
int RunModelsShow(Session& session);
int RunModelsAdd(Session& session);
int RunModelsQuantize(Session& session);
int RunModelsImportance(Session& session);
int RunVerify(Session& session);
int RunBackup(Session& session);
int RunRestore(Session& session);
int RunVacuum(Session& session);
int RunTune(Session& session);
// What was measured, and what was picked.
void PrintTuning(const TuneReport& report);
int RunEvaluate(Session& session);
int RunBench(Session& session);

}  // namespace rag
