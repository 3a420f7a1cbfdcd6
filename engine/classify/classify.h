// Zero-shot classification with an encoder of texts and pictures.
#pragma once

#include <span>
#include <vector>

#include "embed/encoder.h"
#include "engine/classify.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/image/image.h"
#include "lib/tensor/tensor.h"

namespace rag {

// [labels, dim], unit rows: each label's sentences, averaged. Errors: invalid_argument naming what
// the request breaks; cancelled.
Result<Matrix> EncodeLabels(const Encoder& encoder, const ClassifyRequest& request,
                            const CancelToken* cancel);

// Errors: those of EncodeLabels and Encoder::EncodeImages.
Result<std::vector<Classification>> ClassifyImages(const Encoder& encoder,
                                                   std::span<const Image> images,
                                                   const ClassifyRequest& request,
                                                   const CancelToken* cancel);

}  // namespace rag
