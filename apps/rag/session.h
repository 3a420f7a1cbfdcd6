// Session: what every command of one run shares.
#pragma once

#include <memory>
#include <string>

#include "apps/common/log.h"
#include "apps/rag/options.h"
#include "engine/engine.h"
#include "lib/base/cancel.h"
#include "lib/base/scratch_folder.h"
#include "lib/runtime/runtime.h"

namespace rag {

// What a command does with the store.
enum class StoreUse {
  kRead,   // beside others, also while one writes
  kWrite,  // alone
  kMake,   // likewise, and it need not be there
};

class Session {
 public:
  // Both outlive the session.
  Session(const Options& options, CancelToken& cancel) : options_(options), cancel_(cancel) {}
  ~Session();

  const Options& options() const { return options_; }
  const std::string& collection() const { return options_.settings.collection; }
  CancelToken& cancel() const { return cancel_; }

  // Opens the engine over the settings' database, or over `db_path` when it is not empty. Made
  // once. Errors: not_found when it is not there and not to be made.
  Result<Engine*> OpenEngine(StoreUse use, const std::string& db_path = "");
  // Over a database of its own that goes with the session: for what needs models but no documents,
  // so that it works beside a running daemon.
  Result<Engine*> OpenScratchEngine();
  Result<const Runtime*> GetRuntime();
  // Saves and closes, so that errors can be told.
  Status Close();

 private:
  const Options& options_;
  CancelToken& cancel_;
  std::unique_ptr<AppLog> log_;
  std::unique_ptr<Runtime> runtime_;
  std::optional<ScratchFolder> scratch_;  // of the engine, which ends before it does
  std::unique_ptr<Engine> engine_;
};

// The text of an argument, or all of standard input for "-", without the newline at its end.
Result<std::string> ReadArgument(const std::string& argument);

}  // namespace rag
