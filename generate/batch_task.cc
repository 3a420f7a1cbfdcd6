#include "generate/batch_task.h"

#include <algorithm>
#include <cmath>

namespace rag {

void BatchTask::End(Status status) {
  // Notified under the lock: the thread that waits may destroy the task once it sees the end.
  std::lock_guard lock(mutex_);
  ended_ = true;
  status_ = std::move(status);
  changed_.notify_all();
}

Result<bool> ScoreTask::Take(size_t position, std::span<float> logits) {
  if (position + 1 == history_.size()) return false;
  if (position < scores_.size()) return true;  // run again, having been preempted
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  const float logit = logits[static_cast<size_t>(history_[position + 1])];
  scores_.push_back(static_cast<float>(logit - largest - std::log(sum)));
  return position + 2 < history_.size();
}

Result<std::vector<float>> ScoreTask::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ended_; });
  if (!status_.ok()) return status_;
  return std::move(scores_);
}

}  // namespace rag
