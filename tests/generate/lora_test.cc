// LoRA adapters: against peft (tests/golden/lora/make_lora.py), side by side in a batch, merged
// into a file, and damaged.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <thread>

#include "generate/folder/model_folder.h"
#include "generate/generator.h"
#include "generate/lora/adapter_table.h"
#include "generate/quantize.h"
#include "lib/base/value.h"
#include "tests/generate/chat_model.h"
#include "tests/generate/lone_decoder.h"
#include "tests/support/support.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

constexpr size_t kContext = 64;
// As decoder_families_test's; an adapter adds a sum of its rank to each of some ten.
constexpr double kLogitBound = 3e-4;

Value ReadGolden(const std::string& name) {
  auto golden = ParseJson(test::ReadAll(test::Golden(name)));
  REQUIRE_OK(golden);
  return std::move(golden).value();
}

std::vector<TokenId> Ids(const Value& list) {
  std::vector<TokenId> ids;
  for (const Value& id : list.as_array()) ids.push_back(static_cast<TokenId>(id.as_int()));
  return ids;
}

// A golden model's decoder with a golden case's adapters.
class Adapted {
 public:
  Adapted(const fs::path& model, const std::vector<AdapterOptions>& adapters,
          const Runtime& runtime) {
    auto opened =
        fs::is_directory(model) ? OpenModelFolder(model.string()) : GgufFile::Open(model.string());
    REQUIRE_OK(opened);
    file_ = std::make_unique<GgufFile>(std::move(opened).value());
    const auto config = ReadDecoderConfig(*file_);
    REQUIRE_OK(config);
    auto weights = ReadDecoderWeights(*file_, *config);
    REQUIRE_OK(weights);
    weights_ = std::move(weights).value();
    REQUIRE_OK(table_.Load(adapters, *config, weights_));
    std::vector<AdapterUse> all;
    for (const AdapterOptions& adapter : adapters) all.push_back({adapter.name});
    const auto uses = table_.Find(all);
    REQUIRE_OK(uses);
    uses_ = *uses;
    decoder_ = std::make_unique<test::LoneDecoder>(*config, weights_, kContext, runtime);
  }

  std::span<const float> Run(std::span<const TokenId> tokens, size_t position) {
    REQUIRE_OK(decoder_->Forward(tokens, position, nullptr, uses_));
    return decoder_->logits(tokens.size() - 1);
  }

 private:
  std::unique_ptr<GgufFile> file_;
  DecoderWeights weights_;
  AdapterTable table_;
  std::vector<LoraUse> uses_;
  std::unique_ptr<test::LoneDecoder> decoder_;
};

// The prompt in parts of `chunk` tokens, then one by one.
void CheckGreedy(Adapted& decoder, const Value& golden, size_t chunk) {
  std::vector<TokenId> ids = Ids(*golden.Find("prompt"));
  const size_t prompt = ids.size();
  const std::vector<TokenId> expected = Ids(*golden.Find("greedy"));
  const std::vector<TokenId> rows = Ids(*golden.Find("rows"));
  for (size_t begin = 0; ids.size() < prompt + expected.size();) {
    const size_t count = begin < prompt ? std::min(chunk, prompt - begin) : 1;
    const auto logits = decoder.Run(std::span(ids).subspan(begin, count), begin);
    begin += count;
    const auto row = std::find(rows.begin(), rows.end(), static_cast<TokenId>(begin - 1));
    if (row != rows.end()) {
      const Value& wanted =
          golden.Find("logits")->as_array()[static_cast<size_t>(row - rows.begin())];
      double largest = 0;
      for (size_t i = 0; i < logits.size(); ++i) {
        largest = std::max(
            largest, std::fabs(wanted.as_array()[i].as_double() - static_cast<double>(logits[i])));
      }
      INFO("position " << begin - 1);
      CHECK(largest <= kLogitBound);
    }
    if (begin < prompt) continue;
    ids.push_back(
        static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  }
  CHECK(std::vector<TokenId>(ids.begin() + static_cast<ptrdiff_t>(prompt), ids.end()) == expected);
}

void CheckAll(const std::string& isa) {
  const auto runtime = test::MakeRuntime(isa);
  const Value all = ReadGolden("lora/golden.json");
  CHECK(all.as_object().size() > 8);
  for (const auto& [name, golden] : all.as_object()) {
    const fs::path model = test::Golden("decoders") / golden.Find("model")->as_string();
    std::vector<AdapterOptions> adapters;
    for (const Value& adapter : golden.Find("adapters")->as_array()) {
      const std::string& folder = adapter.as_array()[0].as_string();
      adapters.push_back({.name = folder,
                          .path = (test::Golden("lora") / folder).string(),
                          .scale = adapter.as_array()[1].as_double()});
    }
    for (const fs::path& base : {model, model / "model.gguf"}) {
      INFO(base << " " << name);
      Adapted decoder(base, adapters, *runtime);
      for (const size_t chunk : {size_t{1}, size_t{6}, kContext}) {
        CheckGreedy(decoder, golden, chunk);
      }
      if (!golden.Find("gguf")->as_bool()) continue;
      auto converted = adapters;
      converted[0].path += "/adapter.gguf";
      Adapted other(base, converted, *runtime);
      CheckGreedy(other, golden, 6);
    }
  }
}

TEST_CASE("logits and greedy tokens with adapters equal peft's, scalar") { CheckAll("scalar"); }

TEST_CASE("logits and greedy tokens with adapters equal peft's") { CheckAll(""); }

// An adapter of every matrix of a random model, as llama.cpp's converter would write it.
struct RandomAdapter {
  std::string architecture = "llama";
  size_t rank = 4;
  uint64_t seed = 1000;
  std::map<std::string, std::pair<size_t, size_t>> matrices;  // rows, cols by name
  std::map<std::string, size_t> experts;                      // of those that are stacked
  // For damaged files.
  std::string drop;
  std::string type = "adapter";
  std::function<void(test::GgufWriter&)> more;

  void Write(const std::string& path) const {
    test::GgufWriter writer;
    writer.Text("general.type", type);
    writer.Text("general.architecture", architecture);
    writer.Text("adapter.type", "lora");
    writer.Float("adapter.lora.alpha", 2.0f * static_cast<float>(rank));
    uint64_t tensor = seed;
    for (const auto& [name, size] : matrices) {
      const auto stacked = experts.find(name);
      const auto add = [&](const char* half, size_t rows, size_t cols) {
        const size_t count = stacked == experts.end() ? 1 : stacked->second;
        std::vector<size_t> shape = {rows, cols};
        if (stacked != experts.end()) shape.insert(shape.begin(), count);
        const auto bytes = test::RandomTensor(DType::kF32, ++tensor, count * rows * cols);
        if (name + half != drop) writer.Tensor(name + half, DType::kF32, shape, bytes);
      };
      add(".lora_a", rank, size.second);
      add(".lora_b", size.first, rank);
    }
    if (more) more(writer);
    writer.Write(path);
  }
};

RandomAdapter AdapterOf(const test::RandomModel& model, uint64_t seed) {
  RandomAdapter adapter;
  adapter.seed = seed;
  const size_t q = model.heads * model.head_dim;
  const size_t kv = model.kv_heads * model.head_dim;
  for (size_t i = 0; i < model.layers; ++i) {
    const std::string prefix = StrCat("blk.", i, ".");
    adapter.matrices[prefix + "attn_q.weight"] = {q, model.width};
    adapter.matrices[prefix + "attn_k.weight"] = {kv, model.width};
    adapter.matrices[prefix + "attn_v.weight"] = {kv, model.width};
    adapter.matrices[prefix + "attn_output.weight"] = {model.width, q};
    adapter.matrices[prefix + "ffn_gate.weight"] = {model.feed_forward, model.width};
    adapter.matrices[prefix + "ffn_up.weight"] = {model.feed_forward, model.width};
    adapter.matrices[prefix + "ffn_down.weight"] = {model.width, model.feed_forward};
  }
  return adapter;
}

test::RandomModel Model() {
  test::RandomModel model = test::ChatModel("");
  model.type = DType::kQ8_0;
  model.layers = 2;
  return model;
}

struct Served {
  explicit Served(GeneratorOptions options = {}, bool adapters = true,
                  const test::RandomModel& model = Model()) {
    test::WriteRandomModel(model, folder.file("model.gguf"));
    AdapterOf(model, 1000).Write(folder.file("first.gguf"));
    RandomAdapter second = AdapterOf(model, 2000);
    second.rank = 3;
    second.matrices.erase("blk.0.attn_q.weight");
    second.Write(folder.file("second.gguf"));
    if (adapters) {
      options.adapters = {{.name = "first", .path = folder.file("first.gguf"), .scale = 20},
                          {.name = "second", .path = folder.file("second.gguf"), .scale = 30}};
    }
    auto loaded = Generator::Load(folder.file("model.gguf"), options, *runtime);
    REQUIRE_OK(loaded);
    generator = std::move(loaded).value();
  }
  GenerateResult Generate(const GenerateRequest& request) const {
    auto result = generator->Generate(request);
    REQUIRE_OK(result);
    return std::move(result).value();
  }

  test::TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = test::MakeRuntime();
  std::unique_ptr<Generator> generator;
};

GenerateRequest Request(size_t i) {
  // None, one, the other, both, with other scales.
  const std::vector<AdapterUse> kinds[] = {
      {}, {{"first"}}, {{"second"}}, {{"second", -25}, {"first", 10}}, {{"first", 5}}};
  GenerateRequest request;
  request.prompt.push_back(1);
  for (size_t t = 0; t < 40 + i; ++t) {
    request.prompt.push_back(static_cast<TokenId>(265 + t * 7 % 80));
  }
  request.max_tokens = 20;
  request.logprobs = true;
  request.top_logprobs = 2;
  request.adapters = kinds[i % std::size(kinds)];
  return request;
}

bool Same(const GenerateResult& a, const GenerateResult& b) {
  return a.tokens == b.tokens &&
         std::equal(a.logprobs.begin(), a.logprobs.end(), b.logprobs.begin(), b.logprobs.end(),
                    [](const TokenLogprobs& x, const TokenLogprobs& y) {
                      return x.chosen.logprob == y.chosen.logprob &&
                             x.top[1].logprob == y.top[1].logprob;
                    });
}

TEST_CASE("sequences with different adapters run side by side as each does alone, bit for bit") {
  std::vector<GenerateResult> alone;
  for (size_t i = 0; i < 10; ++i) {
    const Served fresh({.max_sequences = 1});
    alone.push_back(fresh.Generate(Request(i)));
  }
  const Served served({.max_sequences = 6});
  for (int round = 0; round < 3; ++round) {
    std::vector<Result<GenerateResult>> found(alone.size(), InternalError("not run"));
    {
      std::vector<std::jthread> threads;
      for (size_t i = 0; i < found.size(); ++i) {
        threads.emplace_back([&, i] { found[i] = served.generator->Generate(Request(i)); });
      }
    }
    for (size_t i = 0; i < found.size(); ++i) {
      INFO("request " << i << " in round " << round);
      REQUIRE_OK(found[i]);
      CHECK(Same(*found[i], alone[i]));
    }
  }
  // A model without adapters says what one says that uses none; each kind says something else.
  const Served plain({}, /*adapters=*/false);
  CHECK(Same(plain.Generate(Request(0)), alone[0]));
  for (size_t i = 1; i < 5; ++i) {
    GenerateRequest request = Request(i);
    request.adapters.clear();
    CHECK_FALSE(Same(plain.Generate(request), alone[i]));
  }
}

TEST_CASE("cached blocks are shared by sequences with the same adapters alone") {
  const Served served;
  GenerateRequest request = Request(7);  // the second adapter
  request.adapters = {};
  CHECK(served.Generate(request).cached_tokens == 0);
  CHECK(served.Generate(request).cached_tokens > 32);
  const std::vector<AdapterUse> kinds[] = {
      {{"first"}}, {{"second"}}, {{"first", 19.5}}, {{"first"}, {"second"}}};
  for (const auto& kind : kinds) {
    request.adapters = kind;
    const Served fresh;
    const GenerateResult alone = fresh.Generate(request);
    const GenerateResult first = served.Generate(request);
    CHECK(first.cached_tokens == 0);
    CHECK(Same(first, alone));
    const GenerateResult again = served.Generate(request);
    CHECK(again.cached_tokens > 32);
    CHECK(Same(again, alone));
  }
  // The same sum in another order, and what adds nothing.
  request.adapters = {{"second", 30}, {"first"}};
  CHECK(served.Generate(request).cached_tokens > 32);
  request.adapters = {{"second", 0}};
  CHECK(served.Generate(request).cached_tokens > 32);
}

TEST_CASE("a request that names adapters wrongly is refused") {
  const Served served;
  GenerateRequest request = Request(0);
  const auto refused = [&](std::vector<AdapterUse> adapters, StatusCode code) {
    request.adapters = std::move(adapters);
    CHECK(served.generator->Generate(request).status().code() == code);
    CHECK(served.generator->Score(request.prompt, request.adapters).status().code() == code);
  };
  refused({{"third"}}, StatusCode::kNotFound);
  refused({{"first"}, {"first", 2}}, StatusCode::kInvalidArgument);
  refused({{"first", 101}}, StatusCode::kInvalidArgument);
  refused({{"first", std::numeric_limits<double>::quiet_NaN()}}, StatusCode::kInvalidArgument);
}

// The largest difference between two models' log-probabilities of the same tokens.
double Difference(Generator& a, std::span<const AdapterUse> adapters, Generator& b) {
  const std::vector<TokenId> tokens = Request(3).prompt;
  const auto x = a.Score(tokens, adapters);
  const auto y = b.Score(tokens);
  REQUIRE_OK(x);
  REQUIRE_OK(y);
  double largest = 0;
  for (size_t i = 0; i < x->size(); ++i) {
    largest = std::max(largest, static_cast<double>(std::fabs((*x)[i] - (*y)[i])));
  }
  return largest;
}

TEST_CASE("a model with merged adapters says what it says with them beside it") {
  test::RandomModel model = Model();
  model.type = DType::kF32;
  const Served served({}, true, model);
  const MergedAdapter merged[] = {{served.folder.file("first.gguf"), 20},
                                  {served.folder.file("second.gguf"), -25}};
  const std::string path = served.folder.file("merged.gguf");
  REQUIRE_OK(QuantizeModel(served.folder.file("model.gguf"), path,
                           {.type = "F32", .adapters = merged}, *served.runtime));
  const auto loaded = Generator::Load(path, {}, *served.runtime);
  REQUIRE_OK(loaded);
  const AdapterUse uses[] = {{"first", 20}, {"second", -25}};
  CHECK(Difference(*served.generator, uses, **loaded) < 1e-4);
  CHECK(Difference(*served.generator, {}, **loaded) > 0.01);
}

TEST_CASE("adapters of experts, stacked or each by itself, change the experts' products") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder folder;
  const fs::path mixtral = test::Golden("decoders/mixtral");
  RandomAdapter adapter;
  adapter.seed = 5000;
  for (const char* name : {"blk.0.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight"}) {
    adapter.matrices[name] = {16, 32};
    adapter.experts[name] = 4;
  }
  adapter.matrices["blk.0.ffn_down_exps.weight"] = {32, 16};
  adapter.experts["blk.0.ffn_down_exps.weight"] = 4;
  adapter.matrices["blk.1.ffn_gate_inp.weight"] = {4, 32};
  adapter.Write(folder.file("stacked.gguf"));
  RandomAdapter one;
  one.seed = 7000;
  one.matrices["blk.1.ffn_down.2.weight"] = {32, 16};
  one.Write(folder.file("one.gguf"));
  const std::vector<AdapterOptions> adapters = {
      {.name = "stacked", .path = folder.file("stacked.gguf"), .scale = 25},
      {.name = "one", .path = folder.file("one.gguf"), .scale = 25}};
  const MergedAdapter merged[] = {{folder.file("stacked.gguf"), 25}, {folder.file("one.gguf"), 25}};
  const Value golden = ReadGolden("decoders/golden.json");
  const std::vector<TokenId> ids = Ids(*golden.Find("mixtral")->Find("prompt"));
  for (const fs::path& base : {mixtral, mixtral / "model.gguf"}) {
    INFO(base);
    // Merged, the experts are products of plain matrices, which other tests compare with
    // transformers.
    const std::string path = folder.file("merged.gguf");
    fs::path source = base;
    if (fs::is_directory(base)) {
      source = folder.path() / "mixtral";
      fs::copy(base, source);
      for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
        fs::copy(test::Golden("decoders") / name, source / name);
      }
    }
    REQUIRE_OK(QuantizeModel(source.string(), path, {.type = "F32", .adapters = merged}, *runtime));
    Adapted beside(base, adapters, *runtime);
    Adapted within(path, {}, *runtime);
    Adapted without(base, {}, *runtime);
    const auto found = beside.Run(ids, 0);
    const auto expected = within.Run(ids, 0);
    const auto plain = without.Run(ids, 0);
    double largest = 0;
    double moved = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      largest = std::max(largest, static_cast<double>(std::fabs(found[i] - expected[i])));
      moved = std::max(moved, static_cast<double>(std::fabs(found[i] - plain[i])));
    }
    CHECK(largest <= kLogitBound);
    CHECK(moved > 0.01);
  }
}

TEST_CASE("a damaged or foreign adapter is refused, naming what is wrong") {
  const test::RandomModel model = Model();
  const test::TemporaryFolder folder;
  const auto runtime = test::MakeRuntime();
  test::WriteRandomModel(model, folder.file("model.gguf"));
  const auto refused = [&](const std::function<void(RandomAdapter&)>& damage, StatusCode code,
                           const std::string& words) {
    RandomAdapter adapter = AdapterOf(model, 1000);
    damage(adapter);
    adapter.Write(folder.file("adapter.gguf"));
    const auto loaded = Generator::Load(
        folder.file("model.gguf"),
        {.adapters = {{.name = "x", .path = folder.file("adapter.gguf")}}}, *runtime);
    INFO(loaded.status().ToString());
    CHECK(loaded.status().code() == code);
    CHECK(loaded.status().message().find(words) != std::string::npos);
    const MergedAdapter merged = {folder.file("adapter.gguf")};
    CHECK(QuantizeModel(folder.file("model.gguf"), folder.file("out.gguf"),
                        {.type = "F32", .adapters = {&merged, 1}}, *runtime)
              .status()
              .code() == code);
    CHECK_FALSE(fs::exists(folder.file("out.gguf")));
  };
  using A = RandomAdapter;
  const auto invalid = StatusCode::kInvalidArgument;
  const auto unknown = StatusCode::kUnsupported;
  refused([](A& a) { a.architecture = "qwen2"; }, invalid, "'general.architecture' is 'qwen2'");
  refused([](A& a) { a.type = "model"; }, invalid, "'general.type'");
  refused([](A& a) { a.matrices.clear(); }, invalid, "no adapter tensors");
  refused([](A& a) { a.drop = "blk.0.attn_q.weight.lora_a"; }, invalid,
          "'blk.0.attn_q.weight.lora_b' has no other half");
  refused(
      [](A& a) { a.matrices["blk.1.attn_k.weight"].first += 1; }, invalid,
      "adapter of 'blk.1.attn_k.weight' is for a matrix of [33, 64], and the model's is [32, 64]");
  refused([](A& a) { a.matrices["blk.1.ffn_down.weight"].second -= 1; }, invalid, "[64, 95]");
  refused(
      [](A& a) {
        a.matrices["blk.2.attn_q.weight"] = {64, 64};
      },
      invalid, "no matrix 'blk.2.attn_q.weight'");
  refused(
      [](A& a) {
        a.matrices["blk.0.attn_norm.weight"] = {64, 64};
      },
      invalid, "no matrix 'blk.0.attn_norm.weight'");
  refused([](A& a) { a.matrices["token_embd.weight"] = {64, 384}; }, unknown, "the embeddings");
  refused([](A& a) { a.rank = 1025; }, invalid, "over the limit of 1024");
  const auto with = [&](const std::string& name, DType type, std::vector<size_t> shape,
                        float value = 0) {
    return [=](A& a) {
      a.drop = name;
      a.more = [=](test::GgufWriter& writer) {
        size_t elements = 1;
        for (const size_t extent : shape) elements *= extent;
        std::vector<float> values(elements, value);
        const auto bytes = std::as_bytes(std::span(values));
        writer.Tensor(name, type, shape, bytes.first(elements * GetDTypeInfo(type).block_bytes));
      };
    };
  };
  refused(with("blk.0.attn_q.weight.lora_a", DType::kF32, {3, 64}), invalid, "of rank 3");
  refused(with("blk.0.attn_q.weight.lora_a", DType::kF32, {64}), invalid, "1 dimensions");
  refused(with("blk.0.attn_q.weight.lora_a", DType::kI8, {4, 64}), invalid, "no weight type");
  refused(with("blk.0.attn_q.weight.lora_a", DType::kF32, {4, 64},
               std::numeric_limits<float>::quiet_NaN()),
          invalid, "'blk.0.attn_q.weight' holds");
  refused(with("blk.0.attn_q.bias", DType::kF32, {64}), unknown, "'blk.0.attn_q.bias'");
  refused(
      [](A& a) {
        a.more = [](test::GgufWriter& writer) {
          writer.Integers("adapter.alora.invocation_tokens", {5, 6});
        };
      },
      unknown, "alora");
}

TEST_CASE("adapter_model.bin is read where there is no adapter_model.safetensors") {
  const test::TemporaryFolder temporary;
  const fs::path folder = temporary.path() / "adapter";
  fs::copy(test::Golden("lora/qwen"), folder);
  auto file = OpenModelFolder(test::Golden("decoders/qwen2").string());
  REQUIRE_OK(file);
  const auto model = ReadDecoderConfig(*file);
  REQUIRE_OK(model);
  const auto expected = OpenLora(folder.string(), *model);
  REQUIRE_OK(expected);
  fs::remove(folder / "adapter_model.safetensors");
  fs::copy(test::Golden("torch_files/adapter/adapter_model.bin"), folder);
  const auto found = OpenLora(folder.string(), *model);
  REQUIRE_OK(found);
  REQUIRE(found->tensors.size() == expected->tensors.size());
  const auto same = [](const TensorView& a, const TensorView& b) {
    return a.type == b.type && a.shape == b.shape &&
           std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
  };
  for (size_t i = 0; i < found->tensors.size(); ++i) {
    const LoraTensor& a = found->tensors[i];
    const LoraTensor& b = expected->tensors[i];
    INFO(b.weight);
    CHECK(a.weight == b.weight);
    CHECK(a.scale == b.scale);
    CHECK(same(a.a, b.a));
    CHECK(same(a.b, b.b));
  }
}

TEST_CASE("a folder of PEFT's is refused by the name of what it needs and we do not have") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder temporary;
  const fs::path from = test::Golden("lora/llama_all");
  const fs::path folder = temporary.path() / "adapter";
  const auto config = ParseJson(test::ReadAll(from / "adapter_config.json"));
  REQUIRE_OK(config);
  const auto open = [&](const fs::path& path) {
    auto file = OpenModelFolder(test::Golden("decoders/llama3").string());
    REQUIRE_OK(file);
    const auto model = ReadDecoderConfig(*file);
    REQUIRE_OK(model);
    return OpenLora(path.string(), *model).status();
  };
  const auto refused = [&](std::string_view key, Value value, StatusCode code,
                           const std::string& words) {
    fs::remove_all(folder);
    fs::copy(from, folder);
    Value changed = *config;
    changed.as_object().Set(key, std::move(value));
    std::ofstream(folder / "adapter_config.json") << ToJson(changed);
    const Status status = open(folder);
    INFO(status.ToString());
    CHECK(status.code() == code);
    CHECK(status.message().find(words) != std::string::npos);
    CHECK(status.message().find("adapter") != std::string::npos);
  };
  const auto unknown = StatusCode::kUnsupported;
  const auto invalid = StatusCode::kInvalidArgument;
  REQUIRE_OK(open(from));
  refused("use_dora", true, unknown, "'use_dora'");
  refused("modules_to_save", Value::Array{"lm_head"}, unknown, "'modules_to_save'");
  refused("bias", "lora_only", unknown, "'lora_only'");
  refused("lora_bias", true, unknown, "'lora_bias'");
  refused("peft_type", "IA3", unknown, "'IA3'");
  refused("task_type", "SEQ_CLS", unknown, "'SEQ_CLS'");
  refused("init_lora_weights", "pissa", unknown, "'pissa'");
  refused("layer_replication", Value::Array{Value::Array{0, 1}}, unknown, "'layer_replication'");
  refused("trainable_token_indices", Value::Array{3}, unknown, "'trainable_token_indices'");
  refused("target_parameters", Value::Array{"x"}, unknown, "'target_parameters'");
  refused("alpha_pattern", Value::Object{{"layers.(0|1).mlp", 3}}, unknown, "regular expression");
  refused("alpha_pattern", Value::Object{{"q_proj", -3}}, invalid, "'q_proj' is -3");
  refused("lora_alpha", 0, invalid, "'lora_alpha' is 0");
  refused("r", 0, invalid, "'r' is 0");
  refused("r", 5, invalid, "should be of rank 5");
  refused("rank_pattern", Value::Object{{"k_proj", 2}}, invalid, "of rank 2");
  refused("target_modules", Value::Array{"q_proj", "embed_out"}, invalid, "'embed_out'");

  fs::remove_all(folder);
  fs::copy(from, folder);
  fs::remove(folder / "adapter_model.safetensors");
  CHECK(open(folder).code() == StatusCode::kNotFound);
  std::ofstream(folder / "adapter_model.bin") << "pickle";
  CHECK(open(folder).code() == invalid);
  std::ofstream(folder / "adapter_config.json") << "{";
  CHECK(open(folder).code() == invalid);
  fs::remove(folder / "adapter_config.json");
  CHECK(open(folder).code() == StatusCode::kNotFound);
  // An adapter of another family: its modules are not there.
  CHECK(open(test::Golden("lora/gpt2")).code() == invalid);
}

TEST_CASE("adapters' names and scales are checked when they are loaded") {
  const Served served;
  const std::string path = served.folder.file("first.gguf");
  const auto code = [&](std::vector<AdapterOptions> adapters) {
    return Generator::Load(served.folder.file("model.gguf"), {.adapters = std::move(adapters)},
                           *served.runtime)
        .status()
        .code();
  };
  const auto invalid = StatusCode::kInvalidArgument;
  CHECK(code({{"a", path}}) == StatusCode::kOk);
  CHECK(code({{"a", path}, {"a", path}}) == invalid);
  CHECK(code({{"", path}}) == invalid);
  CHECK(code({{std::string(129, 'x'), path}}) == invalid);
  CHECK(code({{"a", path, 101}}) == invalid);
  CHECK(code({{"a", served.folder.file("none.gguf")}}) == StatusCode::kNotFound);
  const GeneratorInfo& info = served.generator->info();
  REQUIRE(info.adapters.size() == 2);
  CHECK(info.adapters[0].name == "first");
  CHECK(info.adapters[0].rank == 4);
  CHECK(info.adapters[1].rank == 3);
  CHECK(info.adapters[1].scale == 30);
}

}  // namespace
}  // namespace rag
