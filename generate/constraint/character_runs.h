// CharacterRuns: a vocabulary's tokens by how many characters of one set they begin with.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <span>
#include <vector>

#include "generate/constraint/token_trie.h"

namespace rag {

// In a string, a word or a number, whole runs of characters lead to the same place whichever they
// are: then the tokens that are nothing but such characters may come together, and few are left to
// be walked. Immutable.
class CharacterRuns {
 public:
  struct Characters {
    std::bitset<128> ascii;
    bool beyond_ascii = false;  // all of them, or none
    bool operator==(const Characters&) const = default;
  };
  // A longer run counts as one of so many characters with something else after it: 0.5% of Qwen's
  // tokens have one.
  static constexpr size_t kMaxRun = 16;

  // `tokens` outlives it.
  CharacterRuns(const TokenTrie& tokens, size_t vocab_size, const Characters& characters);

  const Characters& characters() const { return characters_; }
  // A bit for each id: the tokens that are runs of 1 to `run` characters, which is at most kMaxRun.
  std::span<const uint64_t> tokens(size_t run) const {
    return std::span(tokens_).subspan(run * words_, words_);
  }
  // The tokens that are more than a run, by what comes after it. A character that the token cuts
  // off is of the rest.
  const TokenTrie& rests() const { return rests_; }
  // The part of it after runs of `run` characters.
  TokenTrie::Range after(size_t run) const { return {first_rest_[run], first_rest_[run + 1]}; }
  // Those that begin with no run, but for what is in after(0), as parts of the vocabulary's trie.
  std::span<const TokenTrie::Range> without_run() const { return without_run_; }

  size_t memory_bytes() const;

 private:
  const Characters characters_;
  const size_t words_;
  std::vector<uint64_t> tokens_;  // [kMaxRun + 1, words_]
  TokenTrie rests_;
  std::array<uint32_t, kMaxRun + 2> first_rest_{};
  std::vector<TokenTrie::Range> without_run_;
};

}  // namespace rag
