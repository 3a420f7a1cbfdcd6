// The linear probe over the vectors of a small random CLIP model.
#include "engine/probe.h"

#include <algorithm>

#include "tests/embed/image_encoder_support.h"
#include "tests/engine/opened_engine.h"

namespace rag::test {
namespace {

// Bright and dark pictures of noise, which even random weights tell apart.
Image NoisePicture(uint32_t seed, bool bright) {
  Image image{.width = 20, .height = 24};
  for (size_t i = 0; i < 20 * 24 * 3; ++i) {
    seed = seed * 1'664'525u + 1'013'904'223u;
    image.rgb.push_back(static_cast<uint8_t>((seed >> 25) + (bright ? 127 : 0)));
  }
  return image;
}

struct Trained {
  ImageEncoderFolder model{"clip"};
  OpenedEngine opened{model.path().string()};
  EncoderInfo encoder;
  Embeddings embeddings;
  std::vector<std::string> labels;

  Trained() {
    std::vector<Image> images;
    for (uint32_t i = 0; i < 40; ++i) {
      images.push_back(NoisePicture(i, i % 2 == 0));
      labels.push_back(i % 2 == 0 ? "bright" : "dark");
    }
    const Result<EncoderInfo> info = opened.engine->GetEncoderInfo();
    REQUIRE_OK(info);
    encoder = *info;
    Result<Embeddings> encoded = opened.engine->EmbedImages(images);
    REQUIRE_OK(encoded);
    embeddings = std::move(encoded).value();
  }
  Result<ProbeReport> Train() const {
    return TrainProbe(embeddings.vectors.view(), labels, encoder, {.c = 100}, *opened.runtime);
  }
};

TEST_CASE("a probe learns labels, is written, read back and tells new pictures") {
  const Trained trained;
  const Result<ProbeReport> report = trained.Train();
  REQUIRE_OK(report);
  CHECK(report->converged);
  CHECK(report->accuracy == 1);
  CHECK(report->probe.labels == std::vector<std::string>{"bright", "dark"});

  TemporaryFolder folder;
  WriteText(folder.path() / "probe.json", ToJson(ToValue(report->probe)));
  const Result<Probe> probe = ReadProbe(folder.file("probe.json"));
  REQUIRE_OK(probe);
  CHECK(probe->encoder == trained.encoder.fingerprint);
  CHECK(probe->model.bias == report->probe.model.bias);
  const std::vector<Image> fresh = {NoisePicture(901, true), NoisePicture(902, false)};
  const Result<Embeddings> embeddings = trained.opened.engine->EmbedImages(fresh);
  REQUIRE_OK(embeddings);
  const auto found = ApplyProbe(*probe, *embeddings, trained.encoder);
  REQUIRE_OK(found);
  CHECK((*found)[0][0].label == "bright");
  CHECK((*found)[1][0].label == "dark");
  for (const Classification& scores : *found) {
    CHECK(scores[0].probability + scores[1].probability == Approx(1));
    CHECK(scores[0].probability > 0.5);
  }

  EncoderInfo other = trained.encoder;
  other.fingerprint = "clip-20-other";
  const auto refused = ApplyProbe(*probe, *embeddings, other);
  CHECK(refused.status().code() == StatusCode::kFailedPrecondition);
  CHECK(refused.status().message().find("clip-20-other") != std::string::npos);
}

TEST_CASE("a probe's file that cannot be is refused, naming file and member") {
  const Trained trained;
  const Result<ProbeReport> report = trained.Train();
  REQUIRE_OK(report);
  const std::string good = ToJson(ToValue(report->probe));
  TemporaryFolder folder;
  const auto refused = [&](const std::string& text) {
    WriteText(folder.path() / "probe.json", text);
    const Status status = ReadProbe(folder.file("probe.json")).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().starts_with(folder.file("probe.json")));
    return status.message();
  };
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
  };
  CHECK(refused("[]").find("format") != std::string::npos);
  CHECK(refused(changed("\"version\":1", "\"version\":2")).find("'version' 2") !=
        std::string::npos);
  CHECK(refused(changed("\"bright\",", "")).find("1 'labels'") != std::string::npos);
  CHECK(refused(changed("\"weights\":[[", "\"weights\":[[1,")).find("row 1 of 'weights'") !=
        std::string::npos);
  CHECK(refused(changed("\"bias\":[", "\"bias\":[\"x\",")).find("'bias'") != std::string::npos);
  CHECK(refused(changed("\"weights\"", "\"weight\"")).find("'weights'") != std::string::npos);
  for (size_t size = 0; size < good.size(); size += 17) {
    WriteText(folder.path() / "probe.json", good.substr(0, size));
    CHECK_FALSE(ReadProbe(folder.file("probe.json")).ok());
  }
}

TEST_CASE("one label alone, or other vectors, train nothing") {
  Trained trained;
  std::ranges::fill(trained.labels, "bright");
  CHECK(trained.Train().status().code() == StatusCode::kInvalidArgument);
  const auto other = TrainProbe(MatrixView(trained.embeddings.vectors.data(), 40, 10),
                                trained.labels, trained.encoder, {}, *trained.opened.runtime);
  CHECK(other.status().code() == StatusCode::kInvalidArgument);
  CHECK(other.status().message().find("10 elements") != std::string::npos);
}

}  // namespace
}  // namespace rag::test
