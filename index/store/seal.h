// The seal of a closed store: which files it consists of, and how long they are.
//
// RocksDB checks what it reads, but two things look to it like a crash that never was: a log or a
// manifest that ends too early has simply not been written further. So a store that is closed in
// order leaves a list of its files, with the hashes of those that such an end could shorten
// unnoticed. Opening compares and then removes it, so that after a crash there is none; one that
// was left by a crash in between names another manifest than the one in use.
#pragma once

#include <string>

#include "lib/base/status.h"

namespace rag {

// Of the store in `folder`, which nobody has open. Errors: io_error.
Status WriteSeal(const std::string& folder);
struct SealCheck {
  bool sealed = false;  // no: there is no seal, or one of another state of the store
  Status records;       // data_loss naming a file of records that is not as long as it was
};
// Compares. Errors: data_loss naming a file that is missing, or without which nobody knows what the
// store holds.
Result<SealCheck> CheckSeal(const std::string& folder);
void RemoveSeal(const std::string& folder);

// "MANIFEST-000012", another one after every change of the store's files; "" when it cannot be
// read.
std::string CurrentManifest(const std::string& folder);
// Another text after every write: the manifest, and the logs with their lengths. Errors: not_found
// when there is no store, io_error.
Result<std::string> WrittenSoFar(const std::string& folder);

}  // namespace rag
