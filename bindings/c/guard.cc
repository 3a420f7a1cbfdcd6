#include "bindings/c/guard.h"

namespace rag::bindings {

std::string& LastError() {
  thread_local std::string error;
  return error;
}

}  // namespace rag::bindings

extern "C" {

int rag_abi_version(void) { return RAG_ABI_VERSION; }
const char* rag_version(void) { return RAG_VERSION; }
const char* rag_last_error(void) { return rag::bindings::LastError().c_str(); }

}  // extern "C"
