// Pictures named on the command line.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/image/image.h"
#include "lib/runtime/runtime.h"

namespace rag {

// The file's bytes. Errors: those of ReadFile.
Result<std::string> ReadImageFile(const std::string& path);

// Decodes the files and calls use(numbers, images) with some at a time, in order: few enough that
// large photographs do not fill the memory. What cannot be read goes to on_error(number, error),
// which gives ok to go on without it. Errors: those that the two give, which end it.
Status ForImages(std::span<const std::string> paths,
                 FunctionRef<Status(size_t, const Status&)> on_error,
                 FunctionRef<Status(std::span<const size_t>, std::span<const Image>)> use);
// The first file that cannot be read ends it.
Status ForImages(std::span<const std::string> paths,
                 FunctionRef<Status(std::span<const size_t>, std::span<const Image>)> use);

// What the "failed" of a command's JSON holds for a picture that was left out.
Value FailedImage(const std::string& path, const Status& error);

}  // namespace rag
