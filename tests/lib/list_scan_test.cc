// Scans of an instruction set against sums in plain integers.
#include "lib/kernels/list_scan.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/support/support.h"

namespace rag::test {
namespace {

struct alignas(64) Line {
  std::byte bytes[64] = {};
};
class Aligned {
 public:
  explicit Aligned(size_t size) : lines_(size / 64 + 1) {}
  std::byte* data() { return lines_[0].bytes; }

 private:
  std::vector<Line> lines_;
};

size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

TEST_CASE("a scan finds what is below its bound, with the distance that the sums give") {
  const Isa isa = GENERATE(Isa::kScalar, Isa::kAvx2, Isa::kAvx512);
  const ListForm form = GENERATE(ListForm::kRows, ListForm::kBytes, ListForm::kNibbles);
  const ListKernels* const kernels = GetListKernels(isa);
  if (kernels == nullptr) RAG_SKIP("this processor cannot run " + std::string(IsaName(isa)));
  std::mt19937 random(7);
  for (const size_t count : {1, 31, 32, 33, 64, 100, 161}) {
    for (const size_t wanted_units : {1, 2, 5, 70, 300}) {
      const size_t units =
          form == ListForm::kRows ? RoundUp(wanted_units, kListAlign) : wanted_units;
      const size_t parts = form == ListForm::kNibbles ? units * kPartsPerGroup : units;
      const size_t entries = form == ListForm::kBytes ? 256 : 16;
      const size_t padded = RoundUp(count, kListBlock);
      Aligned codes(form == ListForm::kNibbles ? padded / kListBlock * kGroupBytes * units
                                               : padded * units);
      std::vector<std::vector<uint8_t>> plain(count, std::vector<uint8_t>(parts));
      for (size_t i = 0; i < count; ++i) {
        for (size_t part = 0; part < parts; ++part) {
          const auto code =
              static_cast<uint8_t>(random() % (form == ListForm::kNibbles ? 16 : 256));
          plain[i][part] = code;
          const size_t block = i / kListBlock, lane = i % kListBlock;
          switch (form) {
            case ListForm::kRows:
              codes.data()[i * units + part] = std::byte{code};
              break;
            case ListForm::kBytes:
              codes.data()[(block * units + part) * kListBlock + lane] = std::byte{code};
              break;
            case ListForm::kNibbles:
              const size_t at = kernels->nibble(part, lane);
              codes.data()[block * units * kGroupBytes + at / 2] |= std::byte(code << (at % 2 * 4));
          }
        }
      }
      std::vector<float> norms(padded, std::numeric_limits<float>::infinity());
      for (size_t i = 0; i < count; ++i) norms[i] = static_cast<float>(random() % 1'000);
      const bool has_factors = random() % 2 == 0;
      std::vector<float> factors(padded, 0.0f);
      for (size_t i = 0; i < count; ++i) factors[i] = static_cast<float>(random() % 100) / 50;
      for (const size_t queries : {1, 2, 3, 4, 7}) {
        const size_t table_bytes =
            form == ListForm::kRows ? units : RoundUp(parts * entries, kListAlign);
        Aligned tables(queries * table_bytes);
        for (size_t i = 0; i < queries * table_bytes; ++i) {
          // The largest values now and then, where narrow sums would overflow.
          tables.data()[i] = static_cast<std::byte>(random() % 3 == 0 ? 255 : random());
        }
        std::vector<ListScan> scans(queries);
        std::vector<std::vector<uint32_t>> positions(queries, std::vector<uint32_t>(count));
        std::vector<std::vector<float>> distances(queries, std::vector<float>(count));
        std::vector<std::vector<float>> expected(queries, std::vector<float>(count));
        for (size_t q = 0; q < queries; ++q) {
          ListScan& scan = scans[q];
          scan.table = tables.data() + q * table_bytes;
          scan.scale = 0.25f;
          scan.base = static_cast<float>(q);
          scan.offset = has_factors ? -3.0f : 0.0f;
          scan.factors = has_factors ? factors.data() : nullptr;
          scan.positions = positions[q].data();
          scan.distances = distances[q].data();
          for (size_t i = 0; i < count; ++i) {
            int64_t sum = 0;
            for (size_t part = 0; part < parts; ++part) {
              sum += form == ListForm::kRows
                         ? int64_t{static_cast<int8_t>(scan.table[part])} * plain[i][part]
                         : std::to_integer<int64_t>(scan.table[part * entries + plain[i][part]]);
            }
            const float factor = has_factors ? factors[i] : 1.0f;
            expected[q][i] = scan.base + norms[i] -
                             factor * (scan.offset + scan.scale * static_cast<float>(sum));
          }
          // Half of them, or all.
          std::vector<float> sorted = expected[q];
          std::sort(sorted.begin(), sorted.end());
          scan.bound = q % 3 == 2 ? std::numeric_limits<float>::infinity() : sorted[count / 2];
        }
        kernels->scan[static_cast<size_t>(form)](codes.data(), norms.data(), count, units,
                                                 scans.data(), queries);
        for (size_t q = 0; q < queries; ++q) {
          std::vector<uint32_t> below;
          for (uint32_t i = 0; i < count; ++i) {
            // The sums are exact; their place in a float is not.
            const float slack = 1e-6f * std::abs(expected[q][i]);
            if (std::abs(expected[q][i] - scans[q].bound) <= slack) {
              const auto end = positions[q].begin() + static_cast<ptrdiff_t>(scans[q].found);
              if (std::find(positions[q].begin(), end, i) != end) below.push_back(i);
            } else if (expected[q][i] < scans[q].bound) {
              below.push_back(i);
            }
          }
          INFO("count " << count << " units " << units << " queries " << queries);
          positions[q].resize(scans[q].found);
          REQUIRE(positions[q] == below);
          for (size_t i = 0; i < below.size(); ++i) {
            REQUIRE(distances[q][i] == Approx(expected[q][below[i]]).epsilon(1e-5));
          }
        }
      }
    }
  }
}

TEST_CASE("products of a query with a codebook") {
  const Isa isa = GENERATE(Isa::kScalar, Isa::kAvx2, Isa::kAvx512);
  const ListKernels* const kernels = GetListKernels(isa);
  if (kernels == nullptr) RAG_SKIP("this processor cannot run " + std::string(IsaName(isa)));
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  for (const size_t entries : {16, 48, 64, 80, 256}) {
    for (const size_t dims : {0, 1, 3, 12}) {
      std::vector<float> query(dims), codebook(dims * entries), out(entries, -1);
      for (float& x : query) x = normal(random);
      for (float& x : codebook) x = normal(random);
      kernels->products(query.data(), codebook.data(), dims, entries, out.data());
      for (size_t j = 0; j < entries; ++j) {
        double expected = 0;
        for (size_t d = 0; d < dims; ++d) expected += double{query[d]} * codebook[d * entries + j];
        REQUIRE(out[j] == Approx(expected).margin(1e-5));
      }
    }
  }
}

TEST_CASE("tables of bytes") {
  const Isa isa = GENERATE(Isa::kScalar, Isa::kAvx2, Isa::kAvx512);
  const ListKernels* const kernels = GetListKernels(isa);
  if (kernels == nullptr) RAG_SKIP("this processor cannot run " + std::string(IsaName(isa)));
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  for (const size_t entries : {16, 256}) {
    const size_t parts = 5;
    std::vector<float> values(parts * entries), lows(parts);
    for (float& x : values) x = normal(random);
    float widest = 0;
    for (size_t part = 0; part < parts; ++part) {
      const auto begin = values.begin() + static_cast<ptrdiff_t>(part * entries);
      const auto [low, high] = std::minmax_element(begin, begin + static_cast<ptrdiff_t>(entries));
      widest = std::max(widest, *high - *low);
    }
    REQUIRE(kernels->spans(values.data(), parts, entries, lows.data()) == widest);
    std::vector<std::byte> table(parts * entries);
    kernels->narrow(values.data(), lows.data(), 255 / widest, parts, entries, table.data());
    for (size_t i = 0; i < values.size(); ++i) {
      const float place = (values[i] - lows[i / entries]) * 255 / widest;
      REQUIRE(std::abs(static_cast<float>(std::to_integer<int>(table[i])) - place) <= 0.501f);
      REQUIRE(std::abs(lows[i / entries]) < 10);
    }
  }
}

}  // namespace
}  // namespace rag::test
