// A child process that answers each line of its standard input with a line of its standard output,
// or prints something and ends.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag::bench {

class Child {
 public:
  // The child is a process group of its own, so that Ctrl-C reaches this process alone.
  static Result<std::unique_ptr<Child>> Start(const std::vector<std::string>& command);
  // Kills what has not ended.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Sends one JSON object and waits for one. Errors: unavailable when the child has ended or
  // answers with no object, resource_exhausted for an answer over 1 MiB; cancelled, after which the
  // child has been killed; internal with the text of the answer's "error".
  Result<Value> Ask(const Value::Object& request, const CancelToken& cancel);
  // What it prints until it ends. Errors: unavailable when it fails, resource_exhausted and
  // cancelled as above.
  Result<std::string> ReadToEnd(const CancelToken& cancel);

 private:
  Child(pid_t pid, int to, int from) : pid_(pid), to_(to), from_(from) {}
  // Waits for more of its output; false at the end. Errors: as above.
  Result<bool> Read(const CancelToken& cancel);
  void Kill();

  pid_t pid_;
  const int to_;
  const int from_;
  std::string buffer_;  // what came after the last line
};

}  // namespace rag::bench
