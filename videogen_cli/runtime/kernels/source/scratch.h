// Memory that a kernel needs while it runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace vgen {

// Aligned memory of floats. Make it before a parallel region: an exception must not leave one.
//
// One large block is kept for the next that asks: fresh memory costs a page fault every 4 KiB, and what the allocator
// holds back for each of MindSpore's threads adds up. Address sanitizers must see every block's true size instead.
class Scratch {
 public:
  explicit Scratch(int64_t floats) {
    const size_t bytes = (static_cast<size_t>(floats > 0 ? floats : 1) * sizeof(float) + ALIGNED - 1) / ALIGNED * ALIGNED;
    if (KEEPS && bytes >= LEAST_KEPT) block_ = kept().exchange(nullptr);
    if (block_ && capacity() >= bytes) return;
    std::free(block_);
    block_ = static_cast<char *>(std::aligned_alloc(ALIGNED, ALIGNED + bytes));
    if (!block_) throw std::bad_alloc();
    std::memcpy(block_, &bytes, sizeof(bytes));
  }
  ~Scratch() {
    const bool is_kept = KEEPS && capacity() >= LEAST_KEPT && capacity() <= MOST_KEPT;
    std::free(is_kept ? kept().exchange(block_) : block_);
  }
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  float *get() const { return reinterpret_cast<float *>(block_ + ALIGNED); }

 private:
  static constexpr size_t ALIGNED = 64, LEAST_KEPT = size_t{1} << 20, MOST_KEPT = size_t{1} << 26;  // bytes
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool KEEPS = false;
#else
  static constexpr bool KEEPS = true;
#endif

  static std::atomic<char *> &kept() {
    static std::atomic<char *> block{nullptr};
    return block;
  }
  // Stands in front of the memory.
  size_t capacity() const {
    size_t bytes;
    std::memcpy(&bytes, block_, sizeof(bytes));
    return bytes;
  }

  char *block_ = nullptr;
};

}  // namespace vgen
