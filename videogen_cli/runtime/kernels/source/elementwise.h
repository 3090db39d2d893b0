// One pass over tensors, vector by vector.
#pragma once

#include "vgen.h"

namespace vgen {

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

// The same in parallel; every thread has one contiguous range.
template <class Body>
inline void each_part_in_parallel(int64_t size, Body body) {
  const int64_t vectors = size / LANES;
#pragma omp parallel for num_threads(threads_for(size)) schedule(static)
  for (int64_t v = 0; v < vectors; v++) body(Part<true>{v * LANES, LANES});
  if (size % LANES) body(Part<false>{vectors * LANES, size % LANES});
}

// body(index) for every index below `count`; every thread has one contiguous range.
template <class Body>
inline void in_parallel(int64_t count, int threads, Body body) {
  if (threads <= 1) {
    for (int64_t index = 0; index < count; index++) body(index);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t index = 0; index < count; index++) body(index);
}

// out[i] = function(inputs[i]...) for tensors of equal size.
template <class Function, class... Inputs>
inline void map(float *out, int64_t size, Function function, const Inputs *...inputs) {
  each_part_in_parallel(size, [=](auto at) { at.store(out, function(at.load(inputs)...)); });
}

}  // namespace vgen
