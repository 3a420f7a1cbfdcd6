#include "generate/folder/folder_tensors.h"

#include <charconv>
#include <cstring>
#include <optional>

namespace rag {
namespace {

// What wrappers put before a decoder's names.
constexpr std::string_view kPrefixes[] = {"language_model.", "model.", "language_model.",
                                          "transformer.", "gpt_neox."};
// Causal masks and frequencies that old files hold beside the weights.
constexpr std::string_view kBuffers[] = {".attn.bias", ".attn.masked_bias", ".attention.bias",
                                         ".attention.masked_bias", "rotary_emb.inv_freq"};

// A name's parts: "layers.3." and what follows, cut from ".weight" or ".bias".
struct ParsedName {
  std::optional<size_t> layer;
  std::string_view stem;
  std::string_view suffix;
};

ParsedName Parse(std::string_view name, std::string_view layer_prefix) {
  for (const std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  }
  ParsedName parsed;
  for (const std::string_view suffix : {".weight", ".bias"}) {
    if (!name.ends_with(suffix)) continue;
    parsed.suffix = suffix;
    name.remove_suffix(suffix.size());
    break;
  }
  if (name.starts_with(layer_prefix)) {
    const std::string_view rest = name.substr(layer_prefix.size());
    size_t layer = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    if (error == std::errc() && end != rest.data() + rest.size() && *end == '.') {
      parsed.layer = layer;
      name = rest.substr(static_cast<size_t>(end - rest.data()) + 1);
    }
  }
  parsed.stem = name;
  return parsed;
}

Status CheckRows(const TensorView& from, size_t multiple) {
  if (from.shape.empty() || from.shape[0] == 0 || from.shape[0] % multiple != 0) {
    return InvalidArgumentError("has ", from.shape.empty() ? 0 : from.shape[0],
                                " rows, no multiple of ", multiple);
  }
  return OkStatus();
}

std::string GgufName(const ParsedName& parsed, const TensorRule& rule, size_t number) {
  std::string to(rule.to);
  if (const size_t star = to.find('*'); star != std::string::npos) {
    to.replace(star, 1, std::to_string(number));
  }
  return StrCat(parsed.layer ? StrCat("blk.", *parsed.layer, ".") : "", to, parsed.suffix);
}

bool IsBuffer(std::string_view name) {
  for (const std::string_view buffer : kBuffers) {
    if (name.ends_with(buffer)) return true;
  }
  return false;
}

}  // namespace

std::optional<TranslatedName> TranslateName(const Family& family, std::string_view name) {
  const ParsedName parsed = Parse(name, family.layer_prefix);
  size_t number = 0;
  const TensorRule* rule =
      FindRule(parsed.layer ? family.layer_rules : family.rules, parsed.stem, number);
  if (rule == nullptr || parsed.suffix.empty()) return std::nullopt;
  return TranslatedName{GgufName(parsed, *rule, number), rule->change, number};
}

Result<TensorView> TensorChanger::Change(TensorChange change, const TensorView& from) {
  switch (change) {
    case TensorChange::kPairQueryRows:
      return PairRows(from, heads_);
    case TensorChange::kPairKeyRows:
      return PairRows(from, kv_heads_);
    case TensorChange::kAddOne:
      return AddOne(from);
    case TensorChange::kTranspose:
      return from.shape.size() == 2 ? Transpose(from) : from;
    case TensorChange::kGatherHeads:
      return GatherHeads(from);
    case TensorChange::kNone:
    case TensorChange::kStackHeads:
      return from;
  }
  return from;
}

TensorView TensorChanger::Own(DType type, std::vector<size_t> shape, std::vector<std::byte> bytes) {
  storage_.push_back(std::move(bytes));
  return {type, std::move(shape), storage_.back()};
}

// row_of(i) is the row of `from` that becomes row i; a vector's rows are its elements.
template <class RowOf>
TensorView TensorChanger::MoveRows(const TensorView& from, RowOf row_of) {
  const size_t rows = from.shape[0];
  const size_t row_bytes = from.bytes.size() / rows;
  std::vector<std::byte> bytes(from.bytes.size());
  for (size_t i = 0; i < rows; ++i) {
    std::memcpy(bytes.data() + i * row_bytes, from.bytes.data() + row_of(i) * row_bytes, row_bytes);
  }
  return Own(from.type, from.shape, std::move(bytes));
}

Result<TensorView> TensorChanger::PairRows(const TensorView& from, size_t heads) {
  RAG_RETURN_IF_ERROR(CheckRows(from, 2 * heads));
  const size_t head_dim = from.shape[0] / heads;
  return MoveRows(from, [&](size_t i) {
    const size_t within = i % head_dim;
    return i - within + within / 2 + within % 2 * (head_dim / 2);
  });
}

Result<TensorView> TensorChanger::GatherHeads(const TensorView& from) {
  RAG_RETURN_IF_ERROR(CheckRows(from, 3 * heads_));
  const size_t head_dim = from.shape[0] / heads_ / 3;
  const size_t part_rows = heads_ * head_dim;
  return MoveRows(from, [&](size_t i) {
    const size_t part = i / part_rows;
    const size_t head = i % part_rows / head_dim;
    return (head * 3 + part) * head_dim + i % head_dim;
  });
}

Result<TensorView> TensorChanger::AddOne(const TensorView& from) {
  std::vector<float> values(from.elements());
  RAG_RETURN_IF_ERROR(DequantizeTo(from, 0, values));
  for (float& value : values) value += 1;
  const auto bytes = std::as_bytes(std::span(values));
  return Own(DType::kF32, from.shape, {bytes.begin(), bytes.end()});
}

TensorView TensorChanger::Transpose(const TensorView& from) {
  const size_t rows = from.shape[0];
  const size_t cols = from.shape[1];
  const size_t size = GetDTypeInfo(from.type).block_bytes;  // a TensorFile has no larger blocks
  std::vector<std::byte> bytes(from.bytes.size());
  for (size_t row = 0; row < rows; ++row) {
    for (size_t col = 0; col < cols; ++col) {
      std::memcpy(bytes.data() + (col * rows + row) * size,
                  from.bytes.data() + (row * cols + col) * size, size);
    }
  }
  return Own(from.type, {cols, rows}, std::move(bytes));
}

Status RenameTensors(const FolderConfig& config, const std::string& where, FolderTensors& out) {
  TensorChanger changer(config.heads, config.kv_heads, out.changed);
  // One vector a head, by its number, until all are there.
  std::map<std::string, std::map<size_t, const TensorView*>> stacks;
  for (const std::string& name : out.file.TensorNames()) {
    if (IsBuffer(name)) continue;
    const TensorView* tensor = out.file.Find(name);
    const auto to = TranslateName(*config.family, name);
    if (!to) {
      return UnsupportedError(where, ": tensor '", name, "' is not part of a model_type '",
                              config.family->model_type, "' as we know it");
    }
    if (config.tied && to->gguf.starts_with("output.")) continue;
    if (to->change == TensorChange::kStackHeads) {
      stacks[to->gguf][to->number] = tensor;
      continue;
    }
    auto changed = changer.Change(to->change, *tensor);
    if (!changed.ok()) {
      return std::move(changed).status().WithContext(StrCat(where, ": tensor '", name, "'"));
    }
    out.tensors.emplace_back(to->gguf, std::move(changed).value());
  }
  for (const auto& [name, parts] : stacks) {
    const TensorView& first = *parts.begin()->second;
    std::vector<std::byte> bytes;
    for (const auto& [number, part] : parts) {
      if (part->type != first.type || part->shape != first.shape) {
        return InvalidArgumentError(where, ": the parts of '", name, "' differ in type or shape");
      }
      bytes.insert(bytes.end(), part->bytes.begin(), part->bytes.end());
    }
    out.tensors.emplace_back(
        name, changer.Own(first.type, {parts.size(), first.elements()}, std::move(bytes)));
  }
  for (const auto& [name, factors] : config.rope_tensors) {
    const auto bytes = std::as_bytes(std::span(factors));
    out.tensors.emplace_back(
        name, changer.Own(DType::kF32, {factors.size()}, {bytes.begin(), bytes.end()}));
  }
  return OkStatus();
}

}  // namespace rag
