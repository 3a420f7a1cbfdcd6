#include "lib/tokenizer/pipeline.h"

#include <algorithm>
#include <limits>

#include "lib/text/utf8.h"

namespace rag {
namespace {

// Keeps `keep` tokens of the list, from its front or its end.
void Truncate(std::vector<Token>& tokens, size_t keep, bool left) {
  if (tokens.size() <= keep) return;
  if (left) {
    tokens.erase(tokens.begin(), tokens.end() - static_cast<ptrdiff_t>(keep));
  } else {
    tokens.resize(keep);
  }
}

}  // namespace

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
  special_.resize(parts_.vocabulary.size());
  for (const TokenId id : parts_.special_ids) special_[static_cast<size_t>(id)] = true;
  for (const AddedToken& token : parts_.added_tokens) {
    if (token.special) special_[static_cast<size_t>(token.id)] = true;
    if (token.normalized && parts_.normalizer != nullptr) {
      size_t invalid = 0;
      Chars content = DecodeChars(token.content, 0, &invalid);
      parts_.normalizer->Apply(content);
      normalized_matcher_.Add(token, ToUtf8(content));
    } else {
      raw_matcher_.Add(token, token.content);
    }
  }
}

void PipelineTokenizer::EncodeChars(Chars chars, std::vector<Token>& out) const {
  if (chars.empty()) return;
  Words words;
  words.chars = std::move(chars);
  words.spans.push_back({0, words.chars.size()});
  if (parts_.pre_tokenizer) parts_.pre_tokenizer->Apply(words);
  for (const Match& span : words.spans) {
    if (span.begin == span.end) continue;
    parts_.model->Tokenize({words.chars.data() + span.begin, span.end - span.begin}, out);
  }
}

void PipelineTokenizer::EncodeSegment(std::string_view text, uint32_t base, bool parse_special,
                                      std::vector<Token>& out, size_t* invalid_bytes) const {
  if (parts_.fused && normalized_matcher_.empty()) {
    parts_.fused->Encode(text, base, out, invalid_bytes);
    return;
  }
  Chars chars = DecodeChars(text, base, invalid_bytes);
  if (parts_.normalizer) parts_.normalizer->Apply(chars);
  if (normalized_matcher_.empty()) {
    EncodeChars(std::move(chars), out);
    return;
  }
  std::string bytes;
  std::vector<uint32_t> char_of;
  for (size_t i = 0; i < chars.size(); ++i) {
    AppendUtf8(bytes, chars[i].c);
    char_of.resize(bytes.size(), static_cast<uint32_t>(i));
  }
  char_of.push_back(static_cast<uint32_t>(chars.size()));
  std::vector<AddedTokenMatcher::Found> found;
  normalized_matcher_.FindAll(bytes, parse_special, found);
  size_t position = 0;
  for (const auto& match : found) {
    const size_t begin = char_of[match.begin];
    const size_t end = char_of[match.end];
    EncodeChars(Chars(chars.begin() + static_cast<ptrdiff_t>(position),
                      chars.begin() + static_cast<ptrdiff_t>(begin)),
                out);
    out.push_back({match.id, chars[begin].begin, chars[end - 1].end});
    position = end;
  }
  if (position == 0) {
    EncodeChars(std::move(chars), out);
  } else {
    EncodeChars(Chars(chars.begin() + static_cast<ptrdiff_t>(position), chars.end()), out);
  }
}

std::vector<Token> PipelineTokenizer::EncodeText(std::string_view text, bool parse_special,
                                                 size_t* invalid_bytes) const {
  // Byte ranges are 32 bits wide.
  text = text.substr(0, std::numeric_limits<uint32_t>::max());
  std::vector<Token> tokens;
  tokens.reserve(text.size() / 4 + 8);
  std::vector<AddedTokenMatcher::Found> found;
  if (!raw_matcher_.empty()) raw_matcher_.FindAll(text, parse_special, found);
  size_t position = 0;
  const auto segment = [&](size_t end) {
    if (end > position) {
      EncodeSegment(text.substr(position, end - position), static_cast<uint32_t>(position),
                    parse_special, tokens, invalid_bytes);
    }
  };
  for (const auto& match : found) {
    segment(match.begin);
    Token token{match.id, static_cast<uint32_t>(match.begin), static_cast<uint32_t>(match.end)};
    if (parts_.post_processor.trim_offsets) {
      // White space that an added token took (lstrip, rstrip).
      while (token.begin < token.end && text[token.begin] == ' ') ++token.begin;
      while (token.begin < token.end && text[token.end - 1] == ' ') --token.end;
    }
    tokens.push_back(token);
    position = match.end;
  }
  segment(text.size());
  if (parts_.post_processor.trim_offsets) TrimOffsets(text, tokens);
  return tokens;
}

// huggingface/tokenizers, pre_tokenizers/byte_level.rs, process_offsets; but only spaces that are
// in the text, not those that add_prefix_space put before a later segment.
void PipelineTokenizer::TrimOffsets(std::string_view text, std::vector<Token>& tokens) const {
  constexpr std::string_view kSpace = "\xC4\xA0";  // U+0120, which stands for the byte 0x20
  for (size_t i = 0; i < tokens.size(); ++i) {
    Token& token = tokens[i];
    std::string_view piece = Piece(token.id);
    uint32_t leading = 0;
    uint32_t trailing = 0;
    for (std::string_view rest = piece; rest.starts_with(kSpace); rest.remove_prefix(2)) ++leading;
    for (std::string_view rest = piece; rest.ends_with(kSpace); rest.remove_suffix(2)) ++trailing;
    if (leading > 0) {
      const bool first = i == 0 || token.begin == 0;
      if (first && parts_.post_processor.add_prefix_space) --leading;
      for (; leading > 0 && token.begin < token.end && text[token.begin] == ' '; --leading) {
        ++token.begin;
      }
    }
    for (; trailing > 0 && token.begin < token.end && text[token.end - 1] == ' '; --trailing) {
      --token.end;
    }
  }
}

Encoding PipelineTokenizer::Assemble(std::vector<Token> first, std::vector<Token>* second,
                                     const EncodeOptions& options) const {
  Encoding out;
  const bool is_pair = second != nullptr;
  const auto& items = is_pair ? parts_.post_processor.pair : parts_.post_processor.single;
  const size_t special =
      options.add_special_tokens ? parts_.post_processor.SpecialCount(is_pair) : 0;
  const size_t total = first.size() + (is_pair ? second->size() : 0);
  size_t room = std::numeric_limits<size_t>::max();
  if (options.max_tokens > 0) room = options.max_tokens - std::min(options.max_tokens, special);
  if (total > room) {
    out.truncated = total - room;
    size_t keep_first = room;
    if (is_pair) {
      // The shorter text stays whole when it fits into half of the room.
      const size_t shorter = std::min(first.size(), second->size());
      const size_t longer = std::max(first.size(), second->size());
      size_t keep_short = shorter;
      size_t keep_long = std::max(shorter > room ? shorter : room - shorter, shorter);
      if (keep_short + keep_long > room) {
        keep_short = room / 2;
        keep_long = keep_short + room % 2;
      }
      keep_long = std::min(keep_long, longer);
      keep_first = first.size() > second->size() ? keep_long : keep_short;
      Truncate(*second, first.size() > second->size() ? keep_short : keep_long,
               parts_.truncate_left);
    }
    Truncate(first, keep_first, parts_.truncate_left);
  }

  const size_t size = total - out.truncated + special;
  out.ids.reserve(size);
  out.type_ids.reserve(size);
  out.offsets.reserve(size);
  const auto append = [&](const std::vector<Token>& tokens, uint8_t type_id) {
    for (const Token& token : tokens) {
      out.ids.push_back(token.id);
      out.type_ids.push_back(type_id);
      out.offsets.push_back({token.begin, token.end});
    }
  };
  for (const PostProcessor::Item& item : items) {
    switch (item.kind) {
      case PostProcessor::Item::kFirst:
        append(first, item.type_id);
        break;
      case PostProcessor::Item::kSecond:
        if (is_pair) append(*second, item.type_id);
        break;
      case PostProcessor::Item::kSpecial:
        if (!options.add_special_tokens) break;
        out.ids.push_back(item.id);
        out.type_ids.push_back(item.type_id);
        out.offsets.push_back({0, 0});
        break;
    }
  }
  if (options.max_tokens > 0 && out.ids.size() > options.max_tokens) {
    out.truncated += out.ids.size() - options.max_tokens;
    out.ids.resize(options.max_tokens);
    out.type_ids.resize(options.max_tokens);
    out.offsets.resize(options.max_tokens);
  }
  return out;
}

Encoding PipelineTokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  size_t invalid_bytes = 0;
  Encoding out =
      Assemble(EncodeText(text, options.parse_special_tokens, &invalid_bytes), nullptr, options);
  out.invalid_bytes = invalid_bytes;
  return out;
}

Encoding PipelineTokenizer::EncodePair(std::string_view first, std::string_view second,
                                       const EncodeOptions& options) const {
  size_t invalid_bytes = 0;
  std::vector<Token> tokens = EncodeText(second, options.parse_special_tokens, &invalid_bytes);
  Encoding out =
      Assemble(EncodeText(first, options.parse_special_tokens, &invalid_bytes), &tokens, options);
  out.invalid_bytes = invalid_bytes;
  return out;
}

std::string PipelineTokenizer::Decode(std::span<const TokenId> ids,
                                      bool skip_special_tokens) const {
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (const TokenId id : ids) {
    if (skip_special_tokens && IsSpecial(id)) continue;
    const std::string_view piece = Piece(id);
    if (!piece.empty()) pieces.emplace_back(piece);
  }
  std::string out;
  if (parts_.decoder) {
    parts_.decoder->Apply(pieces);
  } else {
    for (size_t i = 1; i < pieces.size(); ++i) pieces[i].insert(pieces[i].begin(), ' ');
  }
  for (const std::string& piece : pieces) out += piece;
  return out;
}

std::string PipelineTokenizer::TokenBytes(TokenId id) const {
  std::string piece(Piece(id));
  if (piece.empty()) return piece;
  if (parts_.decoder) {
    parts_.decoder->ApplyFollowing(piece);
  } else {
    piece.insert(piece.begin(), ' ');
  }
  return piece;
}

}  // namespace rag
