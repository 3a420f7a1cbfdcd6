// What comes out of real documents, compared with what others extracted from them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <sstream>
#include <unordered_map>

#include "engine/parse.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

// Words of Markdown or plain text: runs of letters and digits, in lower case, every character
// outside ASCII counting as a letter. Targets of links and images, comments and escapes are markup.
std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  const auto close = [&] {
    if (!word.empty()) words.push_back(word);
    word.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 4, "<!--") == 0) {
      const size_t end = text.find("-->", i);
      if (end == std::string::npos) break;
      i = end + 2;
      close();
    } else if (text.compare(i, 2, "](") == 0) {
      const size_t end = text.find_first_of(") \n", i);
      if (end == std::string::npos) break;
      i = text[end] == ')' ? end : i + 1;
      close();
    } else if (text.compare(i, 5, "&amp;") == 0 || text.compare(i, 4, "&lt;") == 0 ||
               text.compare(i, 4, "&gt;") == 0) {
      i = text.find(';', i);
      close();
    } else if (text.compare(i, 2, "\u00a0") == 0) {
      ++i;
      close();
    } else if (std::isalnum(static_cast<unsigned char>(text[i])) || (text[i] & 0x80) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
    } else {
      close();
    }
  }
  close();
  return words;
}

// Length of the longest common subsequence, in 64 columns at once (Hyyrö 2004, "Bit-parallel
// LCS-length computation revisited").
size_t CommonInOrder(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const size_t blocks = (a.size() + 63) / 64;
  std::unordered_map<std::string, std::vector<uint64_t>> positions;
  for (size_t i = 0; i < a.size(); ++i) {
    std::vector<uint64_t>& bits = positions[a[i]];
    bits.resize(blocks);
    bits[i / 64] |= uint64_t{1} << (i % 64);
  }
  std::vector<uint64_t> row(blocks, ~uint64_t{0});
  for (const std::string& word : b) {
    const auto found = positions.find(word);
    if (found == positions.end()) continue;
    uint64_t carry = 0;
    for (size_t k = 0; k < blocks; ++k) {
      const uint64_t matches = row[k] & found->second[k];
      const uint64_t sum = row[k] + matches;
      const uint64_t with_carry = sum + carry;
      carry = static_cast<uint64_t>(sum < row[k]) | static_cast<uint64_t>(with_carry < sum);
      row[k] = with_carry | (row[k] - matches);
    }
  }
  size_t common = 0;
  for (size_t i = 0; i < a.size(); ++i) common += ((row[i / 64] >> (i % 64)) & 1) == 0;
  return common;
}

std::string TextOf(const Result<ParsedFile>& parsed) {
  std::string text;
  if (!parsed.ok()) return text;
  for (const Document& document : parsed->documents) text += document.text + "\n";
  return text;
}

struct Coverage {
  std::string file;
  double share = 0;  // of the expected words that come out, in order
};

struct Expectation {
  const char* format;
  double mean;   // over the files, at least
  double worst;  // of every file, at least
};

}  // namespace

TEST_CASE("the words of the expected Markdown come out in order") {
  const auto data = test::SharedData("docs-docling-expected");
  if (!data) RAG_SKIP("docs-docling-expected is not there");
  // Where words are missing: text of charts and formulas as TeX, numbers of headings and lists that
  // a word processor counts (DOCX); charts and comments (PPTX, XLSX); typographic quotes, which are
  // expected as ASCII's (EPUB); merged cells, which are expected once a column, and the header
  // lines of CSV and XLSX, whose words stand in every row instead; text from right to left (PDF).
  const Expectation kExpectations[] = {
      {"md", 0.99, 0.95},   {"html", 0.965, 0.82}, {"docx", 0.905, 0.23}, {"pptx", 0.81, 0.16},
      {"xlsx", 0.72, 0.39}, {"epub", 0.92, 0.92},  {"csv", 0.95, 0.88},   {"pdf", 0.88, 0.66}};
  for (const Expectation& expectation : kExpectations) {
    std::vector<Coverage> coverages;
    double sum = 0;
    const fs::path folder = *data / expectation.format;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (!entry.is_regular_file()) continue;
      const std::string name = entry.path().filename().string();
      fs::path expected = folder / "expected" / (name + ".md");
      if (!fs::exists(expected))
        expected = folder / "expected" / (entry.path().stem().string() + ".md");
      if (!fs::exists(expected)) continue;
      const std::vector<std::string> words = Words(test::ReadAll(expected));
      if (words.empty()) continue;
      const Result<ParsedFile> parsed = ParseFile(entry.path().string());
      if (parsed.ok()) {
        for (const Document& document : parsed->documents) test::CheckDocument(document);
      }
      const double share = static_cast<double>(CommonInOrder(words, Words(TextOf(parsed)))) /
                           static_cast<double>(words.size());
      coverages.push_back({name, share});
      sum += share;
    }
    REQUIRE_FALSE(coverages.empty());
    std::sort(coverages.begin(), coverages.end(),
              [](const Coverage& a, const Coverage& b) { return a.share < b.share; });
    std::ostringstream list;
    list << expectation.format << ": mean " << sum / static_cast<double>(coverages.size()) << " of "
         << coverages.size() << " files; worst";
    for (size_t i = 0; i < std::min<size_t>(coverages.size(), 8); ++i) {
      list << "\n  " << coverages[i].share << " " << coverages[i].file;
    }
    INFO(list.str());
    CHECK(sum / static_cast<double>(coverages.size()) >= expectation.mean);
    CHECK(coverages.front().share >= expectation.worst);
  }
}

}  // namespace rag
