// SentenceSplitter: one ICU iterator for many texts.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/chunk.h"

namespace rag {

// Not for several threads at once.
class SentenceSplitter {
 public:
  SentenceSplitter();
  ~SentenceSplitter();
  SentenceSplitter(const SentenceSplitter&) = delete;
  SentenceSplitter& operator=(const SentenceSplitter&) = delete;

  // See SplitSentences; ranges are in `text`, moved by `base`.
  std::vector<TextRange> Split(std::string_view text, uint32_t base = 0);

 private:
  struct Iterator;
  void SplitParagraph(std::string_view text, uint32_t base, std::vector<TextRange>& out);

  std::unique_ptr<Iterator> iterator_;
  std::string flat_;  // the paragraph with its line ends as spaces
};

}  // namespace rag
