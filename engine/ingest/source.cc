#include "engine/ingest/source.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/ingest/walk.h"
#include "engine/parse.h"
#include "engine/record.h"
#include "lib/base/file.h"

namespace rag {
namespace {

// Files that wait, parsed, for the caller: enough to hide a slow one behind the others.
constexpr size_t kFilesAhead = 32;
// Their text together; one more file may always go ahead, so the true bound is this plus a file.
constexpr size_t kBytesAhead = size_t{128} << 20;
// What DetectFormat looks at.
constexpr size_t kFirstBytes = 4096;

// How often a read that waits for input looks whether it was cancelled.
constexpr int kPollMs = 50;

Result<std::string> ReadStandardInput(size_t max_bytes, const CancelToken* cancel) {
  std::string content;
  char buffer[1 << 16];
  while (true) {
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, kPollMs) == 0) {
      if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
      continue;
    }
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof(buffer));
    if (got < 0) {
      if (errno == EINTR) continue;
      return IoError("cannot read standard input: ", std::strerror(errno));
    }
    if (got == 0) return content;
    content.append(buffer, static_cast<size_t>(got));
    if (content.size() > max_bytes) {
      return ResourceExhaustedError("standard input is over the limit of ", max_bytes, " bytes");
    }
  }
}

class FileSource : public DocumentSource {
 public:
  FileSource(std::vector<std::string> files, const IngestOptions& options,
             const Collection& collection, const Manifest& manifest, int threads,
             const CancelToken* cancel)
      : files_(std::move(files)),
        options_(options),
        metadata_json_(ToJson(options.metadata)),
        collection_(collection),
        manifest_(manifest),
        cancel_(cancel) {
    const size_t count = std::min(files_.size(), static_cast<size_t>(std::max(threads, 1)));
    for (size_t i = 0; i < count; ++i) {
      workers_.emplace_back([this] { Work(); });
    }
  }

  ~FileSource() override {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      changed_.notify_all();
    }
    for (std::thread& worker : workers_) worker.join();
  }

  std::optional<SourceFile> Next() override {
    std::unique_lock lock(mutex_);
    if (next_out_ == files_.size()) return std::nullopt;
    // A worker that was cancelled leaves a gap; nobody fills it, so the wait ends there.
    changed_.wait(lock, [&] { return stopped_ || ready_.contains(next_out_); });
    const auto found = ready_.find(next_out_);
    if (found == ready_.end()) return std::nullopt;
    SourceFile file = std::move(found->second);
    ready_.erase(found);
    bytes_ahead_ -= file.bytes;
    ++next_out_;
    changed_.notify_all();
    return file;
  }

 private:
  bool Cancelled() const { return cancel_ != nullptr && cancel_->cancelled(); }

  void Work() {
    while (true) {
      size_t index = 0;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] {
          return stopped_ || next_in_ == files_.size() || next_in_ == next_out_ ||
                 (next_in_ < next_out_ + kFilesAhead && bytes_ahead_ < kBytesAhead);
        });
        if (stopped_ || next_in_ == files_.size()) return;
        if (Cancelled()) {
          stopped_ = true;
          changed_.notify_all();
          return;
        }
        index = next_in_++;
      }
      SourceFile file = Read(files_[index]);
      std::lock_guard lock(mutex_);
      if (file.error.code() == StatusCode::kCancelled) {
        stopped_ = true;
      } else {
        bytes_ahead_ += file.bytes;
        ready_.emplace(index, std::move(file));
      }
      changed_.notify_all();
    }
  }

  SourceFile Read(const std::string& path) const {
    SourceFile file;
    const bool is_stdin = path == kStandardInput;
    file.path = is_stdin ? options_.stdin_name : path;
    file.tracked = !is_stdin;
    file.error = ReadInto(is_stdin, file);
    if (!file.error.ok()) file.documents.clear();
    return file;
  }

  Status ReadInto(bool is_stdin, SourceFile& file) const {
    const size_t max_bytes = options_.parse.max_file_bytes;
    RAG_ASSIGN_OR_RETURN(const std::string content, is_stdin ? ReadStandardInput(max_bytes, cancel_)
                                                             : ReadFile(file.path, max_bytes));
    file.bytes = content.size();
    file.content_hash = HashContent(content);
    if (options_.metadata.is_object() && !options_.metadata.as_object().empty()) {
      file.content_hash = HashContent(StrCat(file.content_hash, metadata_json_));
    }
    RAG_RETURN_IF_ERROR(CompareWithStored(file));
    if (file.unchanged) return OkStatus();
    RAG_ASSIGN_OR_RETURN(const Format format,
                         DetectFormat(file.path, std::string_view(content).substr(0, kFirstBytes)));
    RAG_ASSIGN_OR_RETURN(ParsedFile parsed,
                         ParseContent(content, file.path, format, options_.parse, cancel_));
    file.many = format == Format::kJsonl;
    file.documents = std::move(parsed.documents);
    file.problems = std::move(parsed.problems);
    for (Document& document : file.documents) {
      if (is_stdin) document.source.clear();
      if (!document.metadata.is_object()) document.metadata = Value(Value::Object());
      if (!options_.metadata.is_object()) continue;
      for (const auto& [name, value] : options_.metadata.as_object()) {
        document.metadata.as_object().Set(name, value);
      }
    }
    return OkStatus();
  }

  Status CompareWithStored(SourceFile& file) const {
    const Result<DocumentRecord> record = collection_.GetDocument(file.path);
    if (record.ok()) {
      RAG_ASSIGN_OR_RETURN(const DocumentPayload payload, UnpackDocument(record->payload));
      file.unchanged = payload.source_hash == file.content_hash;
      if (file.unchanged) return OkStatus();
    } else if (record.status().code() != StatusCode::kNotFound) {
      // A name that no document can have (too long) is found out, with a message, when it is
      // written.
      if (record.status().code() != StatusCode::kInvalidArgument) return record.status();
    }
    if (!file.tracked) return OkStatus();
    RAG_ASSIGN_OR_RETURN(const std::optional<ManifestEntry> entry,
                         manifest_.Find(collection_.config().name, file.path));
    const bool known = entry.has_value() && entry->content_hash == file.content_hash;
    file.unchanged = known && !entry->doubtful;
    file.only_missing = known && entry->doubtful;
    return OkStatus();
  }

  const std::vector<std::string> files_;
  const IngestOptions& options_;
  const std::string metadata_json_;
  const Collection& collection_;
  const Manifest& manifest_;
  const CancelToken* const cancel_;
  std::mutex mutex_;  // guards what follows, but for workers_
  std::condition_variable changed_;
  std::map<size_t, SourceFile> ready_;
  size_t next_in_ = 0;   // the file that a worker takes next
  size_t next_out_ = 0;  // the file that Next() gives next
  size_t bytes_ahead_ = 0;
  bool stopped_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace

std::unique_ptr<DocumentSource> ReadFiles(std::vector<std::string> files,
                                          const IngestOptions& options,
                                          const Collection& collection, const Manifest& manifest,
                                          int threads, const CancelToken* cancel) {
  return std::make_unique<FileSource>(std::move(files), options, collection, manifest, threads,
                                      cancel);
}

}  // namespace rag
