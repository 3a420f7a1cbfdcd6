#include <catch2/catch.hpp>
#include <random>

#include "lib/model/model_file.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

std::string Build(std::string_view header, size_t data_bytes) {
  test::Bytes out;
  out.PutString(header).Append(std::string(data_bytes, '\1'));
  return out.text();
}

Result<TensorFile> OpenBytes(std::string_view bytes) {
  const test::TemporaryFolder folder;
  test::WriteBytes(folder.file("x.safetensors"), bytes);
  return TensorFile::Open(folder.file("x.safetensors"));
}

template <class T>
T First(const TensorFile& file, std::string_view name) {
  T value{};
  REQUIRE(file.Find(name) != nullptr);
  REQUIRE(file.Find(name)->bytes.size() >= sizeof(T));
  std::memcpy(&value, file.Find(name)->bytes.data(), sizeof(T));
  return value;
}

TEST_CASE("safetensors as the safetensors package writes them") {
  const auto file = TensorFile::Open(test::Golden("model_files/all_types.safetensors"));
  REQUIRE_OK(file);
  CHECK(file->TensorNames() == std::vector<std::string>{"bool", "empty", "f16", "f32", "f64", "i16",
                                                        "i32", "i64", "i8", "scalar", "u16", "u32",
                                                        "u64", "u8"});
  CHECK(file->metadata().Find("note")->as_string() == "한글");
  CHECK(file->Find("f32")->shape == std::vector<size_t>{2, 3});
  CHECK(file->Find("empty")->shape == std::vector<size_t>{0, 4});
  CHECK(file->Find("empty")->bytes.empty());
  CHECK(file->Find("scalar")->shape.empty());
  CHECK(First<float>(*file, "scalar") == 3.25f);
  CHECK(First<double>(*file, "f64") == 1.5);
  CHECK(First<uint16_t>(*file, "f16") == 0x3800);
  CHECK(First<int32_t>(*file, "i32") == -5);
  CHECK(First<int16_t>(*file, "i16") == -7);
  CHECK(First<int8_t>(*file, "i8") == -8);
  CHECK(First<uint32_t>(*file, "u32") == 9);
  CHECK(First<uint16_t>(*file, "u16") == 10);
  CHECK(First<uint8_t>(*file, "u8") == 11);
  CHECK(First<int64_t>(*file, "i64") == -(int64_t{1} << 62));
  CHECK(First<uint64_t>(*file, "u64") == uint64_t{1} << 63);
  CHECK(file->Find("bool")->type == DType::kBool);
  CHECK(file->Find("nothing") == nullptr);
}

TEST_CASE("safetensors headers that lie are refused by name") {
  const auto fails = [](StatusCode code, const std::string& message, std::string_view header,
                        size_t data_bytes) {
    const Status status = OpenBytes(Build(header, data_bytes)).status();
    INFO(header << "\n" << status.ToString());
    CHECK(status.code() == code);
    CHECK_THAT(status.message(), Catch::Contains(message));
    CHECK(status.message().find("x.safetensors") != std::string::npos);
  };
  using enum StatusCode;
  REQUIRE_OK(OpenBytes(Build(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   )", 8)));
  REQUIRE_OK(OpenBytes(Build("{}", 0)));
  fails(kInvalidArgument, "header", "[]", 0);
  fails(kInvalidArgument, "header", "", 0);
  fails(kInvalidArgument, "header", "{", 0);
  fails(kInvalidArgument, "'a'", R"({"a":1})", 0);
  fails(kUnsupported, "F8_E4M3", R"({"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})",
        1);
  fails(kInvalidArgument, "shape", R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4);
  fails(kInvalidArgument, "shape", R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4);
  fails(kInvalidArgument, "shape", R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})",
        4);
  fails(kInvalidArgument, "shape",
        R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1);
  fails(kInvalidArgument, "too many elements",
        R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})", 4);
  fails(kOutOfRange, "too many bytes",
        R"({"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]}})", 4);
  fails(kInvalidArgument, "need 8 bytes",
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4);
  fails(kInvalidArgument, "backwards", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})",
        4);
  fails(kInvalidArgument, "pair", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", 4);
  fails(kInvalidArgument, "data_offsets",
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", 4);
  fails(kDataLoss, "past the 4 bytes", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
        4);
  fails(kInvalidArgument, "belong to no tensor",
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5);
  fails(kInvalidArgument, "belong to no tensor",
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8);
  fails(kInvalidArgument, "overlaps",
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
        R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
        12);
  fails(kInvalidArgument, "twice",
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
        R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
        8);
  fails(kInvalidArgument, "__metadata__", R"({"__metadata__":{"a":1}})", 0);
  fails(kInvalidArgument, "__metadata__", R"({"__metadata__":3})", 0);
  test::Bytes huge;
  huge.Put<uint64_t>(UINT64_MAX).Append("{}");
  CHECK(OpenBytes(huge.text()).status().code() == kInvalidArgument);
  test::Bytes cut;
  cut.Put<uint64_t>(100).Append("{}");
  CHECK(OpenBytes(cut.text()).status().code() == kDataLoss);
}

TEST_CASE("safetensors folders and sharded sets") {
  const test::TemporaryFolder folder;
  CHECK(TensorFile::Open(folder.path()).status().code() == StatusCode::kNotFound);
  const auto shard = [](std::string_view name) {
    return Build(StrCat(R"({")", name, R"(":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})"), 3);
  };
  test::WriteBytes(folder.file("m-1.safetensors"), shard("a"));
  REQUIRE_OK(TensorFile::Open(folder.path()));
  test::WriteBytes(folder.file("m-2.safetensors"), shard("b"));
  CHECK_FALSE(TensorFile::Open(folder.path()).ok());
  const std::string index = folder.file("model.safetensors.index.json");
  test::WriteBytes(index, R"({"metadata":{"total_size":6},
      "weight_map":{"b":"m-2.safetensors","a":"m-1.safetensors"}})");
  const auto file = TensorFile::Open(folder.path());
  REQUIRE_OK(file);
  CHECK(file->TensorNames() == std::vector<std::string>{"a", "b"});
  CHECK(First<uint8_t>(*file, "b") == 1);
  CHECK(file->metadata().Find("total_size")->as_int() == 6);
  for (const char* bad :
       {R"({"weight_map":{"c":"m-2.safetensors"}})", R"({"weight_map":{"a":"../m-1.safetensors"}})",
        R"({"weight_map":{"a":"m-3.safetensors"}})", R"({"weight_map":{"a":7}})",
        R"({"weight_map":[]})", R"({})", "{"}) {
    test::WriteBytes(index, bad);
    INFO(bad);
    CHECK_FALSE(TensorFile::Open(index).ok());
  }
}

TEST_CASE("safetensors files cut off or changed at random never crash") {
  const std::string whole = test::ReadAll(test::Golden("model_files/all_types.safetensors"));
  for (size_t length = 0; length < whole.size(); ++length) {
    CHECK_FALSE(OpenBytes(std::string_view(whole).substr(0, length)).ok());
  }
  const test::TemporaryFolder folder;
  std::mt19937_64 random(20240602);
  for (int round = 0; round < 10000; ++round) {
    std::string bytes = whole;
    for (size_t i = 0, changes = 1 + random() % 3; i < changes; ++i) {
      const size_t at = random() % bytes.size();
      static constexpr std::string_view kJson = "{}[]\",:0123456789e-. ";
      bytes[at] = random() % 2 ? static_cast<char>(random()) : kJson[random() % kJson.size()];
    }
    test::WriteBytes(folder.file("x.safetensors"), bytes);
    const auto file = TensorFile::Open(folder.file("x.safetensors"));
    if (!file.ok()) continue;
    size_t sum = 0;
    for (const std::string& name : file->TensorNames()) {
      for (const std::byte byte : file->Find(name)->bytes) sum += std::to_integer<size_t>(byte);
    }
    CHECK(sum < SIZE_MAX);
  }
}

}  // namespace
}  // namespace rag
