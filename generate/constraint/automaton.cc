#include "generate/constraint/automaton.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <optional>
#include <queue>
#include <string>

namespace rag {
namespace {

constexpr size_t kMaxStates = size_t{1} << 18;
// A repetition of a choice copies its edges though few states: 16 bytes each.
constexpr size_t kMaxEdges = size_t{1} << 22;
constexpr uint32_t kNever = Automaton::kNever;

// A run of characters whose UTF-8 forms have one length and differ in whole ranges of each byte.
struct ByteRanges {
  std::array<std::pair<uint8_t, uint8_t>, 4> bytes;
  size_t length = 0;
};

size_t Utf8Length(uint32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

std::array<uint8_t, 4> Utf8(uint32_t c) {
  switch (Utf8Length(c)) {
    case 1:
      return {static_cast<uint8_t>(c)};
    case 2:
      return {static_cast<uint8_t>(0xC0 | c >> 6), static_cast<uint8_t>(0x80 | (c & 0x3F))};
    case 3:
      return {static_cast<uint8_t>(0xE0 | c >> 12), static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F)),
              static_cast<uint8_t>(0x80 | (c & 0x3F))};
    default:
      return {static_cast<uint8_t>(0xF0 | c >> 18), static_cast<uint8_t>(0x80 | (c >> 12 & 0x3F)),
              static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F)),
              static_cast<uint8_t>(0x80 | (c & 0x3F))};
  }
}

// Splits [low, high] where the length changes, at the surrogates, and where the last bytes do not
// run from 0x80 to 0xBF (as Russ Cox, "Regular Expression Matching in the Wild", does).
void SplitUtf8(uint32_t low, uint32_t high, std::vector<ByteRanges>& out) {
  if (low > high) return;
  for (const uint32_t border : {0x7Fu, 0x7FFu, 0xFFFFu}) {
    if (low <= border && border < high) {
      SplitUtf8(low, border, out);
      return SplitUtf8(border + 1, high, out);
    }
  }
  if (low <= 0xDFFF && high >= 0xD800) {
    if (low < 0xD800) SplitUtf8(low, 0xD7FF, out);
    if (high > 0xDFFF) SplitUtf8(0xE000, high, out);
    return;
  }
  const size_t length = Utf8Length(low);
  for (size_t i = 1; i < length; ++i) {
    const uint32_t mask = (1u << (6 * i)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      SplitUtf8(low, low | mask, out);
      return SplitUtf8((low | mask) + 1, high, out);
    }
    if ((high & mask) != mask) {
      SplitUtf8(low, (high & ~mask) - 1, out);
      return SplitUtf8(high & ~mask, high, out);
    }
  }
  ByteRanges ranges;
  ranges.length = length;
  const auto first = Utf8(low);
  const auto last = Utf8(high);
  for (size_t i = 0; i < length; ++i) ranges.bytes[i] = {first[i], last[i]};
  out.push_back(ranges);
}

}  // namespace

class AutomatonBuilder {
 public:
  AutomatonBuilder(const Language& language, const std::bitset<256>& alphabet)
      : language_(language), alphabet_(alphabet) {}

  Result<Automaton> Run() {
    RAG_RETURN_IF_ERROR(language_.expressions.Check());
    const auto& rules = language_.expressions.rules();
    for (size_t i = 0; i < rules.size(); ++i) {
      const State start = NewState();
      out_.rules_.push_back({start, NewState()});
    }
    for (size_t i = 0; i < rules.size(); ++i) {
      RAG_RETURN_IF_ERROR(Build(rules[i].body, out_.rules_[i].start, out_.rules_[i].end));
    }
    out_.root_ = static_cast<uint32_t>(language_.root);
    Measure();
    if (out_.rest_[out_.rules_[out_.root_].start] >= kNever) {
      return InvalidArgumentError("nothing can be written that matches the grammar");
    }
    Prune();
    RAG_RETURN_IF_ERROR(CheckLeftRecursion());
    for (State state = 0; state < out_.edges_.size(); ++state) out_.ends_.push_back(Ends(state));
    ClassifyBytes();
    return std::move(out_);
  }

 private:
  using State = Automaton::State;
  using Edge = Automaton::Edge;
  using Kind = Expressions::Kind;

  State NewState() {
    out_.edges_.emplace_back();
    return static_cast<State>(out_.edges_.size() - 1);
  }

  void AddEdge(State from, const Edge& edge) {
    out_.edges_[from].push_back(edge);
    ++edges_made_;
  }

  void AddBytes(State from, uint8_t low, uint8_t high, State to) {
    std::optional<int> begin;
    for (int byte = low; byte <= high + 1; ++byte) {
      const bool in = byte <= high && alphabet_[static_cast<size_t>(byte)];
      if (in && !begin) begin = byte;
      if (in || !begin) continue;
      AddEdge(from, {.kind = Edge::kBytes,
                     .low = static_cast<uint8_t>(*begin),
                     .high = static_cast<uint8_t>(byte - 1),
                     .to = to});
      begin.reset();
    }
  }
  void AddEmpty(State from, State to) { AddEdge(from, {.kind = Edge::kEmpty, .to = to}); }

  Status Build(Expressions::Id id, State from, State to) {
    if (out_.edges_.size() > kMaxStates) {
      return ResourceExhaustedError("the grammar has more than ", kMaxStates, " states");
    }
    if (edges_made_ > kMaxEdges) {
      return ResourceExhaustedError("the grammar has more than ", kMaxEdges, " edges");
    }
    const Expressions::Node& node = language_.expressions.node(id);
    switch (node.kind) {
      case Kind::kLiteral:
        BuildLiteral(node.bytes, from, to);
        return OkStatus();
      case Kind::kCharacters:
        BuildCharacters(node.characters, from, to);
        return OkStatus();
      case Kind::kSequence:
        return BuildSequence(node.children, from, to);
      case Kind::kChoice:
        for (const Expressions::Id child : node.children) {
          RAG_RETURN_IF_ERROR(Build(child, from, to));
        }
        return OkStatus();
      case Kind::kRepeat:
        return BuildRepeat(node, from, to);
      case Kind::kRule:
        AddEdge(from, {.kind = Edge::kCall, .rule = static_cast<uint32_t>(node.rule), .to = to});
        return OkStatus();
    }
    return OkStatus();
  }

  void BuildLiteral(std::string_view bytes, State from, State to) {
    if (bytes.empty()) return AddEmpty(from, to);
    for (size_t i = 0; i < bytes.size(); ++i) {
      const State next = i + 1 == bytes.size() ? to : NewState();
      const uint8_t byte = static_cast<uint8_t>(bytes[i]);
      AddBytes(from, byte, byte, next);
      from = next;
    }
  }

  void BuildCharacters(const CharacterSet& set, State from, State to) {
    std::vector<ByteRanges> runs;
    for (const CharacterRange& range : set) SplitUtf8(range.low, range.high, runs);
    for (const ByteRanges& run : runs) {
      State at = from;
      for (size_t i = 0; i < run.length; ++i) {
        const State next = i + 1 == run.length ? to : NewState();
        AddBytes(at, run.bytes[i].first, run.bytes[i].second, next);
        at = next;
      }
    }
  }

  Status BuildSequence(const std::vector<Expressions::Id>& children, State from, State to) {
    if (children.empty()) AddEmpty(from, to);
    for (size_t i = 0; i < children.size(); ++i) {
      const State next = i + 1 == children.size() ? to : NewState();
      RAG_RETURN_IF_ERROR(Build(children[i], from, next));
      from = next;
    }
    return OkStatus();
  }

  Status BuildRepeat(const Expressions::Node& node, State from, State to) {
    for (size_t i = 0; i < node.min; ++i) {
      const State next = NewState();
      RAG_RETURN_IF_ERROR(Build(node.children[0], from, next));
      from = next;
    }
    if (node.max == kUnbounded) {
      const State loop = NewState();
      AddEmpty(from, loop);
      RAG_RETURN_IF_ERROR(Build(node.children[0], loop, loop));
      AddEmpty(loop, to);
      return OkStatus();
    }
    for (size_t i = node.min; i < node.max; ++i) {
      const State next = NewState();
      AddEmpty(from, to);
      RAG_RETURN_IF_ERROR(Build(node.children[0], from, next));
      from = next;
    }
    AddEmpty(from, to);
    return OkStatus();
  }

  uint32_t Cost(const Edge& edge) const {
    uint32_t cost = out_.rest_[edge.to];
    if (edge.kind == Edge::kBytes) cost += 1;
    if (edge.kind == Edge::kCall) cost += out_.rest_[out_.rules_[edge.rule].start];
    return std::min(cost, kNever);
  }

  // Dijkstra's algorithm, for calls too, whose cost is that of the rule and of what follows
  // (Knuth 1977, "A generalization of Dijkstra's algorithm"): an edge counts once both are known.
  void Measure() {
    const size_t states = out_.edges_.size();
    out_.rest_.assign(states, kNever);
    struct Use {
      State from;
      const Edge* edge;
    };
    std::vector<std::vector<Use>> uses(states);  // the edges that need a state's cost
    for (State state = 0; state < states; ++state) {
      for (const Edge& edge : out_.edges_[state]) {
        uses[edge.to].push_back({state, &edge});
        if (edge.kind == Edge::kCall) uses[out_.rules_[edge.rule].start].push_back({state, &edge});
      }
    }
    using Entry = std::pair<uint32_t, State>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> open;
    for (const Automaton::Rule& rule : out_.rules_) {
      out_.rest_[rule.end] = 0;
      open.emplace(0, rule.end);
    }
    std::vector<bool> done(states);
    while (!open.empty()) {
      const State at = open.top().second;
      open.pop();
      if (done[at]) continue;
      done[at] = true;
      for (const Use& use : uses[at]) {
        const uint32_t cost = Cost(*use.edge);
        if (cost >= out_.rest_[use.from]) continue;
        out_.rest_[use.from] = cost;
        open.emplace(cost, use.from);
      }
    }
  }

  void Prune() {
    for (auto& edges : out_.edges_) {
      std::erase_if(edges, [&](const Edge& edge) { return Cost(edge) >= kNever; });
    }
  }

  // Rules that can be entered from a state before any byte.
  void LeftCalls(State state, std::vector<bool>& seen, std::vector<uint32_t>& calls) const {
    std::vector<State> open = {state};
    while (!open.empty()) {
      const State at = open.back();
      open.pop_back();
      if (seen[at]) continue;
      seen[at] = true;
      for (const Edge& edge : out_.edges_[at]) {
        if (edge.kind == Edge::kEmpty) open.push_back(edge.to);
        if (edge.kind != Edge::kCall) continue;
        calls.push_back(edge.rule);
        if (out_.rest_[out_.rules_[edge.rule].start] == 0) open.push_back(edge.to);
      }
    }
  }

  Status CheckLeftRecursion() const {
    const size_t count = out_.rules_.size();
    std::vector<std::vector<uint32_t>> calls(count);
    std::vector<bool> seen(out_.edges_.size());
    for (size_t i = 0; i < count; ++i) {
      // A rule's states are its own, but those seen must be forgotten only for shared ones: none.
      LeftCalls(out_.rules_[i].start, seen, calls[i]);
    }
    std::vector<int> state(count, 0);  // 1: on the path, 2: done
    for (uint32_t first = 0; first < count; ++first) {
      std::vector<std::pair<uint32_t, size_t>> path = {{first, 0}};
      if (state[first] != 0) continue;
      state[first] = 1;
      while (!path.empty()) {
        auto& [rule, next] = path.back();
        if (next == calls[rule].size()) {
          state[rule] = 2;
          path.pop_back();
          continue;
        }
        const uint32_t called = calls[rule][next++];
        if (state[called] == 1) {
          return InvalidArgumentError("rule '", language_.expressions.rules()[called].name,
                                      "' begins with itself (left recursion)");
        }
        if (state[called] == 2) continue;
        state[called] = 1;
        path.emplace_back(called, 0);
      }
    }
    return OkStatus();
  }

  bool Ends(State state) const {
    for (size_t steps = 0; steps < 64; ++steps) {
      const auto& edges = out_.edges_[state];
      if (edges.empty()) return true;
      if (edges.size() != 1 || edges[0].kind != Edge::kEmpty) return false;
      state = edges[0].to;
    }
    return false;
  }

  void ClassifyBytes() {
    std::bitset<257> begins;
    for (const auto& edges : out_.edges_) {
      for (const Edge& edge : edges) {
        if (edge.kind != Edge::kBytes) continue;
        begins.set(edge.low);
        begins.set(size_t{edge.high} + 1);
      }
    }
    uint8_t last = 0;
    for (size_t byte = 1; byte < 256; ++byte) {
      if (begins[byte]) ++last;
      out_.byte_classes_[byte] = last;
    }
  }

  const Language& language_;
  const std::bitset<256>& alphabet_;
  Automaton out_;
  size_t edges_made_ = 0;
};

Result<Automaton> Automaton::Compile(const Language& language, const std::bitset<256>& alphabet) {
  return AutomatonBuilder(language, alphabet).Run();
}

// Only what the builder makes of a whole range of characters is recognized.
std::optional<Automaton::State> Automaton::After(State state, const Utf8Form& form) const {
  for (size_t i = 0; i < form.size; ++i) {
    const Utf8Form::Range& range = form.bytes[i];
    const Edge* taken = nullptr;
    for (const Edge& edge : edges_[state]) {
      const bool beside =
          edge.kind != Edge::kBytes || edge.high < range.low || edge.low > range.high;
      if (i == 0 && beside) continue;
      if (taken != nullptr || beside || edge.low != range.low || edge.high != range.high) {
        return std::nullopt;
      }
      taken = &edge;
    }
    if (taken == nullptr) return std::nullopt;
    state = taken->to;
  }
  return state;
}

std::optional<Automaton::State> Automaton::AfterBeyondAscii(State state) const {
  const auto beyond = std::count_if(
      edges_[state].begin(), edges_[state].end(),
      [](const Edge& edge) { return edge.kind == Edge::kBytes && edge.high >= 0x80; });
  if (static_cast<size_t>(beyond) != kUtf8Forms.size()) return std::nullopt;
  const std::optional<State> after = After(state, kUtf8Forms[0]);
  for (size_t i = 1; i < kUtf8Forms.size(); ++i) {
    if (After(state, kUtf8Forms[i]) != after) return std::nullopt;
  }
  return after;
}

size_t Automaton::memory_bytes() const {
  constexpr size_t kAllocationBytes = 16;  // the allocator's own for one
  size_t bytes = sizeof(*this) + edges_.capacity() * sizeof(edges_[0]) +
                 rules_.capacity() * sizeof(Rule) + rest_.capacity() * sizeof(rest_[0]) +
                 ends_.capacity() / 8;
  for (const auto& edges : edges_) bytes += kAllocationBytes + edges.capacity() * sizeof(Edge);
  return bytes;
}

}  // namespace rag
