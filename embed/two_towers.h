// Models of two networks, of texts and of pictures, whose vectors share a space: CLIP and SigLIP.
#pragma once

#include <string>

#include "embed/encoder_config.h"
#include "lib/base/status.h"

namespace rag {

// Whether config.json's model_type names one.
bool IsTwoTowers(const ConfigFile& file);

// Fills in config's networks, the projection behind the text's and the picture's preprocessing,
// from config.json and preprocessor_config.json in config.folder. The vectors are of unit length,
// unlike those of transformers' get_text_features and get_image_features. Errors: as
// ReadTransformerConfig's and ReadImageProcessor's.
Status ReadTwoTowers(const ConfigFile& file, EncoderConfig& config);

}  // namespace rag
