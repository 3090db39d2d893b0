// What the library says of itself, and the kernel by which it is tried before it is used.
#include "vgen.h"

using namespace vgen;

extern "C" int vgen_lanes() { return LANES; }

extern "C" int vgen_threads() { return threads(); }

VGEN_KERNEL(vgen_exponentials) {
  const float *x = args.floats(0);
  float *y = args.floats(1);
  const int64_t size = args.size(0), vectors = size / LANES, done = vectors * LANES;
  for (int64_t v = 0; v < vectors; v++) store(y + v * LANES, exp(load(x + v * LANES)));
  store_part(y + done, exp(load_part(x + done, size - done)), size - done);
}
