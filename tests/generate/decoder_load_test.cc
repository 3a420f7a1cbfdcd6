// Files that are no decoder, or a damaged one, get an error that names what is wrong.
#include <catch2/catch.hpp>
#include <filesystem>

#include "generate/generator.h"
#include "tests/generate/chat_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using Catch::Matchers::Contains;

class Loader {
 public:
  Status Load(const test::RandomModel& model) const {
    test::WriteRandomModel(model, folder_.file("model.gguf"));
    return Generator::Load(folder_.file("model.gguf"), {}, *runtime_).status();
  }
  void Expect(const test::RandomModel& model, StatusCode code, const std::string& message) const {
    const Status status = Load(model);
    INFO(status.ToString());
    CHECK(status.code() == code);
    CHECK_THAT(status.message(), Contains(message));
    CHECK_THAT(status.message(), Contains("model.gguf"));
  }
  const test::TemporaryFolder& folder() const { return folder_; }
  const Runtime& runtime() const { return *runtime_; }

 private:
  test::TemporaryFolder folder_;
  std::unique_ptr<Runtime> runtime_ = test::MakeRuntime("", 1);
};

test::RandomModel Sound() { return test::ChatModel(""); }

TEST_CASE("a sound model loads, and says what it is") {
  const Loader loader;
  REQUIRE_OK(loader.Load(Sound()));
  test::RandomModel mistral = Sound();
  mistral.architecture = "mistral";
  test::WriteRandomModel(mistral, loader.folder().file("m.gguf"));
  const auto generator =
      Generator::Load(loader.folder().file("m.gguf"), {.context_tokens = 300}, loader.runtime());
  REQUIRE_OK(generator);
  CHECK((*generator)->info().name == "m.gguf");
  CHECK((*generator)->info().architecture == "mistral");
  CHECK((*generator)->info().context_tokens == 300);  // more than the file's 128
  CHECK((*generator)->info().parameters > 384 * 64);
  CHECK((*generator)->info().weight_bytes == (*generator)->info().parameters * 4);
}

TEST_CASE("tensors that are missing, misshapen, of another type or unknown are named") {
  const Loader loader;
  for (const char* name : {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight",
                           "blk.0.attn_k.weight", "blk.0.ffn_down.weight"}) {
    test::RandomModel model = Sound();
    model.drop = name;
    loader.Expect(model, StatusCode::kInvalidArgument, name);
    model = Sound();
    model.shapes[name] = {3, 32};
    loader.Expect(model, StatusCode::kInvalidArgument, name);
  }
  test::RandomModel transposed = Sound();
  transposed.shapes["blk.0.ffn_up.weight"] = {64, 96};
  loader.Expect(transposed, StatusCode::kInvalidArgument, "[64, 96], not [96, 64]");
  test::RandomModel integers = Sound();
  integers.types["blk.0.attn_q.weight"] = DType::kI8;
  loader.Expect(integers, StatusCode::kInvalidArgument, "I8");
  test::RandomModel unknown = Sound();
  const std::vector<std::byte> zeros(64 * 4);
  unknown.more = [&](test::GgufWriter& writer) {
    test::AddChatVocabulary(writer);
    writer.Tensor("blk.0.attn_sinks.weight", DType::kF32, {64}, zeros);
  };
  loader.Expect(unknown, StatusCode::kUnsupported, "blk.0.attn_sinks.weight");
}

TEST_CASE("metadata outside its bounds is named") {
  const Loader loader;
  const auto expect = [&](auto change, const char* message) {
    test::RandomModel model = Sound();
    // The tensors stay; the metadata lies about them.
    change(model);
    loader.Expect(model, StatusCode::kInvalidArgument, message);
  };
  expect(
      [](test::RandomModel& m) {
        m.heads = 3;
        m.kv_heads = 2;
      },
      "3 attention heads");
  expect([](test::RandomModel& m) { m.context = 0; }, "context_length");
  expect([](test::RandomModel& m) { m.head_dim = 31; }, "31 is odd");
}

TEST_CASE("absurd counts in the metadata are refused before anything is allocated") {
  const Loader loader;
  const std::pair<const char*, uint32_t> cases[] = {
      {"block_count", 4000000000u},         {"block_count", 0},
      {"embedding_length", 4294967295u},    {"attention.head_count", 0},
      {"attention.head_count", 100000000u}, {"attention.head_count_kv", 0},
      {"feed_forward_length", 4294967295u}, {"context_length", 4294967295u},
      {"rope.dimension_count", 999999u}};
  for (const auto& [key, value] : cases) {
    INFO(key << " = " << value);
    test::GgufWriter writer;
    writer.Text("general.architecture", "llama");
    const std::vector<std::pair<std::string, uint32_t>> keys = {
        {"block_count", 1},          {"embedding_length", 64},       {"attention.head_count", 2},
        {"feed_forward_length", 96}, {"attention.head_count_kv", 1}, {"context_length", 128}};
    for (const auto& [name, usual] : keys) {
      writer.Integer("llama." + name, name == key ? value : usual);
    }
    if (std::string_view(key) == "rope.dimension_count")
      writer.Integer("llama." + std::string(key), value);
    writer.Float("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    const std::vector<std::byte> bytes(4 * 64 * 4);
    writer.Tensor("token_embd.weight", DType::kF32, {4, 64}, bytes);
    const std::string path = loader.folder().file("absurd.gguf");
    writer.Write(path);
    const Status status = Generator::Load(path, {}, loader.runtime()).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK_THAT(status.message(), Contains(key));
  }
}

TEST_CASE("other architectures, experts and rope scalings are named") {
  const Loader loader;
  test::RandomModel model = Sound();
  model.architecture = "mamba";
  loader.Expect(model, StatusCode::kUnsupported, "'mamba', which is not supported; known are");
  const auto with = [](auto add) {
    test::RandomModel changed = Sound();
    changed.more = [add](test::GgufWriter& writer) {
      test::AddChatVocabulary(writer);
      add(writer);
    };
    return changed;
  };
  using Writer = test::GgufWriter;
  loader.Expect(with([](Writer& w) { w.Integer("llama.expert_count", 8); }),
                StatusCode::kInvalidArgument, "llama.expert_used_count");
  loader.Expect(with([](Writer& w) { w.Integer("llama.expert_count", 99999); }),
                StatusCode::kInvalidArgument, "'llama.expert_count' is 99999");
  loader.Expect(with([](Writer& w) { w.Text("llama.rope.scaling.type", "dynamic"); }),
                StatusCode::kUnsupported, "dynamic");
  loader.Expect(with([](Writer& w) { w.Text("llama.rope.scaling.type", "yarn"); }),
                StatusCode::kInvalidArgument, "rope.scaling.original_context_length");
  loader.Expect(with([](Writer& w) { w.Float("llama.attention.scale", -1); }),
                StatusCode::kInvalidArgument, "'llama.attention.scale' is -1");
  loader.Expect(with([](Writer& w) { w.Text("llama.attention.sliding_window", "wide"); }),
                StatusCode::kInvalidArgument, "'llama.attention.sliding_window' is \"wide\"");
}

TEST_CASE("a vocabulary of another size than the embeddings is refused") {
  const Loader loader;
  test::RandomModel model = Sound();
  model.vocabulary = 400;
  loader.Expect(model, StatusCode::kInvalidArgument, "384");
}

TEST_CASE("a file cut anywhere is refused, never read past its end") {
  const Loader loader;
  REQUIRE_OK(loader.Load(Sound()));
  const std::string path = loader.folder().file("model.gguf");
  const std::string bytes = test::ReadAll(path);
  for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 37) {
    std::filesystem::resize_file(path, size);
    CHECK_FALSE(Generator::Load(path, {}, loader.runtime()).ok());
    std::ofstream(path, std::ios::binary) << bytes;
  }
}

}  // namespace
}  // namespace rag
