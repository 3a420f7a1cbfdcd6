// What tests share: where data lies, temporary folders, skipping with a reason.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lib/base/scratch_folder.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag::test {

// Folder of the large test data, beside the checkout or $RAG_TEST_DATA; nullopt when absent. `name`
// is a set ("ir-scifact").
std::optional<std::filesystem::path> SharedData(const std::string& name);
// The default encoder's folder ($RAG_MODELS or the user's cache); nullopt when it is not set up.
std::optional<std::filesystem::path> DefaultEncoderFolder();
// A file of tests/golden.
std::filesystem::path Golden(const std::string& name);
// The whole file; fails the test when it cannot be read.
std::string ReadAll(const std::filesystem::path& path);

// A folder that is removed at the end of the test.
class TemporaryFolder {
 public:
  TemporaryFolder();
  std::filesystem::path path() const { return folder_.path(); }
  std::string file(const std::string& name) const { return folder_.file(name); }

 private:
  ScratchFolder folder_;
};

// A small model of tests/golden with the tokenizer that the families share, as `folder`/NAME.
std::filesystem::path CopyModel(const TemporaryFolder& folder, const std::string& golden,
                                const std::string& name);

// A Runtime of two threads with the best instruction set, or with `isa`.
std::unique_ptr<Runtime> MakeRuntime(const std::string& isa = "", int threads = 2);

// How much of a test's work is done: `full`, or `part` in a build with a sanitizer, where encoding
// takes ten times as long. Prints it then, naming `what` is counted.
size_t Workload(size_t full, size_t part, const std::string& what);

void PrintSkip(const char* file, int line, const std::string& reason);

}  // namespace rag::test

// Ends the test case without failing it, printing why.
#define RAG_SKIP(reason)                                  \
  do {                                                    \
    ::rag::test::PrintSkip(__FILE__, __LINE__, (reason)); \
    SUCCEED("skipped");                                   \
    return;                                               \
  } while (false)

// REQUIRE that a Status or Result is ok, showing its message otherwise.
#define REQUIRE_OK(expression)                   \
  do {                                           \
    const auto& rag_checked_ = (expression);     \
    INFO(::rag::test::StatusText(rag_checked_)); \
    REQUIRE(rag_checked_.ok());                  \
  } while (false)

namespace rag::test {
inline std::string StatusText(const Status& status) { return status.ToString(); }
template <class T>
std::string StatusText(const Result<T>& result) {
  return result.status().ToString();
}
}  // namespace rag::test
