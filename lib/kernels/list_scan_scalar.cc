// The scalar table: the reference of the others.
#include <algorithm>
#include <cmath>

#include "lib/kernels/list_scan_tables.h"

namespace rag {
namespace {

void Products(const float* query, const float* codebook, size_t dims, size_t entries, float* out) {
  std::fill_n(out, entries, 0.0f);
  for (size_t d = 0; d < dims; ++d) {
    for (size_t j = 0; j < entries; ++j) out[j] += query[d] * codebook[d * entries + j];
  }
}

float Spans(const float* values, size_t parts, size_t entries, float* lows) {
  float widest = 0;
  for (size_t part = 0; part < parts; ++part) {
    const float* const from = values + part * entries;
    const auto [low, high] = std::minmax_element(from, from + entries);
    lows[part] = *low;
    widest = std::max(widest, *high - *low);
  }
  return widest;
}

void Narrow(const float* values, const float* lows, float factor, size_t parts, size_t entries,
            std::byte* table) {
  for (size_t part = 0; part < parts; ++part) {
    for (size_t i = part * entries; i < (part + 1) * entries; ++i) {
      const int value = static_cast<int>(std::nearbyint((values[i] - lows[part]) * factor));
      table[i] = static_cast<std::byte>(std::min(255, value));
    }
  }
}

// The first 32 bytes of a group hold parts 0 and 1, the other 32 parts 2 and 3: a lane a byte, the
// even part in the lower half.
size_t Nibble(size_t part, size_t lane) {
  const size_t group = part / kPartsPerGroup, within = part % kPartsPerGroup;
  return 2 * (group * kGroupBytes + within / 2 * kListBlock + lane) + within % 2;
}

// sum(scan, position) is the integer sum of a vector.
template <class Sum>
void ForEach(const float* norms, size_t count, ListScan* scans, size_t scan_count, Sum sum) {
  for (size_t s = 0; s < scan_count; ++s) {
    ListScan& scan = scans[s];
    scan.found = 0;
    for (size_t i = 0; i < count; ++i) {
      float product = scan.scale * static_cast<float>(sum(scan, i));
      if (scan.factors != nullptr) product = scan.factors[i] * (scan.offset + product);
      const float distance = (scan.base + norms[i]) - product;
      if (!(distance < scan.bound)) continue;
      scan.positions[scan.found] = static_cast<uint32_t>(i);
      scan.distances[scan.found++] = distance;
    }
  }
}

void ScanRows(const std::byte* codes, const float* norms, size_t count, size_t units,
              ListScan* scans, size_t scan_count) {
  ForEach(norms, count, scans, scan_count, [&](const ListScan& scan, size_t i) {
    const auto* const table = reinterpret_cast<const int8_t*>(scan.table);
    int32_t sum = 0;
    for (size_t j = 0; j < units; ++j) {
      sum += table[j] * std::to_integer<int32_t>(codes[i * units + j]);
    }
    return sum;
  });
}

void ScanBytes(const std::byte* codes, const float* norms, size_t count, size_t units,
               ListScan* scans, size_t scan_count) {
  ForEach(norms, count, scans, scan_count, [&](const ListScan& scan, size_t i) {
    const std::byte* const block = codes + i / kListBlock * kListBlock * units;
    int32_t sum = 0;
    for (size_t part = 0; part < units; ++part) {
      const size_t code = std::to_integer<size_t>(block[part * kListBlock + i % kListBlock]);
      sum += std::to_integer<int32_t>(scan.table[part * 256 + code]);
    }
    return sum;
  });
}

void ScanNibbles(const std::byte* codes, const float* norms, size_t count, size_t units,
                 ListScan* scans, size_t scan_count) {
  ForEach(norms, count, scans, scan_count, [&](const ListScan& scan, size_t i) {
    const std::byte* const block = codes + i / kListBlock * kGroupBytes * units;
    int32_t sum = 0;
    for (size_t part = 0; part < units * kPartsPerGroup; ++part) {
      const size_t at = Nibble(part, i % kListBlock);
      const size_t code = std::to_integer<size_t>(block[at / 2]) >> (at % 2 * 4) & 15;
      sum += std::to_integer<int32_t>(scan.table[part * 16 + code]);
    }
    return sum;
  });
}

}  // namespace

const ListKernels& ScalarListKernels() {
  static constexpr ListKernels kTable = {
      .isa = Isa::kScalar,
      .products = Products,
      .spans = Spans,
      .narrow = Narrow,
      .nibble = Nibble,
      .scan = {ScanRows, ScanBytes, ScanNibbles},
  };
  return kTable;
}

}  // namespace rag
