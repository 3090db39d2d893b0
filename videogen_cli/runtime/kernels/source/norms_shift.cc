// Adding a number per sample and channel to all pixels, as timestep embeddings are added between normalisations.
#include <numeric>

#include "elementwise.h"

using namespace vgen;

namespace {

constexpr int64_t BLOCK = 4096;  // floats added up in single precision

// Planes: frames * channels of them per sample, `size` floats each.
struct Planes {
  int64_t samples, channels, frames, size;

  // From the shapes of x (samples*frames channels ...) and shift (samples channels).
  Planes(const Arguments &args, int x, int shift)
      : samples(args.dim(shift, 0)),
        channels(args.dim(x, 1)),
        frames(args.dim(x, 0) / samples),
        size(args.size(x) / (args.dim(x, 0) * channels)) {}
};

double total(const float *values, int64_t size) {
  double all = 0;
  if (size < LANES) return std::accumulate(values, values + size, all);
  for (int64_t start = 0; start < size; start += BLOCK) {
    Vec block{};
    each_part(std::min(BLOCK, size - start), [&](auto at) { block += at.load(values + start); });
    all += sum(block);
  }
  return all;
}

}  // namespace

// x (b*f c ...), shift (b c) -> x + shift
VGEN_KERNEL(channel_shift_forward) {
  const Planes planes(args, 0, 1);
  const float *x = args.floats(0), *shift = args.floats(1);
  float *y = args.floats(2);
  in_parallel(planes.samples * planes.frames, threads_for(args.size(0)), [=](int64_t image) {
    for (int64_t channel = 0; channel < planes.channels; channel++) {
      const float added = shift[image / planes.frames * planes.channels + channel];
      const int64_t start = (image * planes.channels + channel) * planes.size;
      for (int64_t i = start; i < start + planes.size; i++) y[i] = x[i] + added;
    }
  });
}

// dy (b*f c ...), shift (b c) -> the gradient of shift
VGEN_KERNEL(channel_shift_backward) {
  const Planes planes(args, 0, 1);
  const float *dy = args.floats(0);
  float *dshift = args.floats(2);
  in_parallel(planes.samples * planes.channels, threads_for(args.size(0)), [=](int64_t index) {
    const int64_t sample = index / planes.channels, channel = index % planes.channels;
    double all = 0;
    for (int64_t frame = sample * planes.frames; frame < (sample + 1) * planes.frames; frame++) {
      all += total(dy + (frame * planes.channels + channel) * planes.size, planes.size);
    }
    dshift[index] = static_cast<float>(all);
  });
}
