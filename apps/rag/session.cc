#include "apps/rag/session.h"

#include <filesystem>
#include <iostream>
#include <utility>

namespace rag {
namespace {

constexpr size_t kMaxArgumentBytes = size_t{64} << 20;

}  // namespace

Session::~Session() { Close().Ignore(); }

Result<Engine*> Session::OpenScratchEngine() {
  if (!scratch_.has_value()) {
    RAG_ASSIGN_OR_RETURN(scratch_, ScratchFolder::Create("rag"));
  }
  return OpenEngine(StoreUse::kMake, scratch_->path());
}

Result<const Runtime*> Session::GetRuntime() {
  if (runtime_ == nullptr) {
    RAG_ASSIGN_OR_RETURN(log_,
                         AppLog::Create(options_.settings.log_level, options_.settings.log_format));
    RAG_ASSIGN_OR_RETURN(runtime_,
                         Runtime::Create(ToRuntimeOptions(options_.settings, log_.get())));
  }
  return static_cast<const Runtime*>(runtime_.get());
}

Result<Engine*> Session::OpenEngine(StoreUse use, const std::string& db_path) {
  if (engine_ != nullptr) return engine_.get();
  RAG_ASSIGN_OR_RETURN(const Runtime* runtime, GetRuntime());
  RAG_ASSIGN_OR_RETURN(EngineOptions options, ToEngineOptions(options_.settings));
  if (!db_path.empty()) options.db_path = db_path;
  options.store.read_only = use == StoreUse::kRead;
  options.store.create_if_missing = use == StoreUse::kMake;
  std::error_code ignored;
  if (use != StoreUse::kMake && !std::filesystem::exists(options.db_path, ignored)) {
    return NotFoundError("there is no database at '", options.db_path,
                         "'; rag index makes one, --db names another");
  }
  RAG_ASSIGN_OR_RETURN(engine_, Engine::Open(options, *runtime));
  return engine_.get();
}

Status Session::Close() {
  if (engine_ == nullptr) return OkStatus();
  const Status closed = engine_->Close();
  engine_.reset();
  return closed;
}

Result<std::string> ReadArgument(const std::string& argument) {
  if (argument != "-") return argument;
  std::string text;
  char buffer[4096];
  while (std::cin.read(buffer, sizeof(buffer)) || std::cin.gcount() > 0) {
    text.append(buffer, static_cast<size_t>(std::cin.gcount()));
    if (text.size() > kMaxArgumentBytes) {
      return ResourceExhaustedError("standard input is over the limit of ", kMaxArgumentBytes,
                                    " bytes");
    }
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace rag
