#include "engine/classify/classify.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "engine/classify/texts.h"

namespace rag {
namespace {

constexpr std::string_view kPlace = "{}";
constexpr size_t kBatchSentences = 256;

Status CheckRequest(const ClassifyRequest& request) {
  RAG_RETURN_IF_ERROR(CheckLabels(request.labels, kMaxClassifyLabels));
  if (request.templates.empty() || request.templates.size() > kMaxClassifyTemplates) {
    return InvalidArgumentError(request.templates.size(), " templates are not between 1 and ",
                                kMaxClassifyTemplates);
  }
  for (size_t i = 0; i < request.templates.size(); ++i) {
    const std::string& text = request.templates[i];
    if (text.size() > kMaxClassifyTextBytes) {
      return InvalidArgumentError("template ", i, " has ", text.size(), " bytes, more than ",
                                  kMaxClassifyTextBytes);
    }
    size_t places = 0;
    for (size_t at = 0; (at = text.find(kPlace, at)) != std::string::npos; at += kPlace.size()) {
      ++places;
    }
    if (places < 1 || places > kMaxClassifyPlaces) {
      return InvalidArgumentError("template '", text, "' has ", places,
                                  " {} for the label, not 1 to ", kMaxClassifyPlaces);
    }
  }
  return OkStatus();
}

std::string Fill(std::string_view text, std::string_view label) {
  std::string filled;
  for (size_t at = 0; (at = text.find(kPlace)) != std::string_view::npos;) {
    filled += text.substr(0, at);
    filled += label;
    text.remove_prefix(at + kPlace.size());
  }
  filled += text;
  return filled;
}

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

void SetProbabilities(bool sigmoid, Classification& scores) {
  if (sigmoid) {
    for (LabelScore& score : scores) score.probability = 1 / (1 + std::exp(-score.logit));
    return;
  }
  double largest = scores.front().logit;
  for (const LabelScore& score : scores) largest = std::max(largest, score.logit);
  double sum = 0;
  for (LabelScore& score : scores) sum += score.probability = std::exp(score.logit - largest);
  for (LabelScore& score : scores) score.probability /= sum;
}

}  // namespace

Result<Matrix> EncodeLabels(const Encoder& encoder, const ClassifyRequest& request,
                            const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(CheckRequest(request));
  const size_t dim = encoder.info().dim;
  Matrix labels(request.labels.size(), dim);
  // Sentences of several labels together, so that there is work for every thread.
  const size_t templates = request.templates.size();
  const size_t together = std::max<size_t>(1, kBatchSentences / templates);
  for (size_t first = 0; first < request.labels.size(); first += together) {
    const size_t last = std::min(first + together, request.labels.size());
    std::vector<std::string> texts;
    for (size_t i = first; i < last; ++i) {
      for (const std::string& text : request.templates) {
        texts.push_back(Fill(text, request.labels[i]));
      }
    }
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    RAG_ASSIGN_OR_RETURN(const Embeddings embeddings,
                         encoder.Encode(views, TextRole::kPlain, cancel));
    for (size_t i = first; i < last; ++i) {
      const std::span<float> mean = labels.row(i);
      for (size_t t = 0; t < templates; ++t) {
        const std::span<const float> row = embeddings.vectors.row((i - first) * templates + t);
        for (size_t d = 0; d < dim; ++d) mean[d] += row[d];
      }
      const double length = std::sqrt(Dot(mean, mean));
      for (float& value : mean) value = static_cast<float>(value / std::max(length, 1e-12));
    }
  }
  return labels;
}

Result<std::vector<Classification>> ClassifyImages(const Encoder& encoder,
                                                   std::span<const Image> images,
                                                   const ClassifyRequest& request,
                                                   const CancelToken* cancel) {
  // First: it tells at once when the encoder has no pictures.
  RAG_ASSIGN_OR_RETURN(const Embeddings pictures, encoder.EncodeImages(images, cancel));
  RAG_ASSIGN_OR_RETURN(const Matrix labels, EncodeLabels(encoder, request, cancel));
  const ImageEncoderInfo& info = *encoder.info().images;
  std::vector<Classification> results(images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    for (size_t j = 0; j < request.labels.size(); ++j) {
      const double product = Dot(pictures.vectors.row(i), labels.row(j));
      results[i].push_back(
          {.label = request.labels[j], .logit = info.logit_scale * product + info.logit_bias});
    }
    SetProbabilities(info.sigmoid, results[i]);
    std::stable_sort(results[i].begin(), results[i].end(),
                     [](const LabelScore& a, const LabelScore& b) { return a.logit > b.logit; });
  }
  return results;
}

}  // namespace rag
