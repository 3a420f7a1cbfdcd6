// Exchange: one request on its way through a worker, between the socket's thread and the worker's.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "apps/ragd/http.h"

namespace rag {

// The worker calls the ResponseWriter's methods; the socket's thread calls Take and Abort.
class Exchange : public ResponseWriter {
 public:
  // notify: called from the worker's thread, without the lock, when there is something to Take.
  Exchange(HttpRequest request, std::function<void()> notify)
      : request_(std::move(request)), notify_(std::move(notify)) {}

  const HttpRequest& request() const { return request_; }

  void Send(HttpResponse response) override;
  void Start(HttpResponse head) override;
  bool Write(std::string_view piece) override;
  bool started() const override;
  const CancelToken& cancel() const override { return cancel_; }
  void Cancel() override { cancel_.Cancel(); }  // the socket's thread may call it too
  // Nobody waits for an answer any more.
  bool aborted() const;
  // The handler has returned. An answer that was never given becomes a 500.
  void Finish();

  struct Output {
    bool has_head = false;  // `head` is set: a whole response, or the head of a stream
    bool streaming = false;
    HttpResponse head;
    std::string pieces;  // of the stream
    bool finished = false;
  };
  // What there is by now; each thing once.
  Output Take();
  // The client is gone or the time is up: cancels the handler and wakes it when it waits in Write.
  void Abort();

 private:
  // A slow client makes the handler wait when this much is not sent yet.
  static constexpr size_t kMaxPendingBytes = size_t{256} << 10;

  const HttpRequest request_;
  const std::function<void()> notify_;
  CancelToken cancel_;

  mutable std::mutex mutex_;
  std::condition_variable taken_;
  HttpResponse head_;        // guarded by mutex_
  bool head_ready_ = false;  // guarded by mutex_; given and not taken
  bool head_given_ = false;  // guarded by mutex_
  bool streaming_ = false;   // guarded by mutex_
  std::string pieces_;       // guarded by mutex_
  bool finished_ = false;    // guarded by mutex_
  bool aborted_ = false;     // guarded by mutex_
};

}  // namespace rag
