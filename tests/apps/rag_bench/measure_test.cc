// Recall, interpolation, specs and tables of rag-bench.
#include <catch2/catch.hpp>

#include "apps/rag_bench/measure/rounds.h"
#include "apps/rag_bench/report/report.h"
#include "apps/rag_bench/spec.h"
#include "tests/support/support.h"

namespace rag::bench {
namespace {

Point MakePoint(size_t width, double recall, std::vector<double> rates) {
  return {width, 100, recall, std::move(rates), {}};
}

Dataset Line(size_t rows) {
  Dataset data;
  data.base = Matrix(rows, 1);
  for (size_t i = 0; i < rows; ++i) data.base.row(i)[0] = static_cast<float>(i);
  data.queries = Matrix(1, 1);
  data.queries.row(0)[0] = 10.f;
  return data;
}

TEST_CASE("recall counts ties, and neither strangers nor repetitions") {
  const Dataset data = Line(30);
  const auto truth = ExactNeighbors(data, {}, 2, nullptr);
  REQUIRE_OK(truth);
  CHECK(truth->row(0)[0] == 10);
  CHECK(truth->row(0)[1] == 9);
  const Judge judge(data, *truth, 2, nullptr);
  const auto recall = [&](std::vector<Row> found) { return judge.Recall(found, 1); };
  CHECK(recall({10, 9}) == 1.0);
  CHECK(recall({11, 10}) == 1.0);  // as near as 9
  CHECK(recall({10, 10}) == 0.5);
  CHECK(recall({10, 12}) == 0.5);
  CHECK(recall({10, kNoRow}) == 0.5);
  CHECK(recall({500, kNoRow}) == 0.0);
}

TEST_CASE("recall under a filter that allows fewer than k") {
  const Dataset data = Line(30);
  FilterCase filter{"random", 0.1, {}, {0}};
  filter.sets.emplace_back(std::vector<Row>{3, 20, 29}, 30);
  const auto truth = ExactNeighbors(data, {}, 5, &filter);
  REQUIRE_OK(truth);
  CHECK(truth->row(0)[0] == 3);
  CHECK(truth->row(0)[2] == 29);
  CHECK(truth->row(0)[3] == kNoRow);
  const Judge judge(data, *truth, 5, &filter);
  CHECK(judge.Recall(std::vector<Row>{3, 20, 29, kNoRow, kNoRow}, 1) == 1.0);
  CHECK(judge.Recall(std::vector<Row>{10, 11, 9, 3, 20}, 1) == Approx(2.0 / 3));
}

TEST_CASE("filters allow the share they say, near to and far from the query") {
  const Dataset data = Line(1'000);
  for (const char* kind : {"random", "correlated", "anti-correlated"}) {
    const FilterCase filter = MakeFilter(data, kind, 0.1);
    INFO(kind);
    CHECK(filter.of(0).Count() == 100);
    CHECK(std::is_sorted(filter.of(0).Ids().begin(), filter.of(0).Ids().end()));
    for (const uint64_t id : filter.of(0).Ids()) CHECK(filter.of(0).Contains(id));
    CHECK_FALSE(filter.of(0).Contains(1'000));
  }
  // The query is at 10, the pivot nearest to it somewhere in the first half.
  const FilterCase near = MakeFilter(data, "correlated", 0.1);
  const FilterCase far = MakeFilter(data, "anti-correlated", 0.1);
  CHECK(near.of(0).Ids().back() < 500);
  CHECK(far.of(0).Ids().front() >= 500);
}

TEST_CASE("the rate at a recall lies between the points that nothing beats") {
  const std::vector<Point> points = {MakePoint(10, 0.90, {1'000}), MakePoint(20, 0.98, {250}),
                                     MakePoint(16, 0.85, {900}), MakePoint(30, 0.99, {200})};
  CHECK(RateAtRecall(points, 0.94) == Approx(500));  // the logarithm's half
  CHECK(RateAtRecall(points, 0.98) == Approx(250));
  CHECK(RateAtRecall(points, 0.99) == Approx(200));
  CHECK(RateAtRecall(points, 0.5) == Approx(1'000));  // a lower bound
  CHECK(RateAtRecall(points, 0.995) == 0);
  CHECK(RateAtRecall({}, 0.9) == 0);
}

TEST_CASE("median of rates and percentiles of latencies") {
  Point point = MakePoint(1, 1, {5, 1, 3});
  CHECK(point.median_rate() == 3);
  point.rates.push_back(4);
  CHECK(point.median_rate() == 3.5);
  for (int i = 0; i <= 100; ++i) point.latencies_us.push_back(static_cast<float>(i));
  CHECK(point.latency_us(0.5) == 50);
  CHECK(point.latency_us(0.99) == 99);
}

TEST_CASE("index specs") {
  VectorIndexOptions base;
  base.hnsw.m = 24;
  const auto specs = ParseIndexSpecs("flat,hnsw:m=8,ef_construction=50,sweep=10/20,hnsw", base);
  REQUIRE_OK(specs);
  REQUIRE(specs->size() == 3);
  CHECK((*specs)[0].options.kind == IndexKind::kFlat);
  CHECK((*specs)[1].name == "hnsw:m=8,ef_construction=50,sweep=10/20");
  CHECK((*specs)[1].options.hnsw.m == 8);
  CHECK((*specs)[1].options.hnsw.ef_construction == 50);
  CHECK((*specs)[1].widths == std::vector<size_t>{10, 20});
  CHECK((*specs)[2].options.hnsw.m == 24);
  const auto coded = ParseIndexSpecs("hnsw:pca8,m=8,u8,hnsw:code_dims=64,codes=sq8");
  REQUIRE_OK(coded);
  REQUIRE(coded->size() == 2);
  CHECK((*coded)[0].options.hnsw.codes == CodeKind::kPca8);
  CHECK((*coded)[0].options.element == ElementType::kU8);
  CHECK((*coded)[1].options.hnsw.codes == CodeKind::kSq8);
  CHECK((*coded)[1].options.hnsw.code_dims == 64);
  for (const char* bad : {"", "tree", "hnsw,", "hnsw:", "hnsw:m", "hnsw:m=", "hnsw:m=x", "flat:m=4",
                          "m=4", "hnsw:sweep=1/70000", "flat,flat", "hnsw:m=99999999999999999999",
                          "hnsw,tree", "flat:codes=sq8", "hnsw:element=x"}) {
    INFO(bad);
    CHECK(ParseIndexSpecs(bad).status().code() == StatusCode::kInvalidArgument);
  }
}

Report MakeReport() {
  Report report;
  report.data = "set";
  report.rows = 1'000;
  report.dim = 8;
  report.metric = "l2";
  report.k = 10;
  report.run.processor = "a processor";
  report.run.isa = "avx2";
  report.run.date = "2001-01-01T00:00:00Z";
  report.run.command = "rag-bench search";
  SystemReport ours;
  ours.info.name = "hnsw:m=8,seed=1";
  ours.info.source = "rag";
  ours.built = {1.5, 2'000'000, 3'000'000};
  ours.points = {MakePoint(10, 0.94, {900, 1'000}), MakePoint(20, 0.99, {400})};
  ours.points[0].latencies_us = {1, 2, 3};
  SystemReport peer = ours;
  peer.info.name = "hnswlib";
  peer.points = {MakePoint(10, 0.9, {500}), MakePoint(20, 1.0, {200})};
  report.systems = {ours, peer};
  return report;
}

TEST_CASE("Markdown, text and CSV") {
  Report report = MakeReport();
  report.run.missing = {"usearch: not installed"};
  const std::string markdown = ReportToMarkdown(report);
  CHECK(markdown.find("| hnsw:m=8,seed=1 | 10 | 0.9400 | 950 | 900 | 1000 | 2 | 3 | 3 |") !=
        std::string::npos);
  CHECK(markdown.find("| system | 0.95 | x hnswlib | 0.97 | x hnswlib | 0.99 | x hnswlib |") !=
        std::string::npos);
  CHECK(markdown.find("| --- | ---: |") != std::string::npos);
  CHECK(markdown.find("not measured: usearch: not installed") != std::string::npos);
  const std::string text = ReportToText(report);
  CHECK(text.find("2001") == std::string::npos);  // a table is the same on every day
  CHECK(text.find("a processor, avx2") != std::string::npos);
  const std::string csv = ReportToCsv(report);
  CHECK(csv.find("\"hnsw:m=8,seed=1\",10,100,0.94,950,900,1000,") != std::string::npos);
}

TEST_CASE("JSON carries everything") {
  const Value json = ReportToJson(MakeReport());
  CHECK(json.Find("date")->as_string() == "2001-01-01T00:00:00Z");
  CHECK(json.Find("machine")->Find("processor")->as_string() == "a processor");
  const Value& ours = json.Find("systems")->as_array()[0];
  CHECK(ours.Find("bytes_per_vector")->as_double() == 2'000);
  CHECK(ours.Find("points")->as_array()[0].Find("latency_us")->Find("p50")->as_double() == 2);
  const Value& at = ours.Find("at_recall")->as_array()[0];
  CHECK(at.Find("recall")->as_double() == 0.95);
  CHECK(at.Find("ratio_to_hnswlib")->as_double() > 1);
}

TEST_CASE("the best point is the fastest of enough recall, else the most exact") {
  const std::vector<Point> points = {MakePoint(1, 0.5, {900}), MakePoint(2, 0.96, {300}),
                                     MakePoint(3, 0.99, {100})};
  CHECK(BestPoint(points, 0.95)->width == 2);
  CHECK(BestPoint(points, 0.999)->width == 3);
  CHECK(BestPoint({}, 0.9) == nullptr);
}

TEST_CASE("plots are drawn as SVG and PNG") {
  const test::TemporaryFolder folder;
  const Report report = MakeReport();
  REQUIRE_OK(DrawPlot(report, folder.file("a.svg")));
  CHECK(test::ReadAll(folder.file("a.svg")).find("<svg") != std::string::npos);
  REQUIRE_OK(DrawPlot(report, folder.file("a.png")));
  CHECK(test::ReadAll(folder.file("a.png")).starts_with("\x89PNG"));
  CHECK(DrawPlot(report, folder.file("none/a.png")).code() == StatusCode::kIoError);
  CHECK(DrawPlot(Report(), folder.file("b.svg")).code() == StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace rag::bench
