#include "embed/image_tower.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "embed/batch.h"
#include "embed/pooling.h"

namespace rag {
namespace {

// Pictures whose patches are held at a time: a megabyte each for ViT-L/14.
constexpr size_t kImagesAtOnce = 32;

bool IsCancelled(const CancelToken* cancel) { return cancel != nullptr && cancel->cancelled(); }

// A tensor of one element, of any shape.
Result<float> ReadScalar(const TensorFinder& finder, const std::string& folder,
                         std::string_view name) {
  const size_t one = 1;
  Result<const TensorView*> tensor = finder.Find(name, {&one, 1});
  if (!tensor.ok()) tensor = finder.Find(name, {});
  RAG_RETURN_IF_ERROR(tensor.status());
  float value = 0;
  RAG_RETURN_IF_ERROR(DequantizeTo(**tensor, 0, {&value, 1}));
  if (!std::isfinite(value)) {
    return InvalidArgumentError(folder, ": tensor '", name, "' is not finite");
  }
  return value;
}

}  // namespace

Result<std::unique_ptr<ImageTower>> ImageTower::Load(const EncoderConfig& config,
                                                     Precision precision, const Runtime& runtime) {
  const TransformerConfig& model = config.images->model;
  RAG_ASSIGN_OR_RETURN(
      TransformerWeights weights,
      TransformerWeights::Load(config.folder, model, {model.max_sequence, precision}, runtime));
  std::unique_ptr<ImageTower> tower(new ImageTower(config, std::move(weights), runtime));
  RAG_RETURN_IF_ERROR(tower->ReadHead());
  RAG_RETURN_IF_ERROR(tower->ReadLogits());
  return tower;
}

Status ImageTower::ReadHead() {
  const TransformerConfig& model = config_.images->model;
  const Kernels& kernels = runtime_.kernels();
  const TensorFinder finder = weights_.finder();
  const size_t patch = model.patch_size;
  const size_t patch_shape[] = {model.hidden, 3, patch, patch};
  const size_t inputs = 3 * patch * patch;
  RAG_ASSIGN_OR_RETURN(const TensorView* convolution,
                       finder.Find("vision_model.embeddings.patch_embedding.weight", patch_shape));
  Matrix weight(model.hidden, inputs);
  RAG_RETURN_IF_ERROR(DequantizeTo(*convolution, 0, {weight.data(), model.hidden * inputs}));
  std::vector<float> bias;
  if (!model.class_token) {
    RAG_RETURN_IF_ERROR(
        finder.ReadVector("vision_model.embeddings.patch_embedding.bias", model.hidden, bias));
    RAG_ASSIGN_OR_RETURN(pooling_, AttentionPooling::Load(finder, model, runtime_));
  } else {
    RAG_RETURN_IF_ERROR(
        finder.ReadVector("vision_model.embeddings.class_embedding", model.hidden, class_token_));
    const std::string name[] = {"visual_projection"};
    RAG_ASSIGN_OR_RETURN(
        projection_,
        finder.ReadLinear(kernels, name,
                          {.out = config_.full_dim, .in = model.hidden, .bias = BiasRule::kNone}));
  }
  patches_ = Linear(kernels, weight.view(), bias);
  return OkStatus();
}

Status ImageTower::ReadLogits() {
  const TensorFinder finder = weights_.finder();
  RAG_ASSIGN_OR_RETURN(const float log_scale, ReadScalar(finder, config_.folder, "logit_scale"));
  logit_scale_ = std::exp(log_scale);
  if (!config_.images->sigmoid()) return OkStatus();
  RAG_ASSIGN_OR_RETURN(logit_bias_, ReadScalar(finder, config_.folder, "logit_bias"));
  return OkStatus();
}

void ImageTower::EmbedPatches(const Image& image, Matrix& rows) const {
  const TransformerConfig& model = config_.images->model;
  const size_t size = model.image_size;
  const size_t patch = model.patch_size;
  const size_t edge = size / patch;
  std::vector<float> pixels(3 * size * size);
  PreprocessImage(config_.images->processor, image, pixels);

  // Each patch as the convolution's weights lie: by channel, then row by row.
  Matrix inputs(edge * edge, 3 * patch * patch);
  for (size_t i = 0; i < edge * edge; ++i) {
    float* to = inputs.row(i).data();
    const float* corner = pixels.data() + i / edge * patch * size + i % edge * patch;
    for (size_t channel = 0; channel < 3; ++channel) {
      for (size_t y = 0; y < patch; ++y, to += patch) {
        std::copy_n(corner + (channel * size + y) * size, patch, to);
      }
    }
  }
  std::copy(class_token_.begin(), class_token_.end(), rows.data());
  LinearScratch scratch;
  patches_.Apply(runtime_.kernels(), inputs.rows(), inputs.data(), inputs.cols(),
                 rows.row(model.class_token ? 1 : 0).data(), model.hidden, scratch);
}

void ImageTower::Pool(MatrixView states, std::span<float> out) const {
  std::vector<float> vector(config_.full_dim);
  if (pooling_.has_value()) {
    pooling_->Apply(states, vector);
  } else {
    LinearScratch scratch;
    projection_->Apply(runtime_.kernels(), 1, states.data, states.stride, vector.data(),
                       vector.size(), scratch);
  }
  std::copy_n(vector.data(), out.size(), out.data());
  NormalizeLength(runtime_.kernels(), out);
}

Status ImageTower::Encode(std::span<const Image> images, Matrix& vectors,
                          const CancelToken* cancel) const {
  const TransformerConfig& model = config_.images->model;
  for (size_t i = 0; i < images.size(); ++i) {
    const Image& image = images[i];
    if (image.width == 0 || image.height == 0 ||
        image.rgb.size() != image.width * image.height * 3) {
      return InvalidArgumentError("image ", i, " has ", image.rgb.size(), " bytes for ",
                                  image.width, " x ", image.height, " pixels");
    }
  }
  for (size_t begin = 0; begin < images.size(); begin += kImagesAtOnce) {
    const size_t count = std::min(kImagesAtOnce, images.size() - begin);
    std::vector<Matrix> rows(count);
    runtime_.pool().ParallelFor(count, 1, [&](size_t first, size_t end, int) {
      for (size_t i = first; i < end && !IsCancelled(cancel); ++i) {
        rows[i] = Matrix(model.positions, model.hidden);
        EmbedPatches(images[begin + i], rows[i]);
      }
    });
    if (IsCancelled(cancel)) return CancelledError("encoding was cancelled");
    std::vector<TokenSequence> sequences(count);
    for (size_t i = 0; i < count; ++i) sequences[i].rows = rows[i].view();
    RAG_RETURN_IF_ERROR(RunSequences(
        transformer_, runtime_, sequences,
        [&](size_t i, MatrixView states) { Pool(states, vectors.row(begin + i)); }, cancel));
  }
  return OkStatus();
}

}  // namespace rag
