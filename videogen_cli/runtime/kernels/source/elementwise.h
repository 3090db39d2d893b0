// One pass over tensors of equal size, in parallel.
#pragma once

#include "vgen.h"

namespace vgen {

// out[i] = function(inputs[i]...), vector by vector; every thread has one contiguous range.
template <class Function, class... Inputs>
inline void map(float *out, int64_t size, Function function, const Inputs *...inputs) {
  const int64_t vectors = size / LANES;
#pragma omp parallel for num_threads(threads_for(size)) schedule(static)
  for (int64_t v = 0; v < vectors; v++) store(out + v * LANES, function(load(inputs + v * LANES)...));
  const int64_t done = vectors * LANES, rest = size - done;
  if (rest) store_part(out + done, function(load_part(inputs + done, rest)...), rest);
}

}  // namespace vgen
