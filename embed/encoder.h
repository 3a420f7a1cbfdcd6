// Encoder: text -> vector, and with some models image -> vector, from a Hugging Face folder.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/image/image.h"
#include "lib/nn/linear.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// How token vectors become one: sentence-transformers' modes. kMeanSqrtLength divides the sum by
// the square root of the number of tokens; kWeightedMean weighs the i-th token i.
enum class Pooling { kMean, kCls, kMax, kMeanSqrtLength, kWeightedMean, kLastToken };
// sentence-transformers' names: "mean", "cls", "max", "mean_sqrt_len_tokens", …
std::string_view PoolingName(Pooling pooling);

// How the model's vectors are meant to be compared.
enum class Similarity { kCosine, kDot, kEuclidean, kManhattan };
std::string_view SimilarityName(Similarity similarity);  // "cosine", "dot", …
Result<Similarity> ParseSimilarity(std::string_view name);

// What a text is for. Models that were trained with prompts ("query: ") want another before each.
enum class TextRole { kPlain, kQuery, kDocument };
inline constexpr size_t kTextRoles = 3;
std::string_view TextRoleName(TextRole role);  // "plain", "query", "document"
Result<TextRole> ParseTextRole(std::string_view name);

struct EncoderPrompt {
  std::string text;   // written before each text of its role; mostly empty
  size_t tokens = 0;  // that it takes of max_tokens
};

struct EncoderOptions {
  // Elements that are kept of each vector, for models trained so (Kusupati et al. 2022, "Matryoshka
  // Representation Learning"); 0: what the model's files say, else all. Unlike
  // sentence-transformers, a model that ends with Normalize gives unit vectors then too.
  size_t truncate_dim = 0;
  // By TextRole, instead of the model's own prompt; "": its own. For models whose files name none
  // (E5: "query: " and "passage: ").
  std::array<std::string, kTextRoles> prompts;
  // What the layers' products are rounded to when the weights are loaded. Less than f32 is faster
  // on processors with instructions for it and gives other, near vectors.
  Precision precision = Precision::kF32;
};

// Of an encoder that encodes images too.
struct ImageEncoderInfo {
  size_t image_size = 0;  // pixels of an edge, as the network sees it
  size_t layers = 0;
  // How likely a text goes with an image: logit = logit_scale * (product of the two vectors) +
  // logit_bias, over all the texts at once by softmax or, with `sigmoid`, for each by itself.
  float logit_scale = 1;
  float logit_bias = 0;
  bool sigmoid = false;
};

struct EncoderInfo {
  std::string model_type;  // as in config.json: "bert", "modernbert"
  size_t dim = 0;          // of the vectors
  size_t layers = 0;
  size_t heads = 0;
  size_t max_tokens = 0;         // a text's tokens past this are cut, special tokens included
  std::vector<Pooling> pooling;  // written one after another; then the dense layers, if any
  bool normalize = false;        // vectors are of unit length
  Similarity similarity = Similarity::kCosine;
  Precision precision = Precision::kF32;
  std::optional<ImageEncoderInfo> images;  // nullopt: EncodeImages gives an error
  std::array<EncoderPrompt, kTextRoles> prompts;
  const EncoderPrompt& prompt(TextRole role) const { return prompts[static_cast<size_t>(role)]; }
  // Names the weights, tokenizer, pooling, prompts and options: equal fingerprints give equal
  // vectors.
  // Changes when any byte of them does.
  std::string fingerprint;
  size_t weight_bytes = 0;
};

struct EncodeStats {
  size_t texts = 0;
  size_t tokens = 0;            // encoded
  size_t truncated_texts = 0;   // texts that lost tokens
  size_t truncated_tokens = 0;  // tokens lost
};

struct Embeddings {
  Matrix vectors;                   // [texts, dim] f32
  std::vector<uint32_t> truncated;  // [texts] tokens cut from each text; 0: none
  EncodeStats stats;
};

// Immutable after loading; Encode may be called from several threads (they share the pool).
class Encoder {
 public:
  // `folder` holds config.json, a tokenizer (see Tokenizer::Load), weights (see TensorFile::Open),
  // and perhaps sentence-transformers' modules.json, sentence_bert_config.json, own config and the
  // modules' folders, of CLIP and SigLIP also preprocessor_config.json; or it is OpenCLIP's own
  // (open_clip_config.json, a tokenizer, open_clip_model.safetensors or
  // open_clip_pytorch_model.bin), or a file of word vectors (see WordVectors::Load). Errors:
  // not_found naming the missing file; invalid_argument naming the tensor or field; unsupported
  // for a model_type that is not known, listing those that are.
  static Result<std::unique_ptr<Encoder>> Load(const std::string& folder, const Runtime& runtime,
                                               const EncoderOptions& options = {});
  virtual ~Encoder() = default;

  // Each text is encoded with its role's prompt before it. Texts are packed by length without
  // padding. An empty text gives the vector of the prompt and the special tokens alone. Errors:
  // cancelled.
  virtual Result<Embeddings> Encode(std::span<const std::string_view> texts, TextRole role,
                                    const CancelToken* cancel = nullptr) const = 0;

  // Images into the space of the texts' vectors: [images, dim] f32, unit rows; of any size, each
  // preprocessed as the model's files say. Errors: failed_precondition when this model does not
  // encode images (info().images has no value); invalid_argument naming the number of one without
  // pixels; cancelled.
  virtual Result<Embeddings> EncodeImages(std::span<const Image> images,
                                          const CancelToken* cancel = nullptr) const = 0;

  virtual const EncoderInfo& info() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
};

}  // namespace rag
