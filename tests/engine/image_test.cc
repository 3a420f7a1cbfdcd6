// Pictures through the engine, with the small random CLIP and SigLIP models of
// tests/golden/image_encoders.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/engine.h"
#include "tests/embed/image_encoder_support.h"
#include "tests/engine/opened_engine.h"

namespace rag::test {
namespace {

namespace fs = std::filesystem;

// The files of tests/golden/images/decode.json by name.
std::string ImageBytes(std::string_view name) {
  return DecodeField(FindRow(GoldenImages("decode.json"), name), "file");
}

struct Pictures {
  ImageEncoderFolder model;
  OpenedEngine opened;
  TemporaryFolder files;

  explicit Pictures(const std::string& name = "clip")
      : model(name), opened(model.path().string()) {}

  std::string Put(const std::string& name, std::string_view bytes) {
    WriteText(files.path() / name, bytes);
    return files.file(name);
  }
  Engine& engine() { return *opened.engine; }
  IngestReport Ingest() {
    const std::string paths[] = {files.path().string()};
    Result<IngestReport> report = engine().Ingest("pictures", paths, {});
    REQUIRE_OK(report);
    return std::move(report).value();
  }
  std::vector<Hit> Search(const SearchRequest& request) {
    Result<SearchResponse> response = engine().Search("pictures", request);
    REQUIRE_OK(response);
    return std::move(response->hits);
  }
};

TEST_CASE("a picture is a document that its own file, words and name find") {
  Pictures pictures;
  const std::string red = pictures.Put("red barn.jpg", ImageBytes("jpeg"));
  pictures.Put("turned.jpg", ImageBytes("jpeg-orientation-6"));
  pictures.Put("palette.gif", ImageBytes("gif"));
  // Known by its bytes, whatever its name says.
  const std::string odd = pictures.Put("odd.txt", ImageBytes("webp-lossless"));
  pictures.Put("notes.md", "# Barns\n\nA barn is where hay is kept.\n");
  const IngestReport report = pictures.Ingest();
  CHECK(report.failed.empty());
  CHECK(report.indexed == 5);
  CHECK(report.chunks == 5);

  const Result<StoredDocument> document = pictures.engine().GetDocument("pictures", red);
  REQUIRE_OK(document);
  CHECK(document->media_type == "image/jpeg");
  CHECK(document->text == "red barn.jpg");
  CHECK(document->title == "red barn");
  CHECK(document->chunk_ids.size() == 1);
  CHECK(pictures.engine().GetDocument("pictures", odd)->media_type == "image/webp");
  const Result<VerifyReport> verified = pictures.engine().Verify("pictures");
  REQUIRE_OK(verified);
  CHECK(verified->problems.empty());

  // Itself first, with a cosine of 1.
  const std::vector<Hit> same = pictures.Search({.image = ImageBytes("jpeg"), .k = 3});
  REQUIRE(same.size() == 3);
  CHECK(same[0].document == red);
  CHECK(same[0].score == Approx(1).epsilon(1e-4));
  CHECK(same[0].text == "red barn.jpg");
  CHECK(same[0].start == 0);
  CHECK(same[0].end == 12);
  CHECK(same[1].score < same[0].score);

  // By text, ranked as the encoder's own vectors say.
  const Result<std::unique_ptr<Encoder>> encoder = pictures.model.Load(*pictures.opened.runtime);
  REQUIRE_OK(encoder);
  const std::string_view query = "hay in a barn";
  const Result<Embeddings> text = (*encoder)->Encode({&query, 1}, TextRole::kQuery);
  const Result<Image> image = DecodeImage(ImageBytes("gif"), "x");
  REQUIRE_OK(text);
  REQUIRE_OK(image);
  const Result<Embeddings> vector = (*encoder)->EncodeImages({&*image, 1});
  REQUIRE_OK(vector);
  const std::vector<Hit> found = pictures.Search({.query = std::string(query),
                                                  .k = 5,
                                                  .mode = SearchMode::kDense,
                                                  .filter = "media_type = 'image/gif'"});
  REQUIRE(found.size() == 1);
  CHECK(found[0].score ==
        Approx(Cosine(text->vectors.row(0), vector->vectors.row(0))).margin(1e-4));

  const std::vector<Hit> named = pictures.Search({.query = "barn",
                                                  .k = 5,
                                                  .mode = SearchMode::kLexical,
                                                  .filter = "media_type = 'image/jpeg'"});
  REQUIRE(named.size() == 1);
  CHECK(named[0].document == red);
}

TEST_CASE("a picture from memory has a caption, or its key") {
  Pictures pictures;
  Document barn;
  barn.key = "barn-1";
  barn.text = "A red barn under a blue sky";
  barn.image = ImageBytes("png-rgb");
  barn.metadata = Value::Object{{"year", 1999}};
  const Result<DocumentStatus> added = pictures.engine().AddDocument("pictures", barn);
  REQUIRE_OK(added);
  CHECK(added->chunks == 1);
  CHECK(pictures.engine().AddDocument("pictures", barn)->unchanged);
  barn.image = ImageBytes("gif-grey");
  CHECK(pictures.engine().AddDocument("pictures", barn)->replaced);
  Document plain;
  plain.key = "plain";
  plain.image = ImageBytes("jpeg");
  REQUIRE_OK(pictures.engine().AddDocument("pictures", plain));
  CHECK(pictures.engine().GetDocument("pictures", "plain")->text == "plain");
  CHECK(pictures.engine().GetDocument("pictures", "barn-1")->media_type == "image/gif");
  const std::vector<Hit> hits = pictures.Search({.image = ImageBytes("gif-grey"), .k = 1});
  CHECK(hits[0].document == "barn-1");
  CHECK(hits[0].text == "A red barn under a blue sky");
  CHECK(*hits[0].metadata.Find("year") == Value(1999));
  const std::vector<Hit> words =
      pictures.Search({.query = "blue sky", .k = 2, .mode = SearchMode::kLexical});
  CHECK(words.size() == 1);
  plain.image = ImageBytes("jpeg").substr(0, 200);
  const Status damaged = pictures.engine().AddDocument("pictures", plain).status();
  CHECK(damaged.code() == StatusCode::kInvalidArgument);
  CHECK(damaged.message().starts_with("plain: damaged JPEG"));
  plain.image = "words";
  CHECK(pictures.engine().AddDocument("pictures", plain).status().code() ==
        StatusCode::kInvalidArgument);
}

TEST_CASE("known pictures are skipped, changed ones replaced, gone ones pruned") {
  Pictures pictures;
  const std::string path = pictures.Put("a.png", ImageBytes("png-rgb"));
  CHECK(pictures.Ingest().documents == 1);
  CHECK(pictures.Ingest().unchanged == 1);
  // The same name and other pixels.
  pictures.Put("a.png", ImageBytes("png-1-bit"));
  CHECK(pictures.Ingest().documents == 1);
  const std::vector<Hit> hits = pictures.Search({.image = ImageBytes("png-1-bit")});
  REQUIRE(hits.size() == 1);
  CHECK(hits[0].score == Approx(1).epsilon(1e-4));
  fs::remove(path);
  const std::string paths[] = {pictures.files.path().string()};
  const Result<IngestReport> pruned = pictures.engine().Ingest("pictures", paths, {.prune = true});
  REQUIRE_OK(pruned);
  CHECK(pruned->removed == 1);
}

TEST_CASE("damaged pictures are told one by one and the rest is indexed") {
  Pictures pictures;
  std::vector<std::string> bad;
  for (size_t i = 0; i < 40; ++i) {
    const std::string name = StrCat("picture", i, ".jpg");
    std::string bytes = ImageBytes("jpeg");
    if (i % 7 == 3) {
      bytes.resize(bytes.size() / 2);
      bad.push_back(pictures.files.file(name));
    } else {
      bytes += std::to_string(i);  // behind the picture's end: another file
    }
    pictures.Put(name, bytes);
  }
  pictures.Put("good.txt", "Good text.");
  const IngestReport report = pictures.Ingest();
  CHECK(report.files == 41);
  CHECK(report.indexed == 41 - bad.size());
  std::vector<std::string> failed;
  for (const IngestFailure& failure : report.failed) {
    failed.push_back(failure.path);
    CHECK(failure.error.code() == StatusCode::kInvalidArgument);
    CHECK(failure.error.message().starts_with(failure.path + ": damaged JPEG"));
  }
  std::ranges::sort(failed);
  std::ranges::sort(bad);
  CHECK(failed == bad);
  // A picture that goes bad keeps what was indexed of it; one that is repaired comes in.
  pictures.Put("picture0.jpg", ImageBytes("jpeg").substr(0, 300));
  pictures.Put("picture3.jpg", ImageBytes("jpeg"));
  const IngestReport second = pictures.Ingest();
  CHECK(second.documents == 1);
  CHECK(second.failed.size() == bad.size());
  CHECK(pictures.engine().GetDocument("pictures", pictures.files.file("picture0.jpg")).ok());
}

TEST_CASE("an encoder of texts alone, or none, says so for each picture") {
  const EncoderFolder texts("bert");
  for (const std::string& encoder : {texts.path().string(), std::string("none")}) {
    OpenedEngine opened(encoder);
    TemporaryFolder files;
    WriteText(files.path() / "a.png", ImageBytes("png-rgb"));
    WriteText(files.path() / "b.txt", "A text.");
    const std::string paths[] = {files.path().string()};
    const Result<IngestReport> report = opened.engine->Ingest("notes", paths, {});
    REQUIRE_OK(report);
    CHECK(report->indexed == 1);
    REQUIRE(report->failed.size() == 1);
    CHECK(report->failed[0].path == files.file("a.png"));
    CHECK(report->failed[0].error.code() == StatusCode::kFailedPrecondition);
    CHECK(report->failed[0].error.message().find("images") != std::string::npos);
    const Result<SearchResponse> found =
        opened.engine->Search("notes", {.image = ImageBytes("png-rgb")});
    CHECK(found.status().code() == StatusCode::kFailedPrecondition);
    const Result<Image> image = DecodeImage(ImageBytes("png-rgb"), "x");
    REQUIRE_OK(image);
    CHECK(opened.engine->EmbedImages({&*image, 1}).status().code() ==
          StatusCode::kFailedPrecondition);
    CHECK(opened.engine->Classify({&*image, 1}, {.labels = {"cat"}}).status().code() ==
          StatusCode::kFailedPrecondition);
  }
}

TEST_CASE("a search by a picture that cannot be is refused, naming why") {
  Pictures pictures;
  pictures.Put("a.png", ImageBytes("png-rgb"));
  pictures.Ingest();
  const std::string image = ImageBytes("png-rgb");
  const auto refused = [&](const SearchRequest& request) {
    const Result<SearchResponse> response = pictures.engine().Search("pictures", request);
    CHECK(response.status().code() == StatusCode::kInvalidArgument);
    return response.status().message();
  };
  CHECK(refused({.query = "x", .image = image}).find("both") != std::string::npos);
  CHECK(refused({.image = image, .mode = SearchMode::kLexical}).find("lexical") !=
        std::string::npos);
  CHECK(refused({.image = image, .rerank_top = 5}).find("rerank_top") != std::string::npos);
  CHECK(refused({.image = "nothing"}).find("the query's image") != std::string::npos);
  CHECK(refused({.image = image.substr(0, 60)}).find("damaged PNG") != std::string::npos);
  AskRequest ask;
  ask.search.image = image;
  CHECK(pictures.engine().Ask("pictures", ask).status().code() == StatusCode::kInvalidArgument);
}

// Probabilities that follow from the reference's logits.
std::vector<double> Probabilities(const Value::Array& logits, bool sigmoid) {
  std::vector<double> out;
  double sum = 0;
  for (const Value& logit : logits) sum += std::exp(logit.as_double());
  for (const Value& logit : logits) {
    out.push_back(sigmoid ? 1 / (1 + std::exp(-logit.as_double()))
                          : std::exp(logit.as_double()) / sum);
  }
  return out;
}

TEST_CASE("zero-shot classification gives the reference's probabilities") {
  std::vector<std::string> labels = FamilyTexts();
  labels.resize(5);
  const std::vector<Image> images = GoldenPictures();
  for (const std::string name : {"clip", "open-clip", "siglip"}) {
    Pictures pictures(name);
    const Result<std::vector<Classification>> results =
        pictures.engine().Classify(images, {.labels = labels, .templates = {"{}"}});
    REQUIRE_OK(results);
    REQUIRE(results->size() == images.size());
    const Result<Value> logits = ParseJson(ReadAll(pictures.model.path() / "logits.json"));
    REQUIRE_OK(logits);
    for (size_t i = 0; i < images.size(); ++i) {
      const std::vector<double> expected =
          Probabilities(logits->as_array()[i].as_array(), name == "siglip");
      const Classification& scores = (*results)[i];
      REQUIRE(scores.size() == labels.size());
      CHECK(std::ranges::is_sorted(scores, std::ranges::greater(), &LabelScore::probability));
      for (size_t j = 0; j < labels.size(); ++j) {
        const auto found = std::ranges::find(scores, labels[j], &LabelScore::label);
        REQUIRE(found != scores.end());
        INFO(name << " picture " << i << " label " << j);
        CHECK(found->probability == Approx(expected[j]).margin(1e-3));
      }
    }
  }
}

TEST_CASE("of several templates a label gets the mean") {
  Pictures pictures;
  const std::vector<Image> images = GoldenPictures();
  const std::vector<std::string> templates = {"a photo of a {}", "a {} drawn by a {}"};
  const Result<std::vector<Classification>> results =
      pictures.engine().Classify({&images[0], 1}, {.labels = {"cat"}, .templates = templates});
  REQUIRE_OK(results);
  const std::string_view texts[] = {"a photo of a cat", "a cat drawn by a cat"};
  const Result<Embeddings> sentences = pictures.engine().Embed(texts);
  const Result<Embeddings> picture = pictures.engine().EmbedImages({&images[0], 1});
  REQUIRE_OK(sentences);
  REQUIRE_OK(picture);
  std::vector<float> sum(sentences->vectors.cols());
  for (size_t d = 0; d < sum.size(); ++d) {
    sum[d] = sentences->vectors.row(0)[d] + sentences->vectors.row(1)[d];
  }
  const Result<EncoderInfo> info = pictures.engine().GetEncoderInfo();
  REQUIRE_OK(info);
  CHECK((*results)[0][0].logit ==
        Approx(info->images->logit_scale * Cosine(sum, picture->vectors.row(0))).epsilon(1e-4));
  CHECK((*results)[0][0].probability == 1);
}

TEST_CASE("a classification that asks for nothing is refused") {
  Pictures pictures;
  const std::vector<Image> images = GoldenPictures();
  const auto refused = [&](const ClassifyRequest& request) {
    const auto results = pictures.engine().Classify({&images[0], 1}, request);
    CHECK(results.status().code() == StatusCode::kInvalidArgument);
    return results.status().message();
  };
  CHECK(refused({}).find("0 labels") != std::string::npos);
  CHECK(refused({.labels = {"a", ""}}).find("empty") != std::string::npos);
  CHECK(refused({.labels = {"a", "b", "a"}}).find("'a' is there twice") != std::string::npos);
  CHECK(refused({.labels = {"a"}, .templates = {}}).find("0 templates") != std::string::npos);
  CHECK(refused({.labels = {"a"}, .templates = {"photo"}}).find("'photo'") != std::string::npos);
  const std::string longer(kMaxClassifyTextBytes + 1, 'x');
  CHECK(refused({.labels = {"a", longer}}).find("label 1 has 1001") != std::string::npos);
  CHECK(
      refused({.labels = {"a"}, .templates = {"{}", "{}" + longer}}).find("template 1 has 1003") !=
      std::string::npos);
  CHECK(refused({.labels = {"a"}, .templates = {"{}{}{}{}{}{}{}{}{}"}}).find("has 9 {}") !=
        std::string::npos);
}

}  // namespace
}  // namespace rag::test
