// HDF5 in ann-benchmarks' layout. The only file that knows libhdf5.
#include <hdf5.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "apps/rag_bench/data/vectors_file.h"

namespace rag::bench {
namespace {

// A chunk of a compressed dataset expands at most about so much (deflate's bound).
constexpr uint64_t kMaxExpansion = 1032;
constexpr size_t kMaxAttributeBytes = 256;

// An identifier of the library, closed by the function of its kind.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  hid_t get() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

class File {
 public:
  File(hid_t id, std::string path, uint64_t bytes)
      : file_(id, H5Fclose), path_(std::move(path)), bytes_(bytes) {}

  bool ok() const { return file_.ok(); }
  bool Has(const char* name) const { return H5Lexists(file_.get(), name, H5P_DEFAULT) > 0; }

  // The first max_rows rows of the dataset `name`, whose values are converted to `memory_type`.
  // allocate(rows, cols) hands out the memory. *cut says whether rows were left out.
  template <class Allocate>
  Status Read(const char* name, size_t max_rows, hid_t memory_type, H5T_class_t wanted,
              const Allocate& allocate, bool* cut) const {
    const std::string place = StrCat("'", path_, "', dataset '", name, "'");
    if (!Has(name)) return NotFoundError(place, " is missing");
    const Handle dataset(H5Dopen2(file_.get(), name, H5P_DEFAULT), H5Dclose);
    if (!dataset.ok()) return DataLossError(place, " cannot be opened");
    const Handle type(H5Dget_type(dataset.get()), H5Tclose);
    if (!type.ok()) return DataLossError(place, " has no type");
    const H5T_class_t found = H5Tget_class(type.get());
    if (found != H5T_INTEGER && found != wanted) {
      return UnsupportedError(place, ": values of HDF5 class ", static_cast<int>(found));
    }
    const Handle space(H5Dget_space(dataset.get()), H5Sclose);
    if (!space.ok() || H5Sget_simple_extent_ndims(space.get()) != 2) {
      return DataLossError(place, " is no matrix");
    }
    hsize_t extent[2] = {0, 0};
    if (H5Sget_simple_extent_dims(space.get(), extent, nullptr) != 2) {
      return DataLossError(place, " has no extent");
    }
    RAG_RETURN_IF_ERROR(CheckShape(place, extent[0], extent[1]));
    const uint64_t raw = extent[0] * extent[1] * H5Tget_size(type.get());
    const uint64_t stored = H5Dget_storage_size(dataset.get());
    if (stored > bytes_ || raw / kMaxExpansion > stored || (raw > 0 && stored == 0)) {
      return DataLossError(place, ": ", extent[0], " x ", extent[1], " values in ", stored,
                           " stored bytes of a file of ", bytes_);
    }
    const hsize_t count[2] = {std::min<hsize_t>(extent[0], max_rows), extent[1]};
    *cut = count[0] < extent[0];
    if (count[0] == 0) return DataLossError(place, " is empty");
    const hsize_t start[2] = {0, 0};
    if (H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start, nullptr, count, nullptr) < 0) {
      return InternalError(place, ": cannot select ", count[0], " rows");
    }
    const Handle memory(H5Screate_simple(2, count, nullptr), H5Sclose);
    if (H5Dread(dataset.get(), memory_type, memory.get(), space.get(), H5P_DEFAULT,
                allocate(count[0], count[1])) < 0) {
      return DataLossError(place, " cannot be read: its stored values are damaged");
    }
    return OkStatus();
  }

  // A string attribute of the root; empty when it is absent or of another kind.
  std::string Attribute(const char* name) const {
    if (H5Aexists(file_.get(), name) <= 0) return {};
    const Handle attribute(H5Aopen(file_.get(), name, H5P_DEFAULT), H5Aclose);
    if (!attribute.ok()) return {};
    const Handle type(H5Aget_type(attribute.get()), H5Tclose);
    const Handle space(H5Aget_space(attribute.get()), H5Sclose);
    if (!type.ok() || H5Tget_class(type.get()) != H5T_STRING || !space.ok() ||
        H5Sget_simple_extent_npoints(space.get()) != 1) {
      return {};
    }
    if (H5Tis_variable_str(type.get()) > 0) {
      char* text = nullptr;
      if (H5Aread(attribute.get(), type.get(), &text) < 0 || text == nullptr) return {};
      std::string out(text, strnlen(text, kMaxAttributeBytes));
      H5free_memory(text);
      return out;
    }
    const size_t size = H5Tget_size(type.get());
    if (size == 0 || size > kMaxAttributeBytes) return {};
    std::string out(size, '\0');
    if (H5Aread(attribute.get(), type.get(), out.data()) < 0) return {};
    out.resize(strnlen(out.data(), out.size()));
    return out;
  }

  Status ReadMatrix(const char* name, size_t max_rows, Matrix* out, bool* cut) const {
    return Read(
        name, max_rows, H5T_NATIVE_FLOAT, H5T_FLOAT,
        [&](size_t rows, size_t cols) {
          *out = Matrix(rows, cols);
          return out->data();
        },
        cut);
  }

 private:
  const Handle file_;
  const std::string path_;
  const uint64_t bytes_;
};

Result<AnnBenchmarksFile> ReadHere(const std::string& path, size_t max_train, size_t max_test) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // or the library prints every failure
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error) return NotFoundError("cannot open '", path, "': ", error.message());
  if (H5Fis_hdf5(path.c_str()) <= 0) return DataLossError("'", path, "' is no HDF5 file");
  const File file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), path, bytes);
  if (!file.ok()) return DataLossError("'", path, "' is damaged: HDF5 cannot open it");
  AnnBenchmarksFile out;
  bool train_cut = false;
  bool test_cut = false;
  RAG_RETURN_IF_ERROR(file.ReadMatrix("train", max_train, &out.train, &train_cut));
  RAG_RETURN_IF_ERROR(file.ReadMatrix("test", max_test, &out.test, &test_cut));
  if (out.train.cols() != out.test.cols()) {
    return DataLossError("'", path, "': train has dimension ", out.train.cols(), ", test ",
                         out.test.cols());
  }
  if (!train_cut && file.Has("neighbors")) {
    bool cut = false;
    RAG_RETURN_IF_ERROR(file.Read(
        "neighbors", max_test, H5T_NATIVE_UINT32, H5T_INTEGER,
        [&](size_t rows, size_t cols) {
          out.neighbors = {cols, std::vector<uint32_t>(rows * cols)};
          return out.neighbors.ids.data();
        },
        &cut));
    if (out.neighbors.rows() != out.test.rows()) {
      return DataLossError("'", path, "': neighbors has ", out.neighbors.rows(), " rows, test ",
                           out.test.rows());
    }
  }
  out.distance = file.Attribute("distance");
  return out;
}

// What the child hands over through its memory file: this, then train, test, neighbors, then the
// text.
struct Header {
  StatusCode code = StatusCode::kInternal;
  uint64_t train_rows = 0, train_cols = 0;
  uint64_t test_rows = 0, test_cols = 0;
  uint64_t neighbor_rows = 0, neighbor_k = 0;
  uint64_t text_bytes = 0;  // of the attribute distance, or of an error's message
};

bool WriteAll(int fd, const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t count = ::write(fd, from, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    from += count;
    bytes -= static_cast<size_t>(count);
  }
  return true;
}

bool HandOver(int fd, const Result<AnnBenchmarksFile>& result) {
  Header header;
  if (!result.ok()) {
    const Status status = result.status();
    header.code = status.code();
    header.text_bytes = status.message().size();
    return WriteAll(fd, &header, sizeof(header)) &&
           WriteAll(fd, status.message().data(), header.text_bytes);
  }
  const auto& [train, test, neighbors, distance] = *result;
  header = {StatusCode::kOk, train.rows(),     train.cols(), test.rows(),
            test.cols(),     neighbors.rows(), neighbors.k,  distance.size()};
  return WriteAll(fd, &header, sizeof(header)) &&
         WriteAll(fd, train.data(), train.rows() * train.cols() * sizeof(float)) &&
         WriteAll(fd, test.data(), test.rows() * test.cols() * sizeof(float)) &&
         WriteAll(fd, neighbors.ids.data(), neighbors.ids.size() * sizeof(uint32_t)) &&
         WriteAll(fd, distance.data(), distance.size());
}

// Takes what HandOver wrote; the child is this program, but it may have died at any place.
Result<AnnBenchmarksFile> TakeOver(int fd, const std::string& path) {
  const Status broken =
      DataLossError("'", path, "' is damaged: HDF5's library crashed while it read it");
  Header header;
  const off_t end = ::lseek(fd, 0, SEEK_END);
  if (end < static_cast<off_t>(sizeof(header))) return broken;
  void* const mapped = ::mmap(nullptr, static_cast<size_t>(end), PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapped == MAP_FAILED) return IoError("cannot map what was read of '", path, "'");
  const auto unmap = [end](void* at) { ::munmap(at, static_cast<size_t>(end)); };
  const std::unique_ptr<void, decltype(unmap)> mapping(mapped, unmap);
  const char* from = static_cast<const char*>(mapped);
  std::memcpy(&header, from, sizeof(header));
  from += sizeof(header);
  const uint64_t bytes = header.train_rows * header.train_cols * sizeof(float) +
                         header.test_rows * header.test_cols * sizeof(float) +
                         header.neighbor_rows * header.neighbor_k * sizeof(uint32_t) +
                         header.text_bytes;
  if (bytes != static_cast<uint64_t>(end) - sizeof(header)) return broken;
  if (header.code != StatusCode::kOk) {
    return Status(header.code, std::string(from, header.text_bytes));
  }
  AnnBenchmarksFile out;
  const auto take = [&](void* to, size_t count) {
    std::memcpy(to, from, count);
    from += count;
  };
  out.train = Matrix(header.train_rows, header.train_cols);
  take(out.train.data(), header.train_rows * header.train_cols * sizeof(float));
  out.test = Matrix(header.test_rows, header.test_cols);
  take(out.test.data(), header.test_rows * header.test_cols * sizeof(float));
  out.neighbors.k = header.neighbor_k;
  out.neighbors.ids.resize(header.neighbor_rows * header.neighbor_k);
  if (!out.neighbors.ids.empty()) {
    take(out.neighbors.ids.data(), out.neighbors.ids.size() * sizeof(uint32_t));
  }
  out.distance.assign(from, header.text_bytes);
  return out;
}

}  // namespace

// In a child process: of 300 files with a few flipped bits one crashed libhdf5 1.10.8.
Result<AnnBenchmarksFile> ReadAnnBenchmarks(const std::string& path, size_t max_train,
                                            size_t max_test) {
  const int fd = ::memfd_create("rag-bench-hdf5", MFD_CLOEXEC);
  if (fd < 0) return IoError("cannot make a memory file: ", std::strerror(errno));
  const pid_t child = ::fork();
  if (child == 0) {
    // Handlers that this program or a test has would take the crash for its own.
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) ::signal(signal, SIG_DFL);
    ::_exit(HandOver(fd, ReadHere(path, max_train, max_test)) ? 0 : 1);
  }
  if (child < 0) {
    ::close(fd);
    return IoError("cannot start a process: ", std::strerror(errno));
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  Result<AnnBenchmarksFile> result = TakeOver(fd, path);
  ::close(fd);
  return result;
}

}  // namespace rag::bench
