#include "generate/text_stream.h"

#include <algorithm>

namespace rag {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// The first character of `bytes`, well-formed by table 3-7 of the Unicode standard.
struct Character {
  enum Kind { kWhole, kBeginning, kBroken } kind;
  size_t length;  // bytes of it; of a broken one, what U+FFFD replaces ("maximal subpart")
};

Character FirstCharacter(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Character::kWhole, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Character::kBroken, 1};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Character::kBeginning, i};
    unsigned low = 0x80;
    unsigned high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;   // overlong
      if (lead == 0xED) high = 0x9F;  // surrogates
      if (lead == 0xF0) low = 0x90;   // overlong
      if (lead == 0xF4) high = 0x8F;  // above U+10FFFF
    }
    if (byte(i) < low || byte(i) > high) return {Character::kBroken, i};
  }
  return {Character::kWhole, length};
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    if (character.kind != Character::kWhole) return false;
    text.remove_prefix(character.length);
  }
  return true;
}

}  // namespace

Status ValidateStops(std::span<const std::string> stops) {
  if (stops.size() > kMaxStopStrings) {
    return InvalidArgumentError(stops.size(), " stop strings are more than ", kMaxStopStrings);
  }
  for (size_t i = 0; i < stops.size(); ++i) {
    if (stops[i].empty()) return InvalidArgumentError("stop string ", i, " is empty");
    if (stops[i].size() > kMaxStopBytes) {
      return InvalidArgumentError("stop string ", i, " of ", stops[i].size(),
                                  " bytes is longer than ", kMaxStopBytes);
    }
    if (!IsUtf8(stops[i])) return InvalidArgumentError("stop string ", i, " is no UTF-8");
  }
  return OkStatus();
}

TextStream::TextStream(std::span<const std::string> stops) : stops_(stops) {
  for (const std::string& stop : stops) longest_stop_ = std::max(longest_stop_, stop.size());
}

void TextStream::DecodePending() {
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Character character = FirstCharacter(rest);
    if (character.kind == Character::kBeginning) break;
    text_ += character.kind == Character::kWhole ? rest.substr(0, character.length) : kReplacement;
    rest.remove_prefix(character.length);
  }
  pending_.erase(0, pending_.size() - rest.size());
}

void TextStream::Append(std::string_view bytes) {
  if (stopped_) return;
  // A stop string that ends in the new text begins at most its own length before it.
  const size_t search_from = text_.size() - std::min(text_.size(), longest_stop_);
  pending_ += bytes;
  DecodePending();
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, text_.find(stop, search_from));
  if (first != std::string::npos) {
    text_.resize(first);
    pending_.clear();
    stopped_ = true;
    ready_ = text_.size();
    return;
  }
  ready_ = text_.size() - HeldBytes();
}

// The longest end of the text that is the beginning of a stop string.
size_t TextStream::HeldBytes() const {
  size_t held = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, text_.size()); n > held; --n) {
      if (text_.compare(text_.size() - n, n, stop, 0, n) == 0) held = n;
    }
  }
  return held;
}

void TextStream::Finish() {
  pending_.clear();
  ready_ = text_.size();
}

std::string_view TextStream::TakeReady() {
  const std::string_view text = std::string_view(text_).substr(taken_, ready_ - taken_);
  taken_ = ready_;
  return text;
}

}  // namespace rag
