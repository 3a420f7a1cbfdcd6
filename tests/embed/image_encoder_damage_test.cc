// Folders of image encoders with one value changed or some bytes flipped: refused by name, or
// loaded and run.
#include <functional>
#include <random>

#include "tests/embed/image_encoder_support.h"

namespace rag::test {
namespace {

const Value kOthers[] = {Value(),
                         Value(-1),
                         Value(0),
                         Value(1),
                         Value(3),
                         Value(int64_t{1} << 40),
                         Value(1e30),
                         Value("other"),
                         Value(true),
                         Value(Value::Array()),
                         Value(Value::Object())};

// Every member of the value and of what is inside it, one at a time, as each of kOthers.
void ForEachChange(Value& value, const std::function<void()>& use) {
  std::vector<Value*> members;
  if (value.is_object()) {
    for (auto& [key, member] : value.as_object()) members.push_back(&member);
  } else if (value.is_array()) {
    for (Value& member : value.as_array()) members.push_back(&member);
  }
  for (Value* member : members) {
    const Value kept = *member;
    for (const Value& other : kOthers) {
      *member = other;
      use();
    }
    *member = kept;
    ForEachChange(*member, use);
  }
}

// Loads the folder; what loads also runs.
bool LoadsAndRuns(const ImageEncoderFolder& folder, const Runtime& runtime) {
  const auto encoder = folder.Load(runtime);
  if (!encoder.ok()) {
    const Status status = encoder.status();
    INFO(status.ToString());
    CHECK((status.code() == StatusCode::kInvalidArgument ||
           status.code() == StatusCode::kUnsupported || status.code() == StatusCode::kDataLoss));
    CHECK(status.message().find(folder.path().string()) != std::string::npos);
    return false;
  }
  Image picture{.width = 5, .height = 3};
  picture.rgb.assign(45, 100);
  const std::string_view text = "a photo of a barn";
  CHECK((*encoder)->EncodeImages({&picture, 1}).ok());
  CHECK((*encoder)->Encode({&text, 1}, TextRole::kPlain).ok());
  return true;
}

TEST_CASE("Changed settings are refused by name, or do no harm") {
  const auto runtime = MakeRuntime();
  size_t tried = 0;
  size_t refused = 0;
  for (const std::string name : {"clip", "siglip", "open-clip-own"}) {
    const ImageEncoderFolder folder(name);
    for (const std::string file :
         {"config.json", "preprocessor_config.json", "open_clip_config.json"}) {
      if (!std::filesystem::exists(folder.path() / file)) continue;
      const std::string text = ReadAll(folder.path() / file);
      Result<Value> root = ParseJson(text);
      REQUIRE_OK(root);
      ForEachChange(*root, [&] {
        const std::string changed = ToJson(*root);
        INFO(name << " " << changed);
        WriteText(folder.path() / file, changed);
        ++tried;
        refused += !LoadsAndRuns(folder, *runtime);
      });
      WriteText(folder.path() / file, text);
    }
  }
  CHECK(tried >= 300);
  CHECK(refused >= 200);
}

TEST_CASE("Flipped bits of the weights' header are refused, or do no harm") {
  const auto runtime = MakeRuntime();
  std::mt19937 random(5);
  for (const auto& [name, file] : {std::pair{"clip", "model.safetensors"},
                                   std::pair{"open-clip-own", "open_clip_model.safetensors"}}) {
    const ImageEncoderFolder folder(name);
    const std::string bytes = ReadAll(folder.path() / file);
    const size_t header = 8 + static_cast<size_t>(static_cast<uint8_t>(bytes[0])) +
                          256 * static_cast<size_t>(static_cast<uint8_t>(bytes[1]));
    REQUIRE(header < bytes.size());
    size_t refused = 0;
    for (int i = 0; i < 150; ++i) {
      std::string damaged = bytes;
      damaged[random() % header] ^= static_cast<char>(1 << random() % 8);
      WriteText(folder.path() / file, damaged);
      refused += !LoadsAndRuns(folder, *runtime);
    }
    CHECK(refused > 50);
  }
}

}  // namespace
}  // namespace rag::test
