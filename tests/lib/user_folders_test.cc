#include "lib/base/user_folders.h"

#include <pwd.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <optional>
#include <string>

namespace rag {
namespace {

// A variable with another value, or none, until the test ends.
class WithVariable {
 public:
  WithVariable(const char* name, std::optional<std::string> value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    Set(value);
  }
  ~WithVariable() { Set(before_); }

 private:
  void Set(const std::optional<std::string>& value) {
    if (value.has_value()) {
      ::setenv(name_, value->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  const char* const name_;
  std::optional<std::string> before_;
};

TEST_CASE("the home folder is absolute whatever the variables say") {
  const std::string of_user =
      ::getpwuid(::geteuid()) != nullptr ? ::getpwuid(::geteuid())->pw_dir : "/";
  {
    const WithVariable home("HOME", "/somewhere");
    CHECK(HomeFolder() == "/somewhere");
  }
  using Given = std::optional<std::string>;
  for (const Given& value : {Given(), Given(""), Given("relative")}) {
    const WithVariable home("HOME", value);
    CHECK(HomeFolder() == of_user);
  }
}

TEST_CASE("a user's folder is the variable's, when that is absolute") {
  const WithVariable home("HOME", "/home/someone");
  {
    const WithVariable cache("XDG_CACHE_HOME", "/fast/cache");
    CHECK(UserFolder("XDG_CACHE_HOME", ".cache") == "/fast/cache");
  }
  for (const char* value : {"", "relative/cache"}) {
    const WithVariable cache("XDG_CACHE_HOME", value);
    CHECK(UserFolder("XDG_CACHE_HOME", ".cache") == "/home/someone/.cache");
  }
}

}  // namespace
}  // namespace rag
