// Keeps an engine that is open for reading up to date with the process that writes its store.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "apps/common/log.h"
#include "engine/engine.h"

namespace rag {

// Looks every `seconds` until it is destroyed, less often where a look takes long: it takes a tenth
// of the time. What keeps it from seeing the changes is logged, once until another thing does.
class Refresher {
 public:
  Refresher(Engine& engine, double seconds, AppLog& log);

 private:
  void Look();

  Engine& engine_;
  const std::chrono::duration<double> pause_;
  AppLog& log_;
  bool opened_ = true;  // all collections that there are
  std::string told_;    // the last failure; "" after a success
  std::mutex mutex_;    // for the wait alone
  std::condition_variable_any stopped_;
  std::jthread thread_;  // joined before the rest goes
};

}  // namespace rag
