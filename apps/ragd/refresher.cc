#include "apps/ragd/refresher.h"

#include <utility>

namespace rag {

Refresher::Refresher(Engine& engine, double seconds, AppLog& log)
    : engine_(engine), pause_(seconds), log_(log), thread_([this](const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        while (!stopped_.wait_for(lock, stop, pause_, [&] { return stop.stop_requested(); }))
          Look();
      }) {}

void Refresher::Look() {
  Status status = engine_.Refresh();
  // All at once, so that the writer cannot save one anew before it is opened.
  if (status.ok()) status = engine_.ListCollections().status();
  std::string failure = status.ok() ? "" : status.ToString();
  if (failure == told_) return;
  if (!failure.empty()) {
    log_.Write(LogLevel::kWarning, "what was written is not seen",
               Value::Object{{"error", failure}});
  }
  told_ = std::move(failure);
}

}  // namespace rag
