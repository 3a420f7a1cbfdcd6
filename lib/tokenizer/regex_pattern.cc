// The only file that sees PCRE2.
#include "lib/tokenizer/pattern.h"

#ifdef RAG_WITH_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "lib/text/utf8.h"
#endif

namespace rag {

#ifdef RAG_WITH_PCRE2
namespace {

// A search that needs more steps than this at one place counts as no match there, so that a hostile
// expression in a model file cannot stop a thread. Ordinary word patterns need a few hundred.
constexpr uint32_t kMatchLimit = 1000000;
constexpr uint32_t kDepthLimit = 10000;
constexpr size_t kMaxRegexBytes = 1 << 16;

class RegexPattern final : public Pattern {
 public:
  explicit RegexPattern(pcre2_code* code)
      : code_(code), context_(pcre2_match_context_create(nullptr)) {
    pcre2_set_match_limit(context_, kMatchLimit);
    pcre2_set_depth_limit(context_, kDepthLimit);
  }
  ~RegexPattern() override {
    pcre2_match_context_free(context_);
    pcre2_code_free(code_);
  }
  RegexPattern(const RegexPattern&) = delete;
  RegexPattern& operator=(const RegexPattern&) = delete;

  void FindAll(std::span<const SourceChar> text, std::vector<Match>& matches) const override {
    std::string bytes;
    std::vector<uint32_t> char_of;  // of each byte, and of the end
    for (size_t i = 0; i < text.size(); ++i) {
      AppendUtf8(bytes, text[i].c);
      char_of.resize(bytes.size(), static_cast<uint32_t>(i));
    }
    char_of.push_back(static_cast<uint32_t>(text.size()));
    // Made anew for each call: match data may not be shared by threads.
    pcre2_match_data* data = pcre2_match_data_create_from_pattern(code_, nullptr);
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(bytes.data());
    size_t position = 0;
    while (position < bytes.size()) {
      const int found =
          pcre2_match(code_, subject, bytes.size(), position, PCRE2_NO_UTF_CHECK, data, context_);
      if (found < 0) {
        if (found == PCRE2_ERROR_NOMATCH) break;
        position += CharLength(bytes, position);
        continue;
      }
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
      if (range[1] <= range[0] || range[0] < position) {
        position = std::max<size_t>(position, range[1]);
        if (position < bytes.size()) position += CharLength(bytes, position);
        continue;
      }
      matches.push_back({char_of[range[0]], char_of[range[1]]});
      position = range[1];
    }
    pcre2_match_data_free(data);
  }

 private:
  static size_t CharLength(const std::string& bytes, size_t position) {
    return DecodeChar(bytes, position).length;
  }

  pcre2_code* code_;
  pcre2_match_context* context_;
};

}  // namespace

Result<std::unique_ptr<Pattern>> MakeRegexPattern(std::string_view regex) {
  if (regex.size() > kMaxRegexBytes) {
    return InvalidArgumentError("a regular expression has ", regex.size(), " bytes, over ",
                                kMaxRegexBytes);
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()), regex.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[256] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    return InvalidArgumentError("regular expression '", regex, "' at offset ", offset, ": ",
                                reinterpret_cast<const char*>(message));
  }
  // Without JIT support the interpreter does the same more slowly.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return std::unique_ptr<Pattern>(new RegexPattern(code));
}

#else

Result<std::unique_ptr<Pattern>> MakeRegexPattern(std::string_view regex) {
  return UnsupportedError("regular expression '", regex,
                          "' has no scanner, and this build is without PCRE2");
}

#endif

}  // namespace rag
