// Gradients of a convolution's weights and bias.
//
// The weights' is a product too: gathered rows (channel, tap) times the transposed gradient of the output, summed over
// the columns of all images. A task has some channels and output channels, whose sums it keeps; it takes the columns in
// chunks, gathers its rows for them, and multiplies with panel after panel of output channels.
#include "conv.h"
#include "transpose.h"

namespace vgen {
namespace {

constexpr int64_t MOST_ROWS = 288, MOST_PANELS = 8;

// `count` pixels of up to LANES channels, `pixels` apart, as rows of LANES channels, `width` apart; zeros for absent
// channels.
void transpose_run(const float *from, int64_t pixels, int64_t channels, int64_t count, int64_t width, float *to) {
  if (count < LANES / 2) {
    for (int64_t lane = 0; lane < LANES; lane++) {
      for (int64_t i = 0; i < count; i++) to[i * width + lane] = lane < channels ? from[lane * pixels + i] : 0.0f;
    }
    return;
  }
  for (; count > 0; count -= LANES, from += LANES, to += LANES * width) {
    const int64_t run = std::min<int64_t>(count, LANES);
    Vec block[LANES];
    for (int64_t lane = 0; lane < LANES; lane++) {
      const float *row = from + lane * pixels;
      block[lane] = lane >= channels ? Vec{} : run == LANES ? load(row) : load_part(row, run);
    }
    transpose(block);
    for (int64_t i = 0; i < run; i++) store(to + i * width, block[i]);
  }
}

// dy (images, o, pixels) from column `first` on as rows of `width` output channels, from `channel` on.
void transpose_columns(const float *dy, int64_t o, int64_t pixels, int64_t first, int64_t count, int64_t channel,
                       int64_t width, float *to) {
  while (count > 0) {
    const int64_t pixel = first % pixels, run = std::min(count, pixels - pixel);
    const float *from = dy + (first / pixels * o + channel) * pixels + pixel;
    for (int64_t lane = 0; lane < width; lane += LANES) {
      transpose_run(from + lane * pixels, pixels, o - channel - lane, run, width, to + lane);
    }
    to += run * width;
    first += run;
    count -= run;
  }
}

void weight_gradient(const Sampling &sampling, const float *dy, int64_t o, float *dweight) {
  const int64_t count = sampling.column_count(), taps = sampling.tap_count(), channels = sampling.channels;
  const int64_t pixels = points(sampling.columns), vecs = divided_up(o, LANES), panels = divided_up(vecs, TILE_VECS);
  const Tasks tasks = split(panels, MOST_PANELS, channels, std::max<int64_t>(1, MOST_ROWS / taps));
  const int64_t task_panels = divided_up(panels, tasks.columns), task_rows = divided_up(channels, tasks.rows) * taps;
  constexpr int64_t CHUNK = DEPTH / LANES * LANES;

  std::vector<int32_t> places(CHUNK);
  for (int64_t k = 0; k < CHUNK; k++) places[k] = static_cast<int32_t>(k);
  const int team = threads_for(count * o * channels * taps);
  const int64_t gathered_size = task_rows * CHUNK, panel_size = CHUNK * TILE_COLS;
  const int64_t scratch_size = gathered_size + panel_size + task_panels * task_rows * TILE_COLS;
  Scratch scratch(team * scratch_size);
  std::vector<Columns> columns(team, Columns(sampling, CHUNK / LANES));
  parallel(tasks.columns * tasks.rows, team, [&](int64_t task, int thread) {
    float *gathered = scratch.get() + thread * scratch_size, *panel = gathered + gathered_size;
    float *sums = panel + panel_size;
    Columns &place = columns[thread];
    const int64_t channel = part(channels, tasks.rows, task / tasks.columns);
    const int64_t channel_end = part(channels, tasks.rows, task / tasks.columns + 1);
    const int64_t row_count = (channel_end - channel) * taps;
    const int64_t first_panel = part(panels, tasks.columns, task % tasks.columns);
    const int64_t panel_end = part(panels, tasks.columns, task % tasks.columns + 1);
    auto first_vec = [&](int64_t p) { return part(vecs, panels, p); };
    for (int64_t first = 0; first < count; first += CHUNK) {
      const int64_t depth = std::min(CHUNK, count - first);
      place.locate(first, divided_up(depth, LANES));
      place.gather(channel, channel_end - channel, gathered);
      const int64_t lda = divided_up(depth, LANES) * LANES;
      for (int64_t p = first_panel; p < panel_end; p++) {
        const int64_t width = first_vec(p + 1) - first_vec(p);
        transpose_columns(dy, o, pixels, first, depth, first_vec(p) * LANES, width * LANES, panel);
        for (int64_t row = 0; row < row_count; row += TILE_ROWS) {
          float *to = sums + (p - first_panel) * task_rows * TILE_COLS + row * width * LANES;
          placed_rows_of(width, std::min<int64_t>(TILE_ROWS, row_count - row), gathered + row * lda, lda, places.data(),
                         panel, depth, to, first > 0);
        }
      }
    }
    for (int64_t p = first_panel; p < panel_end; p++) {
      const float *from = sums + (p - first_panel) * task_rows * TILE_COLS;
      const int64_t first = first_vec(p) * LANES, width = (first_vec(p + 1) - first_vec(p)) * LANES;
      for (int64_t out = first; out < std::min(o, first + width); out++, from++) {
        float *to = dweight + (out * channels + channel) * taps;
        for (int64_t row = 0; row < row_count; row++) to[row] = from[row * width];
      }
    }
  });
}

// The sum of `count` floats: vectors in float32 over stretches, stretches in float64.
double sum_of(const float *from, int64_t count) {
  constexpr int64_t STRETCH = 64 * LANES;
  double total = 0;
  if (count < LANES) {
    for (int64_t i = 0; i < count; i++) total += from[i];
    return total;
  }
  while (count > 0) {
    const int64_t length = std::min(count, STRETCH);
    Vec sums{};
    int64_t i = 0;
    for (; i + LANES <= length; i += LANES) sums += load(from + i);
    if (i < length) sums += load_part(from + i, length - i);
    total += sum(sums);
    from += length;
    count -= length;
  }
  return total;
}

}  // namespace
}  // namespace vgen

using namespace vgen;

// x, dy, geometry, extent of the kernel -> dweight
VGEN_KERNEL(convolution_weight) {
  const Sampling sampling = sampling_of(args.floats(0), args.dim(0, 0), args.dim(0, 1), extent(args, 0),
                                        extent(args, 1), extent(args, 4), Geometry(args, 2));
  weight_gradient(sampling, args.floats(1), args.dim(1, 1), args.floats(4));
}

// dy (b c ...) -> its sum over all but channels
VGEN_KERNEL(channel_sums) {
  const int64_t images = args.dim(0, 0), channels = args.dim(0, 1), plane = args.size(0) / (images * channels);
  parallel(channels, threads_for(args.size(0)), [&](int64_t channel, int) {
    double total = 0;
    for (int64_t image = 0; image < images; image++) {
      total += sum_of(args.floats(0) + (image * channels + channel) * plane, plane);
    }
    args.floats(1)[channel] = static_cast<float>(total);
  });
}
