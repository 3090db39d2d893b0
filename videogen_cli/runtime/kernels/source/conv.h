// Convolutions as products of matrices, where the large factor is gathered from the image panel by panel: its columns
// are the output points of all images in turn, its rows the pairs (channel, tap). Planar images stay as they are.
#pragma once

#include <array>
#include <vector>

#include "conv_tile.h"

namespace vgen {

using Triple = std::array<int64_t, 3>;  // along frames, height and width

inline int64_t points(const Triple &extent) { return extent[0] * extent[1] * extent[2]; }

// Frames, height and width of x (b c h w) or (b c f h w).
inline Triple extent(const Arguments &args, int index) {
  return {args.ndim(index) == 5 ? args.dim(index, 2) : 1, args.dim(index, -2), args.dim(index, -1)};
}

// The numbers a convolution is called with: strides, the six paddings, dilations, and whether the frames beyond the
// ends are copies of the end frames instead of zeros.
struct Geometry {
  Triple stride, before, after, dilation;
  bool repeat_frames;

  Geometry(const Arguments &args, int index) {
    for (int axis = 0; axis < 3; axis++) {
      stride[axis] = args.number(index, axis);
      before[axis] = args.number(index, 3 + 2 * axis);
      after[axis] = args.number(index, 4 + 2 * axis);
      dilation[axis] = args.number(index, 9 + axis);
    }
    repeat_frames = args.number(index, 12) != 0;
  }
};

// The taps of a kernel in the order of its weights.
inline std::vector<Triple> taps_of(const Triple &kernel) {
  std::vector<Triple> taps;
  for (int64_t f = 0; f < kernel[0]; f++) {
    for (int64_t h = 0; h < kernel[1]; h++) {
      for (int64_t w = 0; w < kernel[2]; w++) taps.push_back({f, h, w});
    }
  }
  return taps;
}

// What the matrix is gathered from: column (f, h, w) and a tap read the point `column * step + tap` of the source.
struct Sampling {
  const float *x;
  int64_t images, channels;
  Triple source, columns;  // extents
  Triple step;
  std::vector<Triple> taps;
  bool repeat_frames;

  int64_t column_count() const { return images * points(columns); }
  int64_t tap_count() const { return static_cast<int64_t>(taps.size()); }
};

Sampling sampling_of(const float *x, int64_t images, int64_t channels, const Triple &source, const Triple &columns,
                     const Triple &kernel, const Geometry &geometry);

// Where some neighbouring columns read, worked out once for all channels.
class Columns {
 public:
  Columns(const Sampling &sampling, int64_t vecs);

  // Takes the columns from `first` on, `vecs` vectors of them; those behind the last are zeros.
  void locate(int64_t first, int64_t vecs);

  // Writes the rows of `count` channels from `channel` on, the taps of each in turn, one row right behind the other.
  void gather(int64_t channel, int64_t count, float *to) const;

 private:
  // Points that LANES neighbouring columns read at no tap: of their image's first point, and the coordinates there.
  struct Lanes {
    VecI image, f, h, w;  // image < 0 behind the last column
    int64_t apart;        // their distance in memory at every tap; 0 if it differs, or is more than 2
  };

  // What such columns read at a tap. Places are counted from channel 0 of image 0.
  struct Reading {
    int64_t start;  // lane i reads start + i * apart unless that is 0
    int64_t apart;
    bool is_empty;  // no lane is inside
    VecI inside;  // all bits set, or none
    VecI places;  // 0 outside
  };

  Lanes lanes_of(int64_t first) const;
  Reading reading(const Lanes &lanes, const Triple &tap) const;
  template <int APART>
  void gather_apart(const float *from, float *to) const;
  void gather_carefully(const float *from, bool is_within, float *to) const;

  const Sampling &sampling_;
  int64_t vecs_ = 0;
  std::vector<Reading> readings_;  // (tap, vector)
  int64_t lowest_, highest_;       // starts
  int64_t apart_;                  // of all lanes, or 0
};

// A matrix (rows, channels * taps) within the weights: rows are `row` apart, channels `channel`, and taps at `taps`.
struct Weights {
  const float *data;
  int64_t rows, row, channel;
  std::vector<int64_t> taps;

  // Where the first `channels` * taps elements of a row are.
  std::vector<int32_t> places(int64_t channels) const {
    std::vector<int32_t> all;
    all.reserve(channels * taps.size());
    for (int64_t c = 0; c < channels; c++) {
      for (const int64_t tap : taps) all.push_back(static_cast<int32_t>(c * channel + tap));
    }
    return all;
  }
};

// Where products go: column (f, h, w) to the point `column * step + first`, plus bias and residual if there are some.
struct Target {
  float *out;
  const float *bias, *residual;
  Triple extent, step, first;
};

// Convolutions of a 3x3 window with fewer multiplications, see conv_winograd.cc.
bool suits_winograd(const Sampling &sampling, const Weights &weights, const Target &target);
void convolve_winograd(const Sampling &sampling, const Weights &weights, const Target &target);

// How work is shared: `columns` x `rows` tasks of nearly equal size, a few more than would fit the caches at least.
struct Tasks {
  int64_t columns, rows;
};

// The split of `panels` x `blocks` for which the busiest thread has least to do; a task has at most so many of each.
Tasks split(int64_t panels, int64_t most_panels, int64_t blocks, int64_t most_blocks);

// The first of the things that part `index` of `parts` has.
inline int64_t part(int64_t count, int64_t parts, int64_t index) { return count * index / parts; }

inline int64_t divided_up(int64_t count, int64_t size) { return (count + size - 1) / size; }

// What of the inner axis of a product stays in the first cache: this many rows of a panel.
constexpr int64_t DEPTH = 288;

}  // namespace vgen
