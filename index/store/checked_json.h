// A JSON value in a file of two lines, the second the hash of the first: a changed bit is noticed.
#pragma once

#include <string>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// Atomic and durable, as WriteFileAtomic.
Status WriteCheckedJson(const std::string& path, const Value& value);
// Errors: not_found, io_error; data_loss naming the file.
Result<Value> ReadCheckedJson(const std::string& path);

}  // namespace rag
