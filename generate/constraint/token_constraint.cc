#include "generate/constraint/token_constraint.h"

#include <algorithm>
#include <set>
#include <utility>

namespace rag {
namespace {

constexpr int32_t kUnknown = -2;
constexpr int32_t kDead = -1;
constexpr uint32_t kBottom = 0;  // the frame that the root returns to
// What is kept between steps. A set takes about 1 KiB, with its tokens up to 20 KiB more.
constexpr size_t kMaxKeptBytes = size_t{64} << 20;
// What one step may add: an expression like .*a.{5000} has a set of thousands of frames for each
// way to write a token.
constexpr size_t kMaxStepBytes = size_t{256} << 20;
constexpr size_t kFrameBytes = 64;  // with its place in frame_ids_
// Positions and ways out of them that one step may look at: some tenths of a second. ([a-z ]?){N}
// has few sets, of N positions each.
constexpr size_t kMaxStepWork = size_t{1} << 22;
// A set's tokens whose cost is not the common one are kept while they are so small a part of the
// vocabulary: in a string nearly all cost the same, and a step near the limit of tokens then takes
// microseconds instead of a walk over all tokens.
constexpr size_t kOtherCostsPart = 16;

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
      memory_(compiled_->memory()) {
  Clear();
}

TokenConstraint::~TokenConstraint() { memory_.Remove(kept_bytes_); }

void TokenConstraint::Keep(size_t bytes) {
  kept_bytes_ += bytes;
  memory_.Add(bytes);
}

bool TokenConstraint::keeps_much() const {
  return kept_bytes_ > kMaxKeptBytes || (memory_.tight() && kept_bytes_ > memory_.share());
}

void TokenConstraint::Clear() {
  frames_.assign(1, {0, kBottom, 0});
  frame_ids_.clear();
  sets_.clear();
  set_ids_.clear();
  memory_.Remove(kept_bytes_);
  kept_bytes_ = 0;
  Set start;
  Close({Intern(automaton_.rule(automaton_.root()).start, kBottom)}, start);
  current_ = InternSet(std::move(start));
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
    frames_.push_back({state, parent, automaton_.rest(state) + above});
    Keep(kFrameBytes);
  }
  return found->second;
}

// Follows everything that takes no byte.
void TokenConstraint::Close(std::vector<FrameId> open, Set& set) {
  std::set<FrameId> seen;
  while (!open.empty()) {
    const FrameId id = open.back();
    open.pop_back();
    if (!seen.insert(id).second) continue;
    const Frame frame = frames_[id];
    const auto& edges = automaton_.edges(frame.state);
    step_work_ += 1 + edges.size();
    if (edges.empty()) {
      if (frame.parent == kBottom) {
        set.complete = true;
      } else {
        open.push_back(frame.parent);
      }
    }
    bool takes_byte = false;
    for (const Automaton::Edge& edge : edges) {
      switch (edge.kind) {
        case Automaton::Edge::kBytes:
          takes_byte = true;
          break;
        case Automaton::Edge::kEmpty:
          open.push_back(Intern(edge.to, frame.parent));
          break;
        case Automaton::Edge::kCall: {
          // A call in the last place returns to the caller at once, so that lists do not nest.
          const FrameId back =
              automaton_.ends(edge.to) ? frame.parent : Intern(edge.to, frame.parent);
          open.push_back(Intern(automaton_.rule(edge.rule).start, back));
          break;
        }
      }
    }
    if (takes_byte) set.frames.push_back(id);
  }
  std::sort(set.frames.begin(), set.frames.end());
}

TokenConstraint::SetId TokenConstraint::InternSet(Set set) {
  const auto [found, is_new] =
      set_ids_.try_emplace({set.frames, set.complete}, static_cast<SetId>(sets_.size()));
  if (!is_new) return found->second;
  set.next.fill(kUnknown);
  if (!set.complete) {
    set.cost = frames_[set.frames[0]].cost;
    for (const FrameId id : set.frames) set.cost = std::min(set.cost, frames_[id].cost);
  }
  Keep(2 * sizeof(Set) + 2 * set.frames.size() * sizeof(FrameId));
  sets_.push_back(std::move(set));
  return found->second;
}

int32_t TokenConstraint::Next(SetId set, uint8_t byte) {
  const int32_t known = sets_[set].next[byte];
  if (known != kUnknown) return known;
  std::vector<FrameId> open;
  step_work_ += sets_[set].frames.size();
  for (const FrameId id : std::vector<FrameId>(sets_[set].frames)) {
    const Frame frame = frames_[id];
    for (const Automaton::Edge& edge : automaton_.edges(frame.state)) {
      if (edge.kind == Automaton::Edge::kBytes && byte >= edge.low && byte <= edge.high) {
        open.push_back(Intern(edge.to, frame.parent));
      }
    }
  }
  int32_t next = kDead;
  if (!open.empty()) {
    Set after;
    Close(std::move(open), after);
    next = static_cast<int32_t>(InternSet(std::move(after)));
  }
  sets_[set].next[byte] = next;
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

Status TokenConstraint::FindCosts(SetId set) {
  costs_.clear();
  // The sets after each byte of the token in hand; what it shares with the next is not walked
  // again, and where a byte is dead all that share it are passed over.
  std::vector<SetId> path = {set};
  size_t dead_at = std::string_view::npos;  // length of the shortest beginning that is dead
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const size_t common = tokens_.common(i);
    if (common >= dead_at) continue;
    dead_at = std::string_view::npos;
    path.resize(std::min(path.size(), common + 1));
    const std::string_view bytes = tokens_.bytes(i);
    while (path.size() <= bytes.size()) {
      const auto byte = static_cast<uint8_t>(bytes[path.size() - 1]);
      int32_t next = sets_[path.back()].next[byte];
      if (next == kUnknown) {
        next = Next(path.back(), byte);
        RAG_RETURN_IF_ERROR(CheckGrowth());
      }
      if (next == kDead) {
        dead_at = path.size();
        break;
      }
      path.push_back(static_cast<SetId>(next));
    }
    if (dead_at != std::string_view::npos) continue;
    costs_.emplace_back(sets_[path.back()].cost, tokens_.id(i));
  }
  return OkStatus();
}

Status TokenConstraint::FindAllowed(SetId set) {
  RAG_RETURN_IF_ERROR(FindCosts(set));
  std::vector<uint64_t> bits((tokens_.vocab_size() + 63) / 64);
  std::map<uint32_t, size_t> counts;
  size_t* count = nullptr;  // of the token before, whose cost the next one mostly has
  uint32_t counted = 0;
  for (const auto& [cost, id] : costs_) {
    SetBit(bits, id);
    if (count == nullptr || cost != counted) {
      count = &counts[cost];
      counted = cost;
    }
    ++*count;
  }
  Set& found = sets_[set];
  size_t most = 0;
  for (const auto& [cost, tokens] : counts) {
    found.largest_cost = cost;
    if (tokens > most) {
      most = tokens;
      found.common_cost = cost;
    }
  }
  found.knows_costs = costs_.size() - most <= tokens_.size() / kOtherCostsPart;
  if (found.knows_costs) {
    for (const auto& token : costs_) {
      if (token.first != found.common_cost) found.other_costs.push_back(token);
    }
    found.other_costs.shrink_to_fit();
  }
  Keep(bits.size() * sizeof(bits[0]) + found.other_costs.size() * sizeof(costs_[0]));
  found.allowed = std::move(bits);
  return OkStatus();
}

Status TokenConstraint::Narrow(SetId set, size_t left) {
  const Set& found = sets_[set];
  if (found.knows_costs && found.common_cost < left) {
    scratch_ = found.allowed;
    for (const auto& [cost, id] : found.other_costs) {
      if (cost >= left) ClearBit(scratch_, id);
    }
    return OkStatus();
  }
  if (!found.knows_costs) RAG_RETURN_IF_ERROR(FindCosts(set));
  scratch_.assign((tokens_.vocab_size() + 63) / 64, 0);
  for (const auto& [cost, id] : sets_[set].knows_costs ? sets_[set].other_costs : costs_) {
    if (cost < left) SetBit(scratch_, id);
  }
  return OkStatus();
}

Result<std::span<const uint64_t>> TokenConstraint::Allowed(size_t left) {
  Shrink();
  step_work_ = 0;
  if (sets_[current_].allowed.empty()) RAG_RETURN_IF_ERROR(FindAllowed(current_));
  const Set& set = sets_[current_];
  if (set.largest_cost < left) return std::span<const uint64_t>(set.allowed);
  RAG_RETURN_IF_ERROR(Narrow(current_, left));
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
