// A few small blocks of keys and values, and the tree that holds them.
#pragma once

#include <memory>
#include <utility>

#include "generate/prefix_tree.h"
#include "tests/support/support.h"

namespace rag {

struct SmallCache {
  static constexpr KvShape kShape = {.layers = 1, .heads = 1, .head_dim = 4};

  explicit SmallCache(size_t blocks, DType type = DType::kF32) {
    KvShape shape = kShape;
    shape.type = type;
    auto made = KvPool::Create(shape, blocks * KvPool::BlockBytes(shape));
    REQUIRE_OK(made);
    pool = std::move(made).value();
    tree = std::make_unique<PrefixTree>(*pool);
  }

  std::unique_ptr<KvPool> pool;
  std::unique_ptr<PrefixTree> tree;
};

}  // namespace rag
