#include "lib/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/base/atomic_file.h"
#include "lib/base/descriptor.h"

namespace rag {
namespace {

// Size of an open regular file; a folder or a device is an error here.
Result<size_t> RegularFileSize(const Descriptor& file, const std::string& path) {
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return ErrnoError("cannot stat", path);
  if (!S_ISREG(info.st_mode)) return InvalidArgumentError("'", path, "' is not a regular file");
  return static_cast<size_t>(info.st_size);
}

}  // namespace

Result<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return ErrnoError("cannot open", path);
  RAG_ASSIGN_OR_RETURN(const size_t size, RegularFileSize(file, path));
  if (size > max_bytes) {
    return ResourceExhaustedError("'", path, "' has ", size, " bytes, over the limit of ",
                                  max_bytes);
  }
  std::string content(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), content.data() + done, size - done);
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("cannot read", path);
    }
    if (got == 0) break;  // it shrank meanwhile
    done += static_cast<size_t>(got);
  }
  content.resize(done);
  return content;
}

Status WriteFileAtomic(const std::string& path, std::string_view content) {
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path, 0666));
  RAG_RETURN_IF_ERROR(file->Write(std::as_bytes(std::span(content))));
  return file->Commit();
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return ErrnoError("cannot open", path);
  RAG_ASSIGN_OR_RETURN(const size_t size, RegularFileSize(file, path));
  MappedFile mapped;
  mapped.path_ = path;
  if (size == 0) return mapped;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) return ErrnoError("cannot map", path);
  mapped.data_ = static_cast<const std::byte*>(address);
  mapped.size_ = size;
  return mapped;
}

void MappedFile::Forget(std::span<const std::byte> bytes) const {
  if (bytes.data() < data_ || bytes.data() + bytes.size() > data_ + size_) return;
  // Whole pages of it alone: the mapping begins with one.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = (static_cast<size_t>(bytes.data() - data_) + page - 1) / page * page;
  const size_t end = static_cast<size_t>(bytes.data() + bytes.size() - data_) / page * page;
  if (begin < end) {
    ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

}  // namespace rag
