// Models on this machine: names -> files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "embed/word_vectors.h"
#include "generate/generator.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"

namespace rag {

inline constexpr const char* kDefaultEncoder = "all-MiniLM-L6-v2";

struct ModelEntry {
  std::string name;
  // "encoder" (a Hugging Face folder or a file of word vectors) or "decoder" (such a folder or GGUF
  // file)
  std::string kind;
  std::string path;
  uint64_t bytes = 0;
};

// The models folder: $RAG_MODELS, else $XDG_CACHE_HOME/rag/models, else ~/.cache/rag/models.
std::string DefaultModelsFolder();
// Entries sorted by name, without those that are still being made (PartialFolder); a folder that is
// not there holds none.
Result<std::vector<ModelEntry>> ListModels(const std::string& models_folder);
// Resolves a name of the folder, or a path as it is. Errors: not_found listing what there is;
// invalid_argument for a path of what is no model, or is still being made.
Result<ModelEntry> FindModel(const std::string& models_folder, const std::string& name_or_path);
// The path of a decoder, found as FindModel does. Errors: its; invalid_argument for another model.
Result<std::string> FindDecoder(const std::string& models_folder, const std::string& name_or_path);
// Checks the model by loading its headers, and links it into the folder under `name` ("": its own)
// or copies it, synced and renamed. Errors: already_exists; invalid_argument when it is no model or
// the name cannot be one: ".partial" ends what is still being made; when it is copied those of
// PartialFolder, CopyFolder and AtomicFile.
Result<ModelEntry> AddModel(const std::string& models_folder, const std::string& path,
                            const std::string& name, bool copy);
struct ModelQuantization {
  std::string to;  // of a decoder the GGUF file to write, of an encoder the folder
  // Of a decoder "Q4_K_M", … (generate/weight_mix.h), of an encoder "int8", "bf16" or "f16", in any
  // case; "": Q4_K or int8.
  std::string type;
  // Of a decoder:
  std::string importance;  // a file of CollectModelImportance or llama.cpp's; "": none
  std::vector<AdapterOptions> adapters;  // that become a part of the weights
};
// Writes a model, found as FindModel does, with smaller weights. {"path", "type", "tensors",
// "parameters", "bytes_before", "bytes"}. Errors: those of QuantizeModel, QuantizeEncoder and
// Importance::Load; invalid_argument for word vectors, or an importance or adapters for an encoder.
Result<Value> QuantizeNamedModel(const std::string& models_folder, const std::string& name_or_path,
                                 const ModelQuantization& quantization, const Runtime& runtime,
                                 const CancelToken* cancel = nullptr);

struct ImportanceRequest {
  std::string text_path;  // a file of plain text, up to 256 MB
  std::string to;         // the file to write
  uint64_t chunk_tokens = 512;
  uint64_t max_chunks = 0;  // 0: all
};
// Runs a decoder over a text and writes what its columns matter, as llama.cpp's imatrix tool does.
// {"path", "tensors", "chunks", "chunk_tokens"}. Errors: those of CollectImportance.
Result<Value> CollectModelImportance(const std::string& models_folder,
                                     const std::string& name_or_path,
                                     const ImportanceRequest& request, const Runtime& runtime,
                                     const CancelToken* cancel = nullptr);
// The k words nearest to a sum of words ("king - man + woman") by the word vectors that are found
// as FindModel does. Errors: invalid_argument for another model; those of WordVectors::Analogy.
Result<std::vector<WordNeighbor>> FindAnalogy(const std::string& models_folder,
                                              const std::string& name_or_path,
                                              std::string_view expression, size_t k,
                                              const Runtime& runtime);
// What the model's files say: configuration, parameters, types, tokenizer, template.
Result<Value> DescribeModel(const ModelEntry& entry);

}  // namespace rag
