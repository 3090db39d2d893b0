// Softmax of rows and its gradient.
#include "elementwise.h"

using namespace vgen;

// x (... n) -> exp(x - largest) / sum
VGEN_KERNEL(softmax_forward) {
  const int64_t width = args.dim(0, -1), rows = args.size(0) / width;
  const float *x = args.floats(0);
  float *y = args.floats(1);
  in_parallel(rows, threads_for(args.size(0)), [=](int64_t row) {
    const float *from = x + row * width;
    float *to = y + row * width;
    Vec largest = broadcast(-INFINITY), total{};
    each_part(width, [&](auto at) { largest = maximum(largest, at.load(from, -INFINITY)); });
    float lanes[LANES];
    store(lanes, largest);
    const float top = *std::max_element(lanes, lanes + LANES);
    each_part(width, [&](auto at) {
      const Vec grown = exp(at.load(from, -INFINITY) - top);
      at.store(to, grown);
      total += grown;
    });
    const float share = 1.0f / sum(total);
    each_part(width, [=](auto at) { at.store(to, at.load(to) * share); });
  });
}

// y, dy -> y (dy - sum(y dy))
VGEN_KERNEL(softmax_backward) {
  const int64_t width = args.dim(0, -1), rows = args.size(0) / width;
  const float *y = args.floats(0), *dy = args.floats(1);
  float *dx = args.floats(2);
  in_parallel(rows, threads_for(args.size(0)), [=](int64_t row) {
    const float *share = y + row * width, *gradient = dy + row * width;
    float *to = dx + row * width;
    Vec total{};
    each_part(width, [&](auto at) { total += at.load(share) * at.load(gradient); });
    const float mean = sum(total);
    each_part(width, [=](auto at) { at.store(to, at.load(share) * (at.load(gradient) - mean)); });
  });
}
