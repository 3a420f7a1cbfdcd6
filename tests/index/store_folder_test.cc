// Where a store lies is durable before anything is written in it.
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>

#include "index/store.h"
#include "tests/index/store_support.h"

namespace {

std::mutex mutex;                   // guards the next
std::set<std::string>* synced_now;  // null: nobody asks

}  // namespace

// In place of the C library's.
extern "C" int fsync(int file) {
  {
    std::lock_guard lock(mutex);
    std::error_code ignored;
    const auto path =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file), ignored);
    if (synced_now != nullptr) synced_now->insert(path.string());
  }
  return static_cast<int>(::syscall(SYS_fsync, file));
}

namespace rag {
namespace {

namespace fs = std::filesystem;

std::set<std::string> SyncedByOpening(const std::string& path) {
  std::set<std::string> synced;
  {
    std::lock_guard lock(mutex);
    synced_now = &synced;
  }
  { const test::Opened opened(path); }
  std::lock_guard lock(mutex);
  synced_now = nullptr;
  return synced;
}

TEST_CASE("the names of a store's folder and of those above it are synced until there is a store") {
  const test::TemporaryFolder temporary;
  const fs::path above = fs::canonical(temporary.path());
  // An opening that was killed right after it made the folders leaves just these.
  for (const bool there_already : {false, true}) {
    INFO(there_already);
    const fs::path parent = above / (there_already ? "killed" : "new");
    if (there_already) fs::create_directories(parent / "store");
    const std::set<std::string> synced = SyncedByOpening((parent / "store").string());
    CHECK(synced.contains(parent.string()));
    CHECK(synced.contains(above.string()));
    // It holds a store then.
    CHECK_FALSE(SyncedByOpening((parent / "store").string()).contains(parent.string()));
  }
}

}  // namespace
}  // namespace rag
