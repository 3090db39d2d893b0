// Layer and RMS normalisation of rows, with an affine map and a modulation per sample behind.
//
// y = xhat * gain + offset, xhat = (x - mean) / deviation, where gain = weight (1 + scale) and
// offset = bias (1 + scale) + shift are tables (sample width), made first. All gradients of those four follow from two
// sums over a sample's rows: plain = sum dy and along = sum dy xhat.
#include "norms_rows.h"

using namespace vgen;

namespace {

// The inputs behind x; a tensor without elements is not there.
struct Affine {
  int64_t width, samples;
  const float *weight, *bias, *shift, *scale;

  explicit Affine(const Arguments &args)
      : width(args.dim(0, -1)),
        samples(args.optional(3) ? args.dim(3, 0) : 1),
        weight(args.optional(1)),
        bias(args.optional(2)),
        shift(args.optional(3)),
        scale(args.optional(4)) {}

  float weight_at(int64_t column) const { return weight ? weight[column] : 1.0f; }
  float bias_at(int64_t column) const { return bias ? bias[column] : 0.0f; }
  float growth_at(int64_t place) const { return scale ? 1.0f + scale[place] : 1.0f; }

  // gain (sample width) and, where wanted, offset.
  void tables(float *gain, float *offset) const {
    for (int64_t place = 0; place < samples * width; place++) {
      const int64_t column = place % width;
      gain[place] = weight_at(column) * growth_at(place);
      if (offset) offset[place] = bias_at(column) * growth_at(place) + (shift ? shift[place] : 0.0f);
    }
  }

  // The gradients from the sums over rows, plain (2 * width) before along, `stride` floats from sample to sample.
  void gradients(const float *sums, int64_t stride, float *dweight, float *dbias, float *dshift, float *dscale) const {
    std::fill(dweight, dweight + width, 0.0f);
    std::fill(dbias, dbias + width, 0.0f);
    for (int64_t place = 0; place < samples * width; place++) {
      const int64_t column = place % width;
      const float plain = sums[place / width * stride + column], along = sums[place / width * stride + width + column];
      dweight[column] += along * growth_at(place);
      dbias[column] += plain * growth_at(place);
      dshift[place] = plain;
      dscale[place] = along * weight_at(column) + plain * bias_at(column);
    }
  }
};

}  // namespace

// x (b ... d), weight (d), bias (d), shift (b d), scale (b d), eps, (centred) -> y, mean (rows), 1 / deviation (rows)
VGEN_KERNEL(row_norm_forward) {
  const Affine affine(args);
  const int64_t width = affine.width, rows = args.size(0) / width, rows_per_sample = rows / affine.samples;
  const bool centred = args.number(6, 0);
  const float eps = args.floats(5)[0];
  const float *x = args.floats(0);
  float *y = args.floats(7), *mean = args.floats(8), *rstd = args.floats(9);
  const Scratch tables(2 * affine.samples * width);
  float *gains = tables.get(), *offsets = gains + affine.samples * width;
  affine.tables(gains, offsets);
  in_parallel(rows, threads_for(rows * width), [=](int64_t row) {
    const float *from = x + row * width, *gain = gains + row / rows_per_sample * width;
    const float *offset = offsets + row / rows_per_sample * width;
    const RowMoments found = moments(from, width, centred, eps);
    mean[row] = found.mean;
    rstd[row] = found.rstd;
    float *to = y + row * width;
    each_part(width, [=](auto at) { at.store(to, found.normed(at.load(from)) * at.load(gain) + at.load(offset)); });
  });
}

// x, weight, bias, shift, scale, mean, 1 / deviation, dy, (centred) -> dx, dweight, dbias, dshift, dscale
VGEN_KERNEL(row_norm_backward) {
  const Affine affine(args);
  const int64_t width = affine.width, rows = args.size(0) / width;
  const RowGradient<false> gradient{width,          args.number(8, 0) != 0, args.floats(0), args.floats(5), args.floats(6),
                          args.floats(7), args.floats(9)};
  const Chunks chunks(affine.samples, rows);
  const Scratch gains(affine.samples * width), partial(chunks.count() * 2 * width);
  affine.tables(gains.get(), nullptr);
  const float *gain = gains.get();
  float *sums = partial.get();
  in_parallel(chunks.count(), threads_for(rows * width), [=](int64_t chunk) {
    constexpr int TOGETHER = 4;
    float *plain = sums + chunk * 2 * width, *along = plain + width;
    std::fill(plain, plain + 2 * width, 0.0f);
    const float *here = gain + chunks.sample(chunk) * width;
    int64_t row = chunks.first(chunk);
    const int64_t end = chunks.last(chunk);
    for (; row + TOGETHER <= end; row += TOGETHER) gradient.rows<TOGETHER>(row, {here, nullptr, plain, along});
    for (; row < end; row++) gradient.rows<1>(row, {here, nullptr, plain, along});
  });
  chunks.add_up(sums, 2 * width);
  affine.gradients(sums, chunks.per_sample * 2 * width, args.floats(10), args.floats(11), args.floats(12),
                   args.floats(13));
}

// x (b ... d), gate (b d), y -> x + gate y
VGEN_KERNEL(gated_add_forward) {
  const int64_t width = args.dim(0, -1), rows = args.size(0) / width, rows_per_sample = rows / args.dim(1, 0);
  const float *x = args.floats(0), *gate = args.floats(1), *y = args.floats(2);
  float *out = args.floats(3);
  in_parallel(rows, threads_for(rows * width), [=](int64_t row) {
    const float *from = x + row * width, *added = y + row * width, *share = gate + row / rows_per_sample * width;
    float *to = out + row * width;
    each_part(width, [=](auto at) { at.store(to, at.load(from) + at.load(share) * at.load(added)); });
  });
}

// gate, y, dout -> dgate, dy; the gradient of x is dout
VGEN_KERNEL(gated_add_backward) {
  const int64_t width = args.dim(1, -1), rows = args.size(1) / width;
  const float *gate = args.floats(0), *y = args.floats(1), *dout = args.floats(2);
  float *dgate = args.floats(3), *dy = args.floats(4);
  const Chunks chunks(args.dim(0, 0), rows);
  const Scratch partial(chunks.count() * width);
  float *sums = partial.get();
  in_parallel(chunks.count(), threads_for(rows * width), [=](int64_t chunk) {
    float *sum = sums + chunk * width;
    std::fill(sum, sum + width, 0.0f);
    const float *share = gate + chunks.sample(chunk) * width;
    for (int64_t row = chunks.first(chunk); row < chunks.last(chunk); row++) {
      const float *gradient = dout + row * width, *added = y + row * width;
      float *to = dy + row * width;
      each_part(width, [=](auto at) {
        const Vec g = at.load(gradient);
        at.store(sum, at.load(sum) + g * at.load(added));
        at.store(to, g * at.load(share));
      });
    }
  });
  chunks.add_up(sums, width);
  for (int64_t sample = 0; sample < chunks.samples; sample++) {
    const float *sum = sums + sample * chunks.per_sample * width;
    std::copy(sum, sum + width, dgate + sample * width);
  }
}
