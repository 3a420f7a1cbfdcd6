// What tests of malformed encoder folders share: each is refused as said, at a bounded cost, or
// does no harm.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/embed/encoder_support.h"
#include "tests/support/allocations.h"

namespace rag::test {

// The bounds within which a malformed folder is refused.
inline constexpr double kRefusalSeconds = 1.0;
inline constexpr size_t kRefusalBytes = size_t{64} << 20;

struct Refusal {
  std::vector<std::string> words;  // the message has one of them
  std::set<StatusCode> codes = {StatusCode::kInvalidArgument};
};

// A folder of tests/golden whose files are changed, one at a time, and put back.
class HostileFolder {
 public:
  using Load = std::function<Status(const std::string& folder, const Runtime&)>;

  explicit HostileFolder(std::shared_ptr<const GoldenFolder> folder, Load load = LoadAndEncode)
      : folder_(std::move(folder)), load_(std::move(load)) {}

  static Status LoadAndEncode(const std::string& folder, const Runtime& runtime) {
    const auto encoder = Encoder::Load(folder, runtime);
    if (!encoder.ok()) return encoder.status();
    const std::string_view text = "a few words, and some more";
    const auto encoded = (*encoder)->Encode({&text, 1}, TextRole::kPlain);
    if (!encoded.ok()) return InternalError("loaded, but: ", encoded.status().ToString());
    return OkStatus();
  }

  std::string Read(const std::string& file) const { return ReadAll(folder_->path() / file); }
  Value ReadJson(const std::string& file) const {
    auto json = ParseJson(Read(file));
    REQUIRE_OK(json);
    return std::move(json).value();
  }
  bool Has(const std::string& file) const {
    return std::filesystem::exists(folder_->path() / file);
  }

  // The folder with this content of one file, which is put back (or removed) then.
  void Refused(const std::string& file, std::string_view content, const Refusal& refusal) {
    ++refused_;
    Status status;
    Cost cost;
    With(file, content,
         [&] { cost = MeasureCost([&] { status = load_(folder_->path().string(), *runtime_); }); });
    INFO(status.ToString());
    REQUIRE_FALSE(status.ok());
    CHECK(refusal.codes.count(status.code()) == 1);
    bool named = refusal.words.empty();
    std::string wanted;
    for (const std::string& word : refusal.words) {
      named |= status.message().find(word) != std::string::npos;
      wanted += " or '" + word + "'";
    }
    INFO("looking for " << wanted);
    CHECK(named);
    CHECK(status.message().find(folder_->path().string()) != std::string::npos);
    CHECK(cost.seconds < kRefusalSeconds * kSlowdown);
    CHECK(cost.bytes < kRefusalBytes);
  }
  void Harmless(const std::string& file, std::string_view content) {
    Status status;
    With(file, content, [&] { status = load_(folder_->path().string(), *runtime_); });
    INFO(status.ToString());
    CHECK(status.ok());
  }
  // A file of JSON with one member changed; null takes it out.
  std::string Changed(const std::string& file, const std::string& key, const Value& value) const {
    Value json = ReadJson(file);
    if (value.is_null()) {
      json.as_object().Erase(key);
    } else {
      json.as_object().Set(key, value);
    }
    return ToJson(json);
  }
  std::filesystem::path path() const { return folder_->path(); }
  size_t refused() const { return refused_; }

 private:
  void With(const std::string& file, std::string_view content, FunctionRef<void()> run) const {
    const bool was = Has(file);
    const std::string kept = was ? Read(file) : "";
    folder_->Write(file, content);
    run();
    if (was) {
      folder_->Write(file, kept);
    } else {
      std::filesystem::remove(folder_->path() / file);
    }
  }

  const std::shared_ptr<const GoldenFolder> folder_;
  const Load load_;
  std::unique_ptr<Runtime> runtime_ = MakeRuntime("", 1);
  size_t refused_ = 0;
};

inline HostileFolder HostileFamily(const std::string& name) {
  return HostileFolder(std::make_shared<FamilyFolder>(name));
}
inline HostileFolder HostileEncoder(const std::string& name) {
  return HostileFolder(std::make_shared<EncoderFolder>(name));
}

}  // namespace rag::test
