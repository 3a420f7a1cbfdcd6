#include "lib/tokenizer/post_processor.h"

#include <algorithm>

namespace rag {
namespace {

using Item = PostProcessor::Item;
constexpr int kMaxDepth = 16;
constexpr size_t kMaxItems = 256;

// "cls": ["[CLS]", 101]
Result<TokenId> ParseNamedId(const Value& json, std::string_view key,
                             const Vocabulary& vocabulary) {
  const Value* pair = json.Find(key);
  if (pair == nullptr || !pair->is_array() || pair->as_array().size() != 2 ||
      !pair->as_array()[1].is_int()) {
    return InvalidArgumentError("post-processor field '", key, "' is no pair of token and id");
  }
  const int64_t id = pair->as_array()[1].as_int();
  if (id < 0 || id >= static_cast<int64_t>(vocabulary.size())) {
    return InvalidArgumentError("post-processor field '", key, "' names id ", id,
                                ", which the vocabulary does not have");
  }
  return static_cast<TokenId>(id);
}

Result<std::vector<Item>> ParseTemplate(const Value* items, const Value* specials,
                                        const Vocabulary& vocabulary) {
  if (items == nullptr || !items->is_array() || items->as_array().size() > kMaxItems) {
    return InvalidArgumentError("TemplateProcessing's template is no list of at most ", kMaxItems,
                                " items");
  }
  std::vector<Item> out;
  for (const Value& entry : items->as_array()) {
    const Value* sequence = entry.Find("Sequence");
    const Value* special = entry.Find("SpecialToken");
    const Value* body = sequence != nullptr ? sequence : special;
    if (body == nullptr) return InvalidArgumentError("TemplateProcessing has an unknown item");
    RAG_ASSIGN_OR_RETURN(const std::string name, body->GetString("id", ""));
    RAG_ASSIGN_OR_RETURN(const int64_t type_id, body->GetInt("type_id", 0));
    if (type_id < 0 || type_id > 255) {
      return InvalidArgumentError("TemplateProcessing's type_id ", type_id, " is out of range");
    }
    Item item;
    item.type_id = static_cast<uint8_t>(type_id);
    if (sequence != nullptr) {
      if (name != "A" && name != "B") {
        return InvalidArgumentError("TemplateProcessing's sequence '", name, "' is not A or B");
      }
      item.kind = name == "A" ? Item::kFirst : Item::kSecond;
      out.push_back(item);
      continue;
    }
    const Value* ids = specials != nullptr ? specials->Find(name) : nullptr;
    ids = ids != nullptr ? ids->Find("ids") : nullptr;
    if (ids == nullptr || !ids->is_array() || ids->as_array().size() > kMaxItems) {
      return InvalidArgumentError("TemplateProcessing's special token '", name, "' has no ids");
    }
    item.kind = Item::kSpecial;
    for (const Value& id : ids->as_array()) {
      if (!id.is_int() || id.as_int() < 0 ||
          id.as_int() >= static_cast<int64_t>(vocabulary.size())) {
        return InvalidArgumentError("TemplateProcessing's special token '", name,
                                    "' has an id that the vocabulary does not have");
      }
      item.id = static_cast<TokenId>(id.as_int());
      out.push_back(item);
    }
  }
  return out;
}

Status ParseInto(const Value& json, const Vocabulary& vocabulary, int depth, PostProcessor& out) {
  if (json.is_null()) return OkStatus();
  if (depth > kMaxDepth) return InvalidArgumentError("post-processors are nested too deeply");
  RAG_ASSIGN_OR_RETURN(const std::string type, json.GetString("type", ""));
  if (type == "Sequence") {
    const Value* parts = json.Find("processors");
    if (parts == nullptr || !parts->is_array()) {
      return InvalidArgumentError("post-processor Sequence has no processors");
    }
    for (const Value& part : parts->as_array()) {
      RAG_RETURN_IF_ERROR(ParseInto(part, vocabulary, depth + 1, out));
    }
    return OkStatus();
  }
  if (type == "BertProcessing") {
    RAG_ASSIGN_OR_RETURN(const TokenId cls, ParseNamedId(json, "cls", vocabulary));
    RAG_ASSIGN_OR_RETURN(const TokenId sep, ParseNamedId(json, "sep", vocabulary));
    const PostProcessor bert = PostProcessor::Bert(cls, sep);
    out.single = bert.single;
    out.pair = bert.pair;
    return OkStatus();
  }
  if (type == "RobertaProcessing") {
    RAG_ASSIGN_OR_RETURN(const TokenId cls, ParseNamedId(json, "cls", vocabulary));
    RAG_ASSIGN_OR_RETURN(const TokenId sep, ParseNamedId(json, "sep", vocabulary));
    RAG_ASSIGN_OR_RETURN(const bool trim_offsets, json.GetBool("trim_offsets", true));
    RAG_ASSIGN_OR_RETURN(const bool add_prefix_space, json.GetBool("add_prefix_space", true));
    out = PostProcessor::Roberta(cls, sep, trim_offsets, add_prefix_space);
    return OkStatus();
  }
  if (type == "ByteLevel") {
    RAG_ASSIGN_OR_RETURN(out.trim_offsets, json.GetBool("trim_offsets", true));
    RAG_ASSIGN_OR_RETURN(out.add_prefix_space, json.GetBool("add_prefix_space", true));
    return OkStatus();
  }
  if (type == "TemplateProcessing") {
    const Value* specials = json.Find("special_tokens");
    RAG_ASSIGN_OR_RETURN(out.single, ParseTemplate(json.Find("single"), specials, vocabulary));
    RAG_ASSIGN_OR_RETURN(out.pair, ParseTemplate(json.Find("pair"), specials, vocabulary));
    return OkStatus();
  }
  return UnsupportedError("post-processor '", type, "' is not supported");
}

}  // namespace

Result<PostProcessor> PostProcessor::Parse(const Value& json, const Vocabulary& vocabulary) {
  PostProcessor out;
  RAG_RETURN_IF_ERROR(ParseInto(json, vocabulary, 0, out));
  return out;
}

PostProcessor PostProcessor::Bert(TokenId cls, TokenId sep) {
  PostProcessor out;
  out.single = {{Item::kSpecial, cls, 0}, {Item::kFirst, 0, 0}, {Item::kSpecial, sep, 0}};
  out.pair = {{Item::kSpecial, cls, 0},
              {Item::kFirst, 0, 0},
              {Item::kSpecial, sep, 0},
              {Item::kSecond, 0, 1},
              {Item::kSpecial, sep, 1}};
  return out;
}

PostProcessor PostProcessor::Roberta(TokenId cls, TokenId sep, bool trim_offsets,
                                     bool add_prefix_space) {
  PostProcessor out;
  out.trim_offsets = trim_offsets;
  out.add_prefix_space = add_prefix_space;
  const Item begin{Item::kSpecial, cls, 0};
  const Item end{Item::kSpecial, sep, 0};
  out.single = {begin, {Item::kFirst, 0, 0}, end};
  out.pair = {begin, {Item::kFirst, 0, 0}, end, end, {Item::kSecond, 0, 0}, end};
  return out;
}

size_t PostProcessor::SpecialCount(bool is_pair) const {
  const auto& items = is_pair ? pair : single;
  return static_cast<size_t>(std::count_if(
      items.begin(), items.end(), [](const Item& item) { return item.kind == Item::kSpecial; }));
}

}  // namespace rag
