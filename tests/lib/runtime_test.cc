#include "lib/runtime/runtime.h"

#include <catch2/catch.hpp>

#include "lib/kernels/kernels.h"
#include "tests/support/support.h"

using namespace rag;

TEST_CASE("an instruction set can be forced, and an unknown one is an error") {
  const auto scalar = test::MakeRuntime("scalar");
  CHECK(scalar->isa() == Isa::kScalar);
  CHECK(scalar->kernels().isa == Isa::kScalar);

  RuntimeOptions options;
  options.isa = "sse9";
  const Result<std::unique_ptr<Runtime>> unknown = Runtime::Create(options);
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.status().code() == StatusCode::kInvalidArgument);
  CHECK(unknown.status().message().find("sse9") != std::string::npos);
}

TEST_CASE("without a choice the strongest table of this processor is taken") {
  const auto runtime = test::MakeRuntime();
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (GetKernels(isa) != nullptr)
      CHECK(static_cast<int>(runtime->isa()) >= static_cast<int>(isa));
  }
}

TEST_CASE("thread counts and devices are checked") {
  RuntimeOptions options;
  options.threads = -1;
  CHECK(Runtime::Create(options).status().code() == StatusCode::kInvalidArgument);
  options.threads = 100'000;
  CHECK(Runtime::Create(options).status().code() == StatusCode::kInvalidArgument);
  options.threads = 1;
  options.device = "tpu";
  CHECK(Runtime::Create(options).status().code() == StatusCode::kInvalidArgument);
  options.device = "auto";
  REQUIRE_OK(Runtime::Create(options));
}
