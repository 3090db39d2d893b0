// Convolution and its gradient for the input, which is a convolution too (Dumoulin and Visin 2016, arXiv:1603.07285).
//
// A task has a strip of columns and some rows (output channels). Channels are taken in chunks: panel by panel a chunk
// is gathered into the first cache and multiplied with all of the task's rows, whose weights are read in place.
#include "conv.h"

namespace vgen {
namespace {

constexpr int64_t MOST_PANELS = 6, MOST_BLOCKS = 320 / TILE_ROWS;

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
    const int64_t line_start = (((image * rows + row) * extent[0] + f) * extent[1] + h) * extent[2];
    const int64_t at = line_start + target.first[2] + w * step[2];
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

// A task of convolve(): panels of columns, rows, and what it needs to know of the whole.
struct Task {
  const Sampling &sampling;
  const Weights &weights;
  const Target &target;
  const std::vector<int32_t> &places;
  int64_t chunk, vecs, panels;
  int64_t first_panel, panel_end, first_row, row_end;

  int64_t first_vec(int64_t panel) const { return part(vecs, panels, panel); }
  int64_t width(int64_t panel) const { return first_vec(panel + 1) - first_vec(panel); }

  // The sums of a panel: blocks of TILE_ROWS rows, each `width` vectors wide.
  float *block(float *sums, int64_t panel, int64_t row) const {
    const int64_t rows = (row_end - first_row + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    return sums + (panel - first_panel) * rows * TILE_COLS + (row - first_row) * width(panel) * LANES;
  }

  void multiply(Columns *columns, float *gathered, float *sums) const {
    for (int64_t p = first_panel; p < panel_end; p++) columns[p - first_panel].locate(first_vec(p) * LANES, width(p));
    for (int64_t channel = 0; channel < sampling.channels; channel += chunk) {
      const int64_t channels = std::min(chunk, sampling.channels - channel), depth = channels * sampling.tap_count();
      for (int64_t p = first_panel; p < panel_end; p++) {
        columns[p - first_panel].gather(channel, channels, gathered);
        for (int64_t row = first_row; row < row_end; row += TILE_ROWS) {
          const float *a = weights.data + row * weights.row + channel * weights.channel;
          placed_rows_of(width(p), std::min<int64_t>(TILE_ROWS, row_end - row), a, weights.row, places.data(), gathered,
                         depth, block(sums, p, row), channel > 0, target.bias ? target.bias + row : nullptr);
        }
      }
    }
  }

  void finish(float *sums) const {
    const int64_t count = sampling.column_count();
    for (int64_t p = first_panel; p < panel_end; p++) {
      const int64_t first = first_vec(p) * LANES, end = std::min(count, first_vec(p + 1) * LANES);
      for (int64_t row = first_row; row < row_end; row++) {
        write(target, sampling, weights.rows, row, first, end - first, block(sums, p, row));
      }
    }
  }
};

// The weights times the gathered matrix.
void convolve(const Sampling &sampling, const Weights &weights, const Target &target) {
  if (suits_winograd(sampling, weights, target)) return convolve_winograd(sampling, weights, target);
  const int64_t vecs = divided_up(sampling.column_count(), LANES), panels = divided_up(vecs, TILE_VECS);
  const int64_t taps = std::max<int64_t>(1, sampling.tap_count()), blocks = divided_up(weights.rows, TILE_ROWS);
  const int64_t chunks = divided_up(sampling.channels, std::max<int64_t>(1, DEPTH / taps));
  const int64_t chunk = divided_up(sampling.channels, chunks);
  const Tasks tasks = split(panels, MOST_PANELS, blocks, MOST_BLOCKS);
  const int64_t task_panels = divided_up(panels, tasks.columns), task_rows = divided_up(blocks, tasks.rows) * TILE_ROWS;

  const std::vector<int32_t> places = weights.places(chunk);
  const int team = threads_for(sampling.column_count() * weights.rows * sampling.channels * taps);
  const int64_t gathered_size = chunk * taps * TILE_COLS, sums_size = task_panels * task_rows * TILE_COLS;
  Scratch scratch(team * (gathered_size + sums_size));
  std::vector<Columns> columns(team * task_panels, Columns(sampling, TILE_VECS));
  parallel(tasks.columns * tasks.rows, team, [&](int64_t index, int thread) {
    float *gathered = scratch.get() + thread * (gathered_size + sums_size), *sums = gathered + gathered_size;
    const int64_t across = index % tasks.columns, down = index / tasks.columns;
    const Task task{sampling,
                    weights,
                    target,
                    places,
                    chunk,
                    vecs,
                    panels,
                    part(panels, tasks.columns, across),
                    part(panels, tasks.columns, across + 1),
                    part(blocks, tasks.rows, down) * TILE_ROWS,
                    std::min(weights.rows, part(blocks, tasks.rows, down + 1) * TILE_ROWS)};
    task.multiply(columns.data() + thread * task_panels, gathered, sums);
    task.finish(sums);
  });
}

// A convolution whose gradient is asked for: of weights (o, c, kernel), from the gradient dy of its output.
struct Transposed {
  const float *dy, *weights;
  int64_t images, o, c;
  Triple dy_extent, kernel;
  Geometry geometry;

  // The target's points of one remainder after division by the strides: only some taps reach them, each the points of
  // dy one after the other, so that these are a convolution of stride 1.
  void spread_to(Target target, const Triple &remainder) const {
    Triple columns;
    for (int axis = 0; axis < 3; axis++) {
      columns[axis] = (target.extent[axis] - remainder[axis] + geometry.stride[axis] - 1) / geometry.stride[axis];
      if (columns[axis] <= 0) return;
    }
    Sampling sampling{dy, images, o, dy_extent, columns, {1, 1, 1}, {}, false};
    Weights chosen{weights, c, points(kernel), c * points(kernel), {}};
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
      chosen.taps.push_back(static_cast<int64_t>(index));
      sampling.taps.push_back(shift);
    }
    target.step = geometry.stride;
    target.first = remainder;
    convolve(sampling, chosen, target);
  }

  void spread(const Target &target) const {
    const Triple &stride = geometry.stride;
    for (int64_t f = 0; f < stride[0]; f++) {
      for (int64_t h = 0; h < stride[1]; h++) {
        for (int64_t w = 0; w < stride[2]; w++) spread_to(target, {f, h, w});
      }
    }
  }

  // Adds the gradient of `frames` copies of an end frame, the first of them `position` frames from frame 0, to its own.
  void add_copies(const Target &target, int64_t frames, int64_t position) const {
    if (frames == 0) return;
    const Triple &extent = target.extent;
    const int64_t plane = extent[1] * extent[2], end = position < 0 ? 0 : extent[0] - 1;
    Scratch copies(images * c * frames * plane);
    Transposed beyond = *this;
    beyond.geometry.before[0] += position;
    beyond.spread({copies.get(), nullptr, nullptr, {frames, extent[1], extent[2]}, {}, {}});
    for (int64_t image = 0; image < images * c; image++) {
      float *to = target.out + (image * extent[0] + end) * plane;
      for (int64_t i = 0; i < frames * plane; i++) to[i % plane] += copies.get()[image * frames * plane + i];
    }
  }
};

Triple kernel_of(const Arguments &args, int index) { return extent(args, index); }

}  // namespace
}  // namespace vgen

using namespace vgen;

// x, weight, bias, residual, geometry -> out
VGEN_KERNEL(convolution_forward) {
  const Triple columns = extent(args, 5);
  const Sampling sampling = sampling_of(args.floats(0), args.dim(0, 0), args.dim(0, 1), extent(args, 0), columns,
                                        kernel_of(args, 1), Geometry(args, 4));
  const int64_t taps = sampling.tap_count();
  Weights weights{args.floats(1), args.dim(1, 0), sampling.channels * taps, taps, {}};
  for (int64_t tap = 0; tap < taps; tap++) weights.taps.push_back(tap);
  convolve(sampling, weights,
           {args.floats(5), args.optional(2), args.optional(3), columns, {1, 1, 1}, {}});
}

// dy, weight, bias, geometry, extent of dx -> dx, plus bias for a transposed convolution
VGEN_KERNEL(convolution_input) {
  const Geometry geometry(args, 3);
  const Triple dx_extent = extent(args, 5);
  const int64_t o = args.dim(1, 0), c = args.dim(1, 1);
  const Target target{args.floats(5), args.optional(2), nullptr, dx_extent, {}, {}};
  const Transposed transposed{args.floats(0), args.floats(1),      args.dim(0, 0),     o,
                              c,              extent(args, 0),     kernel_of(args, 1), geometry};
  transposed.spread(target);
  if (geometry.repeat_frames) {
    transposed.add_copies(target, geometry.before[0], -geometry.before[0]);
    transposed.add_copies(target, geometry.after[0], dx_extent[0]);
  }
}
