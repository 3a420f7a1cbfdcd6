#include "engine/models.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "embed/modules.h"
#include "embed/open_clip.h"
#include "embed/quantize_encoder.h"
#include "generate/folder/model_folder.h"
#include "generate/importance.h"
#include "generate/quantize.h"
#include "lib/base/atomic_file.h"
#include "lib/base/copy_file.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/base/partial_folder.h"
#include "lib/base/user_folders.h"
#include "lib/model/model_file.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEncoderKind = "encoder";
constexpr const char* kDecoderKind = "decoder";
constexpr size_t kMaxConfigBytes = size_t{16} << 20;
constexpr size_t kMaxTextBytes = size_t{256} << 20;
// Arrays of a GGUF file's metadata longer than this (the vocabulary) are shown by their length.
constexpr size_t kMaxShownArray = 16;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool IsModelFolder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) &&
         (fs::exists(path / "config.json", ignored) || fs::exists(path / "modules.json", ignored) ||
          IsOpenClip(path.string()));
}

bool IsDecoderFile(const fs::path& path) {
  std::error_code ignored;
  return path.extension() == ".gguf" && fs::is_regular_file(path, ignored);
}

// One that is being made, or that a killed process left.
bool IsPartial(const fs::path& path) { return path.extension() == PartialFolder::kSuffix; }

// The bytes of a file or of everything in a folder, links followed.
uint64_t BytesOf(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) {
    const uintmax_t size = fs::file_size(path, error);
    return error ? 0 : size;
  }
  uint64_t total = 0;
  fs::recursive_directory_iterator it(path, error);
  while (!error && it != fs::recursive_directory_iterator()) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) {
      const uintmax_t size = it->file_size(ignored);
      if (!ignored) total += size;
    }
    it.increment(error);
  }
  return total;
}

// nullopt-like: an empty kind when the path is no model.
ModelEntry EntryOf(const fs::path& path) {
  ModelEntry entry;
  entry.path = path.string();
  if (IsPartial(path)) return entry;
  if (IsModelFolder(path)) {
    entry.kind = IsDecoderFolder(path.string()) ? kDecoderKind : kEncoderKind;
    entry.name = path.filename().string();
  } else if (IsDecoderFile(path)) {
    entry.kind = kDecoderKind;
    entry.name = path.stem().string();
  } else if (WordVectors::IsFile(path.string())) {
    entry.kind = kEncoderKind;
    entry.name = path.filename().string();
  } else {
    return entry;
  }
  entry.bytes = BytesOf(path);
  return entry;
}

fs::path Normal(const std::string& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (error) return path;
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  return absolute;
}

Value TensorSummary(const std::map<std::string, std::pair<size_t, size_t>>& types) {
  Value::Array list;
  for (const auto& [type, counts] : types) {
    list.push_back(
        Value::Object{{"type", type}, {"tensors", counts.first}, {"parameters", counts.second}});
  }
  return list;
}

// Looks at every tensor of the file: counts by type, and all parameters.
template <class File>
void DescribeTensors(const File& file, Value::Object& out) {
  std::map<std::string, std::pair<size_t, size_t>> types;
  size_t parameters = 0;
  for (const std::string& name : file.TensorNames()) {
    const TensorView* tensor = file.Find(name);
    auto& [count, elements] = types[std::string(GetDTypeInfo(tensor->type).name)];
    ++count;
    elements += tensor->elements();
    parameters += tensor->elements();
  }
  out.Set("parameters", parameters);
  out.Set("tensors", TensorSummary(types));
}

Value::Object DescribeTokenizer(const Tokenizer& tokenizer) {
  Value::Object out;
  out.Set("vocab_size", tokenizer.vocab_size());
  const auto add = [&](const char* name, std::optional<TokenId> id) {
    if (id.has_value()) out.Set(name, tokenizer.Piece(*id));
  };
  add("bos", tokenizer.bos_id());
  add("eos", tokenizer.eos_id());
  add("pad", tokenizer.pad_id());
  add("unk", tokenizer.unk_id());
  return out;
}

Status DescribeEncoder(const ModelEntry& entry, Value::Object& out) {
  if (WordVectors::IsFile(entry.path)) {
    RAG_ASSIGN_OR_RETURN(const WordVectors words, WordVectors::Load(entry.path));
    out.Set("words", words.size());
    out.Set("dim", words.dim());
    return OkStatus();
  }
  std::string unhashed;
  RAG_ASSIGN_OR_RETURN(const Modules modules, ReadModules(entry.path, unhashed));
  const std::string network = modules.transformer;
  const std::string config_path =
      JoinPath(network, IsOpenClip(network) ? "open_clip_config.json" : "config.json");
  RAG_ASSIGN_OR_RETURN(const std::string config_text, ReadFile(config_path, kMaxConfigBytes));
  Result<Value> config = ParseJson(config_text);
  if (!config.ok()) return config.status().WithContext(config_path);
  RAG_ASSIGN_OR_RETURN(const TensorFile weights, OpenWeights(network));
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(network));
  DescribeTensors(weights, out);
  out.Set("tokenizer", DescribeTokenizer(*tokenizer));
  out.Set("config", std::move(config).value());
  return OkStatus();
}

Status DescribeDecoder(const ModelEntry& entry, Value::Object& out) {
  std::error_code ignored;
  const bool folder = fs::is_directory(entry.path, ignored);
  RAG_ASSIGN_OR_RETURN(const GgufFile file,
                       folder ? OpenModelFolder(entry.path) : GgufFile::Open(entry.path));
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                       folder ? Tokenizer::Load(entry.path) : Tokenizer::FromGguf(file));
  DescribeTensors(file, out);
  out.Set("tokenizer", DescribeTokenizer(*tokenizer));
  const Value* chat_template = file.FindMetadata("tokenizer.chat_template");
  out.Set("chat_template",
          chat_template != nullptr && chat_template->is_string() ? *chat_template : Value());
  if (!folder) out.Set("gguf_version", static_cast<int64_t>(file.version()));
  Value::Object metadata;
  for (const auto& [key, value] : file.metadata()) {
    if (key == "tokenizer.chat_template") continue;
    if (value.is_array() && value.as_array().size() > kMaxShownArray) {
      metadata.Append(key, StrCat("[", value.as_array().size(), " values]"));
    } else {
      metadata.Append(key, value);
    }
  }
  out.Set("metadata", std::move(metadata));
  return OkStatus();
}

Status NoModelError(const std::string& path) {
  if (IsPartial(Normal(path))) {
    return InvalidArgumentError("'", path, "' is no whole model: what ends in '",
                                PartialFolder::kSuffix, "' is still being made, or was left");
  }
  return InvalidArgumentError(
      "'", path,
      "' is neither a model folder (config.json, modules.json or open_clip_config.json) nor a "
      ".gguf, .vec or .bin file");
}

Status CheckName(const std::string& name) {
  if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos ||
      name.size() > 200 || name.ends_with(PartialFolder::kSuffix)) {
    return InvalidArgumentError("model name '", name,
                                "' is empty, too long, begins with a dot, holds a '/' or ends in '",
                                PartialFolder::kSuffix, "'");
  }
  return OkStatus();
}

// Whole or not at all.
Status CopyModel(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (fs::is_directory(from, error)) {
    RAG_ASSIGN_OR_RETURN(PartialFolder folder, PartialFolder::Create(to.string()));
    RAG_RETURN_IF_ERROR(CopyFolder(from, folder.path()));
    return folder.Finish();
  }
  const auto mode = static_cast<unsigned>(fs::status(from, error).permissions());
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file,
                       AtomicFile::Create(to.string(), mode & 0777));
  RAG_RETURN_IF_ERROR(
      ReadBlocks(from.string(), kCopyBlockBytes,
                 [&](std::span<const std::byte> block) { return file->Write(block); }));
  return file->Commit();
}

}  // namespace

std::string DefaultModelsFolder() {
  if (std::string given = Environment("RAG_MODELS"); !given.empty()) return given;
  return (UserFolder("XDG_CACHE_HOME", ".cache") / "rag" / "models").string();
}

Result<std::vector<ModelEntry>> ListModels(const std::string& models_folder) {
  std::vector<ModelEntry> entries;
  std::error_code error;
  if (!fs::exists(models_folder, error)) return entries;
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(models_folder));
  for (const fs::path& path : paths) {
    if (path.filename().string().front() == '.') continue;
    ModelEntry entry = EntryOf(path);
    if (!entry.kind.empty()) entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const ModelEntry& a, const ModelEntry& b) {
    return std::tie(a.name, a.kind) < std::tie(b.name, b.kind);
  });
  return entries;
}

Result<ModelEntry> FindModel(const std::string& models_folder, const std::string& name_or_path) {
  if (name_or_path.empty()) return InvalidArgumentError("the model's name is empty");
  if (name_or_path.find('/') == std::string::npos) {
    for (const std::string& file : {name_or_path, name_or_path + ".gguf"}) {
      ModelEntry entry = EntryOf(fs::path(models_folder) / file);
      if (!entry.kind.empty()) return entry;
    }
  }
  ModelEntry entry = EntryOf(Normal(name_or_path));
  if (!entry.kind.empty()) return entry;
  std::error_code ignored;
  if (fs::exists(name_or_path, ignored)) return NoModelError(name_or_path);
  RAG_ASSIGN_OR_RETURN(const std::vector<ModelEntry> known, ListModels(models_folder));
  std::string names;
  for (const ModelEntry& model : known) {
    if (!names.empty()) names += ", ";
    names += model.name;
  }
  return NotFoundError(
      "no model '", name_or_path, "' in '", models_folder, "' (",
      names.empty() ? "which holds none" : "it holds " + names,
      "), and no folder or file of that path; rag models add puts a downloaded one "
      "there");
}

Result<Value> DescribeModel(const ModelEntry& entry) {
  Value::Object out;
  out.Set("name", entry.name);
  out.Set("kind", entry.kind);
  out.Set("path", entry.path);
  out.Set("bytes", entry.bytes);
  RAG_RETURN_IF_ERROR(entry.kind == kEncoderKind ? DescribeEncoder(entry, out)
                                                 : DescribeDecoder(entry, out));
  return Value(std::move(out));
}

Result<std::string> FindDecoder(const std::string& models_folder, const std::string& name_or_path) {
  RAG_ASSIGN_OR_RETURN(ModelEntry entry, FindModel(models_folder, name_or_path));
  if (entry.kind == kDecoderKind) return std::move(entry.path);
  return InvalidArgumentError("'", name_or_path, "' is an ", entry.kind, ", not a decoder");
}

Result<ModelEntry> AddModel(const std::string& models_folder, const std::string& path,
                            const std::string& name, bool copy) {
  const fs::path from = Normal(path);
  ModelEntry entry = EntryOf(from);
  std::error_code error;
  if (!fs::exists(from, error)) return NotFoundError("'", path, "' does not exist");
  if (entry.kind.empty()) return NoModelError(path);
  RAG_RETURN_IF_ERROR(DescribeModel(entry).status());
  if (!name.empty()) entry.name = name;
  RAG_RETURN_IF_ERROR(CheckName(entry.name));
  std::string file = entry.name;
  // A file is known by the end of its name.
  const std::string end = from.extension().string();
  if (fs::is_regular_file(from, error) && !file.ends_with(end)) file += end;
  const fs::path to = fs::path(models_folder) / file;
  if (fs::exists(fs::symlink_status(to, error))) {
    return AlreadyExistsError("model '", entry.name, "' is already in '", models_folder, "'");
  }
  RAG_RETURN_IF_ERROR(MakeFolders(models_folder));
  if (copy) {
    RAG_RETURN_IF_ERROR(CopyModel(from, to));
  } else {
    fs::create_symlink(from, to, error);
    if (error) {
      return IoError("cannot link '", to.string(), "' to '", path, "': ", error.message());
    }
  }
  return EntryOf(to);
}

Result<std::vector<WordNeighbor>> FindAnalogy(const std::string& models_folder,
                                              const std::string& name_or_path,
                                              std::string_view expression, size_t k,
                                              const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(const ModelEntry entry, FindModel(models_folder, name_or_path));
  if (!WordVectors::IsFile(entry.path)) {
    return InvalidArgumentError("'", name_or_path,
                                "' holds no word vectors: a .vec or .bin file does");
  }
  RAG_ASSIGN_OR_RETURN(const WordVectors words, WordVectors::Load(entry.path));
  return words.Analogy(expression, k, runtime);
}

Result<Value> QuantizeNamedModel(const std::string& models_folder, const std::string& name_or_path,
                                 const ModelQuantization& quantization, const Runtime& runtime,
                                 const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(const ModelEntry entry, FindModel(models_folder, name_or_path));
  const bool decoder = entry.kind == kDecoderKind;
  std::string type = !quantization.type.empty() ? quantization.type : decoder ? "Q4_K" : "int8";
  // Decoders' types have capital letters, encoders' have small ones.
  for (char& letter : type) {
    if (decoder && letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
    if (!decoder && letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  Value::Object out{{"path", quantization.to}, {"type", type}};
  const auto add = [&](const auto& report) {
    out.Set("tensors", report.tensors);
    out.Set("parameters", report.parameters);
    out.Set("bytes_before", report.source_bytes);
    out.Set("bytes", report.bytes);
  };
  if (!decoder) {
    if (WordVectors::IsFile(entry.path)) {
      return InvalidArgumentError("'", name_or_path,
                                  "' holds word vectors, which stay as they are");
    }
    if (!quantization.importance.empty() || !quantization.adapters.empty()) {
      return InvalidArgumentError("importance matrices and adapters are for decoders, and '",
                                  name_or_path, "' is an encoder");
    }
    RAG_ASSIGN_OR_RETURN(const EncoderQuantizeReport report,
                         QuantizeEncoder(entry.path, quantization.to, type, runtime, cancel));
    add(report);
    return Value(std::move(out));
  }
  std::optional<Importance> importance;
  if (!quantization.importance.empty()) {
    RAG_ASSIGN_OR_RETURN(importance, Importance::Load(quantization.importance));
  }
  std::vector<MergedAdapter> merged;
  for (const AdapterOptions& adapter : quantization.adapters) {
    merged.push_back({adapter.path, adapter.scale});
  }
  RAG_ASSIGN_OR_RETURN(
      const QuantizeReport report,
      QuantizeModel(
          entry.path, quantization.to,
          {.type = type, .importance = importance ? &*importance : nullptr, .adapters = merged},
          runtime, cancel));
  add(report);
  return Value(std::move(out));
}

Result<Value> CollectModelImportance(const std::string& models_folder,
                                     const std::string& name_or_path,
                                     const ImportanceRequest& request, const Runtime& runtime,
                                     const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(const std::string path, FindDecoder(models_folder, name_or_path));
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(request.text_path, kMaxTextBytes));
  RAG_ASSIGN_OR_RETURN(
      Importance importance,
      CollectImportance(path, text, {request.chunk_tokens, request.max_chunks}, runtime, cancel));
  importance.datasets = {fs::path(request.text_path).filename().string()};
  RAG_RETURN_IF_ERROR(importance.Save(request.to));
  return Value(Value::Object{{"path", request.to},
                             {"tensors", importance.entries.size()},
                             {"chunks", importance.chunks},
                             {"chunk_tokens", importance.chunk_tokens}});
}

}  // namespace rag
