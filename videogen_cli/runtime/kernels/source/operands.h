// How the two factors of a product lie in memory.
//
// The left one, A, has block(): where elements (r, k) of a range of rows and of depth are, if need be in `scratch`, to
// which they are copied first. The right one, B, has vectors(): it copies LANES columns of a range of depth.
#pragma once

#include "gemm.h"
#include "transpose.h"

namespace vgen {

// Element (r, k) is at data[r * lda + k * step] for the TILE_ROWS rows of a tile, which begins at data + r * pitch.
struct LeftBlock {
  const float *data;
  int64_t pitch, lda, step;
};

// A row-major, read in place.
struct LeftRows {
  static constexpr bool PACKED = false;
  const float *data;
  int64_t stride;

  LeftBlock block(int64_t row, int64_t, int64_t k, int64_t, float *, bool) const {
    return {data + row * stride + k, stride, stride, 1};
  }
};

// A column-major: element (r, k) at data[k * stride + r]. Packed tile by tile, and added up over k into `totals` (rows)
// if there are any: once, with the first columns of B.
struct LeftColumns {
  static constexpr bool PACKED = true;
  const float *data;
  int64_t stride;
  float *totals = nullptr;

  LeftBlock block(int64_t row, int64_t rows, int64_t k, int64_t depth, float *scratch, bool first) const {
    for (int64_t r = 0; r < rows; r += TILE_ROWS) {
      const int64_t count = std::min<int64_t>(TILE_ROWS, rows - r);
      const float *from = data + k * stride + row + r;
      float *to = scratch + r * depth;
      if (count == TILE_ROWS) {
        for (int64_t i = 0; i < depth; i++) std::copy(from + i * stride, from + i * stride + TILE_ROWS, to + i * TILE_ROWS);
      } else {
        for (int64_t i = 0; i < depth; i++) std::copy(from + i * stride, from + i * stride + count, to + i * TILE_ROWS);
      }
      if (totals && first) add_totals(to, count, depth, totals + row + r, k == 0);
    }
    return {scratch, depth, 1, TILE_ROWS};
  }

 private:
  static void add_totals(const float *tile, int64_t rows, int64_t depth, float *totals, bool start) {
    float sums[TILE_ROWS] = {};
    for (int64_t i = 0; i < depth; i++) {
      for (int r = 0; r < TILE_ROWS; r++) sums[r] += tile[i * TILE_ROWS + r];
    }
    for (int64_t r = 0; r < rows; r++) totals[r] = (start ? 0.0f : totals[r]) + sums[r];
  }
};

// B row-major: element (k, c) at data[k * stride + c].
struct RightRows {
  const float *data;
  int64_t stride;

  void vectors(int64_t k, int64_t depth, int64_t col, int64_t cols, float *to, int64_t width) const {
    const float *from = data + k * stride + col;
    if (cols == LANES) {
      for (int64_t i = 0; i < depth; i++) store(to + i * width, load(from + i * stride));
    } else {
      for (int64_t i = 0; i < depth; i++) store(to + i * width, load_part(from + i * stride, cols));
    }
  }
};

// B column-major: element (k, c) at data[c * stride + k].
struct RightColumns {
  const float *data;
  int64_t stride;

  void vectors(int64_t k, int64_t depth, int64_t col, int64_t cols, float *to, int64_t width) const {
    const float *from = data + col * stride + k;
    const int64_t whole = depth / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
      Vec lanes[LANES];
      for (int c = 0; c < LANES; c++) lanes[c] = c < cols ? load(from + c * stride + i) : Vec{};
      transpose(lanes);
      for (int c = 0; c < LANES; c++) store(to + (i + c) * width, lanes[c]);
    }
    for (int64_t i = whole; i < depth; i++) {
      for (int c = 0; c < LANES; c++) to[i * width + c] = c < cols ? from[c * stride + i] : 0.0f;
    }
  }
};

// Pack `cols` columns of B into panels of TILE_VECS vectors, the last one narrower, zeros after the last column.
template <class B>
inline void pack_panels(const B &b, int64_t k, int64_t depth, int64_t col, int64_t cols, float *to) {
  for (int64_t c = 0; c < cols; c += LANES) {
    const int64_t panel = c / TILE_COLS * TILE_COLS;
    const int64_t left = (cols - panel + LANES - 1) / LANES * LANES;
    const int64_t width = std::min<int64_t>(TILE_COLS, left);
    b.vectors(k, depth, col + c, std::min<int64_t>(LANES, cols - c), to + panel * depth + c - panel, width);
  }
}

}  // namespace vgen
