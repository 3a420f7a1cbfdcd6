#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>

#include "lib/model/model_file.h"
#include "tests/lib/model/torch_bytes.h"
#include "tests/support/allocations.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using enum StatusCode;

std::string TorchGolden(const std::string& name) {
  return test::Golden("torch_files/" + name).string();
}

Result<TensorFile> OpenBytes(std::string_view bytes) {
  const test::TemporaryFolder folder;
  test::WriteBytes(folder.file("x.bin"), bytes);
  return TensorFile::Open(folder.file("x.bin"));
}

void CheckEqual(const TensorFile& found, const TensorFile& expected) {
  REQUIRE(found.TensorNames() == expected.TensorNames());
  for (const std::string& name : expected.TensorNames()) {
    INFO(name);
    const TensorView& a = *found.Find(name);
    const TensorView& b = *expected.Find(name);
    CHECK(a.type == b.type);
    CHECK(a.shape == b.shape);
    REQUIRE(a.bytes.size() == b.bytes.size());
    CHECK((a.bytes.empty() || std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0));
  }
}

TEST_CASE("tensors as torch.save writes them, in both its forms") {
  const auto expected = TensorFile::Open(TorchGolden("tensors.safetensors"));
  REQUIRE_OK(expected);
  CHECK(expected->TensorNames().size() == 23);
  for (const char* name : {"tensors.bin", "tensors_legacy.bin"}) {
    INFO(name);
    const auto file = TensorFile::Open(TorchGolden(name));
    REQUIRE_OK(file);
    CheckEqual(*file, *expected);
    CHECK(file->metadata() == Value(Value::Object()));
    // Tied weights are the same bytes, and a view of rows lies in what it is of.
    CHECK(file->Find("lm_head.weight")->bytes.data() ==
          file->Find("embeddings.weight")->bytes.data());
    file->Forget(file->Find("transposed")->bytes);
    file->Forget(file->Find("f32")->bytes);
    CheckEqual(*file, *expected);
  }
  const auto file = TensorFile::Open(TorchGolden("tensors.bin"));
  REQUIRE_OK(file);
  for (const char* name : {"f32", "f16", "bf16", "f64", "embeddings.weight"}) {
    CHECK(reinterpret_cast<uintptr_t>(file->Find(name)->bytes.data()) % 64 == 0);
  }
}

TEST_CASE("of a training checkpoint the state dict is read, without a wrapper's prefix") {
  const auto expected = TensorFile::Open(TorchGolden("module.safetensors"));
  REQUIRE_OK(expected);
  const auto file = TensorFile::Open(TorchGolden("checkpoint.bin"));
  REQUIRE_OK(file);
  CHECK(file->Find("1.num_batches_tracked") != nullptr);
  CheckEqual(*file, *expected);
}

TEST_CASE("what PyTorch's files have beyond tensors is refused by name") {
  const auto fails = [](const std::string& name, StatusCode code, const std::string& words) {
    const Status status = TensorFile::Open(TorchGolden(name)).status();
    INFO(status.ToString());
    CHECK(status.code() == code);
    CHECK_THAT(status.message(), Catch::Contains(words));
    CHECK_THAT(status.message(), Catch::Contains(name));
  };
  fails("expanded.bin", kUnsupported, "tensor 'a': shows some of its storage's 1 elements");
  fails("complex.bin", kUnsupported, "'torch.ComplexFloatStorage'");
  fails("float8.bin", kUnsupported, "'torch._utils._rebuild_tensor_v3'");
  fails("protocol4.bin", kUnsupported, "protocol 4");
  fails("script.bin", kUnsupported, "TorchScript");
  fails("object.bin", kUnsupported, "'torch.nn.modules.linear.Linear'");
}

TEST_CASE("PyTorch's folders and sharded sets, beside safetensors and alone") {
  const test::TemporaryFolder folder;
  namespace fs = std::filesystem;
  const auto names = [&]() -> std::vector<std::string> {
    const auto file = TensorFile::Open(folder.path());
    INFO(file.status().ToString());
    return file.ok() ? file->TensorNames() : std::vector<std::string>{};
  };
  const auto one = [](const std::string& name) {
    return test::Zip(test::TorchRecords(
                         test::Pickle().Op('}').Text(name).Tensor().Op('s').Op('.').text()))
        .bytes;
  };
  // What a trainer leaves is not weights.
  test::WriteBytes(folder.file("training_args.bin"), one("args"));
  test::WriteBytes(folder.file("optimizer.bin"), one("optimizer"));
  const Status none = TensorFile::Open(folder.path()).status();
  CHECK(none.code() == kNotFound);
  CHECK_THAT(none.message(), Catch::Contains("pytorch_model.bin"));
  test::WriteBytes(folder.file("part-1.bin"), one("a"));
  test::WriteBytes(folder.file("part-2.bin"), one("b"));
  const std::string index = folder.file("pytorch_model.bin.index.json");
  test::WriteBytes(index, R"({"metadata":{"total_size":48},
      "weight_map":{"b":"part-2.bin","a":"part-1.bin"}})");
  CHECK(names() == std::vector<std::string>{"a", "b"});
  CHECK(TensorFile::Open(index)->metadata().Find("total_size")->as_int() == 48);
  for (const char* bad :
       {R"({"weight_map":{"c":"part-2.bin"}})", R"({"weight_map":{"a":"../part-1.bin"}})",
        R"({"weight_map":{"a":"part-3.bin"}})", R"({"weight_map":{"a":7}})",
        R"({"weight_map":{"a":"part-1.safetensors"}})", R"({"weight_map":[]})", "{}", "{"}) {
    test::WriteBytes(index, bad);
    INFO(bad);
    CHECK_FALSE(TensorFile::Open(index).ok());
  }
  test::WriteBytes(folder.file("pytorch_model.bin"), one("whole"));
  CHECK(names() == std::vector<std::string>{"whole"});
  fs::copy(TorchGolden("module.safetensors"), folder.file("model.safetensors"));
  CHECK(names() == TensorFile::Open(TorchGolden("module.safetensors"))->TensorNames());
  // A file is known by its name's end, not by what it holds.
  test::WriteBytes(folder.file("model.safetensors"), one("whole"));
  CHECK_FALSE(TensorFile::Open(folder.path()).ok());
}

// Files that are wrong, each refused within bounds by a message that names it.
class Refusals {
 public:
  void operator()(std::string_view bytes, const std::string& words,
                  const std::set<StatusCode>& codes = {kInvalidArgument}) {
    ++count_;
    const std::string path = folder_.file("x.bin");
    test::WriteBytes(path, bytes);
    Status status;
    const test::Cost cost = test::MeasureCost([&] { status = TensorFile::Open(path).status(); });
    INFO(status.ToString() << "\nlooking for: " << words);
    REQUIRE_FALSE(status.ok());
    CHECK(codes.count(status.code()) == 1);
    CHECK_THAT(status.message(), Catch::StartsWith(path + ": "));
    CHECK_THAT(status.message(), Catch::Contains(words));
    CHECK(status.message().size() < 1000);
    CHECK(cost.seconds < 1.0 * test::kSlowdown);
    CHECK(cost.bytes < size_t{64} << 20);
  }
  // A zip file with this pickle.
  void Pickled(const std::string& pickle, const std::string& words,
               const std::set<StatusCode>& codes = {kInvalidArgument}) {
    (*this)(test::Zip(test::TorchRecords(pickle)).bytes, words, codes);
  }
  size_t count() const { return count_; }

 private:
  const test::TemporaryFolder folder_;
  size_t count_ = 0;
};

test::Pickle OneTensor() { return test::Pickle().Op('}').Text("a").Tensor().Op('s').Op('.'); }

TEST_CASE("a file of PyTorch's that is cut off is refused") {
  Refusals refused;
  const std::string pickle = OneTensor().text();
  const std::string whole = test::Zip(test::TorchRecords(pickle)).bytes;
  REQUIRE_OK(OpenBytes(whole));
  for (size_t size = 0; size < whole.size(); size += 1 + size / 64) {
    refused(std::string_view(whole).substr(0, size), "", {kDataLoss, kInvalidArgument});
  }
  refused(whole + '\0', "does not end with a zip directory", {kDataLoss});
  refused("x" + whole, "begins neither");
  for (size_t size = 0; size < pickle.size(); ++size) {
    refused.Pickled(pickle.substr(0, size), "m/data.pkl: byte ", {kDataLoss});
  }
  refused.Pickled(pickle + ".", "1 bytes follow");
  refused.Pickled(pickle + pickle, "follow");
  const std::string legacy = test::ReadAll(TorchGolden("tensors_legacy.bin"));
  for (size_t size = 0; size < legacy.size(); size += 1 + size / 128) {
    refused(std::string_view(legacy).substr(0, size), "", {kDataLoss, kInvalidArgument});
  }
  refused(legacy + "x", "belong to no storage");
  CHECK(refused.count() >= 600);
}

TEST_CASE("a pickle asks for nothing that is not a tensor's") {
  Refusals refused;
  using Name = std::pair<const char*, const char*>;
  for (const auto& [module, name] : {Name{"os", "system"},
                                     Name{"posix", "system"},
                                     Name{"nt", "system"},
                                     Name{"builtins", "eval"},
                                     Name{"builtins", "exec"},
                                     Name{"builtins", "getattr"},
                                     Name{"__builtin__", "eval"},
                                     Name{"__builtin__", "apply"},
                                     Name{"subprocess", "Popen"},
                                     Name{"subprocess", "check_output"},
                                     Name{"runpy", "_run_code"},
                                     Name{"sys", "exit"},
                                     Name{"socket", "create_connection"},
                                     Name{"webbrowser", "open"},
                                     Name{"shutil", "rmtree"},
                                     Name{"importlib", "import_module"},
                                     Name{"pickle", "loads"},
                                     Name{"torch", "load"},
                                     Name{"torch.hub", "load"},
                                     Name{"torch", "Tensor"},
                                     Name{"torch", "float32"},
                                     Name{"torch", "device"},
                                     Name{"torch", "Size"},
                                     Name{"torch.storage", "UntypedStorage"},
                                     Name{"torch._utils", "_rebuild_tensor"},
                                     Name{"torch._utils", "_rebuild_sparse_tensor"},
                                     Name{"torch._utils", "_rebuild_qtensor"},
                                     Name{"torch._tensor", "_rebuild_from_type_v2"},
                                     Name{"torch", "ComplexFloatStorage"},
                                     Name{"torch", "QInt8Storage"},
                                     Name{"numpy.core.multiarray", "_reconstruct"},
                                     Name{"numpy", "dtype"},
                                     Name{"_codecs", "encode"},
                                     Name{"collections", "defaultdict"},
                                     Name{"collections", "OrderedDict.fromkeys"},
                                     Name{"collections.OrderedDict", "x"},
                                     Name{"__main__", "Model"},
                                     Name{"transformers.training_args", "TrainingArguments"},
                                     Name{"pytorch_lightning.callbacks", "ModelCheckpoint"},
                                     Name{"argparse", "Namespace"}}) {
    const std::string words = StrCat("'", module, ".", name, "'");
    // Called, as a value, and as a storage's type.
    refused.Pickled(
        test::Pickle().Global(module, name).Text("touch /tmp/x").Op('\x85').Op('R').Op('.').text(),
        words, {kUnsupported});
    refused.Pickled(test::Pickle().Op('}').Text("a").Global(module, name).Op('s').Op('.').text(),
                    words, {kUnsupported});
  }
  for (const std::string& name :
       {std::string("\n"), std::string("os\n\n"), std::string("o s\nx\n"), std::string("\xFF\nx\n"),
        std::string("a\0b\nx\n", 6), std::string(4096, 'a') + "\nx\n",
        "a\n" + std::string(4096, 'a') + "\n", std::string(1 << 20, 'a')}) {
    refused.Pickled(test::Pickle().Op('c').Raw(name).Op('.').text(), "global's name");
  }
  CHECK(refused.count() >= 88);
}

TEST_CASE("operations that state dicts do not need are refused wherever they stand") {
  Refusals refused;
  const test::Pickle sound = OneTensor();
  // POP, DUP, PERSID, INST, OBJ, NEWOBJ, INT, FLOAT, STRING, UNICODE, GET, PUT, LIST, DICT, EXT1,
  // LONG4, BINBYTES, SHORT_BINUNICODE, EMPTY_SET, STACK_GLOBAL, MEMOIZE, FRAME, and no operations.
  constexpr std::string_view kOthers(
      "021PioIFSTUVLgpldBC\x81\x82\x8B\x8C\x8F\x93\x94\x95\x96\xFF\0\n\x01\x7F", 32);
  for (const size_t at : sound.operations()) {
    for (size_t i = at % 3; i < kOthers.size(); i += 3) {
      std::string changed = sound.text();
      changed[at] = kOthers[i];
      INFO("operation " << static_cast<int>(kOthers[i]) << " at " << at);
      refused.Pickled(changed, StrCat("byte ", at, " of the pickle"),
                      at == 0 ? std::set{kInvalidArgument} : std::set{kUnsupported});
    }
  }
  for (const int protocol : {0, 1, 3, 4, 5, 6, 255}) {
    refused.Pickled(test::Pickle(protocol).Op('}').Op('.').text(), "protocol", {kUnsupported});
  }
  refused.Pickled(test::Pickle().Op('\x80').Byte(2).Op('}').Op('.').text(), "begins anew");
  CHECK(refused.count() >= 300);
}

TEST_CASE("a pickle's operations without what they need are refused") {
  Refusals refused;
  using test::Pickle;
  for (const char operation : std::string_view(".atsueRbQq\x85\x86\x87")) {
    Pickle pickle;
    pickle.Op(operation).Byte(0).Op('.');
    INFO("operation " << operation);
    refused.Pickled(pickle.text(), "byte 2 of the pickle");
  }
  // What a mark covers is out of reach.
  for (const char operation : std::string_view("asRbQq\x85")) {
    refused.Pickled(Pickle().Op('}').Op(')').Op('(').Op(operation).Byte(0).Op('.').text(),
                    "byte 5 of the pickle");
  }
  const auto wrong = [&](Pickle pickle, const std::string& words) {
    refused.Pickled(pickle.Op('.').text(), words);
  };
  wrong(Pickle().Op('}').Op('}'), "2 values");
  wrong(Pickle().Op('}').Op('('), "1 marks");
  wrong(Pickle().Op(']').Text("a").Op('N').Op('s'), "sets items of a list");
  wrong(Pickle().Op('}').Op('N').Op('a'), "appends to a dictionary");
  wrong(Pickle().Op('}').Op('(').Text("a").Op('u'), "without a value");
  wrong(Pickle().Op('}').Op('N').Op('N').Op('s'), "a key is a None");
  wrong(Pickle().Op('}').Op(')').Op('N').Op('s'), "a key is a tuple");
  wrong(Pickle().Op('N').Op('}').Op('b'), "gives attributes to a None");
  wrong(Pickle().Op('}').Op('N').Op('b'), "state is a None");
  wrong(Pickle().Op('}').Op('N').Op('R'), "called with is a None");
  wrong(Pickle().Op('}').Op(')').Op('R'), "what is called is a dictionary");
  wrong(Pickle().Global("torch", "FloatStorage").Op(')').Op('R'), "'torch.FloatStorage' is called");
  wrong(Pickle().Global("collections", "OrderedDict").Op('N').Op('\x85').Op('R'), "OrderedDict");
  wrong(Pickle().Op('q').Byte(0), "needs 1 values");
  wrong(Pickle().Op('N').Op('q').Byte(1), "number 1");
  wrong(Pickle().Op('N').Op('r').Raw("\xFF\xFF\xFF\xFF"), "number 4294967295");
  wrong(Pickle().Op('N').Op('r').Raw(std::string_view("\0\0\0\x7F", 4)), "number 2130706432");
  wrong(Pickle().Op('h').Byte(0), "asks for value number 0 of 0");
  wrong(Pickle().Op('j').Raw("\xFF\xFF\xFF\xFF"), "asks for value number 4294967295");
  wrong(Pickle().Op('\x8A').Byte(9).Raw(std::string(9, 'x')), "a number of 9 bytes");
  wrong(Pickle().Op('\x8A').Byte(255).Raw(std::string(255, 'x')), "a number of 255 bytes");
  wrong(Pickle().Text("\xC3\x28"), "no UTF-8");
  wrong(Pickle().Text("\xED\xA0\x80"), "no UTF-8");
  wrong(Pickle().Text(std::string(70000, 'a')), "a text of 70000 bytes");
  for (const uint32_t size : {~uint32_t{0}, uint32_t{1} << 31, uint32_t{1} << 20}) {
    wrong(Pickle().TextOf(size, "abc"), "over the limit");
  }
  // What is no dictionary of tensors.
  wrong(Pickle().Op('N'), "holds a None");
  wrong(Pickle().Op(']'), "holds a list");
  wrong(Pickle().Tensor(), "holds a tensor");
  wrong(Pickle().Op('}').Text("epoch").Int(3).Op('s'), "'epoch' is a number");
  wrong(Pickle().Op('}').Text("a").Op('}').Op('s'), "'a' is a dictionary");
  wrong(Pickle().Op('}').Int(-3).Tensor().Op('s'), "key -3");
  wrong(Pickle().Op('}').Text("state_dict").Op('}').Text("b").Op('N').Op('s').Op('s'),
        "'b' is a None");
  wrong(Pickle().Op('}').Text("a").Tensor().Op('s').Text("a").Tensor().Op('s'),
        "'a' is there twice");
  CHECK(refused.count() >= 50);
}

TEST_CASE("a tensor stays in its storage") {
  Refusals refused;
  using test::Pickle;
  const auto tensor = [&](int64_t offset, std::vector<int64_t> shape, std::vector<int64_t> strides,
                          const std::string& words, StatusCode code = kInvalidArgument) {
    const std::string pickle =
        Pickle().Op('}').Text("a").Tensor(offset, shape, strides).Op('s').Op('.').text();
    if (words.empty()) {
      const auto file = OpenBytes(test::Zip(test::TorchRecords(pickle)).bytes);
      REQUIRE_OK(file);
      CHECK(file->Find("a")->shape.size() == shape.size());
    } else {
      refused.Pickled(pickle, words, {code});
    }
  };
  constexpr int64_t kHuge = INT64_MAX;
  const std::string outside = "out of its storage '0' of 6 elements";
  tensor(0, {2, 3}, {3, 1}, "");
  tensor(0, {3, 2}, {1, 3}, "");
  tensor(5, {1}, {kHuge}, "");
  tensor(5, {}, {}, "");
  tensor(6, {0, 7}, {1, 1}, "");
  tensor(0, {2, 3, 1}, {3, 1, 0}, "");
  tensor(1, {2, 2}, {3, 1}, "");
  tensor(0, {2}, {5}, "");
  // Parts of rows that overlap are fewer than the storage's: copied.
  tensor(0, {2, 2}, {1, 1}, "");
  tensor(0, {5}, {0}, "");
  tensor(0, {7}, {0}, "several times", kUnsupported);
  tensor(0, {1 << 20, 1 << 20}, {0, 0}, "several times", kUnsupported);
  tensor(0, {kHuge, kHuge}, {0, 0}, "too many elements");
  tensor(0, {4, 4}, {1, 1}, outside);
  tensor(0, {4, 2}, {1, 1}, "several times", kUnsupported);
  tensor(0, {kHuge, 4, 0}, {1, 1, 1}, "too many elements");
  for (const int64_t offset : {int64_t{1}, int64_t{6}, int64_t{1} << 32, int64_t{1} << 62, kHuge}) {
    tensor(offset, {2, 3}, {3, 1}, outside);
  }
  for (const int64_t offset : {int64_t{7}, kHuge}) tensor(offset, {0}, {1}, outside);
  for (const int64_t offset : {int64_t{-1}, INT64_MIN}) tensor(offset, {1}, {1}, "offset is -");
  for (const int64_t extent : {int64_t{3}, int64_t{1} << 31, int64_t{1} << 61, kHuge}) {
    tensor(0, {extent, 3}, {3, 1}, outside);
    tensor(0, {2, extent / 2 + 4}, {3, 1}, outside);
    tensor(0, {2, 2, 2}, {extent, 3, 1}, outside);
    tensor(extent, {1, 1}, {1, 1}, extent == 3 ? "" : outside);
    tensor(0, {-extent}, {1}, "extent or stride is -");
    tensor(0, {1}, {-extent}, "extent or stride is -");
  }
  tensor(0, {2, 3}, {3}, "2 extents");
  tensor(0, {6}, {3, 1}, "1 extents");
  tensor(0, std::vector<int64_t>(9, 1), std::vector<int64_t>(9, 1), "9 extents");
  tensor(0, std::vector<int64_t>(5000, 1), std::vector<int64_t>(5000, 1), "5000 extents");
  tensor(0, std::vector<int64_t>(8, 1), std::vector<int64_t>(8, 1), "");
  CHECK(refused.count() >= 40);
}

TEST_CASE("calls and storages whose arguments are others are refused") {
  Refusals refused;
  using test::Pickle;
  const auto begin = [] {
    return Pickle().Op('}').Text("a").Global("torch._utils", "_rebuild_tensor_v2").Op('(');
  };
  const auto wrong = [&](Pickle pickle, const std::string& words,
                         StatusCode code = kInvalidArgument) {
    refused.Pickled(pickle.Op('s').Op('.').text(), words, {code});
  };
  const std::string rebuild = "'torch._utils._rebuild_tensor_v2' is called";
  const auto storage = [&] { return begin().Storage("FloatStorage", "0", 6); };
  wrong(begin().Op('N').Rebuild(0, {1}, {1}), rebuild);
  wrong(begin().Op('t').Op('R'), rebuild);
  wrong(storage().Op('t').Op('R'), rebuild);
  wrong(storage().Text("0").Ints({1}).Ints({1}).Op('\x89').EmptyDict().Op('t').Op('R'), rebuild);
  wrong(storage().Int(0).Int(1).Ints({1}).Op('\x89').EmptyDict().Op('t').Op('R'), rebuild);
  wrong(storage().Int(0).Ints({1}).Op('N').Op('\x89').EmptyDict().Op('t').Op('R'), rebuild);
  wrong(storage().Int(0).Ints({1}).Ints({1}).Op('N').EmptyDict().Op('t').Op('R'), rebuild);
  wrong(storage().Int(0).Ints({1}).Ints({1}).Op('\x89').Op('N').Op('t').Op('R'), rebuild);
  wrong(storage()
            .Int(0)
            .Ints({1})
            .Ints({1})
            .Op('\x89')
            .Op('}')
            .Text("hook")
            .Op('N')
            .Op('s')
            .Op('t')
            .Op('R'),
        rebuild);
  wrong(storage().Int(0).Ints({1}).Ints({1}).Op('\x89').EmptyDict().Op('N').Op('N').Op('t').Op('R'),
        rebuild);
  wrong(storage()
            .Int(0)
            .Ints({1})
            .Ints({1})
            .Op('\x89')
            .EmptyDict()
            .Op('}')
            .Text("conj")
            .Op('\x88')
            .Op('s')
            .Op('t')
            .Op('R'),
        "conjugated", kUnsupported);
  for (const char part : std::string_view("N])}\x88G")) {
    Pickle pickle = storage().Int(0).Op('(').Op(part);
    if (part == 'G') pickle.Raw(std::string(8, '\0'));
    wrong(pickle.Op('t').Ints({1}).Op('\x89').EmptyDict().Op('t').Op('R'), "extent or stride is a");
  }
  const std::string parameter = "'torch._utils._rebuild_parameter' is called";
  const auto as_parameter = [&](auto fill) {
    Pickle pickle = Pickle().Op('}').Text("a").Global("torch._utils", "_rebuild_parameter").Op('(');
    fill(pickle);
    wrong(pickle.Op('t').Op('R'), parameter);
  };
  as_parameter([](Pickle& p) { p.Tensor(); });
  as_parameter([](Pickle& p) { p.Op('N').Op('\x88').EmptyDict(); });
  as_parameter([](Pickle& p) { p.Tensor().Op('N').EmptyDict(); });
  as_parameter([](Pickle& p) { p.Tensor().Op('\x88').Op('N'); });
  const std::string id = "persistent id";
  const auto as_storage = [&](auto fill, const std::string& words,
                              StatusCode code = kInvalidArgument) {
    Pickle pickle = begin().Op('(');
    fill(pickle);
    wrong(pickle.Op('t').Op('Q').Rebuild(0, {1}, {1}), words, code);
  };
  const auto type = [](Pickle& p) -> Pickle& {
    return p.Text("storage").Global("torch", "FloatStorage");
  };
  as_storage([](Pickle&) {}, id);
  as_storage([&](Pickle& p) { type(p).Text("0").Text("cpu"); }, id);
  as_storage([&](Pickle& p) { type(p).Text("0").Text("cpu").Int(6).Op('N'); }, id);
  as_storage([&](Pickle& p) { type(p).Int(0).Text("cpu").Int(6); }, id);
  as_storage([&](Pickle& p) { type(p).Text("0").Op('N').Int(6); }, id);
  as_storage([&](Pickle& p) { type(p).Text("0").Text("cpu").Text("6"); }, id);
  as_storage([](Pickle& p) { p.Text("module").Op('N').Op('N').Op('N').Op('N'); }, id);
  as_storage([](Pickle& p) { p.Text("storage").Op('N').Text("0").Text("cpu").Int(6); }, id);
  as_storage(
      [](Pickle& p) {
        p.Text("storage").Global("collections", "OrderedDict").Text("0").Text("cpu").Int(6);
      },
      id);
  as_storage([&](Pickle& p) { type(p).Text("0").Text("cpu").Int(-6); }, "has -6 elements");
  for (const int64_t elements :
       {int64_t{0}, int64_t{5}, int64_t{7}, int64_t{1} << 30, int64_t{1} << 62, INT64_MAX}) {
    Pickle pickle = begin().Storage("FloatStorage", "0", elements).Rebuild(0, {0}, {1});
    wrong(pickle, "record 'm/data/0' is of 24 bytes", kDataLoss);
  }
  for (const char* other : {"HalfStorage", "DoubleStorage", "LongStorage", "BoolStorage"}) {
    wrong(begin().Storage(other, "0", 6).Rebuild(0, {1}, {1}), "record 'm/data/0' is of 24 bytes",
          kDataLoss);
  }
  for (const std::string& key : {std::string("1"), std::string(""), std::string("../0"),
                                 std::string("00"), std::string(5000, '0').substr(0, 500)}) {
    wrong(begin().Storage("FloatStorage", key, 6).Rebuild(0, {1}, {1}), "there is no record",
          kDataLoss);
  }
  // One key for storages that differ.
  const auto twice = [&](const char* other, int64_t elements) {
    wrong(begin()
              .Storage("FloatStorage", "0", 6)
              .Rebuild(0, {6}, {1})
              .Op('s')
              .Text("b")
              .Global("torch._utils", "_rebuild_tensor_v2")
              .Op('(')
              .Storage(other, "0", elements)
              .Rebuild(0, {1}, {1}),
          "storage '0' is of 6 F32 and of");
  };
  twice("IntStorage", 6);
  twice("FloatStorage", 3);
  CHECK(refused.count() >= 40);
}

TEST_CASE("pickles that ask for much are refused at a bounded cost") {
  Refusals refused;
  using test::Pickle;
  const auto bomb = [&](Pickle pickle, const std::string& words,
                        std::set<StatusCode> codes = {kResourceExhausted}) {
    refused.Pickled(pickle.Op('.').text(), words, codes);
  };
  const auto repeated = [](std::string_view piece, size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += piece;
    return text;
  };
  constexpr size_t kMany = 1 << 20;
  for (const std::string_view piece : {"]", "}", "N", ")", "K\1", "N\x85", "GGGGGGGGG"}) {
    bomb(Pickle().Raw(repeated(piece, kMany)), "over 65536 values");
  }
  bomb(Pickle().Raw(repeated("(", kMany)), "over 64 marks");
  bomb(Pickle().Raw(repeated("(]", kMany)), "over 64 marks");
  // Values that are made and let go of at once.
  bomb(Pickle().Op(']').Raw(repeated("]a", 2 * kMany)), "take over");
  bomb(Pickle().Op(']').Op('}').Raw(repeated("K\1}s", kMany)), "take over");
  bomb(Pickle()
           .Op(']')
           .Op('(')
           .Raw(repeated("N", 60000))
           .Op('t')
           .Op('q')
           .Byte(0)
           .Raw(repeated("a(" + repeated("h\0", 30000) + "t", 60)),
       "", {kResourceExhausted, kInvalidArgument});
  // Lists in lists, as deep as may be: nothing walks down.
  bomb(Pickle().Raw(repeated("]", 60000)).Raw(repeated("a", 59999)), "holds a list",
       {kInvalidArgument});
  // Tuples of two of the last: 2^100,000 values, had anybody asked.
  bomb(Pickle().Op('N').Raw(repeated(std::string_view("q\0h\0\x86", 5), 100000)), "holds a tuple",
       {kInvalidArgument});
  // Numbers of the memo, again and again.
  std::string memo;
  for (uint32_t i = 0; i < 500000; ++i) {
    memo += 'r';
    memo.append(reinterpret_cast<const char*>(&i), sizeof(i));
  }
  bomb(Pickle().Op('}').Raw(memo).Op('N'), "2 values", {kInvalidArgument});
  // One long name for many tensors.
  const std::string many_names = repeated(std::string_view("h\0h\1s", 5), 200000);
  bomb(Pickle()
           .Text(std::string(60000, 'n'))
           .Op('q')
           .Byte(0)
           .Tensor()
           .Op('q')
           .Byte(1)
           .Op('}')
           .Raw(many_names),
       "take over");
  // Tensors of one storage, one after another.
  Pickle tensors;
  tensors.Op(']').Global("torch._utils", "_rebuild_tensor_v2").Op('q').Byte(0);
  tensors.Op('(').Storage("FloatStorage", "0", 6).Int(0).Ints({2}).Ints({1}).Op('\x89').EmptyDict();
  tensors.Op('t').Op('q').Byte(1).Op('R').Op('a');
  bomb(Pickle(tensors).Raw(repeated(std::string_view("h\0h\1Ra", 6), 400000)), "take over");
  // Copies of one storage over and over: more than the file has.
  Pickle copies;
  copies.Op('}');
  for (int i = 0; i < 2000; ++i) copies.Text(StrCat("t", i)).Tensor(0, {2, 2}, {1, 1}).Op('s');
  REQUIRE_OK(OpenBytes(test::Zip(test::TorchRecords(Pickle(copies).Op('.').text())).bytes));
  const std::string big(size_t{1} << 20, '\0');
  Pickle again;
  again.Op('}');
  const int64_t side = 512;
  for (int i = 0; i < 50; ++i) {
    again.Text(StrCat("t", i)).Global("torch._utils", "_rebuild_tensor_v2").Op('(');
    again.Storage("FloatStorage", "0", side * side).Rebuild(0, {side, side}, {1, side}).Op('s');
  }
  refused(test::Zip({{"m/data.pkl", again.Op('.').text()}, {"m/data/0", big}}).bytes,
          "more would be copied", {kResourceExhausted});
  // A pickle over the limit.
  std::string huge = Pickle().Op(']').text();
  const std::string text = Pickle().Text(std::string(60000, 'x')).text().substr(2) + 'a';
  while (huge.size() <= (size_t{32} << 20)) huge += text;
  refused.Pickled(huge + '.', "over the limit of 33554432 bytes", {kResourceExhausted});
  CHECK(refused.count() >= 19);
}

TEST_CASE("zip directories that lie are refused") {
  Refusals refused;
  const std::string pickle = OneTensor().text();
  const test::Zip sound(test::TorchRecords(pickle));
  const auto size = static_cast<uint32_t>(sound.bytes.size());
  // Fields of 2, 4 and 8 bytes: place, and values that cannot be.
  const auto change = [&](size_t at, auto value, const std::string& words = "",
                          std::set<StatusCode> codes = {kDataLoss, kInvalidArgument, kUnsupported,
                                                        kResourceExhausted}) {
    INFO("byte " << at << " is " << +value);
    refused(sound.With(at, value), words, codes);
  };
  for (const uint16_t value : {1, 7, 0xFFFF}) {
    change(sound.end + 4, value, "several disks");
    change(sound.end + 6, value, "several disks");
    change(sound.end + 8, value, "several disks");
    change(sound.end + 20, value, "does not end");
  }
  for (const uint16_t value : {0, 3, 5, 0xFFFE}) change(sound.end + 10, value);
  for (const uint32_t value : {0u, 1u, size, size + 1, 0x7FFFFFFFu, 0xFFFFFFFEu}) {
    change(sound.end + 12, value, "differ");
    change(sound.end + 16, value, "differ");
  }
  for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{size}, uint64_t{1} << 32,
                               uint64_t{1} << 63, ~uint64_t{0}, uint64_t{sound.end64 - 1},
                               uint64_t{sound.end64 + 1}, uint64_t{sound.locator}}) {
    change(sound.locator + 8, value, "locator");
    change(sound.end64 + 4, value, "locator");
    change(sound.end64 + 24, value, "several disks");
    change(sound.end64 + 32, value, "several disks");
    change(sound.end64 + 40, value, "");
    change(sound.end64 + 48, value, "");
  }
  change(sound.locator + 4, uint32_t{1}, "several disks");
  change(sound.locator + 16, uint32_t{2}, "several disks");
  change(sound.end64, uint32_t{0}, "locator");
  change(sound.end, uint32_t{0}, "does not end");
  // All ends agree on what is not so.
  const auto all = [&](uint16_t count, uint64_t bytes, uint64_t begin) {
    test::Zip changed = sound;
    const auto put = [&](size_t at, auto value) { changed.bytes = changed.With(at, value); };
    put(sound.end64 + 24, uint64_t{count});
    put(sound.end64 + 32, uint64_t{count});
    put(sound.end64 + 40, bytes);
    put(sound.end64 + 48, begin);
    put(sound.end + 8, uint16_t{0xFFFF});
    put(sound.end + 10, uint16_t{0xFFFF});
    put(sound.end + 12, ~uint32_t{0});
    put(sound.end + 16, ~uint32_t{0});
    return changed.bytes;
  };
  const uint64_t begin = sound.entries[0];
  const uint64_t bytes = sound.end64 - begin;
  REQUIRE_OK(OpenBytes(all(4, bytes, begin)));
  refused(all(3, bytes, begin), "behind its last record", {kDataLoss});
  refused(all(5, bytes, begin), "too short for its 5", {kDataLoss});
  refused(all(0, bytes, begin), "behind its last record", {kDataLoss});
  refused(all(60000, bytes, begin), "too short for its 60000 records", {kDataLoss});
  refused(all(4, bytes - 1, begin + 1), "record 0", {kDataLoss});
  refused(all(4, bytes + begin, 0), "record 0", {kDataLoss});
  refused(all(0, 0, sound.end64), "no record NAME/data.pkl");
  for (size_t i = 0; i < sound.entries.size(); ++i) {
    const size_t entry = sound.entries[i];
    const size_t header = sound.headers[i];
    change(entry, uint32_t{0}, StrCat("record ", i, " of the zip directory"));
    for (const uint16_t flags : {1, 0x801, 0xFFFF}) {
      change(entry + 8, flags, "is encrypted");
      change(header + 6, flags, "is encrypted");
    }
    for (const uint16_t method : {1, 8, 9, 14, 93, 0xFFFF}) {
      change(entry + 10, method, "has another method");
      change(header + 8, method, "has another method");
      std::string both = sound.With(entry + 10, method);
      std::memcpy(both.data() + header + 8, &method, sizeof(method));
      refused(both, StrCat("is compressed (method ", method, ")"), {kUnsupported});
    }
    for (const uint32_t value : {uint32_t{0}, uint32_t{1}, size, ~uint32_t{0}, uint32_t{1} << 31}) {
      change(entry + 20, value, "record 'm/");
      change(entry + 24, value, "record 'm/");
      if (value != header) change(entry + 42, value, "record 'm/");
    }
    for (const uint16_t value : {0, 1, 5, 300, 0xFFFF}) {
      change(entry + 28, value);
      change(entry + 30, static_cast<uint16_t>(value | 1));
      change(entry + 32, static_cast<uint16_t>(value | 1));
      change(header + 26, value, "record 'm/");
    }
    change(header + 28, uint16_t{0xFFFF}, "record 'm/");
    change(header, uint32_t{0x02014B50}, i == 0 ? "begins neither" : "there is no header");
    change(header + 30, 'n', "has another name");
    change(entry + 46, 'n');
    change(entry + 46, '\n', "no line of UTF-8");
    change(entry + 46, '\xFF', "no line of UTF-8");
  }
  // Sizes and places in eight bytes.
  const test::Zip wide(test::TorchRecords(pickle), true);
  REQUIRE_OK(OpenBytes(wide.bytes));
  for (size_t i = 0; i < wide.entries.size(); ++i) {
    const size_t extra = wide.entries[i] + 46 + test::TorchRecords(pickle)[i].first.size();
    refused(wide.With(extra, uint16_t{2}), "zip64 sizes are missing", {kDataLoss});
    refused(wide.With(extra + 2, uint16_t{25}), "zip64 sizes are missing", {kDataLoss});
    refused(wide.With(extra + 2, uint16_t{20}), "zip64 sizes are cut off", {kDataLoss});
    for (const uint64_t value : {uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}}) {
      for (const size_t field : {4, 12, 20}) {
        refused(wide.With(extra + field, value), "record 'm/", {kDataLoss});
      }
      std::string both = wide.With(extra + 4, value);
      std::memcpy(both.data() + extra + 12, &value, sizeof(value));
      refused(both, "reach past the records' end", {kDataLoss});
    }
  }
  // Records of the archive.
  const auto records = [&](const test::Zip::Records& list, const std::string& words,
                           StatusCode code = kInvalidArgument) {
    refused(test::Zip(list).bytes, words, {code});
  };
  const test::Zip::Records good = test::TorchRecords(pickle);
  const auto with = [&](std::pair<std::string, std::string> record) {
    test::Zip::Records list = good;
    for (auto& [name, data] : list) {
      if (name != record.first) continue;
      data = record.second;
      return list;
    }
    list.push_back(std::move(record));
    return list;
  };
  records({}, "begins neither");
  records({{"data.pkl", pickle}}, "no record NAME/data.pkl");
  records({{"m/n/data.pkl", pickle}}, "no record NAME/data.pkl");
  records(with({"n/data.pkl", pickle}), "are both there");
  records({good[0], good[0], good[2]}, "record 'm/data.pkl' is there twice");
  records({good[0], good[2], good[2]}, "record 'm/data/0' is there twice");
  records({good[0]}, "there is no record 'm/data/0'", kDataLoss);
  records({good[0], {"n/data/0", good[2].second}}, "there is no record 'm/data/0'", kDataLoss);
  for (const char* order : {"big", "Little", "little\n", ""}) {
    records(with({"m/byteorder", order}), "'m/byteorder'", kUnsupported);
  }
  for (const char* version : {"0\n", "11\n", "3", "", "-1\n", "999999999999999999999\n"}) {
    records(with({"m/version", version}), "'m/version'", kUnsupported);
  }
  records(with({"m/constants.pkl", ""}), "TorchScript", kUnsupported);
  for (const size_t bytes_of : {0, 23, 25, 48}) {
    records(with({"m/data/0", std::string(bytes_of, '\0')}), "record 'm/data/0' is of", kDataLoss);
  }
  records(with({"m/data.pkl", ""}), "m/data.pkl: byte 0 of the pickle", kDataLoss);
  records(with({"m/" + std::string(2000, 'x'), ""}), "its name has 2002 bytes");
  // Two records of one place.
  test::Zip overlap(test::Zip::Records{good[0], good[2], {"m/data/0", good[2].second}});
  refused(overlap.With(overlap.entries[2] + 42, static_cast<uint32_t>(overlap.headers[1])),
          "overlaps");
  CHECK(refused.count() >= 250);
}

TEST_CASE("the form before PyTorch 1.6 is checked as well") {
  Refusals refused;
  const std::string whole = test::ReadAll(TorchGolden("tensors_legacy.bin"));
  const auto replaced = [&](std::string_view from, std::string_view to) {
    std::string changed = whole;
    const size_t at = changed.find(from);
    REQUIRE(at != std::string::npos);
    return changed.replace(at, from.size(), to);
  };
  constexpr std::string_view kLittle("little_endianq\2\x88", 16);
  refused(replaced(kLittle, std::string_view("little_endianq\2\x89", 16)), "'little_endian'",
          {kUnsupported});
  refused(replaced("little_endian", "little_indian"), "'little_endian'", {kUnsupported});
  refused(replaced(std::string_view("M\xE9\3.", 4), std::string_view("M\xEA\3.", 4)),
          "version 1001", {kUnsupported});
  refused(replaced("\x6C\xFC\x9C", "\x6C\xFC\x9D"), "begins neither");
  const size_t list = whole.find(std::string_view("]q\0(X", 5));
  REQUIRE(list != std::string::npos);
  for (const char other : {'}', ')', 'N'}) {
    std::string changed = whole;
    changed[list] = other;
    refused(changed, StrCat("pickle at byte ", list - 2));
  }
  // A key that no tensor has, and one that is there twice.
  const size_t key = list + 9;
  std::string changed = whole;
  changed[key] = changed[key] == '9' ? '8' : '9';
  refused(changed, "list of storages");
  const auto length = static_cast<size_t>(whole[list + 5]);
  changed = whole;
  changed.replace(key + length + 2 + 5, length, whole.substr(key, length));
  refused(changed, "", {kInvalidArgument, kDataLoss});
  // The first storage's count of elements.
  const size_t data = whole.find("e.", list) + 2;
  for (const uint64_t count : {uint64_t{0}, uint64_t{1} << 20, uint64_t{1} << 62, ~uint64_t{0}}) {
    changed = whole;
    std::memcpy(changed.data() + data, &count, sizeof(count));
    refused(changed, StrCat("at byte ", data), {kDataLoss});
  }
  CHECK(refused.count() == 13);
}

TEST_CASE("PyTorch's files changed at random never crash") {
  std::mt19937_64 random(20261203);
  const test::TemporaryFolder folder;
  for (const char* name : {"tensors.bin", "tensors_legacy.bin", "checkpoint.bin"}) {
    const std::string whole = test::ReadAll(TorchGolden(name));
    size_t opened = 0;
    for (int round = 0; round < 4000; ++round) {
      std::string bytes = whole;
      for (size_t i = 0, changes = 1 + random() % 3; i < changes; ++i) {
        static constexpr std::string_view kOperations = ").]}GJKMNQRXabcehjqrstu(\x85\x86\x87";
        const size_t at = random() % bytes.size();
        bytes[at] =
            random() % 2 ? static_cast<char>(random()) : kOperations[random() % kOperations.size()];
      }
      test::WriteBytes(folder.file("x.bin"), bytes);
      const auto file = TensorFile::Open(folder.file("x.bin"));
      if (!file.ok()) continue;
      ++opened;
      size_t sum = 0;
      for (const std::string& tensor : file->TensorNames()) {
        for (const std::byte byte : file->Find(tensor)->bytes) sum += std::to_integer<size_t>(byte);
      }
      CHECK(sum < SIZE_MAX);
    }
    CHECK(opened > 0);
    CHECK(opened < 4000);
  }
}

}  // namespace
}  // namespace rag
