#include "lib/runtime/runtime.h"

#include <catch2/catch.hpp>

#include "lib/kernels/kernels.h"
#include "lib/kernels/kv_block.h"
#include "lib/kernels/list_scan.h"
#include "lib/kernels/quantized.h"
#include "lib/kernels/short_codes.h"
#include "lib/kernels/vectors.h"
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
  for (const Isa isa : kAllIsas) {
    if (GetKernels(isa) != nullptr)
      CHECK(static_cast<int>(runtime->isa()) >= static_cast<int>(isa));
  }
}

TEST_CASE("what has no kernels for AMX runs AVX-512's there") {
  if (GetKernels(Isa::kAmx) == nullptr) RAG_SKIP("this processor has no AMX");
  CHECK(test::MakeRuntime("amx")->kernels().isa == Isa::kAmx);
  CHECK(GetVectorKernels(Isa::kAmx) == GetVectorKernels(Isa::kAvx512));
  CHECK(GetQuantizedKernels(Isa::kAmx) == GetQuantizedKernels(Isa::kAvx512));
  CHECK(GetKvBlockKernels(Isa::kAmx) == GetKvBlockKernels(Isa::kAvx512));
  CHECK(GetListKernels(Isa::kAmx) == GetListKernels(Isa::kAvx512));
  CHECK(GetShortCodeKernels(Isa::kAmx) == GetShortCodeKernels(Isa::kAvx512));
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
