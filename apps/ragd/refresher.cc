#include "apps/ragd/refresher.h"

#include <algorithm>
#include <utility>

namespace rag {
namespace {

constexpr double kPausesPerLook = 9;

}  // namespace

Refresher::Refresher(Engine& engine, double seconds, AppLog& log)
    : engine_(engine), pause_(seconds), log_(log), thread_([this](const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        std::chrono::duration<double> pause = pause_;
        while (!stopped_.wait_for(lock, stop, pause, [&] { return stop.stop_requested(); })) {
          const auto start = std::chrono::steady_clock::now();
          Look();
          pause = std::max<std::chrono::duration<double>>(
              pause_, kPausesPerLook * (std::chrono::steady_clock::now() - start));
        }
      }) {}

void Refresher::Look() {
  const Result<bool> refreshed = engine_.Refresh();
  Status status = refreshed.status();
  opened_ = opened_ && refreshed.ok() && !*refreshed;
  // All at once, so that the writer cannot save one anew before it is opened.
  if (status.ok() && !opened_) {
    status = engine_.ListCollections().status();
    opened_ = status.ok();
  }
  std::string failure = status.ok() ? "" : status.ToString();
  if (failure == told_) return;
  if (!failure.empty()) {
    log_.Write(LogLevel::kWarning, "what was written is not seen",
               Value::Object{{"error", failure}});
  }
  told_ = std::move(failure);
}

}  // namespace rag
