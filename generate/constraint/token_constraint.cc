#include "generate/constraint/token_constraint.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

namespace rag {
namespace {

constexpr int32_t kUnknown = -2;
constexpr int32_t kDead = -1;
constexpr uint32_t kBottom = 0;  // the frame that the root returns to
// What is kept between steps. A set takes some hundred bytes, with its tokens up to 20 KiB more.
constexpr size_t kMaxKeptBytes = size_t{64} << 20;
// What one step may add: an expression like .*a.{5000} has a set of thousands of frames for each
// way to write a token.
constexpr size_t kMaxStepBytes = size_t{256} << 20;
// Of an entry of a hash table: its node, and two places in the table that grows to twice the size.
constexpr size_t kHashEntryBytes = 48;
// Positions and ways out of them that one step may look at: some tenths of a second. ([a-z ]?){N}
// has few sets, of N positions each.
constexpr size_t kMaxStepWork = size_t{1} << 22;
// A set's tokens whose cost is not the common one are kept while they are so small a part of the
// vocabulary: in a string nearly all cost the same, and a step near the limit of tokens then takes
// microseconds instead of a walk over all tokens.
constexpr size_t kOtherCostsPart = 16;
// Runs of characters are wanted where more than this part of the vocabulary's trie was walked;
// less takes some tens of microseconds.
constexpr size_t kRunsPart = 16;

void SetBit(std::vector<uint64_t>& bits, TokenId id) {
  bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (static_cast<size_t>(id) % 64);
}
void ClearBit(std::vector<uint64_t>& bits, TokenId id) {
  bits[static_cast<size_t>(id) / 64] &= ~(uint64_t{1} << (static_cast<size_t>(id) % 64));
}

}  // namespace

TokenConstraint::TokenConstraint(std::shared_ptr<const CompiledConstraint> compiled)
    : compiled_(std::move(compiled)),
      automaton_(compiled_->automaton()),
      tokens_(compiled_->tokens()),
      memory_(compiled_->memory()),
      path_(tokens_.trie().depth() + 1) {
  Clear();
  CountScratch();
}

TokenConstraint::~TokenConstraint() { memory_.Remove(kept_bytes()); }

void TokenConstraint::CountScratch() {
  // As large as the vocabulary; the others are small.
  if (memory_.tight()) std::exchange(costs_, {});
  memory_.Remove(scratch_bytes_);
  scratch_bytes_ = sizeof(*this) + open_.capacity() * sizeof(open_[0]) +
                   path_.capacity() * sizeof(path_[0]) + chain_.capacity() * sizeof(chain_[0]) +
                   scratch_.capacity() * sizeof(scratch_[0]) +
                   costs_.capacity() * sizeof(costs_[0]);
  memory_.Add(scratch_bytes_);
}

void TokenConstraint::Keep(size_t bytes) {
  kept_bytes_ += bytes;
  memory_.Add(bytes);
}

bool TokenConstraint::keeps_much() const {
  return kept_bytes_ > kMaxKeptBytes || (memory_.tight() && kept_bytes_ > memory_.share());
}

void TokenConstraint::Clear() {
  frames_.assign(1, {0, kBottom, 0, kUnknown, 0});
  closures_ = 0;
  frame_ids_.clear();
  sets_.clear();
  set_ids_.clear();
  memory_.Remove(kept_bytes_);
  kept_bytes_ = 0;
  open_ = {Intern(automaton_.rule(automaton_.root()).start, kBottom)};
  current_ = Close();
}

void TokenConstraint::Restart() {
  if (keeps_much()) Clear();
  current_ = 0;
}

void TokenConstraint::Shrink() {
  if (!keeps_much()) return;
  const std::vector<Frame> frames = std::move(frames_);
  const Set current = std::move(sets_[current_]);
  Clear();
  // A parent was interned before its children.
  std::map<FrameId, FrameId> moved;
  std::vector<FrameId> open = current.frames;
  while (!open.empty()) {
    const FrameId id = open.back();
    open.pop_back();
    if (id != kBottom && moved.try_emplace(id, kBottom).second) open.push_back(frames[id].parent);
  }
  moved[kBottom] = kBottom;
  for (auto& [from, to] : moved) {
    if (from != kBottom) to = Intern(frames[from].state, moved.at(frames[from].parent));
  }
  Set same;
  same.complete = current.complete;
  for (const FrameId id : current.frames) same.frames.push_back(moved.at(id));
  std::sort(same.frames.begin(), same.frames.end());
  current_ = InternSet(std::move(same));
}

Status TokenConstraint::CheckGrowth() const {
  if (kept_bytes_ > kMaxKeptBytes + kMaxStepBytes) {
    return ResourceExhaustedError(
        "what the constraint allows next is too much to work out: more than ", kMaxStepBytes,
        " bytes");
  }
  if (memory_.full() && kept_bytes_ > memory_.share()) {
    return ResourceExhaustedError("what the constraint allows next takes more than is left of the ",
                                  memory_.limit(), " bytes that all constraints may take");
  }
  if (step_work_ > kMaxStepWork) {
    return ResourceExhaustedError(
        "what the constraint allows next is too much to work out: more than ", kMaxStepWork,
        " positions are looked at");
  }
  return OkStatus();
}

TokenConstraint::FrameId TokenConstraint::Intern(Automaton::State state, FrameId parent) {
  const uint64_t key = static_cast<uint64_t>(state) << 32 | parent;
  const auto [found, is_new] = frame_ids_.try_emplace(key, static_cast<FrameId>(frames_.size()));
  if (is_new) {
    const uint32_t above = parent == kBottom ? 0 : frames_[parent].cost;
    const uint32_t cost = std::min(automaton_.rest(state) + above, Automaton::kNever);
    frames_.push_back({state, parent, cost, kUnknown, 0});
    Keep(2 * sizeof(Frame) + kHashEntryBytes);
  }
  return found->second;
}

TokenConstraint::SetId TokenConstraint::Close() {
  const FrameId first = open_.front();
  const bool alone = open_.size() == 1;
  if (alone && frames_[first].closure != kUnknown) {
    return static_cast<SetId>(frames_[first].closure);
  }
  ++closures_;
  Set set;
  while (!open_.empty()) {
    const FrameId id = open_.back();
    open_.pop_back();
    if (frames_[id].closed == closures_) continue;
    frames_[id].closed = closures_;
    const Frame frame = frames_[id];
    const auto& edges = automaton_.edges(frame.state);
    step_work_ += 1 + edges.size();
    if (edges.empty()) {
      if (frame.parent == kBottom) {
        set.complete = true;
      } else {
        open_.push_back(frame.parent);
      }
    }
    bool takes_byte = false;
    for (const Automaton::Edge& edge : edges) {
      switch (edge.kind) {
        case Automaton::Edge::kBytes:
          takes_byte = true;
          break;
        case Automaton::Edge::kEmpty:
          open_.push_back(Intern(edge.to, frame.parent));
          break;
        case Automaton::Edge::kCall: {
          // A call in the last place returns to the caller at once, so that lists do not nest.
          const FrameId back =
              automaton_.ends(edge.to) ? frame.parent : Intern(edge.to, frame.parent);
          open_.push_back(Intern(automaton_.rule(edge.rule).start, back));
          break;
        }
      }
    }
    if (takes_byte) set.frames.push_back(id);
  }
  std::sort(set.frames.begin(), set.frames.end());
  const SetId closure = InternSet(std::move(set));
  if (alone) frames_[first].closure = static_cast<int32_t>(closure);
  return closure;
}

TokenConstraint::SetId TokenConstraint::InternSet(Set set) {
  size_t hash = set.complete ? 1 : 0;
  for (const FrameId id : set.frames) hash = (hash ^ id) * 0x9E3779B97F4A7C15u;
  const auto [begin, end] = set_ids_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const Set& known = sets_[it->second];
    if (known.frames == set.frames && known.complete == set.complete) return it->second;
  }
  const SetId id = static_cast<SetId>(sets_.size());
  set_ids_.emplace(hash, id);
  if (!set.complete) {
    set.cost = frames_[set.frames[0]].cost;
    for (const FrameId frame : set.frames) set.cost = std::min(set.cost, frames_[frame].cost);
  }
  Keep(2 * sizeof(Set) + kHashEntryBytes + set.frames.capacity() * sizeof(FrameId));
  sets_.push_back(std::move(set));
  return id;
}

const int32_t* TokenConstraint::Row(SetId set) {
  std::unique_ptr<int32_t[]>& next = sets_[set].next;
  if (next == nullptr) {
    const size_t count = automaton_.byte_class_count();
    next = std::make_unique_for_overwrite<int32_t[]>(count);
    std::fill_n(next.get(), count, kUnknown);
    Keep(count * sizeof(int32_t));
  }
  return next.get();
}

int32_t TokenConstraint::Next(SetId set, uint8_t byte) {
  const int32_t known = Row(set)[automaton_.byte_class(byte)];
  return known != kUnknown ? known : FindNext(set, byte);
}

int32_t TokenConstraint::FindNext(SetId set, uint8_t byte) {
  // From `low` to `high` the same edges can be taken.
  uint8_t low = 0;
  uint8_t high = 255;
  open_.clear();
  step_work_ += sets_[set].frames.size();
  for (const FrameId id : sets_[set].frames) {
    const Frame frame = frames_[id];
    for (const Automaton::Edge& edge : automaton_.edges(frame.state)) {
      if (edge.kind != Automaton::Edge::kBytes) continue;
      if (byte < edge.low) {
        high = std::min<uint8_t>(high, edge.low - 1);
      } else if (byte > edge.high) {
        low = std::max<uint8_t>(low, edge.high + 1);
      } else {
        low = std::max(low, edge.low);
        high = std::min(high, edge.high);
        open_.push_back(Intern(edge.to, frame.parent));
      }
    }
  }
  const int32_t next = open_.empty() ? kDead : static_cast<int32_t>(Close());
  std::fill(sets_[set].next.get() + automaton_.byte_class(low),
            sets_[set].next.get() + automaton_.byte_class(high) + 1, next);
  return next;
}

int32_t TokenConstraint::Walk(SetId set, std::string_view bytes) {
  int32_t at = static_cast<int32_t>(set);
  for (const char byte : bytes) {
    at = Next(static_cast<SetId>(at), static_cast<uint8_t>(byte));
    if (at == kDead) break;
  }
  return at;
}

int32_t TokenConstraint::StepBeyondAscii(SetId set) {
  std::optional<Frame> taking;
  for (const FrameId id : sets_[set].frames) {
    const Frame& frame = frames_[id];
    const auto& edges = automaton_.edges(frame.state);
    const bool takes = std::any_of(edges.begin(), edges.end(), [](const Automaton::Edge& edge) {
      return edge.kind == Automaton::Edge::kBytes && edge.high >= 0x80;
    });
    if (!takes) continue;
    if (taking) return kUnknown;
    taking = frame;
  }
  if (!taking) return kDead;
  const std::optional<Automaton::State> after = automaton_.AfterBeyondAscii(taking->state);
  if (!after) return kUnknown;
  open_ = {Intern(*after, taking->parent)};
  return static_cast<int32_t>(Close());
}

int32_t TokenConstraint::Step(SetId set, const CharacterRuns::Characters& characters) {
  int32_t step = kUnknown;
  for (size_t byte = 0; byte < characters.ascii.size(); ++byte) {
    if (!characters.ascii[byte]) continue;
    const int32_t next = Next(set, static_cast<uint8_t>(byte));
    if (step != kUnknown && next != step) return kUnknown;
    step = next;
  }
  return characters.beyond_ascii && StepBeyondAscii(set) != step ? kUnknown : step;
}

Result<bool> TokenConstraint::FollowRuns(SetId set, const CharacterRuns::Characters& characters,
                                         const CharacterRuns* runs) {
  chain_.assign(1, set);
  while (chain_.size() <= CharacterRuns::kMaxRun) {
    const SetId last = chain_.back();
    int32_t step = sets_[last].step;
    if (runs == nullptr || sets_[last].steps_of != runs) {
      step = Step(last, characters);
      RAG_RETURN_IF_ERROR(CheckGrowth());
      if (runs != nullptr) {
        sets_[last].steps_of = runs;
        sets_[last].step = step;
      }
    }
    if (step == kDead) break;
    if (step == kUnknown) return false;
    chain_.push_back(static_cast<SetId>(step));
  }
  return true;
}

Result<CharacterRuns::Characters> TokenConstraint::CommonCharacters(SetId set) {
  struct Choice {
    int32_t next;
    size_t nodes = 0;  // that begin with one of the characters
    CharacterRuns::Characters characters;
  };
  std::vector<Choice> choices;
  for (size_t byte = 0; byte < 128; ++byte) {
    const TokenTrie::Range nodes = tokens_.beginning_with(static_cast<uint8_t>(byte));
    const int32_t next = Next(set, static_cast<uint8_t>(byte));
    RAG_RETURN_IF_ERROR(CheckGrowth());
    if (next == kDead) continue;
    auto choice = std::find_if(choices.begin(), choices.end(),
                               [&](const Choice& other) { return other.next == next; });
    if (choice == choices.end()) choice = choices.insert(choice, {.next = next});
    choice->nodes += nodes.end - nodes.begin;
    choice->characters.ascii.set(byte);
  }
  const auto most =
      std::max_element(choices.begin(), choices.end(),
                       [](const Choice& a, const Choice& b) { return a.nodes < b.nodes; });
  if (most == choices.end()) return CharacterRuns::Characters();
  most->characters.beyond_ascii = StepBeyondAscii(set) == most->next;
  return most->characters;
}

Status TokenConstraint::FindCosts(SetId set) {
  for (size_t byte = 0; byte < 256; ++byte) {
    const TokenTrie::Range nodes = tokens_.beginning_with(static_cast<uint8_t>(byte));
    if (Next(set, static_cast<uint8_t>(byte)) == kDead) continue;
    RAG_RETURN_IF_ERROR(FindCosts(set, tokens_.trie(), nodes));
  }
  return OkStatus();
}

Status TokenConstraint::FindCosts(SetId set, const TokenTrie& trie, TokenTrie::Range nodes) {
  if (nodes.begin == nodes.end) return OkStatus();
  const std::array<uint8_t, 256>& classes = automaton_.byte_classes();
  Place* const path = path_.data();
  path[trie.node(nodes.begin).depth - 1] = {set, Row(set)};
  for (uint32_t at = nodes.begin; at < nodes.end;) {
    const TokenTrie::Node& node = trie.node(at);
    ++nodes_seen_;
    const Place& before = path[node.depth - 1];
    int32_t next = before.next[classes[node.byte]];
    if (next == kUnknown) {
      next = FindNext(before.set, node.byte);
      RAG_RETURN_IF_ERROR(CheckGrowth());
    }
    if (next == kDead) {
      at = node.end;
      continue;
    }
    const auto after = static_cast<SetId>(next);
    for (const TokenId id : trie.tokens(at)) costs_.emplace_back(sets_[after].cost, id);
    ++at;
    if (at == node.end) continue;
    const int32_t* row = sets_[after].next.get();
    path[node.depth] = {after, row != nullptr ? row : Row(after)};
  }
  return OkStatus();
}

Status TokenConstraint::FindCostsAfterRuns(const CharacterRuns& runs) {
  for (const TokenTrie::Range& nodes : runs.without_run()) {
    RAG_RETURN_IF_ERROR(FindCosts(chain_[0], tokens_.trie(), nodes));
  }
  for (size_t run = 0; run < chain_.size(); ++run) {
    RAG_RETURN_IF_ERROR(FindCosts(chain_[run], runs.rests(), runs.after(run)));
  }
  return OkStatus();
}

Status TokenConstraint::FindOtherCosts(SetId set, const CharacterRuns* runs) {
  costs_.clear();
  nodes_seen_ = 0;
  if (runs == nullptr) return FindCosts(set);
  RAG_RETURN_IF_ERROR(FollowRuns(set, runs->characters(), runs).status());
  return FindCostsAfterRuns(*runs);
}

Result<std::unique_ptr<const TokenConstraint::Mask>> TokenConstraint::FindMask(SetId set) {
  auto mask = std::make_unique<Mask>();
  RAG_ASSIGN_OR_RETURN(const CharacterRuns::Characters common, CommonCharacters(set));
  const CharacterRuns* runs = compiled_->Runs(common);
  const bool known = runs != nullptr;
  RAG_ASSIGN_OR_RETURN(const bool alike, FollowRuns(set, common, runs));
  if (!alike) runs = nullptr;
  RAG_RETURN_IF_ERROR(FindOtherCosts(set, runs));
  if (runs == nullptr) {
    mask->allowed.resize((tokens_.vocab_size() + 63) / 64);
    const bool missed = alike && !known && common.ascii.any();
    if (missed && nodes_seen_ > tokens_.trie().size() / kRunsPart) {
      compiled_->MissedRuns(common);
    }
  } else {
    mask->runs = runs;
    const auto together = runs->tokens(chain_.size() - 1);
    mask->allowed.assign(together.begin(), together.end());
    for (size_t run = 1; run < chain_.size(); ++run) {
      mask->run_costs.push_back(sets_[chain_[run]].cost);
      mask->largest_cost = std::max(mask->largest_cost, mask->run_costs.back());
    }
  }
  // The cost that most have, if more than half do (Boyer and Moore, "MJRTY").
  size_t votes = 0;
  for (const auto& [cost, id] : costs_) {
    SetBit(mask->allowed, id);
    mask->largest_cost = std::max(mask->largest_cost, cost);
    if (votes == 0) mask->common_cost = cost;
    votes += cost == mask->common_cost ? size_t{1} : size_t{0} - 1;
  }
  const auto most =
      static_cast<size_t>(std::count_if(costs_.begin(), costs_.end(), [&](const auto& token) {
        return token.first == mask->common_cost;
      }));
  mask->knows_costs = costs_.size() - most <= tokens_.size() / kOtherCostsPart;
  if (mask->knows_costs) {
    mask->other_costs.reserve(costs_.size() - most);
    for (const auto& token : costs_) {
      if (token.first != mask->common_cost) mask->other_costs.push_back(token);
    }
  }
  Keep(sizeof(Mask) + mask->allowed.size() * sizeof(mask->allowed[0]) +
       mask->other_costs.size() * sizeof(costs_[0]) +
       mask->run_costs.capacity() * sizeof(mask->run_costs[0]));
  return std::unique_ptr<const Mask>(std::move(mask));
}

void TokenConstraint::FlipRuns(const Mask& mask, size_t left, bool fitting) {
  const std::vector<uint32_t>& costs = mask.run_costs;
  for (size_t begin = 0; begin < costs.size();) {
    size_t end = begin;
    while (end < costs.size() && (costs[end] < left) == fitting) ++end;
    if (end > begin) {
      const auto below = mask.runs->tokens(begin);
      const auto up_to = mask.runs->tokens(end);
      for (size_t i = 0; i < scratch_.size(); ++i) scratch_[i] ^= up_to[i] ^ below[i];
    }
    begin = end + 1;
  }
}

Status TokenConstraint::Narrow(SetId set, size_t left) {
  const Mask& mask = *sets_[set].mask;
  if (mask.knows_costs && mask.common_cost < left) {
    scratch_ = mask.allowed;
    FlipRuns(mask, left, false);
    for (const auto& [cost, id] : mask.other_costs) {
      if (cost >= left) ClearBit(scratch_, id);
    }
    return OkStatus();
  }
  if (!mask.knows_costs) RAG_RETURN_IF_ERROR(FindOtherCosts(set, mask.runs));
  scratch_.assign((tokens_.vocab_size() + 63) / 64, 0);
  FlipRuns(mask, left, true);
  for (const auto& [cost, id] : mask.knows_costs ? mask.other_costs : costs_) {
    if (cost < left) SetBit(scratch_, id);
  }
  return OkStatus();
}

Result<std::span<const uint64_t>> TokenConstraint::Allowed(size_t left) {
  Shrink();
  step_work_ = 0;
  if (sets_[current_].mask == nullptr) {
    auto found = FindMask(current_);
    CountScratch();
    RAG_ASSIGN_OR_RETURN(sets_[current_].mask, std::move(found));
  }
  const Mask& mask = *sets_[current_].mask;
  if (mask.largest_cost < left) return std::span<const uint64_t>(mask.allowed);
  const Status narrowed = Narrow(current_, left);
  CountScratch();
  RAG_RETURN_IF_ERROR(narrowed);
  return std::span<const uint64_t>(scratch_);
}

Result<bool> TokenConstraint::Allows(std::string_view bytes, size_t left) {
  step_work_ = 0;
  const int32_t after = Walk(current_, bytes);
  RAG_RETURN_IF_ERROR(CheckGrowth());
  return after != kDead && sets_[static_cast<size_t>(after)].cost <= left;
}

bool TokenConstraint::Advance(std::string_view bytes) {
  const int32_t after = Walk(current_, bytes);
  if (after == kDead) return false;
  current_ = static_cast<SetId>(after);
  return true;
}

}  // namespace rag
