#include "engine/parse/html_guard.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "engine/parse/paragraphs.h"

namespace rag {
namespace {

constexpr size_t kMaxTags = 1'000'000;
constexpr size_t kMaxAttributes = 4'000'000;
constexpr size_t kMaxAttributesOfTag = 1'000;
constexpr size_t kMaxDepth = 1'000;

// Elements that hold nothing, or that the next one of their kind closes by itself.
bool NeedsNoEnd(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "area",  "base", "br",    "col",  "dd",  "dt",    "embed",  "hr",    "img",
      "input", "li",   "link",  "meta", "p",   "param", "source", "tbody", "td",
      "tfoot", "th",   "thead", "tr",   "wbr", "path",  "rect",   "option"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// Elements whose content is characters, not tags.
bool IsRawText(std::string_view name) {
  return name == "script" || name == "style" || name == "textarea" || name == "title" ||
         name == "xmp" || name == "noframes";
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

class Scanner {
 public:
  explicit Scanner(std::string_view html) : html_(html) {}

  Status Run() {
    while (true) {
      at_ = html_.find('<', at_);
      if (at_ == std::string_view::npos || ++at_ >= html_.size()) return OkStatus();
      if (html_.substr(at_, 3) == "!--") {
        at_ = html_.find("-->", at_ + 3);
        if (at_ == std::string_view::npos) return OkStatus();
        continue;
      }
      const bool closing = html_[at_] == '/';
      if (closing) ++at_;
      if (at_ < html_.size() && IsLetter(html_[at_])) RAG_RETURN_IF_ERROR(Tag(closing));
    }
  }

 private:
  Status Tag(bool closing) {
    if (++tags_ > kMaxTags) {
      return ResourceExhaustedError("the page has more than ", kMaxTags, " tags");
    }
    std::string name;
    for (; at_ < html_.size() && name.size() < 16; ++at_) {
      const char c = html_[at_];
      if (IsSpace(c) || c == '>' || c == '/') break;
      name += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    bool self_closing = false;
    RAG_RETURN_IF_ERROR(Attributes(&self_closing));
    if (NeedsNoEnd(name)) return OkStatus();
    if (closing) {
      depth_ -= depth_ > 0;
      return OkStatus();
    }
    if (IsRawText(name)) {
      at_ = std::min(html_.find("</", at_), html_.size());
      while (at_ < html_.size() && !ClosesAt(name))
        at_ = std::min(html_.find("</", at_ + 2), html_.size());
      if (at_ < html_.size()) at_ += 2 + name.size();
      return OkStatus();
    }
    if (!self_closing && ++depth_ > kMaxDepth) {
      return ResourceExhaustedError("elements are nested deeper than ", kMaxDepth, " levels");
    }
    return OkStatus();
  }

  bool ClosesAt(std::string_view name) const {
    const std::string_view found = html_.substr(at_ + 2, name.size());
    return found.size() == name.size() &&
           std::equal(name.begin(), name.end(), found.begin(), [](char a, char b) {
             return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
           });
  }

  // To behind the tag's '>'.
  Status Attributes(bool* self_closing) {
    size_t count = 0;
    bool in_name = false;
    for (; at_ < html_.size(); ++at_) {
      const char c = html_[at_];
      if (c == '>') {
        *self_closing = html_[at_ - 1] == '/';
        ++at_;
        break;
      }
      if (c == '=') {
        ++at_;
        while (at_ < html_.size() && IsSpace(html_[at_])) ++at_;
        if (at_ < html_.size() && (html_[at_] == '"' || html_[at_] == '\'')) {
          at_ = html_.find(html_[at_], at_ + 1);
          if (at_ == std::string_view::npos) {
            at_ = html_.size();
            break;
          }
        } else {
          while (at_ < html_.size() && !IsSpace(html_[at_]) && html_[at_] != '>') ++at_;
          --at_;
        }
        in_name = false;
      } else if (IsSpace(c) || c == '/') {
        in_name = false;
      } else if (!in_name) {
        in_name = true;
        if (++count > kMaxAttributesOfTag || ++attributes_ > kMaxAttributes) {
          return ResourceExhaustedError("a tag at byte ", at_,
                                        " of the page has too many attributes");
        }
      }
    }
    return OkStatus();
  }

  std::string_view html_;
  size_t at_ = 0;
  size_t tags_ = 0;
  size_t attributes_ = 0;
  size_t depth_ = 0;
};

}  // namespace

Status CheckHtmlBounds(std::string_view html) { return Scanner(html).Run(); }

}  // namespace rag
