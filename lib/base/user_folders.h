// Where a user's files lie, after the XDG Base Directory Specification.
#pragma once

#include <filesystem>

namespace rag {

// $HOME, else the folder that the system has for the process's user, else "/"; absolute.
std::filesystem::path HomeFolder();

// The variable's folder, else `fallback` (".cache") under HomeFolder(). A relative value is
// ignored.
std::filesystem::path UserFolder(const char* variable, const char* fallback);

}  // namespace rag
