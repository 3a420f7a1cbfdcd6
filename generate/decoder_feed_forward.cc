// Decoder: the feed-forward part, dense or a mixture of experts.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "generate/decoder.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

void MultiplyInto(float* x, const float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] *= y[i];
}

// The experts with the largest logits, and their softmax among themselves (Mixtral of Experts,
// section 2.1; the softmax of all of them divided by the chosen ones' sum is the same).
struct Route {
  std::vector<size_t> experts;
  std::vector<float> weights;
};

Route ChooseExperts(std::span<const float> logits, size_t count, const Kernels& kernels) {
  Route route;
  route.experts.resize(logits.size());
  std::iota(route.experts.begin(), route.experts.end(), size_t{0});
  std::stable_sort(route.experts.begin(), route.experts.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  route.experts.resize(count);
  for (const size_t expert : route.experts) route.weights.push_back(logits[expert]);
  kernels.softmax(route.weights.data(), count);
  return route;
}

}  // namespace

// input_ -> out.
void Decoder::RunFeedForward(const FeedForward& weights, size_t tokens, Matrix& out) {
  const bool gated = weights.gate.exists();
  const std::pair<const Projection*, Matrix*> hidden[] = {{&weights.up, &up_},
                                                          {&weights.gate, &gate_}};
  Project(std::span(hidden).first(gated ? 2 : 1), tokens);
  Matrix& activated = gated ? gate_ : up_;
  const size_t width = config_.feed_forward;
  runtime_.pool().ParallelFor(tokens, 1, [&](size_t begin, size_t end, int) {
    for (size_t t = begin; t < end; ++t) {
      Activate(runtime_.kernels(), config_.activation, activated.row(t).data(), width);
      if (gated) MultiplyInto(activated.row(t).data(), up_.row(t).data(), width);
    }
  });
  input_.Set({activated.data(), tokens, width});
  const std::pair<const Projection*, Matrix*> output = {&weights.down, &out};
  Project({&output, 1}, tokens);
}

void Decoder::RunExperts(const DecoderLayer& weights, size_t tokens) {
  const MatrixView input = input_.x();
  const std::pair<const Projection*, Matrix*> router = {&weights.router, &routes_};
  Project({&router, 1}, tokens);
  std::vector<Route> routes;
  for (size_t t = 0; t < tokens; ++t) {
    routes.push_back(ChooseExperts(routes_.row(t), config_.experts_used, runtime_.kernels()));
    const std::span<float> row = feed_delta_.row(t);
    std::fill(row.begin(), row.end(), 0.0f);
  }
  // By expert, so that its weights are read once; each token's sum runs in the order of experts
  // whatever the other tokens are.
  for (size_t expert = 0; expert < config_.experts; ++expert) {
    std::vector<size_t> takers;
    std::vector<float> shares;
    for (size_t t = 0; t < tokens; ++t) {
      const auto& chosen = routes[t].experts;
      const auto found = std::find(chosen.begin(), chosen.end(), expert);
      if (found == chosen.end()) continue;
      takers.push_back(t);
      shares.push_back(routes[t].weights[static_cast<size_t>(found - chosen.begin())]);
    }
    if (takers.empty()) continue;
    for (size_t i = 0; i < takers.size(); ++i) {
      std::memcpy(expert_input_.row(i).data(), input.row(takers[i]).data(),
                  config_.width * sizeof(float));
    }
    lora_.Select(takers);
    input_.Set({expert_input_.data(), takers.size(), config_.width});
    RunFeedForward(weights.feed[expert], takers.size(), expert_delta_);
    for (size_t i = 0; i < takers.size(); ++i) {
      runtime_.kernels().axpy(shares[i], expert_delta_.row(i).data(),
                              feed_delta_.row(takers[i]).data(), config_.width);
    }
  }
  lora_.SelectAll();
}

void Decoder::FeedForwardPart(size_t layer, size_t tokens) {
  const DecoderLayer& weights = weights_.layers[layer];
  if (config_.experts > 0) {
    RunExperts(weights, tokens);
  } else {
    RunFeedForward(weights.feed[0], tokens, feed_delta_);
  }
  if (weights.feed_post_norm.exists()) NormalizeRows(weights.feed_post_norm, feed_delta_, tokens);
}

}  // namespace rag
