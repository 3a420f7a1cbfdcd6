// What every call of the C ABI goes through.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "bindings/c/rag.h"
#include "lib/base/status.h"

namespace rag::bindings {

// The calling thread's.
std::string& LastError();

// Runs a call's body, which returns a Status; nothing is thrown out of the library.
template <class Body>
rag_code Guard(const Body& body) noexcept {
  try {
    LastError().clear();
    const Status status = body();
    if (!status.ok()) LastError() = status.message();
    return static_cast<rag_code>(status.code());
  } catch (const std::bad_alloc&) {
    // Fits the small-string buffer, so that saying so takes no memory.
    LastError() = "out of memory";
    return RAG_RESOURCE_EXHAUSTED;
  } catch (const std::exception& error) {
    try {
      LastError() = error.what();
    } catch (...) {
      LastError().clear();
    }
    return RAG_INTERNAL;
  } catch (...) {
    LastError().clear();
    return RAG_INTERNAL;
  }
}

inline Status NeedArgument(const void* argument, std::string_view name) {
  if (argument != nullptr) return OkStatus();
  return InvalidArgumentError(name, " is NULL");
}

inline std::string_view OrEmpty(const char* text) { return text != nullptr ? text : ""; }

}  // namespace rag::bindings
