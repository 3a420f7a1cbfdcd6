#include "engine/ingest/encode.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "lib/image/image.h"

namespace rag {
namespace {

// Texts encoded at once: enough that every core is busy for a second or two.
constexpr size_t kBatchChunks = 256;
// Pictures decoded before they are encoded, and pixels of them (three bytes each).
constexpr size_t kBatchImages = 32;
constexpr size_t kBatchPixels = size_t{1} << 26;
// Pictures that are decoded at one time: each may take some hundred megabytes meanwhile.
constexpr size_t kDecodedTogether = 4;

void CountChunks(IngestProgress* progress, size_t count) {
  if (progress != nullptr) progress->chunks_done.fetch_add(count, std::memory_order_relaxed);
}

// The passages of a batch, counted once although they may be encoded twice.
class PassageCount {
 public:
  explicit PassageCount(IngestProgress* progress) : progress_(progress) {}

  void Add(size_t count) {
    done_ += count;
    if (done_ <= told_) return;
    CountChunks(progress_, done_ - told_);
    told_ = done_;
  }
  size_t done() const { return done_; }
  // What was done after the first `done` came to nothing.
  void Back(size_t done) { done_ = done; }

 private:
  IngestProgress* const progress_;
  size_t done_ = 0;
  size_t told_ = 0;
};

// The texts of some chunks. Without an encoder they have no vectors, or a picture's.
Status EncodeTexts(std::span<ChunkInput* const> chunks, const IngestModels& models,
                   const CancelToken* cancel, EncodeReport& report) {
  std::vector<std::string_view> texts;
  for (const ChunkInput* chunk : chunks) texts.push_back(chunk->lexical_text);
  std::vector<bool> cut(chunks.size());
  if (models.encoder != nullptr) {
    RAG_ASSIGN_OR_RETURN(const Embeddings embeddings,
                         models.encoder->Encode(texts, TextRole::kDocument, cancel));
    for (size_t i = 0; i < chunks.size(); ++i) {
      const std::span<const float> row = embeddings.vectors.row(i);
      chunks[i]->vector.assign(row.begin(), row.end());
      cut[i] = embeddings.truncated[i] != 0;
    }
  }
  if (models.sparse != nullptr) {
    RAG_ASSIGN_OR_RETURN(SparseEmbeddings embeddings,
                         models.sparse->Encode(texts, TextRole::kDocument, cancel));
    for (size_t i = 0; i < chunks.size(); ++i) {
      chunks[i]->sparse = std::move(embeddings.vectors[i]);
      cut[i] = cut[i] || embeddings.truncated[i] != 0;
    }
  }
  if (models.tokens != nullptr) {
    RAG_ASSIGN_OR_RETURN(const TokenVectors vectors,
                         models.tokens->Encode(texts, TextRole::kDocument, cancel));
    for (size_t i = 0; i < chunks.size(); ++i) {
      chunks[i]->attachment = PackTokenVectors(vectors.texts[i].view());
      cut[i] = cut[i] || vectors.truncated[i] != 0;
    }
  }
  report.truncated += static_cast<uint64_t>(std::count(cut.begin(), cut.end(), true));
  return OkStatus();
}

Status EncodeTexts(std::span<UnencodedDocument> documents, const IngestModels& models,
                   PassageCount& count, const CancelToken* cancel, EncodeReport& report) {
  std::vector<ChunkInput*> passages, captions;
  for (UnencodedDocument& document : documents) {
    std::vector<ChunkInput*>& chunks = document.image.empty() ? passages : captions;
    for (ChunkInput& chunk : document.input.chunks) chunks.push_back(&chunk);
  }
  const auto in_batches = [&](std::span<ChunkInput* const> chunks, const IngestModels& of_texts,
                              PassageCount* counted) -> Status {
    for (size_t begin = 0; begin < chunks.size(); begin += kBatchChunks) {
      const size_t size = std::min(kBatchChunks, chunks.size() - begin);
      RAG_RETURN_IF_ERROR(EncodeTexts(chunks.subspan(begin, size), of_texts, cancel, report));
      if (counted != nullptr) counted->Add(size);
    }
    return OkStatus();
  };
  RAG_RETURN_IF_ERROR(in_batches(passages, models, &count));
  if (models.sparse == nullptr && models.tokens == nullptr) return OkStatus();
  // Pictures are counted when they are encoded.
  IngestModels of_captions = models;
  of_captions.encoder = nullptr;
  return in_batches(captions, of_captions, nullptr);
}

// The pictures of a batch, decoded a few at a time and encoded when enough of them are there.
class ImageBatch {
 public:
  ImageBatch(std::span<UnencodedDocument> documents, const Encoder& encoder, ThreadPool& pool,
             IngestProgress* progress, const CancelToken* cancel, EncodeReport& report)
      : documents_(documents),
        encoder_(encoder),
        pool_(pool),
        progress_(progress),
        cancel_(cancel),
        report_(report) {}

  Status Run() {
    const size_t together = std::min(kDecodedTogether, static_cast<size_t>(pool_.size()));
    std::vector<size_t> waiting;
    for (size_t i = 0; i < documents_.size(); ++i) {
      if (documents_[i].image.empty()) continue;
      waiting.push_back(i);
      if (waiting.size() < together) continue;
      RAG_RETURN_IF_ERROR(Decode(waiting));
      waiting.clear();
    }
    RAG_RETURN_IF_ERROR(Decode(waiting));
    return Encode();
  }

 private:
  Status Decode(std::span<const size_t> numbers) {
    if (cancel_ != nullptr && cancel_->cancelled()) return CancelledError("cancelled");
    std::vector<std::optional<Result<Image>>> decoded(numbers.size());
    pool_.ParallelFor(numbers.size(), 1, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) {
        const UnencodedDocument& document = documents_[numbers[i]];
        decoded[i] = DecodeImage(document.image, document.input.key);
      }
    });
    for (size_t i = 0; i < numbers.size(); ++i) {
      documents_[numbers[i]].image.clear();
      if (!decoded[i]->ok()) {
        report_.refused.emplace_back(numbers[i], decoded[i]->status());
        continue;
      }
      pixels_ += (*decoded[i])->width * (*decoded[i])->height;
      images_.push_back(std::move(**decoded[i]));
      owners_.push_back(numbers[i]);
    }
    return images_.size() >= kBatchImages || pixels_ >= kBatchPixels ? Encode() : OkStatus();
  }

  Status Encode() {
    RAG_ASSIGN_OR_RETURN(const Embeddings embeddings, encoder_.EncodeImages(images_, cancel_));
    for (size_t i = 0; i < owners_.size(); ++i) {
      const std::span<const float> row = embeddings.vectors.row(i);
      for (ChunkInput& chunk : documents_[owners_[i]].input.chunks) {
        chunk.vector.assign(row.begin(), row.end());
      }
    }
    CountChunks(progress_, owners_.size());
    images_.clear();
    owners_.clear();
    pixels_ = 0;
    return OkStatus();
  }

  const std::span<UnencodedDocument> documents_;
  const Encoder& encoder_;
  ThreadPool& pool_;
  IngestProgress* const progress_;
  const CancelToken* const cancel_;
  EncodeReport& report_;
  std::vector<Image> images_;
  std::vector<size_t> owners_;  // of each image, its document's number
  size_t pixels_ = 0;
};

}  // namespace

Result<EncodeReport> EncodeDocuments(std::span<UnencodedDocument> documents,
                                     const IngestModels& models, ThreadPool& pool,
                                     IngestProgress* progress, const CancelToken* cancel) {
  EncodeReport report;
  PassageCount count(progress);
  const Status texts = EncodeTexts(documents, models, count, cancel, report);
  if (texts.code() == StatusCode::kInvalidArgument) {
    // A text is refused: alone, each document tells whether it is one of its own.
    report = {};
    count.Back(0);
    for (size_t i = 0; i < documents.size(); ++i) {
      const size_t done = count.done();
      Status alone = EncodeTexts(documents.subspan(i, 1), models, count, cancel, report);
      if (alone.code() == StatusCode::kInvalidArgument) {
        count.Back(done);
        documents[i].image.clear();  // it is not encoded either
        report.refused.emplace_back(i, std::move(alone));
      } else {
        RAG_RETURN_IF_ERROR(alone);
      }
    }
  } else {
    RAG_RETURN_IF_ERROR(texts);
  }
  if (models.encoder != nullptr && models.encoder->info().images.has_value()) {
    RAG_RETURN_IF_ERROR(
        ImageBatch(documents, *models.encoder, pool, progress, cancel, report).Run());
  }
  std::sort(report.refused.begin(), report.refused.end(),
            [](const auto& one, const auto& other) { return one.first < other.first; });
  return report;
}

}  // namespace rag
