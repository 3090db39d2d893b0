// What the library says of itself, and the kernel by which it is tried before it is used.
#include "vgen.h"

using namespace vgen;

extern "C" int vgen_lanes() { return LANES; }

extern "C" int vgen_threads() { return threads(); }

VGEN_KERNEL(vgen_exponentials) {
  const float *x = args.floats(0);
  float *y = args.floats(1);
  const int64_t size = args.size(0);
  parallel((size + LANES - 1) / LANES, threads_for(size), [=](int64_t vector, int) {
    const int64_t first = vector * LANES, count = std::min<int64_t>(LANES, size - first);
    store_part(y + first, exp(load_part(x + first, count)), count);
  });
}
