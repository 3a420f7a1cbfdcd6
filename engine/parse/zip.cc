#include "engine/parse/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <memory>

namespace rag {
namespace {

constexpr size_t kFreeRatioBytes = size_t{1} << 20;

struct FreeArchive {
  void operator()(struct archive* archive) const { archive_read_free(archive); }
};

// `entry`: its name; "" for the archive's own.
Status DamagedError(struct archive* archive, std::string_view entry) {
  const char* reason = archive_error_string(archive);
  return InvalidArgumentError(
      "the ZIP archive is damaged: ", entry.empty() ? "" : StrCat("entry '", entry, "': "),
      reason == nullptr ? "no reason is given" : reason);
}

// libarchive gives names in the character set of the locale, and none that it does not have.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ != nullptr) before_ = ::uselocale(locale_);
  }
  ~Utf8Locale() {
    if (locale_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  const locale_t locale_;  // of this thread; null: there is none of this name
  locale_t before_ = nullptr;
};

// Appends the entry's data, counting into *total.
Status ReadEntry(struct archive* archive, std::string_view name, size_t archive_bytes,
                 const ZipLimits& limits, size_t* total, std::string& out) {
  while (true) {
    const void* data = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int code = archive_read_data_block(archive, &data, &size, &offset);
    if (code == ARCHIVE_EOF) return OkStatus();
    if (code != ARCHIVE_OK) return DamagedError(archive, name);
    // Offsets with holes do not occur in ZIP.
    if (offset != static_cast<la_int64_t>(out.size())) {
      return InvalidArgumentError("the ZIP archive is damaged: entry '", name, "' has holes");
    }
    *total += size;
    if (out.size() + size > limits.max_entry_bytes || *total > limits.max_total_bytes ||
        (*total > kFreeRatioBytes && *total / limits.max_ratio > archive_bytes)) {
      return ResourceExhaustedError("entry '", name, "' swells past the limits (", *total,
                                    " bytes unpacked of ", archive_bytes, ")");
    }
    out.append(static_cast<const char*>(data), size);
  }
}

}  // namespace

Result<std::map<std::string, std::string>> ReadZip(
    std::string_view content, const std::function<bool(std::string_view name)>& wanted,
    const ZipLimits& limits) {
  if (!content.starts_with("PK")) return InvalidArgumentError("not a ZIP archive");
  // libarchive reads what is left of an archive that was cut off, without a word.
  if (content.rfind("PK\x05\x06") == std::string_view::npos) {
    return InvalidArgumentError("the ZIP archive is damaged: its directory is missing");
  }
  const Utf8Locale locale;
  const std::unique_ptr<struct archive, FreeArchive> archive(archive_read_new());
  if (archive == nullptr) return ResourceExhaustedError("not enough memory to read a ZIP archive");
  archive_read_support_format_zip(archive.get());
  if (archive_read_open_memory(archive.get(), content.data(), content.size()) != ARCHIVE_OK) {
    return DamagedError(archive.get(), "");
  }
  std::map<std::string, std::string> entries;
  size_t total = 0;
  for (size_t count = 0;; ++count) {
    if (count == limits.max_entries) {
      return ResourceExhaustedError("the ZIP archive has more than ", count, " entries");
    }
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(archive.get(), &entry);
    if (code == ARCHIVE_EOF) return entries;
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return DamagedError(archive.get(), "");
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr || !wanted(name) || entries.contains(name)) continue;
    if (archive_entry_is_encrypted(entry) > 0) {
      return InvalidArgumentError("entry '", name, "' of the ZIP archive is encrypted");
    }
    const std::string key = name;
    RAG_RETURN_IF_ERROR(
        ReadEntry(archive.get(), key, content.size(), limits, &total, entries[key]));
  }
}

}  // namespace rag
