// GuessLength: how many tokens are worth guessing, from how past guesses went.
#pragma once

#include <algorithm>
#include <cstddef>

namespace rag {

// Guesses grow while they come true and shrink, and pause, when they do not: each token of one
// costs a row of the forward pass, whether it comes true or not.
class GuessLength {
 public:
  // most: tokens of a guess, at least 1; first: of the first one.
  GuessLength(size_t most, size_t first) : most_(most), length_(std::min(most, first)) {}

  size_t length() const { return length_; }

  // `right` of `guessed` tokens came true.
  void Learn(size_t guessed, size_t right) {
    length_ = right == guessed ? std::min(most_, 2 * length_) : std::max<size_t>(1, right);
    if (right == 0) {
      pause_ = next_pause_;
      next_pause_ = std::min(kLongestPause, 2 * next_pause_);
    } else {
      next_pause_ = 1;
    }
  }

  // Whether no guess is to be made this time; counts it.
  bool Pauses() {
    if (pause_ == 0) return false;
    --pause_;
    return true;
  }

 private:
  static constexpr size_t kLongestPause = 32;

  const size_t most_;
  size_t length_;
  size_t pause_ = 0;       // guesses not to be made
  size_t next_pause_ = 1;  // after the next one that is wrong at once
};

}  // namespace rag
