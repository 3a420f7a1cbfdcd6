#include "apps/rag/images.h"

#include <utility>
#include <vector>

#include "lib/base/file.h"

namespace rag {
namespace {

constexpr size_t kMaxImageBytes = size_t{64} << 20;
// Pictures, and pixels of three bytes, that are held at a time.
constexpr size_t kImagesAtOnce = 32;
constexpr size_t kPixelsAtOnce = size_t{1} << 26;

Result<Image> ReadImage(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string bytes, ReadImageFile(path));
  return DecodeImage(bytes, path);
}

}  // namespace

Result<std::string> ReadImageFile(const std::string& path) {
  return ReadFile(path, kMaxImageBytes);
}

Status ForImages(std::span<const std::string> paths,
                 FunctionRef<Status(size_t, const Status&)> on_error,
                 FunctionRef<Status(std::span<const size_t>, std::span<const Image>)> use) {
  std::vector<size_t> numbers;
  std::vector<Image> images;
  size_t pixels = 0;
  for (size_t i = 0; i < paths.size(); ++i) {
    Result<Image> image = ReadImage(paths[i]);
    if (!image.ok()) {
      RAG_RETURN_IF_ERROR(on_error(i, image.status()));
      continue;
    }
    pixels += image->width * image->height;
    images.push_back(std::move(*image));
    numbers.push_back(i);
    if (images.size() < kImagesAtOnce && pixels < kPixelsAtOnce) continue;
    RAG_RETURN_IF_ERROR(use(numbers, images));
    numbers.clear();
    images.clear();
    pixels = 0;
  }
  return images.empty() ? OkStatus() : use(numbers, images);
}

Status ForImages(std::span<const std::string> paths,
                 FunctionRef<Status(std::span<const size_t>, std::span<const Image>)> use) {
  return ForImages(
      paths, [](size_t, const Status& error) { return error; }, use);
}

Value FailedImage(const std::string& path, const Status& error) {
  return Value::Object{
      {"path", path}, {"error", error.message()}, {"code", StatusCodeName(error.code())}};
}

}  // namespace rag
