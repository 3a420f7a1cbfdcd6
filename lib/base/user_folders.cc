#include "lib/base/user_folders.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

namespace rag {
namespace fs = std::filesystem;
namespace {

constexpr size_t kRecordBytes = 16 << 10;  // a user's record has some hundred

fs::path Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

fs::path HomeFolder() {
  fs::path home = Variable("HOME");
  if (home.is_absolute()) return home;
  std::vector<char> buffer(kRecordBytes);
  passwd record;
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &record, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr) {
    home = found->pw_dir;
  }
  return home.is_absolute() ? home : fs::path("/");
}

fs::path UserFolder(const char* variable, const char* fallback) {
  fs::path folder = Variable(variable);
  return folder.is_absolute() ? folder : HomeFolder() / fallback;
}

}  // namespace rag
