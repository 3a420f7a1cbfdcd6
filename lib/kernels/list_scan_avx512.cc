// The AVX-512 table (F, BW, VBMI, VNNI).
#include "lib/kernels/avx512_intrinsics.h"
#include "lib/kernels/list_scan_tables.h"

namespace rag {
namespace {

void Products(const float* query, const float* codebook, size_t dims, size_t entries, float* out) {
  size_t j = 0;
  for (; j + 64 <= entries; j += 64) {
    __m512 sums[4] = {};
    for (size_t d = 0; d < dims; ++d) {
      const __m512 value = _mm512_set1_ps(query[d]);
      const float* const row = codebook + d * entries + j;
      for (size_t i = 0; i < 4; ++i) {
        sums[i] = _mm512_fmadd_ps(value, _mm512_loadu_ps(row + 16 * i), sums[i]);
      }
    }
    for (size_t i = 0; i < 4; ++i) _mm512_storeu_ps(out + j + 16 * i, sums[i]);
  }
  for (; j < entries; j += 16) {
    __m512 sum = _mm512_setzero_ps();
    for (size_t d = 0; d < dims; ++d) {
      sum = _mm512_fmadd_ps(_mm512_set1_ps(query[d]), _mm512_loadu_ps(codebook + d * entries + j),
                            sum);
    }
    _mm512_storeu_ps(out + j, sum);
  }
}

float Spans(const float* values, size_t parts, size_t entries, float* lows) {
  float widest = 0;
  for (size_t part = 0; part < parts; ++part, values += entries) {
    __m512 low = _mm512_loadu_ps(values), high = low;
    for (size_t j = 16; j < entries; j += 16) {
      const __m512 more = _mm512_loadu_ps(values + j);
      low = _mm512_min_ps(low, more);
      high = _mm512_max_ps(high, more);
    }
    lows[part] = _mm512_reduce_min_ps(low);
    const float span = _mm512_reduce_max_ps(high) - lows[part];
    widest = span > widest ? span : widest;
  }
  return widest;
}

void Narrow(const float* values, const float* lows, float factor, size_t parts, size_t entries,
            std::byte* table) {
  const __m512 scale = _mm512_set1_ps(factor);
  for (size_t part = 0; part < parts; ++part) {
    const __m512 low = _mm512_set1_ps(lows[part]);
    for (size_t j = 0; j < entries; j += 16, values += 16, table += 16) {
      const __m512i whole =
          _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(values), low), scale));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(table), _mm512_cvtusepi32_epi8(whole));
    }
  }
}

// Byte 4 v + p of a group holds part p of vectors v (lower half) and v + 16, v < 16: the four parts
// of a vector are neighbours, so that one instruction adds their look-ups.
size_t Nibble(size_t part, size_t lane) {
  const size_t group = part / kPartsPerGroup, within = part % kPartsPerGroup;
  return 2 * (group * kGroupBytes + lane % 16 * 4 + within) + lane / 16;
}

// Of 16 vectors from `position` on, those below the bound.
void Collect(__m512i sums, const float* norms, size_t position, ListScan& scan) {
  __m512 products = _mm512_mul_ps(_mm512_set1_ps(scan.scale), _mm512_cvtepi32_ps(sums));
  if (scan.factors != nullptr) {
    products = _mm512_mul_ps(_mm512_add_ps(products, _mm512_set1_ps(scan.offset)),
                             _mm512_loadu_ps(scan.factors + position));
  }
  const __m512 distances = _mm512_sub_ps(
      _mm512_add_ps(_mm512_set1_ps(scan.base), _mm512_loadu_ps(norms + position)), products);
  uint32_t mask = _mm512_cmp_ps_mask(distances, _mm512_set1_ps(scan.bound), _CMP_LT_OQ);
  if (mask == 0) return;
  alignas(64) float values[16];
  _mm512_store_ps(values, distances);
  for (; mask != 0; mask &= mask - 1) {
    const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(mask));
    scan.positions[scan.found] = static_cast<uint32_t>(position) + lane;
    scan.distances[scan.found++] = values[lane];
  }
}

template <size_t kScans, size_t kBlocks>
void NibbleBlocks(const std::byte* codes, const float* norms, size_t first, size_t units,
                  ListScan* scans) {
  const __m512i low = _mm512_set1_epi8(0x0F), ones = _mm512_set1_epi8(1);
  const __m512i tables = _mm512_set1_epi32(0x30201000);  // where each part's table begins
  __m512i sums[kScans][kBlocks][2] = {};
  const std::byte* const from = codes + first * kGroupBytes * units;
  for (size_t group = 0; group < units; ++group) {
    __m512i places[kBlocks][2];
#pragma GCC unroll 4
    for (size_t b = 0; b < kBlocks; ++b) {
      const __m512i code = _mm512_load_si512(from + (b * units + group) * kGroupBytes);
      // (code & low) | tables
      places[b][0] = _mm512_ternarylogic_epi32(code, low, tables, 0xEA);
      places[b][1] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(code, 4), low, tables, 0xEA);
    }
#pragma GCC unroll 4
    for (size_t s = 0; s < kScans; ++s) {
      const __m512i table = _mm512_load_si512(scans[s].table + group * 64);
#pragma GCC unroll 4
      for (size_t b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 2
        for (size_t half = 0; half < 2; ++half) {
          sums[s][b][half] = _mm512_dpbusd_epi32(
              sums[s][b][half], _mm512_permutexvar_epi8(places[b][half], table), ones);
        }
      }
    }
  }
  for (size_t s = 0; s < kScans; ++s) {
    for (size_t b = 0; b < kBlocks; ++b) {
      for (size_t half = 0; half < 2; ++half) {
        Collect(sums[s][b][half], norms, (first + b) * kListBlock + half * 16, scans[s]);
      }
    }
  }
}

template <size_t kScans, size_t kBlocks>
void NibbleScans(const std::byte* codes, const float* norms, size_t blocks, size_t units,
                 ListScan* scans) {
  for (size_t s = 0; s < kScans; ++s) scans[s].found = 0;
  size_t first = 0;
  for (; first + kBlocks <= blocks; first += kBlocks) {
    NibbleBlocks<kScans, kBlocks>(codes, norms, first, units, scans);
  }
  for (; first < blocks; ++first) NibbleBlocks<kScans, 1>(codes, norms, first, units, scans);
}

void ScanNibbles(const std::byte* codes, const float* norms, size_t count, size_t units,
                 ListScan* scans, size_t scan_count) {
  const size_t blocks = (count + kListBlock - 1) / kListBlock;
  for (; scan_count >= 4; scan_count -= 4, scans += 4) {
    NibbleScans<4, 2>(codes, norms, blocks, units, scans);
  }
  if (scan_count == 3) NibbleScans<3, 2>(codes, norms, blocks, units, scans);
  if (scan_count == 2) NibbleScans<2, 4>(codes, norms, blocks, units, scans);
  if (scan_count == 1) NibbleScans<1, 4>(codes, norms, blocks, units, scans);
}

// 64 look-ups in a table of 256 bytes, held in four registers.
__m512i LookUp(const __m512i* table, __m512i codes) {
  const __m512i lower = _mm512_permutex2var_epi8(table[0], codes, table[1]);
  const __m512i upper = _mm512_permutex2var_epi8(table[2], codes, table[3]);
  return _mm512_mask_mov_epi8(lower, _mm512_movepi8_mask(codes), upper);
}

// Two blocks, of which the second may be missing.
void BytePair(const std::byte* codes, const float* norms, size_t first, bool both, size_t units,
              ListScan& scan) {
  const std::byte* const from = codes + first * kListBlock * units;
  __m512i sums[4] = {};
  constexpr size_t kFlush = 256;  // parts whose sum fits into 16 bits
  for (size_t part = 0; part < units;) {
    // Sums of all bytes as 16-bit words, and of the odd bytes alone: the even ones follow.
    __m512i all = _mm512_setzero_si512(), odd = all;
    for (const size_t end = part + kFlush < units ? part + kFlush : units; part < end; ++part) {
      const __m256i here =
          _mm256_load_si256(reinterpret_cast<const __m256i*>(from + part * kListBlock));
      const __m256i next = both ? _mm256_load_si256(reinterpret_cast<const __m256i*>(
                                      from + (units + part) * kListBlock))
                                : _mm256_setzero_si256();
      __m512i table[4];
      for (size_t i = 0; i < 4; ++i) {
        table[i] = _mm512_load_si512(scan.table + part * 256 + i * 64);
      }
      const __m512i found =
          LookUp(table, _mm512_inserti64x4(_mm512_castsi256_si512(here), next, 1));
      all = _mm512_add_epi16(all, found);
      odd = _mm512_add_epi16(odd, _mm512_srli_epi16(found, 8));
    }
    const __m512i even = _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8));
    // Back to the order of vectors: words 2 w and 2 w + 1 of each 32 vectors.
    const __m512i lows = _mm512_unpacklo_epi16(even, odd), highs = _mm512_unpackhi_epi16(even, odd);
    // Each 128-bit lane q holds vectors 16 q ... 16 q + 7 in lows and the next 8 in highs.
    const auto widen = [&](int lane) {
      __m128i low, high;
      switch (lane) {
        case 0:
          low = _mm512_extracti32x4_epi32(lows, 0), high = _mm512_extracti32x4_epi32(highs, 0);
          break;
        case 1:
          low = _mm512_extracti32x4_epi32(lows, 1), high = _mm512_extracti32x4_epi32(highs, 1);
          break;
        case 2:
          low = _mm512_extracti32x4_epi32(lows, 2), high = _mm512_extracti32x4_epi32(highs, 2);
          break;
        default:
          low = _mm512_extracti32x4_epi32(lows, 3), high = _mm512_extracti32x4_epi32(highs, 3);
      }
      return _mm512_cvtepu16_epi32(_mm256_set_m128i(high, low));
    };
    for (int lane = 0; lane < 4; ++lane) {
      sums[lane] = _mm512_add_epi32(sums[lane], widen(lane));
    }
  }
  for (size_t i = 0; i < (both ? 4 : 2); ++i) {
    Collect(sums[i], norms, first * kListBlock + i * 16, scan);
  }
}

void ScanBytes(const std::byte* codes, const float* norms, size_t count, size_t units,
               ListScan* scans, size_t scan_count) {
  const size_t blocks = (count + kListBlock - 1) / kListBlock;
  for (size_t s = 0; s < scan_count; ++s) {
    scans[s].found = 0;
    for (size_t first = 0; first < blocks; first += 2) {
      BytePair(codes, norms, first, first + 1 < blocks, units, scans[s]);
    }
  }
}

void ScanRows(const std::byte* codes, const float* norms, size_t count, size_t units,
              ListScan* scans, size_t scan_count) {
  for (size_t s = 0; s < scan_count; ++s) {
    ListScan& scan = scans[s];
    scan.found = 0;
    for (size_t first = 0; first < count; first += 16) {
      alignas(64) int32_t sums[16] = {};
      for (size_t i = 0; i < 16 && first + i < count; ++i) {
        const std::byte* const code = codes + (first + i) * units;
        __m512i sum = _mm512_setzero_si512();
        for (size_t j = 0; j < units; j += 64) {
          sum = _mm512_dpbusd_epi32(sum, _mm512_load_si512(code + j),
                                    _mm512_load_si512(scan.table + j));
        }
        sums[i] = _mm512_reduce_add_epi32(sum);
      }
      Collect(_mm512_load_si512(sums), norms, first, scan);
    }
  }
}

}  // namespace

const ListKernels& Avx512ListKernels() {
  static constexpr ListKernels kTable = {
      .isa = Isa::kAvx512,
      .products = Products,
      .spans = Spans,
      .narrow = Narrow,
      .nibble = Nibble,
      .scan = {ScanRows, ScanBytes, ScanNibbles},
  };
  return kTable;
}

}  // namespace rag
