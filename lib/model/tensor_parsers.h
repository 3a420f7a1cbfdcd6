// What TensorFile makes of one file, in either format.
#pragma once

#include <memory>
#include <vector>

#include "lib/base/file.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Published tensors have five at the most.
inline constexpr size_t kMaxTensorDimensions = 8;

struct TensorShard {
  MappedFile file;
  std::vector<NamedTensorView> tensors;
  std::shared_ptr<const void> copies;  // of tensors that do not lie in the file row by row
  Value metadata = Value::Object();
};

// Fills the rest of a shard from its file. Errors, which do not name the file: invalid_argument,
// data_loss, unsupported, resource_exhausted and out_of_range, each with the place in it.
Status ParseSafetensors(TensorShard& shard);
// Of what torch.save wrote: a dictionary of tensors, or one whose "state_dict" is such a dictionary
// (whatever lies beside it is passed over). "module.", which DistributedDataParallel puts before
// every name, is taken off. Tensors that share a storage are views of the same bytes.
Status ParseTorch(TensorShard& shard);

}  // namespace rag
