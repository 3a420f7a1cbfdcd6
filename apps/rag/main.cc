// rag: the command line.
#include <csignal>

#include "apps/rag/commands.h"
#include "apps/rag/options.h"
#include "apps/rag/output.h"
#include "apps/rag/session.h"

namespace {

rag::CancelToken cancel_token;

extern "C" void OnSignal(int) { cancel_token.Cancel(); }

// The first SIGINT or SIGTERM asks the work to stop; the handler is gone then, so a second one
// ends the process at once.
void InstallSignalHandlers() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int Run(rag::Session& session) {
  using rag::Command;
  switch (session.options().command) {
    case Command::kIndex:
      return rag::RunIndex(session);
    case Command::kSearch:
      return rag::RunSearch(session);
    case Command::kAsk:
      return rag::RunAsk(session);
    case Command::kChat:
      return rag::RunChat(session);
    case Command::kEmbed:
      return rag::RunEmbed(session);
    case Command::kClassify:
      return rag::RunClassify(session);
    case Command::kProbeTrain:
      return rag::RunProbeTrain(session);
    case Command::kProbePredict:
      return rag::RunProbePredict(session);
    case Command::kGet:
      return rag::RunGet(session);
    case Command::kRemove:
      return rag::RunRemove(session);
    case Command::kCollectionsList:
      return rag::RunCollectionsList(session);
    case Command::kCollectionsCreate:
      return rag::RunCollectionsCreate(session);
    case Command::kCollectionsDrop:
      return rag::RunCollectionsDrop(session);
    case Command::kStats:
      return rag::RunStats(session);
    case Command::kModelsList:
      return rag::RunModelsList(session);
    case Command::kModelsShow:
      return rag::RunModelsShow(session);
    case Command::kModelsQuantize:
      return rag::RunModelsQuantize(session);
    case Command::kModelsImportance:
      return rag::RunModelsImportance(session);
    case Command::kModelsAdd:
      return rag::RunModelsAdd(session);
    case Command::kVerify:
      return rag::RunVerify(session);
    case Command::kBackup:
      return rag::RunBackup(session);
    case Command::kRestore:
      return rag::RunRestore(session);
    case Command::kVacuum:
      return rag::RunVacuum(session);
    case Command::kTune:
      return rag::RunTune(session);
    case Command::kEvaluate:
      return rag::RunEvaluate(session);
    case Command::kBench:
      return rag::RunBench(session);
    case Command::kCompletion:
      rag::Print(session.options().completion);
      return rag::kExitDone;
  }
  return rag::kExitFailed;
}

}  // namespace

int main(int argc, char** argv) {
  rag::Options options;
  const int code = rag::ParseCommandLine(argc, argv, options);
  if (code >= 0) return code;
  InstallSignalHandlers();
  rag::Session session(options, cancel_token);
  const int result = Run(session);
  const rag::Status closed = session.Close();
  if (!closed.ok() && result == rag::kExitDone) return rag::Fail(closed, /*json=*/false);
  return rag::FinishOutput(result);
}
