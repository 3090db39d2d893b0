// One pass over tensors, vector by vector.
#pragma once

#include <atomic>

#include "vgen.h"

namespace vgen {

// Of each thread: several, so that one that is held up holds up little.
constexpr int RANGES = 4;

// One vector's place in a row of floats: LANES of them, or at the end of the row the `count` that are left.
template <bool WHOLE>
struct Part {
  int64_t offset, count;

  // The floats of this place; lanes behind the end hold `filling`.
  Vec load(const float *from, float filling = 0) const {
    return WHOLE ? vgen::load(from + offset) : load_part(from + offset, count, filling);
  }
  void store(float *to, Vec values) const {
    if (WHOLE) {
      vgen::store(to + offset, values);
    } else {
      store_part(to + offset, values, count);
    }
  }
};

// body(part) for every part of a row, in order.
template <class Body>
inline void each_part(int64_t size, Body body) {
  int64_t offset = 0;
  for (; offset + LANES <= size; offset += LANES) body(Part<true>{offset, LANES});
  if (offset < size) body(Part<false>{offset, size - offset});
}

// body(index) for every index below `count`; threads take contiguous ranges of them.
template <class Body>
inline void in_parallel(int64_t count, int threads, Body body) {
  const int64_t ranges = threads > 1 ? std::min<int64_t>(count, RANGES * threads) : 1;
  parallel(ranges, threads, [&](int64_t range, int) {
    const int64_t end = count * (range + 1) / ranges;
    for (int64_t index = count * range / ranges; index < end; index++) body(index);
  });
}

// body(part) for every part of a row, in parallel.
template <class Body>
inline void each_part_in_parallel(int64_t size, Body body) {
  const int64_t vectors = size / LANES;
  in_parallel(vectors, threads_for(size), [=](int64_t vector) { body(Part<true>{vector * LANES, LANES}); });
  if (size % LANES) body(Part<false>{vectors * LANES, size % LANES});
}

// Whether all numbers are finite: x - x is 0 for those, and not a number for the others.
inline bool all_finite(const float *x, int64_t size) {
  constexpr int64_t PIECE = 1 << 15;
  std::atomic<bool> finite{true};
  parallel((size + PIECE - 1) / PIECE, threads_for(size), [&](int64_t piece, int) {
    Vec none{};
    each_part(std::min(PIECE, size - piece * PIECE), [&](auto at) {
      const Vec values = at.load(x + piece * PIECE);
      none += values - values;
    });
    if (sum(none) != 0.0f) finite = false;
  });
  return finite;
}

// out[i] = function(inputs[i]...) for tensors of equal size.
template <class Function, class... Inputs>
inline void map(float *out, int64_t size, Function function, const Inputs *...inputs) {
  each_part_in_parallel(size, [=](auto at) { at.store(out, function(at.load(inputs)...)); });
}

}  // namespace vgen
