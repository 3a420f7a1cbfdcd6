// What each family's config.json says besides the sizes that all have.
#pragma once

#include "embed/config_file.h"
#include "embed/transformer_config.h"
#include "lib/base/status.h"

namespace rag {

// Each fills in what its family adds to `config`, whose sizes are read already. Errors: those of
// ReadTransformerConfig.
Status ReadRoberta(const ConfigFile& file, TransformerConfig& config);
Status ReadMpNet(const ConfigFile& file, TransformerConfig& config);
Status ReadAlbert(const ConfigFile& file, TransformerConfig& config);
Status ReadElectra(const ConfigFile& file, TransformerConfig& config);
Status ReadMobileBert(const ConfigFile& file, TransformerConfig& config);
Status ReadModernBert(const ConfigFile& file, TransformerConfig& config);
Status ReadNomic(const ConfigFile& file, TransformerConfig& config);
Status ReadGte(const ConfigFile& file, TransformerConfig& config);
Status ReadBert(const ConfigFile& file, TransformerConfig& config);
Status ReadDistilBert(const ConfigFile& file, TransformerConfig& config);
Status ReadClipText(const ConfigFile& file, TransformerConfig& config);
Status ReadSiglipText(const ConfigFile& file, TransformerConfig& config);
Status ReadClipVision(const ConfigFile& file, TransformerConfig& config);
Status ReadSiglipVision(const ConfigFile& file, TransformerConfig& config);
Status ReadDecoder(const ConfigFile& file, TransformerConfig& config);
Status ReadGemma(const ConfigFile& file, TransformerConfig& config);
Status ReadT5(const ConfigFile& file, TransformerConfig& config);

}  // namespace rag
