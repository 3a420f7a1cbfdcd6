// TextStream: the bytes of generated tokens -> text that may be shown: whole UTF-8 characters that
// cannot be the beginning of a stop string.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"

namespace rag {

inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 4096;

// Errors: invalid_argument for too many stop strings, and for one that is empty, too long or no
// UTF-8.
Status ValidateStops(std::span<const std::string> stops);

class TextStream {
 public:
  // `stops` passed ValidateStops and outlives the stream.
  explicit TextStream(std::span<const std::string> stops);

  // Adds a token's bytes; bytes that can never become UTF-8 are replaced by U+FFFD. Nothing is
  // added once a stop string was found.
  void Append(std::string_view bytes);
  // No more bytes: what was held back becomes ready; the beginning of a character is dropped.
  void Finish();

  bool stopped() const { return stopped_; }
  // Where the next token's bytes will stand, and up to where the text is certain.
  size_t end() const { return text_.size() + pending_.size(); }
  size_t ready() const { return ready_; }
  // What became certain since the last call; valid until the next Append.
  std::string_view TakeReady();
  // Everything so far; without the stop string and what follows it.
  const std::string& text() const { return text_; }

 private:
  void DecodePending();
  size_t HeldBytes() const;

  const std::span<const std::string> stops_;
  size_t longest_stop_ = 0;
  std::string pending_;  // the beginning of a character
  std::string text_;     // whole characters
  size_t taken_ = 0;     // bytes of text_ given out by TakeReady
  size_t ready_ = 0;     // bytes of text_ that are certain
  bool stopped_ = false;
};

}  // namespace rag
