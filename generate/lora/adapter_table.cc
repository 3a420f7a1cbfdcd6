#include "generate/lora/adapter_table.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace rag {
namespace {

constexpr size_t kMaxNameBytes = 128;

}  // namespace

Status CheckAdapterScale(const std::string& name, double scale) {
  if (std::fabs(scale) <= AdapterTable::kMaxScale) return OkStatus();
  return InvalidArgumentError("the scale of adapter '", name, "' is ", scale, ", not within [-",
                              AdapterTable::kMaxScale, ", ", AdapterTable::kMaxScale, "]");
}

Status AdapterTable::Load(std::span<const AdapterOptions> options, const DecoderConfig& config,
                          DecoderWeights& weights) {
  if (options.size() > kMaxAdapters) {
    return InvalidArgumentError(options.size(), " adapters are over the limit of ", kMaxAdapters);
  }
  for (const AdapterOptions& option : options) {
    if (option.name.empty() || option.name.size() > kMaxNameBytes) {
      return InvalidArgumentError("the adapter of '", option.path, "' has a name of ",
                                  option.name.size(), " bytes, not 1 to ", kMaxNameBytes);
    }
    const auto same = [&](const AdapterInfo& info) { return info.name == option.name; };
    if (std::any_of(infos_.begin(), infos_.end(), same)) {
      return InvalidArgumentError("two adapters are called '", option.name, "'");
    }
    RAG_RETURN_IF_ERROR(CheckAdapterScale(option.name, option.scale));
    RAG_ASSIGN_OR_RETURN(const LoraFile file, OpenLora(option.path, config));
    RAG_ASSIGN_OR_RETURN(auto adapter, LoraAdapter::Bind(file, weights));
    infos_.push_back({.name = option.name,
                      .path = option.path,
                      .scale = option.scale,
                      .rank = adapter->rank(),
                      .parameters = adapter->parameters()});
    adapters_.push_back(std::move(adapter));
  }
  return OkStatus();
}

Result<std::vector<LoraUse>> AdapterTable::Find(std::span<const AdapterUse> uses) const {
  std::vector<std::optional<float>> scales(adapters_.size());
  for (const AdapterUse& use : uses) {
    const auto found = std::find_if(infos_.begin(), infos_.end(),
                                    [&](const AdapterInfo& info) { return info.name == use.name; });
    if (found == infos_.end()) {
      return NotFoundError("there is no adapter '", use.name, "'");
    }
    std::optional<float>& scale = scales[static_cast<size_t>(found - infos_.begin())];
    if (scale) return InvalidArgumentError("adapter '", use.name, "' is named twice");
    const double wanted = use.scale.value_or(found->scale);
    RAG_RETURN_IF_ERROR(CheckAdapterScale(use.name, wanted));
    scale = static_cast<float>(wanted);
  }
  std::vector<LoraUse> found;
  for (size_t i = 0; i < scales.size(); ++i) {
    if (scales[i].value_or(0) != 0) found.push_back({adapters_[i].get(), *scales[i]});
  }
  return found;
}

}  // namespace rag
