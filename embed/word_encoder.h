// An encoder of word vectors: a text is the mean of its words.
#pragma once

#include <memory>
#include <string>

#include "embed/encoder.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

// `path` is a file that WordVectors::Load reads. Words are runs of letters, marks and digits, as
// they stand or in lower case; those without a vector are left out, and a text without any is the
// mean of the whole table. Errors: WordVectors::Load's; those of options that an encoder's folder
// would refuse.
Result<std::unique_ptr<Encoder>> LoadWordEncoder(const std::string& path, const Runtime& runtime,
                                                 const EncoderOptions& options);

}  // namespace rag
