// rag models, rag embed: the commands about models alone.
#include <algorithm>
#include <cstdio>
#include <iostream>

#include "apps/rag/commands.h"
#include "apps/rag/images.h"
#include "apps/rag/output.h"
#include "engine/check_text.h"
#include "engine/models.h"

namespace rag {
namespace {

std::string ModelsFolder(const Options& options) {
  return options.settings.models.empty() ? DefaultModelsFolder() : options.settings.models;
}

Value EntryValue(const ModelEntry& entry) {
  return Value::Object{
      {"name", entry.name}, {"kind", entry.kind}, {"path", entry.path}, {"bytes", entry.bytes}};
}

void PrintEntry(const ModelEntry& entry) {
  Print(StrCat(Bold(entry.name), "  ", entry.kind, ", ", HumanBytes(entry.bytes), "  ",
               Dim(entry.path), "\n"));
}

// The texts to embed: the arguments, with the lines of standard input in the place of "-".
Result<std::vector<std::string>> Texts(const Options& options) {
  std::vector<std::string> texts;
  for (const std::string& argument : options.arguments) {
    if (argument != "-") {
      texts.push_back(argument);
      continue;
    }
    std::string line;
    for (size_t number = 1; std::getline(std::cin, line); ++number) {
      if (line.ends_with('\r')) line.pop_back();
      if (IsBlank(line)) {
        return InvalidArgumentError("line ", number, " of standard input ",
                                    line.empty() ? "is empty" : "holds nothing but white space");
      }
      texts.push_back(line);
    }
  }
  return texts;
}

Result<Embeddings> EmbedFiles(const Engine& engine, Session& session) {
  const std::vector<std::string>& paths = session.options().embed.images;
  Embeddings all;
  const auto embed = [&](std::span<const size_t> numbers, std::span<const Image> images) -> Status {
    RAG_ASSIGN_OR_RETURN(const Embeddings some, engine.EmbedImages(images, &session.cancel()));
    if (numbers.front() == 0) all.vectors = Matrix(paths.size(), some.vectors.cols());
    for (size_t i = 0; i < numbers.size(); ++i) {
      std::ranges::copy(some.vectors.row(i), all.vectors.row(numbers[i]).begin());
    }
    return OkStatus();
  };
  RAG_RETURN_IF_ERROR(ForImages(paths, embed));
  all.truncated.resize(paths.size());
  return all;
}

Result<Embeddings> EmbedArguments(const Engine& engine, Session& session) {
  const Options& options = session.options();
  if (!options.embed.images.empty()) {
    return EmbedFiles(engine, session);
  }
  RAG_ASSIGN_OR_RETURN(const TextRole role, ParseTextRole(options.embed.role));
  RAG_ASSIGN_OR_RETURN(const std::vector<std::string> texts, Texts(options));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  return engine.Embed(views, role, &session.cancel());
}

void PrintVectors(const Embeddings& embeddings) {
  for (size_t i = 0; i < embeddings.vectors.rows(); ++i) {
    std::string line;
    for (const float value : embeddings.vectors.row(i)) {
      char text[32];
      std::snprintf(text, sizeof(text), "%s%.7g", line.empty() ? "" : " ",
                    static_cast<double>(value));
      line += text;
    }
    Print(line + "\n");
  }
}

Value VectorsValue(const Options& options, const Embeddings& embeddings) {
  Value::Array vectors;
  for (size_t i = 0; i < embeddings.vectors.rows(); ++i) {
    Value::Array vector;
    for (const float value : embeddings.vectors.row(i)) vector.emplace_back(value);
    vectors.emplace_back(std::move(vector));
  }
  Value::Array truncated;
  for (const uint32_t tokens : embeddings.truncated) truncated.emplace_back(tokens);
  return Value::Object{{"model", options.settings.encoder},
                       {"dim", embeddings.vectors.cols()},
                       {"vectors", std::move(vectors)},
                       {"truncated", std::move(truncated)},
                       {"tokens", embeddings.stats.tokens}};
}

}  // namespace

int RunModelsList(Session& session) {
  const Options& options = session.options();
  const std::string folder = ModelsFolder(options);
  const Result<std::vector<ModelEntry>> entries = ListModels(folder);
  if (!entries.ok()) return Fail(entries.status(), options.json);
  Value::Array list;
  for (const ModelEntry& entry : *entries) {
    if (!options.json) PrintEntry(entry);
    list.push_back(EntryValue(entry));
  }
  if (options.json) {
    PrintJson(Value::Object{{"folder", folder}, {"models", std::move(list)}});
  } else if (entries->empty()) {
    Print(StrCat("no models in ", folder, "\n"));
  }
  return kExitDone;
}

int RunModelsShow(Session& session) {
  const Options& options = session.options();
  const Result<ModelEntry> entry = FindModel(ModelsFolder(options), options.arguments.front());
  if (!entry.ok()) return Fail(entry.status(), options.json);
  const Result<Value> described = DescribeModel(*entry);
  if (!described.ok()) return Fail(described.status(), options.json);
  if (options.json) {
    PrintJson(*described);
  } else {
    Print(Printable(ToJson(*described, 2)) + "\n");
  }
  return kExitDone;
}

int RunModelsAdd(Session& session) {
  const Options& options = session.options();
  const Result<ModelEntry> entry = AddModel(ModelsFolder(options), options.arguments.front(),
                                            options.models.name, options.models.copy);
  if (!entry.ok()) return Fail(entry.status(), options.json);
  if (options.json) {
    PrintJson(EntryValue(*entry));
  } else {
    PrintEntry(*entry);
  }
  return kExitDone;
}

int RunModelsQuantize(Session& session) {
  const Options& options = session.options();
  const Result<const Runtime*> runtime = session.GetRuntime();
  if (!runtime.ok()) return Fail(runtime.status(), options.json);
  const auto adapters = ParseAdapters(options.models.lora);
  if (!adapters.ok()) return Fail(adapters.status(), options.json);
  const Result<Value> written = QuantizeNamedModel(ModelsFolder(options), options.arguments[0],
                                                   {.to = options.arguments[1],
                                                    .type = options.models.type,
                                                    .importance = options.models.importance,
                                                    .adapters = *adapters},
                                                   **runtime, &session.cancel());
  if (!written.ok()) return Fail(written.status(), options.json);
  if (options.json) {
    PrintJson(*written);
    return kExitDone;
  }
  const auto bytes = [&](const char* key) {
    return HumanBytes(static_cast<uint64_t>(written->Find(key)->as_int()));
  };
  Print(StrCat(options.arguments[1], ": ", bytes("bytes_before"), " -> ", bytes("bytes"), " (",
               written->Find("type")->as_string(), ")\n"));
  return kExitDone;
}

int RunModelsImportance(Session& session) {
  const Options& options = session.options();
  const Result<const Runtime*> runtime = session.GetRuntime();
  if (!runtime.ok()) return Fail(runtime.status(), options.json);
  const Result<Value> written = CollectModelImportance(ModelsFolder(options), options.arguments[0],
                                                       {.text_path = options.arguments[1],
                                                        .to = options.models.output,
                                                        .chunk_tokens = options.models.chunk_tokens,
                                                        .max_chunks = options.models.max_chunks},
                                                       **runtime, &session.cancel());
  if (!written.ok()) return Fail(written.status(), options.json);
  if (options.json) {
    PrintJson(*written);
    return kExitDone;
  }
  Print(StrCat(options.models.output, ": ", written->Find("tensors")->as_int(), " tensors over ",
               written->Find("chunks")->as_int(), " chunks of ",
               written->Find("chunk_tokens")->as_int(), " tokens\n"));
  return kExitDone;
}

int RunAnalogy(Session& session) {
  const Options& options = session.options();
  const Result<const Runtime*> runtime = session.GetRuntime();
  if (!runtime.ok()) return Fail(runtime.status(), options.json);
  const Result<std::vector<WordNeighbor>> words =
      FindAnalogy(ModelsFolder(options), options.settings.encoder, options.embed.analogy,
                  options.embed.k, **runtime);
  if (!words.ok()) return Fail(words.status(), options.json);
  if (options.json) {
    Value::Array list;
    for (const WordNeighbor& word : *words) {
      list.push_back(Value::Object{{"word", word.word}, {"cosine", word.cosine}});
    }
    PrintJson(Value::Object{{"words", std::move(list)}});
    return kExitDone;
  }
  for (const WordNeighbor& word : *words) {
    char cosine[32];
    std::snprintf(cosine, sizeof(cosine), "%.4f", static_cast<double>(word.cosine));
    Print(StrCat(cosine, "  ", Printable(word.word), "\n"));
  }
  return kExitDone;
}

int RunEmbed(Session& session) {
  const Options& options = session.options();
  if (!options.embed.analogy.empty()) return RunAnalogy(session);
  const Result<Engine*> engine = session.OpenScratchEngine();
  if (!engine.ok()) return Fail(engine.status(), options.json);
  const Result<Embeddings> embeddings = EmbedArguments(**engine, session);
  if (!embeddings.ok()) return Fail(embeddings.status(), options.json);
  if (options.json) {
    PrintJson(VectorsValue(options, *embeddings));
    return kExitDone;
  }
  PrintVectors(*embeddings);
  for (size_t i = 0; i < embeddings->truncated.size(); ++i) {
    if (embeddings->truncated[i] == 0) continue;
    std::fprintf(stderr, "rag: text %zu was cut: %u tokens are past what the encoder reads\n",
                 i + 1, embeddings->truncated[i]);
  }
  return kExitDone;
}

}  // namespace rag
