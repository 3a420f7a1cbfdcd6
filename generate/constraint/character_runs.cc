#include "generate/constraint/character_runs.h"

#include <algorithm>
#include <utility>

#include "generate/constraint/utf8_forms.h"

namespace rag {
namespace {

constexpr uint8_t kNoForm = 0xFF;

// The place in kUtf8Forms of the form that begins with a byte, or kNoForm.
constexpr std::array<uint8_t, 256> kFormOf = [] {
  std::array<uint8_t, 256> form_of{};
  form_of.fill(kNoForm);
  for (size_t form = 0; form < kUtf8Forms.size(); ++form) {
    const Utf8Form::Range& lead = kUtf8Forms[form].bytes[0];
    for (size_t byte = lead.low; byte <= lead.high; ++byte) {
      form_of[byte] = static_cast<uint8_t>(form);
    }
  }
  return form_of;
}();

// Where the bytes of a token are: after `run` characters, and `prefix` of another, of `form`, its
// first byte lowest.
struct Place {
  uint32_t run = 0;
  uint32_t form = kNoForm;
  uint32_t prefix_size = 0;
  uint32_t prefix = 0;
};

// Takes one byte more; false when it is in no character of the set, or in one too many.
bool Step(Place& place, uint8_t byte, const CharacterRuns::Characters& characters) {
  if (place.prefix_size > 0) {
    const Utf8Form& form = kUtf8Forms[place.form];
    const Utf8Form::Range& range = form.bytes[place.prefix_size];
    if (byte < range.low || byte > range.high) return false;
    if (place.prefix_size + 1 == form.size) {
      place = {.run = place.run + 1};
      return true;
    }
  } else {
    if (place.run == CharacterRuns::kMaxRun) return false;
    if (byte < 0x80) {
      if (!characters.ascii[byte]) return false;
      ++place.run;
      return true;
    }
    place.form = kFormOf[byte];
    if (!characters.beyond_ascii || place.form == kNoForm) return false;
  }
  place.prefix |= uint32_t{byte} << (8 * place.prefix_size++);
  return true;
}

// Nodes of a trie: a first one and some of those below it, which come after the rest of `prefix`.
struct Part {
  TokenTrie::Range nodes;
  uint32_t prefix = 0;
  uint8_t prefix_size = 0;
  uint8_t byte = 0;  // the first of what is left of the prefix, or the first node's
};

// Adds parts to another trie, what begins alike once.
class Merger {
 public:
  Merger(const TokenTrie& trie, TokenTrie& out) : trie_(trie), out_(out) {}

  void Add(Part part) {
    part.byte = part.prefix_size > 0 ? static_cast<uint8_t>(part.prefix)
                                     : trie_.node(part.nodes.begin).byte;
    parts_.push_back(part);
  }

  void Run() {
    Divide(1, 0);
    while (!open_.empty()) {
      const Alike next = open_.back();
      open_.pop_back();
      alike_.assign(parts_.begin() + static_cast<ptrdiff_t>(next.begin), parts_.end());
      parts_.resize(next.begin);
      const Part& first = alike_.front();
      if (alike_.size() == 1 && first.prefix_size == 0) {
        Copy(first.nodes, next.depth);
        continue;
      }
      out_.Add(next.depth, first.byte);
      for (Part& part : alike_) {
        if (part.prefix_size > 0) {
          part.prefix >>= 8;
          --part.prefix_size;
          Add(part);
        } else {
          AddBelow(part.nodes);
        }
      }
      Divide(next.depth + 1, next.begin);
    }
  }

 private:
  // The parts from `begin` to where the ones before it in open_ began: their byte is the same.
  struct Alike {
    uint32_t depth;
    size_t begin;
  };

  void Divide(uint32_t depth, size_t begin) {
    const auto first = parts_.begin() + static_cast<ptrdiff_t>(begin);
    std::sort(first, parts_.end(), [](const Part& a, const Part& b) { return a.byte > b.byte; });
    for (size_t i = begin; i < parts_.size(); ++i) {
      if (i == begin || parts_[i].byte != parts_[i - 1].byte) open_.push_back({depth, i});
    }
  }

  void AddBelow(TokenTrie::Range nodes) {
    for (const TokenId id : trie_.tokens(nodes.begin)) out_.AddToken(id);
    for (uint32_t at = nodes.begin + 1; at < nodes.end; at = trie_.node(at).end) {
      Add({.nodes = {at, trie_.node(at).end}});
    }
  }

  void Copy(TokenTrie::Range nodes, uint32_t depth) {
    const uint32_t first = trie_.node(nodes.begin).depth;
    for (uint32_t at = nodes.begin; at < nodes.end; ++at) {
      out_.Add(trie_.node(at).depth - first + depth, trie_.node(at).byte);
      for (const TokenId id : trie_.tokens(at)) out_.AddToken(id);
    }
  }

  const TokenTrie& trie_;
  TokenTrie& out_;
  std::vector<Part> parts_;
  std::vector<Alike> open_;  // the next one last
  std::vector<Part> alike_;
};

}  // namespace

CharacterRuns::CharacterRuns(const TokenTrie& tokens, size_t vocab_size,
                             const Characters& characters)
    : characters_(characters), words_((vocab_size + 63) / 64), tokens_((kMaxRun + 1) * words_) {
  std::array<std::vector<Part>, kMaxRun + 1> parts;
  const auto add = [&](const Place& place, TokenTrie::Range nodes) {
    parts[place.run].push_back({.nodes = nodes,
                                .prefix = place.prefix,
                                .prefix_size = static_cast<uint8_t>(place.prefix_size)});
  };
  std::vector<Place> path(tokens.depth() + 1);
  for (uint32_t at = 0; at < tokens.size();) {
    const TokenTrie::Node& node = tokens.node(at);
    const Place before = path[node.depth - 1];
    Place after = before;
    if (!Step(after, node.byte, characters)) {
      if (node.depth == 1) {
        without_run_.push_back({at, node.end});
      } else {
        add(before, {at, node.end});
      }
      at = node.end;
      continue;
    }
    const auto ids = tokens.tokens(at);
    if (after.prefix_size == 0) {
      for (const TokenId id : ids) {
        const auto bit = static_cast<size_t>(id);
        tokens_[after.run * words_ + bit / 64] |= uint64_t{1} << (bit % 64);
      }
    } else if (!ids.empty()) {
      add(before, {at, at + 1});
    }
    path[node.depth] = after;
    ++at;
  }
  for (size_t i = 2 * words_; i < tokens_.size(); ++i) tokens_[i] |= tokens_[i - words_];
  Merger merger(tokens, rests_);
  for (size_t run = 0; run <= kMaxRun; ++run) {
    for (const Part& part : parts[run]) merger.Add(part);
    merger.Run();
    first_rest_[run + 1] = rests_.size();
  }
  rests_.Finish();
}

size_t CharacterRuns::memory_bytes() const {
  return sizeof(*this) + tokens_.size() * sizeof(tokens_[0]) + rests_.memory_bytes() +
         without_run_.capacity() * sizeof(without_run_[0]);
}

}  // namespace rag
