#include "embed/fingerprint.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "lib/base/file.h"
#include "lib/base/hash.h"
#include "lib/tensor/shape_text.h"

namespace rag {
namespace {

// Part of every fingerprint: raised when the same files begin to give other vectors.
constexpr int kFingerprintVersion = 1;
// Of int8 alone. 2: queries, keys and values are rounded too, and rows' outliers are not.
constexpr std::string_view kInt8Version = ".2";

// The files that Tokenizer::Load reads from a folder, in its order of preference.
std::vector<std::string> TokenizerFiles(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path base(folder);
  if (fs::exists(base / "tokenizer.json", error)) return {(base / "tokenizer.json").string()};
  if (fs::exists(base / "vocab.txt", error)) return {(base / "vocab.txt").string()};
  if (fs::exists(base / "vocab.json", error)) {
    return {(base / "vocab.json").string(), (base / "merges.txt").string()};
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(base, error)) {
    if (entry.path().extension() == ".model") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string SpacedShape(std::span<const size_t> shape) { return StrCat(' ', ShapeText(shape)); }

}  // namespace

const TensorHashForm kWeightsHashForm = {.piece_bytes = size_t{4} << 20, .shape_text = SpacedShape};

// tokenizer_config.json is among the config's source bytes only where it sets the length, and it
// sets the casing of a vocab.txt: it is hashed here in any case. Beside a
// tokenizer.json the two older files say what that says too.
Result<uint64_t> HashTokenizer(const std::string& folder) {
  std::vector<std::string> files = TokenizerFiles(folder);
  const std::filesystem::path base(folder);
  std::error_code error;
  const bool whole = std::filesystem::exists(base / "tokenizer.json", error);
  for (const char* name :
       {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
    const bool counts = !whole || std::string_view(name) == "tokenizer_config.json";
    if (counts && std::filesystem::exists(base / name, error)) {
      files.push_back((base / name).string());
    }
  }
  uint64_t hash = 0;
  for (const std::string& path : files) {
    RAG_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
    hash = Hash64(file.bytes(), hash);
  }
  return hash;
}

Result<uint64_t> HashWeights(const TensorFile& file, ThreadPool& pool) {
  const uint64_t own =
      HashTensors(FileTensors(file), kWeightsHashForm, pool,
                  [&file](std::span<const std::byte> bytes) { file.Forget(bytes); });
  RAG_ASSIGN_OR_RETURN(const std::string source, file.metadata().GetString(kSourceHashKey, ""));
  if (source.empty()) return own;
  RAG_ASSIGN_OR_RETURN(const std::string written, file.metadata().GetString(kOwnHashKey, ""));
  if (written != HashToHex(own)) {
    return DataLossError("the weights' hash is ", HashToHex(own), ", and '", written,
                         "' was written with them");
  }
  uint64_t hash = 0;
  const char* const end = source.data() + source.size();
  const auto [rest, error] = std::from_chars(source.data(), end, hash, 16);
  if (error != std::errc() || rest != end) {
    return InvalidArgumentError("'", kSourceHashKey, "' is '", source, "', no hash");
  }
  return hash;
}

bool StoresInt8(const TensorFile& file) { return file.metadata().Find(kSourceHashKey) != nullptr; }

std::string MakeFingerprint(std::string name, std::string_view source_bytes,
                            const FingerprintParts& parts) {
  std::vector<uint64_t> hashes = {kFingerprintVersion, Hash64(source_bytes), parts.tokenizer,
                                  parts.weights};
  if (parts.head != 0) hashes.push_back(parts.head);
  name += StrCat('-', HashToHex(Hash64(std::as_bytes(std::span<const uint64_t>(hashes)))));
  if (parts.precision != Precision::kF32) name += StrCat('-', PrecisionName(parts.precision));
  if (parts.precision == Precision::kInt8) name += kInt8Version;
  return name;
}

std::string MakeFingerprint(const EncoderConfig& config, const FingerprintParts& parts) {
  std::string name = StrCat(config.model.model_type, '-', config.dim);
  for (const Pooling mode : config.pooling.modes) name += StrCat('-', PoolingName(mode));
  return MakeFingerprint(std::move(name), config.source_bytes, parts);
}

}  // namespace rag
