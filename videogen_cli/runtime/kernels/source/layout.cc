// Reordering of axes.
//
// Axes that stay next to each other count as one. Where the last axis stays last, runs of it are copied. Else one axis
// is last in the input and another one in the output, and tiles of those two are transposed in registers.
#include <vector>

#include "elementwise.h"
#include "transpose.h"

using namespace vgen;

namespace {

// An axis of the output: its length, and the distance of its elements in the input and in the output.
struct Axis {
  int64_t length, from, to;
};

// The axes of the output, without those of length 1, merged where the input allows it.
std::vector<Axis> merged_axes(const Arguments &args) {
  const int rank = args.ndim(0);
  std::vector<int64_t> strides(rank, 1);
  for (int axis = rank - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * args.dim(0, axis + 1);
  std::vector<Axis> axes;
  for (int position = 0; position < rank; position++) {
    const int64_t axis = args.number(1, position), length = args.dim(0, axis), stride = strides[axis];
    if (length == 1) continue;
    if (!axes.empty() && axes.back().from == stride * length) {
      axes.back() = {axes.back().length * length, stride, 1};
    } else {
      axes.push_back({length, stride, 1});
    }
  }
  if (axes.empty()) axes.push_back({1, 1, 1});
  for (int axis = static_cast<int>(axes.size()) - 2; axis >= 0; axis--) {
    axes[axis].to = axes[axis + 1].to * axes[axis + 1].length;
  }
  return axes;
}

int64_t elements(const std::vector<Axis> &axes) {
  int64_t product = 1;
  for (const Axis &axis : axes) product *= axis.length;
  return product;
}

// Where element `index` of some axes is in the input and in the output.
struct Place {
  int64_t from = 0, to = 0;

  Place(const std::vector<Axis> &axes, int64_t index) {
    for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
      from += index % axis->length * axis->from;
      to += index % axis->length * axis->to;
      index /= axis->length;
    }
  }
};

// to[c * to_stride + r] = from[r * from_stride + c] for LANES rows and columns.
void transpose_tile(const float *from, int64_t from_stride, float *to, int64_t to_stride) {
  Vec rows[LANES];
#pragma GCC unroll 16
  for (int row = 0; row < LANES; row++) rows[row] = load(from + row * from_stride);
  transpose(rows);
#pragma GCC unroll 16
  for (int row = 0; row < LANES; row++) store(to + row * to_stride, rows[row]);
}

// The same for any number of rows and columns.
void transpose_block(const float *from, int64_t from_stride, float *to, int64_t to_stride, int64_t rows,
                     int64_t columns) {
  for (int64_t c = 0; c < columns; c += LANES) {
    for (int64_t r = 0; r < rows; r += LANES) {
      const int64_t height = std::min<int64_t>(LANES, rows - r), width = std::min<int64_t>(LANES, columns - c);
      const float *source = from + r * from_stride + c;
      float *target = to + c * to_stride + r;
      if (height == LANES && width == LANES) {
        transpose_tile(source, from_stride, target, to_stride);
        continue;
      }
      for (int64_t column = 0; column < width; column++) {
        for (int64_t row = 0; row < height; row++) target[column * to_stride + row] = source[row * from_stride + column];
      }
    }
  }
}

constexpr int64_t BLOCK = 64;  // of an axis, for one task

int64_t blocks(const Axis &axis) { return (axis.length + BLOCK - 1) / BLOCK; }

void copy_runs(const float *x, float *y, std::vector<Axis> axes, int threads) {
  const int64_t run = axes.back().length;
  axes.pop_back();
  const Axis inner = axes.empty() ? Axis{1, 0, 0} : axes.back();
  if (!axes.empty()) axes.pop_back();
  in_parallel(elements(axes) * blocks(inner), threads, [&](int64_t task) {
    const Place place(axes, task / blocks(inner));
    const int64_t first = task % blocks(inner) * BLOCK, end = std::min(inner.length, first + BLOCK);
    for (int64_t index = first; index < end; index++) {
      std::copy_n(x + place.from + index * inner.from, run, y + place.to + index * inner.to);
    }
  });
}

void transpose_axes(const float *x, float *y, std::vector<Axis> axes, int threads) {
  const Axis rows = axes.back();  // last in the output
  axes.pop_back();
  const auto last = std::find_if(axes.begin(), axes.end(), [](const Axis &axis) { return axis.from == 1; });
  const Axis columns = *last;  // last in the input
  axes.erase(last);
  const int64_t down = blocks(rows), across = blocks(columns);
  in_parallel(elements(axes) * down * across, threads, [&](int64_t task) {
    const Place place(axes, task / (down * across));
    const int64_t row = task % down * BLOCK, column = task / down % across * BLOCK;
    transpose_block(x + place.from + row * rows.from + column, rows.from, y + place.to + column * columns.to + row,
                    columns.to, std::min(BLOCK, rows.length - row), std::min(BLOCK, columns.length - column));
  });
}

}  // namespace

// x, (axes) -> x with its axes in that order
VGEN_KERNEL(permute) {
  const std::vector<Axis> axes = merged_axes(args);
  const int threads = threads_for(args.size(0));
  if (axes.back().from == 1) {
    copy_runs(args.floats(0), args.floats(2), axes, threads);
  } else {
    transpose_axes(args.floats(0), args.floats(2), axes, threads);
  }
}
