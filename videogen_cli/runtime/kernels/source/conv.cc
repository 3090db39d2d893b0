// Convolution and its gradient for the input, which is a convolution too (Dumoulin and Visin 2016, arXiv:1603.07285).
//
// A task has a strip of columns and some rows (output channels). Channels are taken in chunks: panel by panel a chunk is
// gathered into the first cache and multiplied with all of the task's rows, whose weights are read in place.
#include "conv.h"

namespace vgen {
namespace {

constexpr int64_t MOST_PANELS = 6, MOST_BLOCKS = 320 / TILE_ROWS;

// Where products go: column (f, h, w) to the point `column * step + first`, plus bias and residual if there are some.
struct Target {
  float *out;
  const float *bias, *residual;
  Triple extent, step, first;
};

// Writes a row of columns from `first` on, which `values` holds, to channel `row` of `rows`.
void write(const Target &target, const Sampling &sampling, int64_t rows, int64_t row, int64_t first, int64_t count,
           const float *values) {
  const Triple &columns = sampling.columns, &extent = target.extent, &step = target.step;
  const int64_t lines = columns[0] * columns[1];
  while (count > 0) {
    const int64_t w = first % columns[2], line = first / columns[2] % lines, image = first / (columns[2] * lines);
    const int64_t f = line / columns[1] * step[0] + target.first[0], h = line % columns[1] * step[1] + target.first[1];
    const bool is_dense = step == Triple{1, 1, 1};
    const int64_t run = std::min(count, is_dense ? (lines - line) * columns[2] - w : columns[2] - w);
    const int64_t at = (((image * rows + row) * extent[0] + f) * extent[1] + h) * extent[2] + target.first[2] + w * step[2];
    float *to = target.out + at;
    if (target.residual) {
      for (int64_t i = 0; i < run; i++) to[i * step[2]] = values[i] + target.residual[at + i * step[2]];
    } else if (step[2] == 1) {
      std::copy(values, values + run, to);
    } else {
      for (int64_t i = 0; i < run; i++) to[i * step[2]] = values[i];
    }
    values += run;
    first += run;
    count -= run;
  }
}

// weights (rows, channels * taps) times the gathered matrix.
void convolve(const Sampling &sampling, const float *weights, int64_t rows, const Target &target) {
  const int64_t count = sampling.column_count(), vecs = divided_up(count, LANES), panels = divided_up(vecs, TILE_VECS);
  const int64_t taps = sampling.tap_count(), lda = sampling.channels * taps, blocks = divided_up(rows, TILE_ROWS);
  const int64_t chunks = divided_up(sampling.channels, std::max<int64_t>(1, DEPTH / std::max<int64_t>(1, taps)));
  const int64_t chunk = divided_up(sampling.channels, chunks);
  const Tasks tasks = split(panels, MOST_PANELS, blocks, MOST_BLOCKS);
  const int64_t task_panels = divided_up(panels, tasks.columns), task_rows = divided_up(blocks, tasks.rows) * TILE_ROWS;

  const int team = threads_for(count * rows * lda);
  const int64_t panel_size = chunk * taps * TILE_COLS, sums_size = task_panels * task_rows * TILE_COLS;
  Scratch scratch(team * (panel_size + sums_size));
  std::vector<Columns> places(team * task_panels, Columns(sampling, TILE_VECS));
#pragma omp parallel for num_threads(team) schedule(dynamic)
  for (int64_t task = 0; task < tasks.columns * tasks.rows; task++) {
    const int thread = omp_get_thread_num();
    float *panel = scratch.get() + thread * (panel_size + sums_size), *sums = panel + panel_size;
    Columns *place = places.data() + thread * task_panels;
    const int64_t row_part = task / tasks.columns, column_part = task % tasks.columns;
    const int64_t first_row = part(blocks, tasks.rows, row_part) * TILE_ROWS;
    const int64_t row_end = std::min(rows, part(blocks, tasks.rows, row_part + 1) * TILE_ROWS);
    const int64_t first_panel = part(panels, tasks.columns, column_part);
    const int64_t panel_end = part(panels, tasks.columns, column_part + 1);
    auto first_vec = [&](int64_t p) { return part(vecs, panels, p); };
    for (int64_t p = first_panel; p < panel_end; p++) {
      place[p - first_panel].locate(first_vec(p) * LANES, first_vec(p + 1) - first_vec(p));
    }
    for (int64_t channel = 0; channel < sampling.channels; channel += chunk) {
      const int64_t channels = std::min(chunk, sampling.channels - channel);
      for (int64_t p = first_panel; p < panel_end; p++) {
        const int64_t width = first_vec(p + 1) - first_vec(p);
        place[p - first_panel].gather(channel, channels, panel, width * LANES);
        for (int64_t row = first_row; row < row_end; row += TILE_ROWS) {
          rows_of(width, std::min<int64_t>(TILE_ROWS, row_end - row), weights + row * lda + channel * taps, lda, 1, panel,
                  channels * taps, sums + ((p - first_panel) * task_rows + row - first_row) * TILE_COLS, TILE_COLS,
                  channel > 0, target.bias ? target.bias + row : nullptr);
        }
      }
    }
    for (int64_t p = first_panel; p < panel_end; p++) {
      const int64_t first = first_vec(p) * LANES, end = std::min(count, first_vec(p + 1) * LANES);
      for (int64_t row = first_row; row < row_end; row++) {
        write(target, sampling, rows, row, first, end - first,
              sums + ((p - first_panel) * task_rows + row - first_row) * TILE_COLS);
      }
    }
  }
}

// weights (o, c, all taps) as (c, o, chosen taps).
void transpose_weights(const float *weights, int64_t o, int64_t c, int64_t all, const std::vector<int64_t> &chosen,
                       float *to) {
  constexpr int64_t BLOCK = 16;
  const int64_t taps = chosen.size();
#pragma omp parallel for num_threads(threads_for(o * c * taps)) schedule(static)
  for (int64_t block = 0; block < c; block += BLOCK) {
    for (int64_t row = 0; row < o; row++) {
      for (int64_t channel = block; channel < std::min(c, block + BLOCK); channel++) {
        const float *from = weights + (row * c + channel) * all;
        float *line = to + (channel * o + row) * taps;
        for (int64_t t = 0; t < taps; t++) line[t] = from[chosen[t]];
      }
    }
  }
}

// A convolution whose gradient is asked for: of weights (o, c, kernel), from the gradient dy of its output.
struct Transposed {
  const float *dy, *weights;
  int64_t images, o, c;
  Triple dy_extent, kernel;
  Geometry geometry;

  // The target's points of one remainder after division by the strides: only some taps reach them, each the points of dy
  // one after the other, so that these are a convolution of stride 1.
  void spread_to(Target target, const Triple &remainder, float *scratch) const {
    Triple columns;
    for (int axis = 0; axis < 3; axis++) {
      columns[axis] = (target.extent[axis] - remainder[axis] + geometry.stride[axis] - 1) / geometry.stride[axis];
      if (columns[axis] <= 0) return;
    }
    Sampling sampling{dy, images, o, dy_extent, columns, {1, 1, 1}, {}, false};
    std::vector<int64_t> chosen;
    const std::vector<Triple> taps = taps_of(kernel);
    for (size_t index = 0; index < taps.size(); index++) {
      Triple shift;
      bool reaches = true;
      for (int axis = 0; axis < 3; axis++) {
        const int64_t distance = remainder[axis] + geometry.before[axis] - taps[index][axis] * geometry.dilation[axis];
        reaches &= distance % geometry.stride[axis] == 0;
        shift[axis] = distance / geometry.stride[axis];
      }
      if (!reaches) continue;
      chosen.push_back(static_cast<int64_t>(index));
      sampling.taps.push_back(shift);
    }
    transpose_weights(weights, o, c, points(kernel), chosen, scratch);
    target.step = geometry.stride;
    target.first = remainder;
    convolve(sampling, scratch, c, target);
  }

  void spread(const Target &target, float *scratch) const {
    const Triple &stride = geometry.stride;
    for (int64_t f = 0; f < stride[0]; f++) {
      for (int64_t h = 0; h < stride[1]; h++) {
        for (int64_t w = 0; w < stride[2]; w++) spread_to(target, {f, h, w}, scratch);
      }
    }
  }

  // Adds the gradient of `frames` copies of an end frame, the first of them `position` frames from frame 0, to its own.
  void add_copies(const Target &target, int64_t frames, int64_t position, float *scratch) const {
    if (frames == 0) return;
    const Triple &extent = target.extent;
    const int64_t plane = extent[1] * extent[2], end = position < 0 ? 0 : extent[0] - 1;
    Scratch copies(images * c * frames * plane);
    Transposed beyond = *this;
    beyond.geometry.before[0] += position;
    beyond.spread({copies.get(), nullptr, nullptr, {frames, extent[1], extent[2]}, {}, {}}, scratch);
    for (int64_t image = 0; image < images * c; image++) {
      float *to = target.out + (image * extent[0] + end) * plane;
      for (int64_t i = 0; i < frames * plane; i++) to[i % plane] += copies.get()[image * frames * plane + i];
    }
  }
};

// An input that may be left out arrives as an empty tensor.
const float *optional(const Arguments &args, int index) {
  return args.dim(index, 0) == 0 ? nullptr : args.floats(index);
}

Triple kernel_of(const Arguments &args, int index) { return extent(args, index); }

}  // namespace
}  // namespace vgen

using namespace vgen;

// x, weight, bias, residual, geometry -> out
VGEN_KERNEL(convolution_forward) {
  const Triple columns = extent(args, 5);
  const Sampling sampling = sampling_of(args.floats(0), args.dim(0, 0), args.dim(0, 1), extent(args, 0), columns,
                                        kernel_of(args, 1), Geometry(args, 4));
  convolve(sampling, args.floats(1), args.dim(1, 0),
           {args.floats(5), optional(args, 2), optional(args, 3), columns, {1, 1, 1}, {}});
}

// dy, weight, bias, geometry, extent of dx -> dx, plus bias for a transposed convolution
VGEN_KERNEL(convolution_input) {
  const Geometry geometry(args, 3);
  const Triple dx_extent = extent(args, 5);
  const int64_t o = args.dim(1, 0), c = args.dim(1, 1);
  Scratch scratch(args.size(1));
  const Target target{args.floats(5), optional(args, 2), nullptr, dx_extent, {}, {}};
  const Transposed transposed{args.floats(0), args.floats(1),      args.dim(0, 0),     o,
                              c,              extent(args, 0),     kernel_of(args, 1), geometry};
  transposed.spread(target, scratch.get());
  if (geometry.repeat_frames) {
    transposed.add_copies(target, geometry.before[0], -geometry.before[0], scratch.get());
    transposed.add_copies(target, geometry.after[0], dx_extent[0], scratch.get());
  }
}
