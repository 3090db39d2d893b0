// Activations and their gradients, one pass over memory each.
#include "elementwise.h"

using namespace vgen;

// x * sigmoid(x)
VGEN_KERNEL(silu_forward) {
  map(args.floats(1), args.size(0), [](Vec x) { return x * sigmoid(x); }, args.floats(0));
}

VGEN_KERNEL(silu_backward) {
  auto gradient = [](Vec x, Vec dout) {
    const Vec s = sigmoid(x);
    return dout * s * (1.0f + x * (1.0f - s));
  };
  map(args.floats(2), args.size(0), gradient, args.floats(0), args.floats(1));
}
