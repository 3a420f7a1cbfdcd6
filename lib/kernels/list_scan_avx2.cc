// The AVX2 table.
#include <immintrin.h>

#include "lib/kernels/list_scan_tables.h"

namespace rag {
namespace {

void Products(const float* query, const float* codebook, size_t dims, size_t entries, float* out) {
  for (size_t j = 0; j < entries; j += 16) {
    __m256 first = _mm256_setzero_ps(), second = first;
    for (size_t d = 0; d < dims; ++d) {
      const __m256 value = _mm256_set1_ps(query[d]);
      const float* const row = codebook + d * entries + j;
      first = _mm256_fmadd_ps(value, _mm256_loadu_ps(row), first);
      second = _mm256_fmadd_ps(value, _mm256_loadu_ps(row + 8), second);
    }
    _mm256_storeu_ps(out + j, first);
    _mm256_storeu_ps(out + j + 8, second);
  }
}

float Spans(const float* values, size_t parts, size_t entries, float* lows) {
  float widest = 0;
  for (size_t part = 0; part < parts; ++part, values += entries) {
    __m256 low = _mm256_loadu_ps(values), high = low;
    for (size_t j = 8; j < entries; j += 8) {
      const __m256 more = _mm256_loadu_ps(values + j);
      low = _mm256_min_ps(low, more);
      high = _mm256_max_ps(high, more);
    }
    alignas(32) float lowest[8], highest[8];
    _mm256_store_ps(lowest, low);
    _mm256_store_ps(highest, high);
    for (size_t i = 1; i < 8; ++i) {
      lowest[0] = lowest[i] < lowest[0] ? lowest[i] : lowest[0];
      highest[0] = highest[i] > highest[0] ? highest[i] : highest[0];
    }
    lows[part] = lowest[0];
    const float span = highest[0] - lowest[0];
    widest = span > widest ? span : widest;
  }
  return widest;
}

void Narrow(const float* values, const float* lows, float factor, size_t parts, size_t entries,
            std::byte* table) {
  const __m256 scale = _mm256_set1_ps(factor);
  for (size_t part = 0; part < parts; ++part) {
    const __m256 low = _mm256_set1_ps(lows[part]);
    for (size_t j = 0; j < entries; j += 16, values += 16, table += 16) {
      const auto whole = [&](size_t at) {
        return _mm256_cvtps_epi32(
            _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(values + at), low), scale));
      };
      const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(whole(0), whole(8)), 0xD8);
      _mm_storeu_si128(
          reinterpret_cast<__m128i*>(table),
          _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    }
  }
}

size_t Nibble(size_t part, size_t lane) { return ScalarListKernels().nibble(part, lane); }

void Collect(__m256i sums, const float* norms, size_t position, ListScan& scan) {
  __m256 products = _mm256_mul_ps(_mm256_set1_ps(scan.scale), _mm256_cvtepi32_ps(sums));
  if (scan.factors != nullptr) {
    products = _mm256_mul_ps(_mm256_add_ps(products, _mm256_set1_ps(scan.offset)),
                             _mm256_loadu_ps(scan.factors + position));
  }
  const __m256 distances = _mm256_sub_ps(
      _mm256_add_ps(_mm256_set1_ps(scan.base), _mm256_loadu_ps(norms + position)), products);
  uint32_t mask = static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_cmp_ps(distances, _mm256_set1_ps(scan.bound), _CMP_LT_OQ)));
  if (mask == 0) return;
  alignas(32) float values[8];
  _mm256_store_ps(values, distances);
  for (; mask != 0; mask &= mask - 1) {
    const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(mask));
    scan.positions[scan.found] = static_cast<uint32_t>(position) + lane;
    scan.distances[scan.found++] = values[lane];
  }
}

__m256i Load(const std::byte* from) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
}

// Adds 16 sums of 16 bits, vectors 2 w in `even` and 2 w + 1 in `odd`, to those of 32 bits.
void Widen(__m256i even, __m256i odd, __m256i* sums) {
  const __m256i low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);
  sums[0] = _mm256_add_epi32(sums[0], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(low)));
  sums[1] = _mm256_add_epi32(sums[1], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(high)));
  sums[2] = _mm256_add_epi32(sums[2], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(low, 1)));
  sums[3] = _mm256_add_epi32(sums[3], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(high, 1)));
}

void ScanNibbles(const std::byte* codes, const float* norms, size_t count, size_t units,
                 ListScan* scans, size_t scan_count) {
  const __m256i half = _mm256_set1_epi8(0x0F);
  constexpr size_t kFlush = 64;  // groups, 256 parts, whose sum fits into 16 bits
  for (size_t s = 0; s < scan_count; ++s) {
    ListScan& scan = scans[s];
    scan.found = 0;
    for (size_t first = 0; first < count; first += kListBlock) {
      const std::byte* const block = codes + first / kListBlock * kGroupBytes * units;
      __m256i sums[4] = {};
      for (size_t group = 0; group < units;) {
        // Sums of all bytes as 16-bit words, and of the odd bytes alone: the even ones follow.
        __m256i all = _mm256_setzero_si256(), odd = all;
        const auto add = [&](__m256i places, const std::byte* table) {
          const __m256i entries =
              _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
          const __m256i found = _mm256_shuffle_epi8(entries, _mm256_and_si256(places, half));
          all = _mm256_add_epi16(all, found);
          odd = _mm256_add_epi16(odd, _mm256_srli_epi16(found, 8));
        };
        for (const size_t end = group + kFlush < units ? group + kFlush : units; group < end;
             ++group) {
          const std::byte* const table = scan.table + group * 64;
          const __m256i front = Load(block + group * kGroupBytes);
          const __m256i back = Load(block + group * kGroupBytes + kListBlock);
          add(front, table);
          add(_mm256_srli_epi16(front, 4), table + 16);
          add(back, table + 32);
          add(_mm256_srli_epi16(back, 4), table + 48);
        }
        Widen(_mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8)), odd, sums);
      }
      for (size_t i = 0; i < 4; ++i) Collect(sums[i], norms, first + 8 * i, scan);
    }
  }
}

void ScanBytes(const std::byte* codes, const float* norms, size_t count, size_t units,
               ListScan* scans, size_t scan_count) {
  for (size_t s = 0; s < scan_count; ++s) {
    ListScan& scan = scans[s];
    scan.found = 0;
    for (size_t first = 0; first < count; first += kListBlock) {
      const std::byte* const block = codes + first * units;
      alignas(32) int32_t sums[kListBlock] = {};
      for (size_t part = 0; part < units; ++part) {
        const auto* const lanes = reinterpret_cast<const uint8_t*>(block + part * kListBlock);
        const auto* const table = reinterpret_cast<const uint8_t*>(scan.table + part * 256);
        for (size_t i = 0; i < kListBlock; ++i) sums[i] += table[lanes[i]];
      }
      for (size_t i = 0; i < kListBlock; i += 8) {
        Collect(_mm256_load_si256(reinterpret_cast<const __m256i*>(sums + i)), norms, first + i,
                scan);
      }
    }
  }
}

int32_t SumLanes(__m256i a) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

// Widened to 16 bits first: sums of u8 x i8 pairs in 16 bits, as maddubs gives them, saturate.
void ScanRows(const std::byte* codes, const float* norms, size_t count, size_t units,
              ListScan* scans, size_t scan_count) {
  const auto load = [](const std::byte* from) {
    return _mm_load_si128(reinterpret_cast<const __m128i*>(from));
  };
  for (size_t s = 0; s < scan_count; ++s) {
    ListScan& scan = scans[s];
    scan.found = 0;
    for (size_t first = 0; first < count; first += 8) {
      alignas(32) int32_t sums[8] = {};
      for (size_t i = 0; i < 8 && first + i < count; ++i) {
        const std::byte* const code = codes + (first + i) * units;
        __m256i sum = _mm256_setzero_si256();
        for (size_t j = 0; j < units; j += 16) {
          sum =
              _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepu8_epi16(load(code + j)),
                                                      _mm256_cvtepi8_epi16(load(scan.table + j))));
        }
        sums[i] = SumLanes(sum);
      }
      Collect(_mm256_load_si256(reinterpret_cast<const __m256i*>(sums)), norms, first, scan);
    }
  }
}

}  // namespace

const ListKernels& Avx2ListKernels() {
  static constexpr ListKernels kTable = {
      .isa = Isa::kAvx2,
      .products = Products,
      .spans = Spans,
      .narrow = Narrow,
      .nibble = Nibble,
      .scan = {ScanRows, ScanBytes, ScanNibbles},
  };
  return kTable;
}

}  // namespace rag
