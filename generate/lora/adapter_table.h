// AdapterTable: the adapters that a generator has loaded, by name.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "generate/generator.h"
#include "generate/lora/lora_adapter.h"

namespace rag {

// Errors: invalid_argument naming the adapter.
Status CheckAdapterScale(const std::string& name, double scale);

// Immutable after loading.
class AdapterTable {
 public:
  static constexpr size_t kMaxAdapters = 64;
  static constexpr double kMaxScale = 100;

  // Errors: those of OpenLora and LoraAdapter::Bind; invalid_argument naming an option.
  Status Load(std::span<const AdapterOptions> options, const DecoderConfig& config,
              DecoderWeights& weights);

  // In the order of loading, whatever that of the request, and without those of scale 0. Errors:
  // those of Generator::Generate about adapters.
  Result<std::vector<LoraUse>> Find(std::span<const AdapterUse> uses) const;

  const std::vector<AdapterInfo>& infos() const { return infos_; }

 private:
  std::vector<AdapterInfo> infos_;
  std::vector<std::unique_ptr<LoraAdapter>> adapters_;  // as infos_
};

}  // namespace rag
