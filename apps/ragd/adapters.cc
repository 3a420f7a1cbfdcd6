#include "apps/ragd/adapters.h"

#include <algorithm>

namespace rag {
namespace {

constexpr double kMaxScale = 100;

AdapterUse ReadAdapter(Fields& own, const Service& service) {
  own.AllowOnly({"id", "name", "scale"});
  AdapterUse use;
  if (own.Has("id") == own.Has("name")) {
    own.Fail("id", "or 'name' says which adapter is meant; give one of them");
  } else if (own.Has("id")) {
    const auto id = static_cast<size_t>(own.Int("id", 0, 0, INT32_MAX));
    if (id < service.adapters.size()) {
      use.name = service.adapters[id].name;
    } else {
      own.Fail("id", StrCat("is ", id, ", and there are ", service.adapters.size(), " adapters"),
               404, "adapter_not_found");
    }
  } else {
    use.name = own.RequiredString("name");
    const auto is_it = [&](const AdapterInfo& info) { return info.name == use.name; };
    if (std::none_of(service.adapters.begin(), service.adapters.end(), is_it)) {
      own.Fail("name", StrCat("is '", use.name, "', which is no adapter here"), 404,
               "adapter_not_found");
    }
  }
  if (own.Has("scale")) use.scale = own.Number("scale", 1, -kMaxScale, kMaxScale);
  return use;
}

}  // namespace

std::vector<AdapterUse> ReadAdapters(Fields& fields, const Service& service,
                                     const std::string& model) {
  std::vector<AdapterUse> uses;
  for (const AdapterInfo& adapter : service.adapters) {
    if (adapter.name == model) uses.push_back({adapter.name});
  }
  if (!fields.Has("lora")) return uses;
  const Value* list = fields.Find("lora");
  if (!list->is_array()) {
    fields.Fail("lora", "must be an array");
    return {};
  }
  if (!uses.empty()) {
    fields.Fail("lora", StrCat("goes with the decoder's name as the model, and '", model,
                               "' is an adapter already"));
    return {};
  }
  for (size_t i = 0; i < list->as_array().size() && fields.ok(); ++i) {
    Fields own(list->as_array()[i], StrCat("lora[", i, "]."));
    AdapterUse use = ReadAdapter(own, service);
    if (!own.ok()) fields.Adopt(own.error());
    const auto same = [&](const AdapterUse& other) { return other.name == use.name; };
    if (fields.ok() && std::any_of(uses.begin(), uses.end(), same)) {
      fields.Fail("lora", StrCat("names '", use.name, "' twice"));
    }
    uses.push_back(std::move(use));
  }
  return uses;
}

}  // namespace rag
