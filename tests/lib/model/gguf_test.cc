#include <catch2/catch.hpp>
#include <functional>
#include <random>
#include <sstream>

#include "lib/model/model_file.h"
#include "tests/lib/model/model_bytes.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using test::Bytes;

std::string TextOf(const Value& value) {
  if (value.is_string()) return value.as_string();
  if (value.is_bool()) return value.as_bool() ? "true" : "false";
  if (value.is_int()) return std::to_string(value.as_int());
  char text[40];
  std::snprintf(text, sizeof(text), "%.9g", value.as_double());
  return text;
}

// One file's part of tests/golden/model_files/listing.txt, as make.py there writes it.
std::string Listing(const std::string& name, const GgufFile& file) {
  std::ostringstream out;
  out << "file " << name << " version " << file.version() << "\n";
  for (const auto& [key, value] : file.metadata()) {
    out << "key " << key << " ";
    if (value.is_array()) {
      std::string joined;
      for (size_t i = 0; i < value.as_array().size(); ++i) {
        if (i > 0) joined += '\n';
        joined += TextOf(value.as_array()[i]);
      }
      out << "array " << value.as_array().size() << " " << test::Fnv(joined) << "\n";
    } else if (value.is_string()) {
      out << "string " << value.as_string().size() << " " << test::Fnv(value.as_string()) << "\n";
    } else {
      out << TextOf(value) << "\n";
    }
  }
  for (const std::string& tensor_name : file.TensorNames()) {
    const TensorView* view = file.Find(tensor_name);
    out << "tensor " << tensor_name << " ";
    for (size_t i = 0; i < view->shape.size(); ++i) out << (i ? "x" : "") << view->shape[i];
    const std::string_view bytes(reinterpret_cast<const char*>(view->bytes.data()),
                                 view->bytes.size());
    out << " " << GetDTypeInfo(view->type).name << " " << bytes.size() << " " << test::Fnv(bytes)
        << "\n";
  }
  return out.str();
}

std::string ExpectedListing(const std::string& name) {
  std::istringstream lines(test::ReadAll(test::Golden("model_files/listing.txt")));
  std::string line, out;
  bool inside = false;
  while (std::getline(lines, line)) {
    if (line.starts_with("file ")) inside = line.starts_with("file " + name + " ");
    if (inside) out += line + "\n";
  }
  return out;
}

struct FieldsOf {
  uint32_t version = 3;
  uint64_t tensor_count = 2;
  uint64_t key_count = 2;
  uint32_t alignment_type = 4;
  uint32_t alignment = 32;
  std::string first_key = "general.alignment";
  std::string second_key = "answer";
  std::string first_name = "a";
  std::string second_name = "b";
  uint32_t dimensions = 2;
  uint64_t columns = 4;
  uint32_t type = 0;
  uint64_t second_offset = 32;
};

// Two f32 tensors: [2, 4] at offset 0 and [2, 4] at offset 32.
std::string BuildGguf(const FieldsOf& fields) {
  Bytes out;
  out.Append("GGUF").Put(fields.version).Put(fields.tensor_count).Put(fields.key_count);
  out.PutString(fields.first_key).Put(fields.alignment_type).Put(fields.alignment);
  out.PutString(fields.second_key).Put<uint32_t>(5).Put<int32_t>(42);
  out.PutString(fields.first_name).Put(fields.dimensions);
  for (uint32_t i = 0; i < fields.dimensions && i < 8; ++i) {
    out.Put<uint64_t>(i == 0 ? fields.columns : i == 1 ? 2 : 1);
  }
  out.Put(fields.type).Put<uint64_t>(0);
  out.PutString(fields.second_name).Put<uint32_t>(2).Put<uint64_t>(4).Put<uint64_t>(2);
  out.Put<uint32_t>(0).Put(fields.second_offset).PadTo(32);
  for (int i = 0; i < 16; ++i) out.Put(static_cast<float>(i));
  return out.text();
}

Result<GgufFile> OpenBytes(std::string_view bytes) {
  const test::TemporaryFolder folder;
  test::WriteBytes(folder.file("x.gguf"), bytes);
  return GgufFile::Open(folder.file("x.gguf"));
}

// A file whose only key is an array written by hand.
std::string WithValue(const std::function<void(Bytes&)>& put_value) {
  Bytes out;
  out.Append("GGUF").Put<uint32_t>(3).Put<uint64_t>(0).Put<uint64_t>(1).PutString("k");
  put_value(out);
  return out.text();
}

TEST_CASE("GGUF files read as the gguf package reads them") {
  const auto golden = GgufFile::Open(test::Golden("model_files/all_types.gguf"));
  REQUIRE_OK(golden);
  CHECK(Listing("golden", *golden) == ExpectedListing("golden"));

  const auto stories = test::SharedData("models");
  const auto vocabularies = test::SharedData("tok-llamacpp");
  if (!stories || !vocabularies) RAG_SKIP("no shared data");
  const auto model = GgufFile::Open((*stories / "stories260K/stories260K.gguf").string());
  REQUIRE_OK(model);
  CHECK(Listing("stories260K", *model) == ExpectedListing("stories260K"));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(*vocabularies)) {
    if (entry.path().extension() != ".gguf") continue;
    const std::string name = entry.path().filename().string();
    const auto file = GgufFile::Open(entry.path().string());
    REQUIRE_OK(file);
    CHECK(Listing(name, *file) == ExpectedListing(name));
    ++files;
  }
  CHECK(files == 5);
}

TEST_CASE("GGUF version 2 and the values of a small file") {
  FieldsOf fields;
  fields.version = 2;
  const auto file = OpenBytes(BuildGguf(fields));
  REQUIRE_OK(file);
  CHECK(file->version() == 2);
  CHECK(file->FindMetadata("answer")->as_int() == 42);
  CHECK(file->FindMetadata("question") == nullptr);
  CHECK(file->Find("c") == nullptr);
  REQUIRE(file->Find("b") != nullptr);
  CHECK(file->Find("b")->shape == std::vector<size_t>{2, 4});
  float values[8];
  REQUIRE(file->Find("b")->bytes.size() == sizeof(values));
  std::memcpy(values, file->Find("b")->bytes.data(), sizeof(values));
  CHECK(values[7] == 15.0f);
}

TEST_CASE("GGUF fields out of bounds are refused by name") {
  const auto fails = [](StatusCode code, const std::string& message,
                        const std::function<void(FieldsOf&)>& change) {
    FieldsOf fields;
    change(fields);
    const Status status = OpenBytes(BuildGguf(fields)).status();
    INFO(status.ToString());
    CHECK(status.code() == code);
    CHECK_THAT(status.message(), Catch::Contains(message));
    CHECK(status.message().find("x.gguf") != std::string::npos);
  };
  using enum StatusCode;
  fails(kUnsupported, "version 1", [](FieldsOf& f) { f.version = 1; });
  fails(kUnsupported, "version 4", [](FieldsOf& f) { f.version = 4; });
  fails(kUnsupported, "big-endian", [](FieldsOf& f) { f.version = 3u << 24; });
  fails(kInvalidArgument, "tensor count", [](FieldsOf& f) { f.tensor_count = UINT64_MAX; });
  fails(kInvalidArgument, "key count", [](FieldsOf& f) { f.key_count = UINT64_MAX; });
  fails(kInvalidArgument, "alignment", [](FieldsOf& f) { f.alignment = 0; });
  fails(kInvalidArgument, "alignment", [](FieldsOf& f) { f.alignment = 1; });
  fails(kInvalidArgument, "alignment", [](FieldsOf& f) { f.alignment = 24; });
  fails(kInvalidArgument, "alignment", [](FieldsOf& f) { f.alignment = 1u << 31; });
  fails(kInvalidArgument, "no uint32", [](FieldsOf& f) { f.alignment_type = 5; });
  fails(kInvalidArgument, "twice", [](FieldsOf& f) { f.first_key = "answer"; });
  fails(kInvalidArgument, "empty", [](FieldsOf& f) { f.second_key = ""; });
  fails(kInvalidArgument, "twice", [](FieldsOf& f) { f.second_name = "a"; });
  fails(kInvalidArgument, "length", [](FieldsOf& f) { f.second_name.assign(65, 'b'); });
  fails(kInvalidArgument, "5 dimensions", [](FieldsOf& f) { f.dimensions = 5; });
  fails(kInvalidArgument, "too many elements", [](FieldsOf& f) { f.columns = 1ull << 62; });
  fails(kDataLoss, "past the end", [](FieldsOf& f) { f.columns = 1ull << 40; });
  fails(kInvalidArgument, "type 4, which does not exist", [](FieldsOf& f) { f.type = 4; });
  fails(kInvalidArgument, "type 99999", [](FieldsOf& f) { f.type = 99999; });
  fails(kUnsupported, "IQ2_XXS", [](FieldsOf& f) { f.type = 16; });
  fails(kInvalidArgument, "no whole number of Q4_0", [](FieldsOf& f) { f.type = 2; });
  fails(kInvalidArgument, "alignment", [](FieldsOf& f) { f.second_offset = 33; });
  fails(kInvalidArgument, "overlaps", [](FieldsOf& f) { f.second_offset = 0; });
  fails(kDataLoss, "past the end", [](FieldsOf& f) { f.second_offset = 64; });
  fails(kDataLoss, "past the end", [](FieldsOf& f) { f.second_offset = ~uint64_t{31}; });
  CHECK(OpenBytes("GGML" + BuildGguf({}).substr(4)).status().code() == kInvalidArgument);
}

TEST_CASE("GGUF arrays: nesting and counts are bounded") {
  const auto nested = [](int levels) {
    return WithValue([levels](Bytes& out) {
      out.Put<uint32_t>(9);
      for (int i = 1; i < levels; ++i) out.Put<uint32_t>(9).Put<uint64_t>(1);
      out.Put<uint32_t>(0).Put<uint64_t>(1).Put<uint8_t>(7);
    });
  };
  const auto two = OpenBytes(nested(2));
  REQUIRE_OK(two);
  CHECK(two->FindMetadata("k")->as_array()[0].as_array()[0].as_int() == 7);
  CHECK_FALSE(OpenBytes(nested(5)).ok());
  CHECK_FALSE(OpenBytes(nested(20000)).ok());
  for (const uint64_t count : {uint64_t{2}, uint64_t{1} << 32, uint64_t{1} << 61, UINT64_MAX}) {
    for (const uint32_t type : {0u, 4u, 8u, 9u, 12u}) {
      const auto file = OpenBytes(WithValue(
          [&](Bytes& out) { out.Put<uint32_t>(9).Put(type).Put(count).Put<uint8_t>(0); }));
      CHECK(file.status().code() == StatusCode::kDataLoss);
    }
  }
  CHECK_FALSE(OpenBytes(WithValue([](Bytes& out) { out.Put<uint32_t>(13); })).ok());
  CHECK_FALSE(OpenBytes(WithValue([](Bytes& out) {
                out.Put<uint32_t>(9).Put<uint32_t>(13).Put<uint64_t>(0);
              })).ok());
  CHECK_FALSE(OpenBytes(WithValue([](Bytes& out) { out.Put<uint32_t>(7).Put<uint8_t>(2); })).ok());
  const auto large = OpenBytes(WithValue([](Bytes& out) { out.Put<uint32_t>(10).Put(~0ull); }));
  REQUIRE_OK(large);
  CHECK(large->FindMetadata("k")->as_double() == 18446744073709551615.0);
}

TEST_CASE("GGUF files cut off anywhere are refused") {
  const std::string whole = BuildGguf({});
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto file = OpenBytes(std::string_view(whole).substr(0, length));
    INFO("length " << length);
    CHECK_FALSE(file.ok());
  }
  const std::string real = test::ReadAll(test::Golden("model_files/all_types.gguf"));
  for (size_t length = 0; length + 64 < real.size(); length += 7) {
    CHECK_FALSE(OpenBytes(std::string_view(real).substr(0, length)).ok());
  }
}

TEST_CASE("GGUF files changed at random never crash") {
  std::vector<std::string> files = {BuildGguf({}),
                                    test::ReadAll(test::Golden("model_files/all_types.gguf"))};
  if (const auto models = test::SharedData("models")) {
    files.push_back(test::ReadAll(*models / "stories260K/stories260K.gguf").substr(0, 20000));
  }
  const test::TemporaryFolder folder;
  std::mt19937_64 random(20240601);
  for (int round = 0; round < 10000; ++round) {
    std::string bytes = files[round % files.size()];
    const size_t changes = 1 + random() % 4;
    for (size_t i = 0; i < changes; ++i) {
      const size_t at = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] ^= static_cast<char>(1 << random() % 8);
          break;
        default: {
          const uint64_t extreme = random() % 2 ? ~uint64_t{0} >> random() % 64 : random() % 3;
          std::memcpy(bytes.data() + at, &extreme, std::min<size_t>(8, bytes.size() - at));
        }
      }
    }
    test::WriteBytes(folder.file("x.gguf"), bytes);
    const auto file = GgufFile::Open(folder.file("x.gguf"));
    if (!file.ok()) continue;
    size_t sum = 0;  // every byte that a view claims must be readable
    for (const std::string& name : file->TensorNames()) {
      for (const std::byte byte : file->Find(name)->bytes) sum += std::to_integer<size_t>(byte);
    }
    CHECK(sum < SIZE_MAX);
  }
}

}  // namespace
}  // namespace rag
