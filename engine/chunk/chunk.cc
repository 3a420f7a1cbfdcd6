#include "engine/chunk.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/chunk/sections.h"
#include "engine/chunk/sentences.h"
#include "engine/chunk/token_map.h"
#include "engine/parse/paragraphs.h"

namespace rag {
namespace {

constexpr size_t kMinChunkTokens = 8;
constexpr size_t kMaxChunkTokens = 8'192;
// Tokenizers give one token for a very long word; a chunk is no longer than this for each of its
// tokens all the same. Text of any language has fewer than 16 bytes a token.
constexpr size_t kMaxBytesPerToken = 64;

Status CheckOptions(const ChunkOptions& options) {
  if (options.chunk_tokens < kMinChunkTokens || options.chunk_tokens > kMaxChunkTokens) {
    return InvalidArgumentError("chunk_tokens ", options.chunk_tokens, " is not between ",
                                kMinChunkTokens, " and ", kMaxChunkTokens);
  }
  if (options.overlap_tokens * 2 >= options.chunk_tokens) {
    return InvalidArgumentError("overlap_tokens ", options.overlap_tokens,
                                " is not below half of chunk_tokens ", options.chunk_tokens);
  }
  return OkStatus();
}

bool IsCharacterBorder(std::string_view text, uint32_t at) {
  return at == text.size() || (text[at] & 0xC0) != 0x80;
}

// The document's blocks, checked; paragraphs where it has none.
Result<std::vector<Block>> BlocksOf(const Document& document) {
  const std::string_view text = document.text;
  if (text.size() > std::numeric_limits<uint32_t>::max()) {
    return InvalidArgumentError("a text of ", text.size(), " bytes is too long to be chunked");
  }
  std::vector<Block> blocks = document.blocks;
  if (blocks.empty()) {
    AppendParagraphs(text, 0, static_cast<uint32_t>(text.size()), BlockKind::kParagraph, blocks);
  }
  uint32_t before = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    if (block.begin < before || block.end < block.begin || block.end > text.size() ||
        !IsCharacterBorder(text, block.begin) || !IsCharacterBorder(text, block.end)) {
      return InvalidArgumentError("block ", i, " of the document, bytes ", block.begin, " to ",
                                  block.end, ", is out of order, of range or within a character");
    }
    before = block.end;
  }
  return blocks;
}

// A piece of a block that is put into chunks as a whole.
struct Unit {
  ByteRange range;
  enum class Kind {
    kHeading,
    kBlock,     // prose that sentences can be taken from
    kSentence,  //
    kPart,      // of a sentence that is too long
    kRow,       // of a table: complete in itself, never repeated
    kLine,      // of code
  } kind = Kind::kBlock;
};

class Chunker {
 public:
  Chunker(const Document& document, std::vector<Block> blocks, const ChunkOptions& options,
          const Tokenizer* tokenizer)
      : text_(document.text),
        blocks_(std::move(blocks)),
        options_(options),
        max_bytes_(options.chunk_tokens * kMaxBytesPerToken),
        sections_(document.text, blocks_),
        tokens_(document.text, tokenizer) {
    // What stands between blocks is in the chunks' ranges, so it counts.
    uint32_t before = blocks_.empty() ? 0 : blocks_.front().begin;
    for (const Block& block : blocks_) {
      tokens_.Append(before, block.end);
      before = block.end;
    }
  }

  std::vector<Chunk> Run() {
    if (blocks_.empty()) return {};
    if (options_.strategy == ChunkStrategy::kFixed) {
      Windows();
    } else {
      for (const Block& block : blocks_) AddBlock(block);
      Flush();
    }
    return std::move(chunks_);
  }

 private:
  // --- fixed windows ---

  void Windows() {
    const uint32_t end = blocks_.back().end;
    uint32_t begin = blocks_.front().begin;
    while (true) {
      const uint32_t cut = tokens_.CutAtToken(begin, end, options_.chunk_tokens, max_bytes_);
      Emit({begin, cut});
      if (cut >= end) return;
      const size_t taken = tokens_.Count(begin, cut);
      const size_t step = taken > options_.overlap_tokens ? taken - options_.overlap_tokens : taken;
      const uint32_t next = tokens_.CutAtToken(begin, cut, step, max_bytes_);
      begin = std::max(next, begin + 1);
    }
  }

  // --- units that are merged ---

  bool Fits(uint32_t begin, uint32_t end) const {
    return end - begin <= max_bytes_ && tokens_.Count(begin, end) <= options_.chunk_tokens;
  }

  void AddBlock(const Block& block) {
    const ByteRange range = TrimRange(text_, {block.begin, block.end});
    if (range.begin == range.end) return;
    if (block.kind == BlockKind::kHeading) {
      const bool after_heading = !units_.empty() && units_.back().kind == Unit::Kind::kHeading;
      if (options_.strategy == ChunkStrategy::kStructure && !after_heading) Flush();
      AddLong({range, Unit::Kind::kHeading});
      return;
    }
    if (block.kind == BlockKind::kTableRow) {
      AddLong({range, Unit::Kind::kRow});
      return;
    }
    const bool whole = options_.strategy != ChunkStrategy::kSentence;
    if (whole && Fits(range.begin, range.end)) {
      Add({range, block.kind == BlockKind::kCode ? Unit::Kind::kLine : Unit::Kind::kBlock});
    } else if (block.kind == BlockKind::kCode) {
      for (const ByteRange line : SplitLines(text_.substr(range.begin, range.end - range.begin))) {
        // Indentation belongs to the line; only empty lines are nothing.
        const ByteRange absolute{range.begin + line.begin, range.begin + line.end};
        const ByteRange trimmed = TrimRange(text_, absolute);
        if (trimmed.begin != trimmed.end) {
          AddLong({{absolute.begin, trimmed.end}, Unit::Kind::kLine});
        }
      }
    } else {
      AddSentences(range);
    }
  }

  void AddSentences(ByteRange range) {
    for (const TextRange sentence :
         splitter_.Split(text_.substr(range.begin, range.end - range.begin), range.begin)) {
      AddLong({{sentence.begin, sentence.end}, Unit::Kind::kSentence});
    }
  }

  // A unit that may alone be too long: then it is added in parts.
  void AddLong(Unit unit) {
    if (Fits(unit.range.begin, unit.range.end)) {
      Add(unit);
      return;
    }
    // Room is left for what is repeated of the part before.
    const size_t size = options_.chunk_tokens - options_.overlap_tokens;
    uint32_t begin = unit.range.begin;
    while (begin < unit.range.end) {
      const uint32_t cut = tokens_.CutAfter(begin, unit.range.end, size, size * kMaxBytesPerToken);
      const ByteRange part = TrimRange(text_, {begin, cut});
      if (part.begin != part.end) Add({part, Unit::Kind::kPart});
      begin = cut;
    }
  }

  // Puts the unit into the open chunk, or into a new one when it does not fit there.
  void Add(Unit unit) {
    if (!units_.empty() && !Fits(begin_, unit.range.end)) {
      const uint32_t repeated = OverlapBegin();
      Flush();
      if (repeated < unit.range.begin && Fits(repeated, unit.range.end)) begin_ = repeated;
    }
    if (units_.empty()) begin_ = std::min(begin_, unit.range.begin);
    units_.push_back(unit);
  }

  // Where the repeated end of the open chunk begins; behind everything when nothing is repeated.
  uint32_t OverlapBegin() {
    const uint32_t end = units_.back().range.end;
    uint32_t best = kNothing;
    for (auto unit = units_.rbegin(); unit != units_.rend(); ++unit) {
      if (unit->kind == Unit::Kind::kHeading || unit->kind == Unit::Kind::kRow) break;
      if (unit->range.begin > begin_ &&
          tokens_.Count(unit->range.begin, end) <= options_.overlap_tokens) {
        best = unit->range.begin;
        continue;
      }
      if (unit->kind == Unit::Kind::kPart && best == kNothing) {
        const uint32_t word = tokens_.BeginOfLast(unit->range.begin, end, options_.overlap_tokens);
        if (word < end) best = word;
      } else if (unit->kind == Unit::Kind::kBlock) {
        const ByteRange range = unit->range;
        for (const TextRange sentence :
             splitter_.Split(text_.substr(range.begin, range.end - range.begin), range.begin)) {
          if (sentence.begin > begin_ &&
              tokens_.Count(sentence.begin, end) <= options_.overlap_tokens) {
            best = std::min(best, sentence.begin);
            break;
          }
        }
      }
      break;
    }
    return best;
  }

  void Flush() {
    if (!units_.empty()) Emit({begin_, units_.back().range.end});
    units_.clear();
    begin_ = kNothing;
  }

  void Emit(ByteRange range) {
    range = TrimRange(text_, range);
    if (range.begin == range.end) return;
    // Windows that step over a long stretch of white space may repeat the one before.
    if (!chunks_.empty() && range.end <= chunks_.back().end) return;
    Chunk chunk;
    chunk.begin = range.begin;
    chunk.end = range.end;
    const size_t block = sections_.FirstBlock(range.begin);
    chunk.page = block < blocks_.size() ? blocks_[block].page : 0;
    chunk.headings = sections_.Path(range.begin, range.end);
    chunk.tokens = static_cast<uint32_t>(tokens_.Count(range.begin, range.end));
    chunks_.push_back(std::move(chunk));
  }

  static constexpr uint32_t kNothing = std::numeric_limits<uint32_t>::max();

  std::string_view text_;
  std::vector<Block> blocks_;
  ChunkOptions options_;
  size_t max_bytes_;
  Sections sections_;
  TokenMap tokens_;
  SentenceSplitter splitter_;
  std::vector<Unit> units_;  // of the open chunk, without what it repeats
  uint32_t begin_ = kNothing;
  std::vector<Chunk> chunks_;
};

}  // namespace

Value ToValue(const ChunkOptions& options) {
  return Value::Object{{"strategy", Value(ChunkStrategyName(options.strategy))},
                       {"chunk_tokens", options.chunk_tokens},
                       {"overlap_tokens", options.overlap_tokens}};
}

Result<std::vector<Chunk>> ChunkDocument(const Document& document, const ChunkOptions& options,
                                         const Tokenizer* tokenizer) {
  RAG_RETURN_IF_ERROR(CheckOptions(options));
  RAG_ASSIGN_OR_RETURN(std::vector<Block> blocks, BlocksOf(document));
  return Chunker(document, std::move(blocks), options, tokenizer).Run();
}

}  // namespace rag
