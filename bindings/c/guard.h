// What every call of the C ABI goes through.
#pragma once

#include <cstddef>
#include <cstring>
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

// A field whose zero says the default, and which says zero by being negative.
inline double OrDefault(double given, double fallback) {
  return given == 0 ? fallback : given < 0 ? 0 : given;
}

inline std::string_view OrEmpty(const char* text) { return text != nullptr ? text : ""; }

// A struct that is versioned by its size, as this library knows it; null is one of zeros.
// `least` is the size of its first version. Errors: invalid_argument; unsupported when a field is
// set that a later version added, since this library would leave out what it asks for.
template <class Struct>
Result<Struct> ReadStruct(const Struct* given, size_t least, std::string_view name) {
  Struct known{};
  if (given == nullptr) return known;
  constexpr size_t kMost = 4096;
  const size_t size = given->struct_size;
  if (size < least || size > kMost) {
    return InvalidArgumentError(name, ".struct_size is ", size, "; set it to sizeof(", name, "), ",
                                sizeof(Struct));
  }
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  for (size_t i = sizeof(Struct); i < size; ++i) {
    if (bytes[i] != 0) {
      return UnsupportedError(name, " has a field that this library (ABI ", RAG_ABI_VERSION,
                              ") does not know");
    }
  }
  std::memcpy(&known, given, size < sizeof(Struct) ? size : sizeof(Struct));
  return known;
}

}  // namespace rag::bindings
