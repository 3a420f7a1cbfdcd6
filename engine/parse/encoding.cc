#include "engine/parse/encoding.h"

#include <unicode/ucnv.h>
#include <unicode/ucsdet.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>

#include "lib/text/utf8.h"

namespace rag {
namespace {

// What the detector looks at; it slows down with more and gains nothing.
constexpr size_t kDetectBytes = size_t{64} << 10;
// Of the detector's 0 to 100. Below, Western text with few accents is the likelier reading.
constexpr int kMinConfidence = 20;

struct CloseConverter {
  void operator()(UConverter* converter) const { ucnv_close(converter); }
};
struct CloseDetector {
  void operator()(UCharsetDetector* detector) const { ucsdet_close(detector); }
};

// Counts for deciding whether bytes are UTF-8 with some damage.
struct Utf8Count {
  size_t multibyte = 0;
  size_t broken = 0;
};

Utf8Count CountUtf8(std::string_view text) {
  Utf8Count count;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    if (bytes[i] < 0x80) {
      ++i;
      continue;
    }
    UChar32 c = 0;
    U8_NEXT(bytes, i, size, c);
    c < 0 ? ++count.broken : ++count.multibyte;
  }
  return count;
}

bool IsControl(unsigned char c) {
  return c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != '\v' && c != 0x1b;
}

size_t CountControls(std::string_view bytes) {
  return static_cast<size_t>(std::count_if(
      bytes.begin(), bytes.end(), [](char c) { return IsControl(static_cast<unsigned char>(c)); }));
}

// "UTF-16LE" or "UTF-16BE" when most characters of one parity are zero and few of the other: text
// of a Latin script. Others need the byte-order mark that they have in practice.
const char* Utf16WithoutMark(std::string_view bytes) {
  const size_t pairs = std::min(bytes.size(), kDetectBytes) / 2;
  if (pairs < 4 || bytes.size() % 2 != 0) return nullptr;
  size_t zero[2] = {0, 0};
  for (size_t i = 0; i < 2 * pairs; ++i) zero[i % 2] += bytes[i] == '\0';
  if (zero[1] * 10 > pairs * 7 && zero[0] * 50 < pairs) return "UTF-16LE";
  if (zero[0] * 10 > pairs * 7 && zero[1] * 50 < pairs) return "UTF-16BE";
  return nullptr;
}

Result<std::string> Convert(std::string_view bytes, const char* charset) {
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<UConverter, CloseConverter> from(ucnv_open(charset, &error));
  if (U_FAILURE(error)) return InvalidArgumentError("unknown character set '", charset, "'");
  const std::unique_ptr<UConverter, CloseConverter> to(ucnv_open("UTF-8", &error));
  if (U_FAILURE(error)) return InternalError("ICU has no UTF-8 converter");
  std::string out;
  char piece[16 << 10];
  UChar pivot[4 << 10];
  UChar* pivot_source = pivot;
  UChar* pivot_target = pivot;
  const char* source = bytes.data();
  UBool reset = true;
  do {
    error = U_ZERO_ERROR;
    char* target = piece;
    ucnv_convertEx(to.get(), from.get(), &target, piece + sizeof(piece), &source,
                   bytes.data() + bytes.size(), pivot, &pivot_source, &pivot_target,
                   pivot + std::size(pivot), reset, true, &error);
    out.append(piece, static_cast<size_t>(target - piece));
    reset = false;
  } while (error == U_BUFFER_OVERFLOW_ERROR);
  if (U_FAILURE(error)) {
    return InvalidArgumentError("not text in ", charset, ": ", u_errorName(error));
  }
  return out;
}

// The converter for what a detector or a page calls a character set: pages and old software mean
// the Windows superset of these.
const char* Superset(std::string_view name) {
  static constexpr struct {
    std::string_view name;
    const char* superset;
  } kSupersets[] = {
      {"ISO-8859-1", "windows-1252"},
      {"US-ASCII", "windows-1252"},
      {"latin1", "windows-1252"},
      {"ISO-8859-9", "windows-1254"},
      {"EUC-KR", "windows-949"},
      {"ks_c_5601-1987", "windows-949"},
      {"Shift_JIS", "windows-31j"},
      {"GB2312", "GB18030"},
      {"gbk", "GB18030"},
  };
  for (const auto& entry : kSupersets) {
    if (entry.name.size() == name.size() &&
        std::equal(name.begin(), name.end(), entry.name.begin(), [](char a, char b) {
          return std::tolower(static_cast<unsigned char>(a)) ==
                 std::tolower(static_cast<unsigned char>(b));
        })) {
      return entry.superset;
    }
  }
  return nullptr;
}

// Which characters a reading gives.
struct ScriptCount {
  size_t own = 0;     // of the script in question
  size_t others = 0;  // outside ASCII
  size_t runs = 0;    // of `own` that follow one
};

// How East Asian text reads where ICU's detector is silent (it needs some dozens of characters, and
// knows EUC-KR without its Windows extension): every byte above ASCII belongs to a valid character,
// nearly all are of the script, and most stand side by side, as accented Latin letters do not.
template <class IsOwn>
bool ReadsAs(std::string_view bytes, const char* charset, IsOwn is_own) {
  const Result<std::string> text = Convert(bytes, charset);
  if (!text.ok()) return false;
  const auto* data = reinterpret_cast<const uint8_t*>(text->data());
  const auto size = static_cast<int64_t>(text->size());
  ScriptCount count;
  bool after_own = false;
  for (int64_t i = 0; i < size;) {
    UChar32 c = 0;
    U8_NEXT(data, i, size, c);
    if (c == 0xFFFD) return false;
    const bool own = is_own(c);
    count.own += own;
    count.runs += own && after_own;
    count.others += !own && c >= 0x80;
    after_own = own;
  }
  return count.own >= 4 && count.own >= 4 * count.others && 2 * count.runs >= count.own;
}

// "windows-949", "windows-31j" or null.
const char* DetectEastAsian(std::string_view bytes) {
  if (ReadsAs(bytes, "windows-949", [](UChar32 c) { return c >= 0xAC00 && c <= 0xD7A3; })) {
    return "windows-949";
  }
  if (ReadsAs(bytes, "windows-31j", [](UChar32 c) {
        return (c >= 0x3000 && c <= 0x30FF) || (c >= 0x4E00 && c <= 0x9FFF) ||
               (c >= 0xFF01 && c <= 0xFF5E);
      })) {
    return "windows-31j";
  }
  return nullptr;
}

std::string DetectCharset(std::string_view content) {
  const std::string_view sample = content.substr(0, kDetectBytes);
  // A sample may end within a character; a line does not.
  const std::string_view whole_lines =
      sample.size() < content.size() ? sample.substr(0, sample.rfind('\n')) : sample;
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<UCharsetDetector, CloseDetector> detector(ucsdet_open(&error));
  if (U_FAILURE(error)) return "windows-1252";
  ucsdet_setText(detector.get(), sample.data(), static_cast<int32_t>(sample.size()), &error);
  const UCharsetMatch* match = ucsdet_detect(detector.get(), &error);
  if (U_SUCCESS(error) && match != nullptr &&
      ucsdet_getConfidence(match, &error) >= kMinConfidence) {
    const std::string name = ucsdet_getName(match, &error);
    // The stateful and Unicode encodings are never right here: they would be ASCII or were tried.
    if (U_SUCCESS(error) && !name.starts_with("UTF-") && !name.starts_with("ISO-2022") &&
        !name.starts_with("IBM4")) {
      const bool single_byte = name.starts_with("ISO-8859") || name.starts_with("windows-125") ||
                               name.starts_with("KOI8");
      const char* east_asian = single_byte ? DetectEastAsian(whole_lines) : nullptr;
      if (east_asian != nullptr) return east_asian;
      const char* superset = Superset(name);
      return superset != nullptr ? superset : name;
    }
  }
  const char* east_asian = DetectEastAsian(whole_lines);
  return east_asian != nullptr ? east_asian : "windows-1252";
}

Status CheckControls(std::string_view text) {
  const size_t zero = text.find('\0');
  if (zero != std::string_view::npos) {
    return InvalidArgumentError("not text: a zero byte at offset ", zero);
  }
  const size_t controls = CountControls(text);
  if (controls * 20 > text.size()) {
    return InvalidArgumentError("not text: ", controls, " of ", text.size(),
                                " bytes are control characters");
  }
  return OkStatus();
}

// What a converter gives, checked as text that was UTF-8 from the start is.
Result<std::string> ConvertText(std::string_view content, const char* charset) {
  RAG_ASSIGN_OR_RETURN(std::string text, Convert(content, charset));
  RAG_RETURN_IF_ERROR(CheckControls(text));
  return text;
}

}  // namespace

bool LooksLikeText(std::string_view bytes) {
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) return true;
  if (Utf16WithoutMark(bytes) != nullptr) return true;
  return CheckControls(bytes).ok();
}

Result<std::string> DecodeText(std::string_view content, std::string_view declared) {
  if (content.starts_with("\xEF\xBB\xBF")) {
    content.remove_prefix(3);
    RAG_RETURN_IF_ERROR(CheckControls(content));
    return RepairUtf8(content);
  }
  if (content.starts_with(std::string_view("\xFF\xFE\0\0", 4))) {
    return ConvertText(content.substr(4), "UTF-32LE");
  }
  if (content.starts_with("\xFF\xFE")) return ConvertText(content.substr(2), "UTF-16LE");
  if (content.starts_with("\xFE\xFF")) return ConvertText(content.substr(2), "UTF-16BE");
  if (const char* utf16 = Utf16WithoutMark(content)) return ConvertText(content, utf16);
  RAG_RETURN_IF_ERROR(CheckControls(content));
  if (IsValidUtf8(content)) return std::string(content);
  const Utf8Count count = CountUtf8(content);
  if (count.multibyte > 2 * count.broken) return RepairUtf8(content);
  if (!declared.empty() && declared.size() < 64) {
    const char* superset = Superset(declared);
    const std::string name = superset != nullptr ? superset : std::string(declared);
    Result<std::string> text = Convert(content, name.c_str());
    // Only what keeps ASCII in place can have been read as far as its own declaration.
    if (text.ok() && text->find('<') == content.find('<')) return text;
  }
  return ConvertText(content, DetectCharset(content).c_str());
}

}  // namespace rag
