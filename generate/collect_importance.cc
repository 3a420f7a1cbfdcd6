// Running a model over a text to see what enters its matrices.
#include <algorithm>
#include <functional>

#include "generate/decoder.h"
#include "generate/expert_names.h"
#include "generate/importance.h"
#include "generate/open_decoder.h"

namespace rag {
namespace {

constexpr size_t kMaxChunkTokens = size_t{1} << 20;

// Sums the inputs of the matrices that lie in a file.
class Collector final : public ProductObserver {
 public:
  Collector(const GgufFile& file, size_t experts) {
    for (const std::string& name : file.TensorNames()) {
      const TensorView& tensor = *file.Find(name);
      if (tensor.shape.size() < 2 || !name.starts_with("blk.")) continue;
      Place place = {tensor.bytes.data(), tensor.bytes.size(), name, 0, 1};
      if (ParseExpert(name, place.name, place.expert)) place.experts = experts;
      if (tensor.shape.size() == 3) place.experts = tensor.shape[0];
      places_.push_back(std::move(place));
    }
    std::sort(places_.begin(), places_.end(),
              [](const Place& a, const Place& b) { return std::less<>()(a.begin, b.begin); });
  }

  void OnInput(const TensorView& weights, const MatrixView& input) override {
    const std::byte* const begin = weights.bytes.data();
    auto place = std::upper_bound(
        places_.begin(), places_.end(), begin,
        [](const std::byte* at, const Place& p) { return std::less<>()(at, p.begin); });
    if (place == places_.begin()) return;
    --place;
    const auto offset = static_cast<size_t>(begin - place->begin);
    if (offset >= place->bytes) return;
    size_t expert = place->expert;
    if (offset != 0) {
      // Either the matrix of an expert, or a further part of rows fused into one matrix, whose
      // input was counted with the first part.
      if (place->experts <= 1) return;
      expert = offset / (place->bytes / place->experts);
    }
    Add(place->name, place->experts, expert, input);
  }

  std::map<std::string, ImportanceEntry, std::less<>> Take() { return std::move(entries_); }

 private:
  struct Place {
    const std::byte* begin;
    size_t bytes;
    std::string name;  // of the tensor of all experts, where each has one of its own
    size_t expert;
    size_t experts;
  };

  void Add(const std::string& name, size_t experts, size_t expert, const MatrixView& input) {
    ImportanceEntry& entry = entries_[name];
    if (entry.counts.empty()) {
      entry.columns = input.cols;
      entry.sums.resize(experts * input.cols);
      entry.counts.resize(experts);
    }
    entry.counts[expert] += static_cast<double>(input.rows);
    double* const sums = entry.sums.data() + expert * input.cols;
    for (size_t row = 0; row < input.rows; ++row) {
      const std::span<const float> x = input.row(row);
      for (size_t i = 0; i < x.size(); ++i) sums[i] += double{x[i]} * double{x[i]};
    }
  }

  std::vector<Place> places_;  // by begin
  std::map<std::string, ImportanceEntry, std::less<>> entries_;
};

}  // namespace

Result<Importance> CollectImportance(const std::string& model, std::string_view text,
                                     const ImportanceOptions& options, const Runtime& runtime,
                                     const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(const GgufFile file, OpenDecoder(model));
  RAG_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(file));
  RAG_ASSIGN_OR_RETURN(const DecoderWeights weights, ReadDecoderWeights(file, config));
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(file, config));
  const size_t chunk = options.chunk_tokens;
  if (chunk < 2 || chunk > std::min(config.file_context, kMaxChunkTokens)) {
    return InvalidArgumentError("chunks of ", chunk, " tokens: the model reads 2 to ",
                                std::min(config.file_context, kMaxChunkTokens));
  }
  std::vector<TokenId> tokens = tokenizer->Encode(text, {.add_special_tokens = false}).ids;
  const std::vector<TokenId> special = tokenizer->Encode("").ids;
  const bool begins = !special.empty() && special.front() == tokenizer->bos_id();
  if (begins) tokens.insert(tokens.begin(), special.front());
  size_t chunks = tokens.size() / chunk;
  if (options.max_chunks != 0) chunks = std::min(chunks, options.max_chunks);
  if (chunks == 0) {
    return InvalidArgumentError("the text has ", tokens.size(), " tokens, fewer than a chunk's ",
                                chunk);
  }
  const KvShape shape = {
      .layers = config.layers, .heads = config.kv_heads, .head_dim = config.head_dim};
  const size_t blocks = KvPool::BlocksFor(chunk);
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<KvPool> pool,
                       KvPool::Create(shape, blocks * KvPool::BlockBytes(shape)));
  std::vector<KvPool::BlockId> taken;
  for (size_t i = 0; i < blocks; ++i) {
    const std::optional<KvPool::BlockId> block = pool->Take();
    if (!block.has_value()) {
      return ResourceExhaustedError("no memory for keys and values of ", chunk, " tokens");
    }
    taken.push_back(*block);
  }
  const size_t pass = std::min(chunk, Decoder::kChunkTokens);
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder,
                       Decoder::Create(config, weights, *pool, chunk, pass, runtime));
  Collector collector(file, config.experts);
  decoder->set_observer(&collector);
  std::vector<TokenId> run;
  for (size_t i = 0; i < chunks; ++i) {
    const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(i * chunk);
    run.assign(first, first + static_cast<std::ptrdiff_t>(chunk));
    if (begins) run.front() = special.front();
    for (size_t at = 0; at < run.size(); at += pass) {
      if (cancel != nullptr && cancel->cancelled()) {
        return CancelledError("collecting the importance was cancelled");
      }
      const DecoderChunk part = {
          .tokens = std::span(run).subspan(at, std::min(pass, run.size() - at)),
          .position = at,
          .blocks = taken,
          .logits = DecoderChunk::Logits::kNone};
      RAG_RETURN_IF_ERROR(decoder->Forward({&part, 1}));
    }
  }
  Importance out;
  out.entries = collector.Take();
  out.chunks = chunks;
  out.chunk_tokens = chunk;
  const Status sums = out.Check();
  if (!sums.ok()) return DataLossError(model, ": ", sums.message());
  return out;
}

}  // namespace rag
