#include "apps/ragd/exchange.h"

#include <utility>

namespace rag {

void Exchange::Send(HttpResponse response) {
  {
    std::lock_guard lock(mutex_);
    if (head_given_) return;  // the first answer stands
    head_given_ = true;
    head_ready_ = true;
    head_ = std::move(response);
  }
  notify_();
}

void Exchange::Start(HttpResponse head) {
  {
    std::lock_guard lock(mutex_);
    if (head_given_) return;
    head_given_ = true;
    head_ready_ = true;
    streaming_ = true;
    head_ = std::move(head);
  }
  notify_();
}

bool Exchange::Write(std::string_view piece) {
  {
    std::unique_lock lock(mutex_);
    taken_.wait(lock, [this] { return aborted_ || pieces_.size() < kMaxPendingBytes; });
    if (aborted_ || !streaming_) return false;
    pieces_ += piece;
  }
  notify_();
  return true;
}

bool Exchange::started() const {
  std::lock_guard lock(mutex_);
  return streaming_;
}

bool Exchange::aborted() const {
  std::lock_guard lock(mutex_);
  return aborted_;
}

void Exchange::Finish() {
  {
    std::lock_guard lock(mutex_);
    if (!head_given_) {
      head_given_ = true;
      head_ready_ = true;
      head_ = ErrorResponse({500, "the request was not answered", "internal", ""});
    }
    finished_ = true;
  }
  notify_();
}

Exchange::Output Exchange::Take() {
  Output output;
  {
    std::lock_guard lock(mutex_);
    output.has_head = std::exchange(head_ready_, false);
    output.streaming = streaming_;
    if (output.has_head) output.head = std::move(head_);
    output.pieces.swap(pieces_);
    output.finished = finished_;
  }
  taken_.notify_all();
  return output;
}

void Exchange::Abort() {
  cancel_.Cancel();
  {
    std::lock_guard lock(mutex_);
    aborted_ = true;
  }
  taken_.notify_all();
}

}  // namespace rag
