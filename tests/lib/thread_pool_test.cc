#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

#include "lib/runtime/runtime.h"

using rag::ThreadPool;

TEST_CASE("every index is visited exactly once, in ranges of at most the grain") {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (const size_t count : {0u, 1u, 7u, 64u, 1000u}) {
      for (const size_t grain : {1u, 3u, 64u, 5000u}) {
        std::vector<std::atomic<int>> visits(count);
        std::atomic<bool> bounds_hold{true};
        pool.ParallelFor(count, grain, [&](size_t begin, size_t end, int worker) {
          if (end - begin > grain || begin >= end || worker < 0 || worker >= threads) {
            bounds_hold = false;
          }
          for (size_t i = begin; i < end; ++i) visits[i].fetch_add(1);
        });
        CHECK(bounds_hold);
        for (const std::atomic<int>& visit : visits) REQUIRE(visit == 1);
      }
    }
  }
}

TEST_CASE("a worker number is held by one thread at a time") {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> holders(4);
  std::atomic<bool> unique{true};
  pool.ParallelFor(2000, 1, [&](size_t, size_t, int worker) {
    if (holders[static_cast<size_t>(worker)].fetch_add(1) != 0) unique = false;
    holders[static_cast<size_t>(worker)].fetch_sub(1);
  });
  CHECK(unique);
}

TEST_CASE("loops inside loops and loops from many threads finish") {
  ThreadPool pool(3);
  std::atomic<size_t> total{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        pool.ParallelFor(10, 1, [&](size_t, size_t, int outer) {
          pool.ParallelFor(10, 2, [&](size_t begin, size_t end, int inner) {
            if (inner == outer) total.fetch_add(end - begin);
          });
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(total == 4u * 50u * 100u);
}

TEST_CASE("a loop of one pool may run loops of another") {
  ThreadPool outer(4);
  ThreadPool inner(2);
  std::atomic<size_t> total{0};
  outer.ParallelFor(8, 1, [&](size_t, size_t, int) {
    inner.ParallelFor(8, 1, [&](size_t, size_t, int worker) {
      if (worker < 2) total.fetch_add(1);
    });
  });
  CHECK(total == 64u);
}

TEST_CASE("workers come to a loop whether they poll or sleep, and to every loop") {
  // Each range waits for all others to begin, which needs all the workers at once; the pauses end
  // before, while and after idle workers stop polling and sleep.
  ThreadPool pool(3);
  for (size_t round = 0; round < 120; ++round) {
    std::this_thread::sleep_for(std::chrono::microseconds(round % 12 * 40));
    std::atomic<int> begun{0};
    pool.ParallelFor(3, 1, [&](size_t, size_t, int) {
      begun.fetch_add(1);
      while (begun.load() < 3) std::this_thread::yield();
    });
    REQUIRE(begun == 3);
  }
}

TEST_CASE("who is done with its own ranges takes the others'") {
  // The first range ends when all others are done: those of its own share too.
  ThreadPool pool(2);
  for (const size_t count : {2u, 3u, 16u, 101u}) {
    std::atomic<size_t> done{0};
    pool.ParallelFor(count, 1, [&](size_t begin, size_t, int) {
      if (begin == 0) {
        while (done.load() < count - 1) std::this_thread::yield();
      }
      done.fetch_add(1);
    });
    CHECK(done == count);
  }
}
