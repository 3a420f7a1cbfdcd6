// Malformed GGUF files, by the format: header, metadata, tensors, data, parts of a model.
#include <random>

#include "tests/generate/hostile_gguf.h"

namespace rag::test {
namespace {

using Document = GgufDocument;
using Refusal = HostileFiles::Refusal;
constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
constexpr StatusCode kLost = StatusCode::kDataLoss;
constexpr StatusCode kUnknown = StatusCode::kUnsupported;
constexpr StatusCode kTooMuch = StatusCode::kResourceExhausted;

TEST_CASE("a GGUF header that is wrong is refused by its field") {
  HostileFiles files;
  const Document sound = GoldenDecoder("llama3");
  const auto changed = [&](auto change) {
    Document document = sound;
    change(document);
    return document;
  };
  files.Harmless(sound);
  for (size_t i = 0; i < 4; ++i) {
    files.Refused(changed([&](Document& d) { d.magic[i] ^= 0x20; }),
                  {.words = {"does not begin with 'GGUF'"}});
  }
  for (const uint32_t version : {0u, 1u, 4u, 255u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    files.Refused(changed([&](Document& d) { d.version = version; }),
                  {.codes = {kUnknown}, .words = {StrCat("version ", version)}});
  }
  for (const uint32_t version : {0x02000000u, 0x03000000u}) {
    files.Refused(changed([&](Document& d) { d.version = version; }),
                  {.codes = {kUnknown}, .words = {"big-endian"}});
  }
  const uint64_t tensors = sound.tensors.size();
  const uint64_t keys = sound.keys.size();
  for (const uint64_t count :
       {uint64_t{1} << 18, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}}) {
    files.Refused(changed([&](Document& d) { d.tensor_count = count; }),
                  StrCat("tensor count ", count));
    files.Refused(changed([&](Document& d) { d.key_count = count; }), StrCat("key count ", count));
  }
  for (const uint64_t more : {1, 2, 1000, 100000}) {
    // What follows is no tensor: its name, shape, type or place cannot be right.
    files.Refused(changed([&](Document& d) { d.tensor_count = tensors + more; }),
                  {.codes = {kInvalid, kLost, kUnknown}, .words = {"tensor "}});
  }
  for (const uint64_t fewer : {uint64_t{1}, uint64_t{5}, tensors}) {
    files.Refused(changed([&](Document& d) { d.tensor_count = tensors - fewer; }), "tensor '");
  }
  for (const uint64_t more : {1, 2, 60000}) {
    files.Refused(changed([&](Document& d) { d.key_count = keys + more; }),
                  {.codes = {kInvalid, kLost, kUnknown}, .words = {"key '", "key ", "tensor "}});
  }
  for (const uint64_t fewer : {uint64_t{1}, uint64_t{4}, keys}) {
    files.Refused(changed([&](Document& d) { d.key_count = keys - fewer; }),
                  {.codes = {kInvalid, kLost}, .words = {"tensor "}});
  }
  CHECK(files.refused() >= 30);
}

TEST_CASE("metadata that is wrong as such is refused by its key") {
  HostileFiles files;
  const Document sound = GoldenDecoder("llama3");
  // A key is put before all others and after them: what is wrong must not depend on the place.
  const auto with = [&](const std::string& name, const std::string& value, const Refusal& refusal) {
    for (const bool first : {true, false}) {
      Document document = sound;
      document.keys.insert(first ? document.keys.begin() : document.keys.end(), {name, value});
      files.Refused(document, refusal);
    }
  };
  const auto invalid = [&](const std::string& value, const std::string& word) {
    with("odd.key", value, {.words = {"key 'odd.key': " + word}});
  };
  for (const uint32_t type : {13u, 14u, 99u, 0xFFFFFFFFu}) {
    invalid(GgufBytes(type), StrCat("value type ", type));
    invalid(GgufArray(type, 1, "12345678"), StrCat("array element type ", type));
  }
  for (const uint8_t value : {2, 3, 255}) invalid(GgufBool(value), "bool of value");
  invalid(GgufArray(7, 3, std::string("\0\1\2", 3)), "bool of value 2");
  std::string nested = GgufArray(0, 1, "x");
  for (int i = 0; i < 5; ++i) nested = GgufArray(9, 1, nested.substr(4));
  invalid(nested, "arrays are nested");
  for (const uint64_t length : {uint64_t{1} << 24, uint64_t{1} << 40, ~uint64_t{0}}) {
    const std::string text = GgufBytes(uint32_t{8}) + GgufBytes(length) + "text";
    with("odd.key", text, {.codes = {kInvalid, kLost}, .words = {"key 'odd.key': a string"}});
    const std::string inside = GgufArray(8, 1, GgufBytes(length) + "text");
    with("odd.key", inside, {.codes = {kInvalid, kLost}, .words = {"key 'odd.key': a string"}});
    for (const uint32_t type : {0u, 4u, 8u, 9u, 12u}) {
      with("odd.key", GgufArray(type, length, "12345678"),
           {.codes = {kLost}, .words = {StrCat("key 'odd.key': an array of ", length)}});
    }
  }
  with("", GgufUint32(1), {.words = {"is empty"}});
  with(std::string(65536, 'k'), GgufUint32(1), {.words = {"length 65536"}});
  with("general.architecture", GgufText("llama"),
       {.words = {"'general.architecture' is there tw"}});
  with("llama.block_count", GgufUint32(2), {.words = {"'llama.block_count' is there twice"}});
  for (const uint32_t alignment : {0u, 1u, 4u, 24u, 33u, 1u << 21, 1u << 31}) {
    with("general.alignment", GgufUint32(alignment),
         {.words = {StrCat("general.alignment ", alignment)}});
  }
  with("general.alignment", GgufText("32"), {.words = {"general.alignment is no uint32"}});
  with("general.alignment", GgufUint64(32), {.words = {"general.alignment is no uint32"}});
  // One key of each kind of value runs over the end of the file.
  for (const std::string& value :
       {GgufUint32(7), GgufUint64(7), GgufText("text"), GgufArray(8, 2, GgufString("ab"))}) {
    Document document = sound;
    document.tensors.clear();
    document.keys.push_back({"odd.key", value});
    std::string head = document.Head();
    head.resize(head.size() - 2);
    files.Refused(head, {.codes = {kLost}, .words = {"odd.key"}});
  }
  CHECK(files.refused() >= 90);
}

TEST_CASE("more array elements than the file's size speaks for are refused") {
  HostileFiles files;
  const Document sound = GoldenDecoder("llama3");
  // In memory a value takes forty bytes, in the file one to eight.
  for (const uint32_t type : {0u, 1u, 7u}) {
    Document document = sound;
    const std::string items(size_t{4} << 20, '\0');
    document.keys.push_back({"odd.key", GgufArray(type, items.size(), items)});
    files.Refused(document,
                  {.codes = {kTooMuch}, .words = {"key 'odd.key': arrays hold more than"}});
  }
  Document strings = sound;
  const size_t count = size_t{1} << 21;
  strings.keys.push_back({"odd.key", GgufArray(8, count, std::string(8 * count, '\0'))});
  files.Refused(strings, {.codes = {kTooMuch}, .words = {"key 'odd.key': arrays hold more than"}});
  // What published vocabularies need is read.
  Document sound_array = sound;
  sound_array.keys.push_back({"odd.key", GgufNumbers(6, std::vector<float>(400000, 0.5f))});
  files.Harmless(sound_array);
  CHECK(files.refused() == 4);
}

TEST_CASE("a file cut anywhere is refused, of every architecture") {
  HostileFiles files;
  for (const std::string& name : GoldenDecoders()) {
    INFO(name);
    const Document document = GoldenDecoder(name);
    const std::string bytes = document.Bytes();
    const size_t head = document.Head().size();
    for (const size_t size :
         {size_t{0}, size_t{3}, size_t{7}, size_t{23}, head / 4, head / 2, head - 1, head,
          head + 40, (head + bytes.size()) / 2, bytes.size() - 32}) {
      files.Refused(
          std::string_view(bytes).substr(0, size),
          {.codes = {kLost}, .words = {"the file ends in", "does not fit", "reaches past"}});
    }
  }
  CHECK(files.refused() >= 200);
}

// The changes of one tensor, by number; false when it cannot be made of this one.
constexpr int kTensorChanges = 19;

bool Change(Document& document, size_t index, int change, Refusal& refusal) {
  Document::Tensor& tensor = document.tensors[index];
  const std::string name = tensor.name;
  Document::Tensor& other = document.tensors[index == 0 ? 1 : index - 1];
  refusal.words = {name};
  switch (change) {
    case 0: {  // another row
      const size_t rows = tensor.extents.back();
      tensor.data += tensor.data.substr(0, tensor.data.size() / rows);
      ++tensor.extents.back();
      return true;
    }
    case 1:  // one more dimension
      tensor.extents.push_back(1);
      return true;
    case 2:  // no elements
      tensor.extents.back() = 0;
      return true;
    case 3:
      tensor.extents.assign(5, 1);
      refusal.words = {"'" + name + "' has 5 dimensions"};
      return true;
    case 4:
      tensor.extents = {uint64_t{1} << 40, uint64_t{1} << 40};
      refusal.words = {"'" + name + "' has too many elements"};
      return true;
    case 5:  // more than there is
      tensor.extents.back() <<= 20;
      refusal.codes = {kLost};
      return true;
    case 6:  // integers
      tensor.type = 24;
      return true;
    case 7:
      tensor.type = 16;
      refusal = {.codes = {kUnknown}, .words = {"'" + name + "' has type IQ2_XXS"}};
      return true;
    case 8:
      tensor.type = 31;
      refusal.words = {"'" + name + "' has type 31"};
      return true;
    case 9:
      tensor.type = 0xFFFFFFFF;
      refusal.words = {"'" + name + "' has type 4294967295"};
      return true;
    case 10:  // rows that are no whole number of blocks
      tensor.extents[0] += 1;
      tensor.type = 8;
      refusal.words = {"'" + name + "': a row of"};
      return true;
    case 11:
      tensor.offset = 4;
      refusal.words = {"'" + name + "' begins at offset 4"};
      return true;
    case 12:
      tensor.offset = uint64_t{1} << 30;
      refusal = {.codes = {kLost}, .words = {"'" + name + "' of"}};
      return true;
    case 13:
      tensor.offset = uint64_t{1} << 63;
      refusal = {.codes = {kLost}, .words = {"'" + name + "' of"}};
      return true;
    case 14: {  // where another one lies
      uint64_t offset = 0;
      for (const Document::Tensor& before : document.tensors) {
        if (&before == &other) break;
        offset += (before.data.size() + 31) / 32 * 32;
      }
      tensor.offset = offset;
      refusal.words = {"'" + name + "' overlaps", "overlaps '" + name + "'"};
      return true;
    }
    case 15:
      tensor.name = other.name;
      refusal.words = {"'" + other.name + "' is there twice"};
      return true;
    case 16:
      tensor.name = std::string(65, 'n');
      refusal.words = {StrCat("tensor ", index, ": its name at byte")};
      return true;
    case 17:  // a name that is none of the architecture's, beside the right one
      document.tensors.push_back(tensor);
      document.tensors.back().name = "odd." + name;
      refusal = {.codes = {kUnknown}, .words = {"'odd." + name + "' is not part"}};
      return true;
    default: {  // the bytes of half as many elements
      tensor.offset = document.Bytes().size() / 32 * 32;
      refusal = {.codes = {kLost}, .words = {"'" + name + "' of"}};
      return true;
    }
  }
}

TEST_CASE("a tensor that is wrong is refused by its name, in every architecture") {
  HostileFiles files;
  for (const std::string& name : GoldenDecoders()) {
    const Document sound = GoldenDecoder(name);
    for (size_t i = 0; i < sound.tensors.size(); ++i) {
      for (int change = 0; change < kTensorChanges; ++change) {
        // All of them to some models, a few to each tensor of the others.
        const bool all = name == "llama3" || name == "gpt2";
        if (!all && (i + static_cast<size_t>(change)) % 5 != 0) continue;
        Document document = sound;
        Refusal refusal;
        if (!Change(document, i, change, refusal)) continue;
        // The vocabulary's size is the embeddings', so that the next tensor of that size is wrong.
        if (sound.tensors[i].name == "token_embd.weight" && change <= 2) {
          refusal.words.push_back("output.weight");
        }
        INFO(name << ", tensor " << sound.tensors[i].name << ", change " << change);
        // A norm for each head by itself has one row for the only head.
        if (change == 1 && name == "gemma3" &&
            sound.tensors[i].name.ends_with("attn_k_norm.weight")) {
          files.Harmless(document);
        } else {
          files.Refused(document, refusal);
        }
      }
    }
  }
  CHECK(files.refused() >= 1500);
}

constexpr char kFirst[] = "m-00001-of-00002.gguf";
constexpr char kSecond[] = "m-00002-of-00002.gguf";

TEST_CASE("parts of a model that do not belong together are refused") {
  HostileFiles files;
  const Document whole = GoldenDecoder("llama3");
  struct Parts {
    Document first, second;
  };
  const auto make = [&] {
    Parts parts{whole, whole};
    const auto middle = static_cast<ptrdiff_t>(whole.tensors.size() / 2);
    parts.first.tensors.erase(parts.first.tensors.begin() + middle, parts.first.tensors.end());
    parts.second.tensors.erase(parts.second.tensors.begin(), parts.second.tensors.begin() + middle);
    parts.second.keys.clear();
    for (Document* part : {&parts.first, &parts.second}) {
      part->Set("split.count", GgufValue(2, uint16_t{2}));
      part->Set("split.no", GgufValue(2, static_cast<uint16_t>(part == &parts.second)));
      part->Set("split.tensors.count", GgufValue(5, static_cast<int32_t>(whole.tensors.size())));
    }
    return parts;
  };
  const auto write = [&](const Parts& parts) {
    files.Write(kFirst, parts.first.Bytes());
    files.Write(kSecond, parts.second.Bytes());
  };
  write(make());
  REQUIRE_OK(files.Load(kFirst));
  size_t refused = 0;
  const auto refuse = [&](auto change, const Refusal& refusal, const char* opened = kFirst) {
    Parts parts = make();
    change(parts);
    write(parts);
    files.CheckRefused(opened, refusal);
    ++refused;
  };
  refuse([](Parts&) {}, {.words = {"is part 2 of 2 (key 'split.no'); open the first"}}, kSecond);
  const std::pair<const char*, const char*> keys[] = {
      {"split.count", "split.count"},
      {"split.no", "split.no"},
      {"split.tensors.count", "split.tensors.count"}};
  for (const auto& [key, word] : keys) {
    for (const std::string& value : {GgufText("two"), GgufInt64(-1), GgufInt64(int64_t{1} << 40),
                                     GgufFloat(2), GgufUint64(~0)}) {
      refuse([&](Parts& p) { p.first.Set(key, value); }, {.words = {word}});
    }
  }
  refuse([](Parts& p) { p.first.Set("split.count", GgufUint32(3)); },
         {.words = {"its name does not end in '-00001-of-00003.gguf'"}});
  refuse([](Parts& p) { p.second.Set("split.no", GgufUint32(0)); },
         {.words = {"key 'split.no' is 0, not 1"}});
  refuse([](Parts& p) { p.second.Drop("split.no"); }, {.words = {"key 'split.no'"}});
  refuse([](Parts& p) { p.first.Set("split.tensors.count", GgufUint32(99)); },
         {.codes = {kLost}, .words = {"'split.tensors.count' is 99"}});
  refuse([](Parts& p) { p.second.tensors.pop_back(); },
         {.codes = {kLost}, .words = {"'split.tensors.count'"}});
  refuse([](Parts& p) { p.second.tensors.back().name = p.first.tensors.front().name; },
         {.words = {"is there twice"}});
  refuse([](Parts& p) { p.second.tensors.back().offset = uint64_t{1} << 30; },
         {.codes = {kLost}, .words = {"m-00002-of-00002.gguf: tensor '"}});
  refuse([](Parts& p) { p.second.magic = "GGML"; },
         {.words = {"m-00002-of-00002.gguf: does not begin"}});
  refuse([](Parts& p) { p.second.version = 9; },
         {.codes = {kUnknown}, .words = {"m-00002-of-00002.gguf: GGUF version 9"}});
  refuse([&](Parts&) {}, {.words = {"is part 2"}}, kSecond);
  std::filesystem::remove(files.folder().file(kSecond));
  files.CheckRefused(kFirst, {.codes = {StatusCode::kNotFound}, .words = {kSecond}});
  CHECK(refused >= 25);
}

TEST_CASE("bytes changed at random are refused, or do no harm") {
  HostileFiles files;
  std::mt19937 random(11);
  size_t refused = 0;
  const size_t rounds = Workload(60, 12, "files of each architecture");
  for (const std::string& name : GoldenDecoders()) {
    const Document document = GoldenDecoder(name);
    const std::string bytes = document.Bytes();
    const size_t head = document.Head().size();
    for (size_t i = 0; i < rounds; ++i) {
      std::string damaged = bytes;
      const size_t flips = 1 + random() % 4;
      for (size_t k = 0; k < flips; ++k) {
        // Mostly the head: the data are weights, of which any bits are some numbers.
        const size_t range = i % 8 == 0 ? bytes.size() : head;
        damaged[random() % range] ^= static_cast<char>(1 + random() % 255);
      }
      INFO(name << ", round " << i);
      refused += files.RefusedOrRuns(damaged);
    }
  }
  CHECK(refused > GoldenDecoders().size() * rounds / 2);
}

}  // namespace
}  // namespace rag::test
