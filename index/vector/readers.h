// Readers: epoch-based reclamation. A search enters before it looks at anything shared and leaves
// when it is done; whoever unlinked something waits for the searches that may still see it, and may
// overwrite it then. Searches never wait.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

namespace rag {

class Readers {
 public:
  // While it lives, nothing that was reachable when it was made is overwritten.
  class Guard {
   public:
    explicit Guard(Readers& readers) : place_(readers.Enter()) {}
    ~Guard() { place_.store(0, std::memory_order_release); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    std::atomic<uint64_t>& place_;
  };

  // Returns when every reader that entered before the call has left. The caller holds no Guard.
  void Wait() {
    const uint64_t target = epoch_.fetch_add(1) + 1;
    for (Place& place : places_) {
      for (;;) {
        const uint64_t entered = place.epoch.load();
        if (entered == 0 || entered >= target) break;
        std::this_thread::yield();
      }
    }
  }

 private:
  struct alignas(64) Place {
    std::atomic<uint64_t> epoch{0};  // 0: free
  };

  std::atomic<uint64_t>& Enter() {
    size_t at = std::hash<std::thread::id>{}(std::this_thread::get_id()) % kPlaces;
    for (;;) {
      std::atomic<uint64_t>& place = places_[at].epoch;
      uint64_t free = 0;
      uint64_t epoch = epoch_.load();
      if (place.compare_exchange_strong(free, epoch)) {
        // Wait() may have passed this place between the two lines above. All of these operations
        // are sequentially consistent: when it has, the epoch read here is already the new one, and
        // reading it makes what was unlinked before it visible.
        for (uint64_t now; (now = epoch_.load()) != epoch; epoch = now) place.store(now);
        return place;
      }
      at = (at + 1) % kPlaces;
      if (at == 0) std::this_thread::yield();
    }
  }

  static constexpr size_t kPlaces = 128;
  std::atomic<uint64_t> epoch_{1};
  std::array<Place, kPlaces> places_;
};

}  // namespace rag
