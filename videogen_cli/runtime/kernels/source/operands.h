// How the two factors of a product lie in memory.
//
// The left one, A, has block(): where elements (r, k) of a range of rows and of depth are; what is PACKED is copied to
// `scratch` first. The right one, B, has pack(): it copies a range of depth and of columns into panels of TILE_VECS
// vectors, the last one narrower, with zeros after the last column. Copies go by STRIP rows, which the first-level
// cache holds until they are complete. An Order says where in memory a row is.
#pragma once

#include "gemm.h"
#include "transpose.h"

namespace vgen {

constexpr int64_t STRIP = 16;

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t unit) { return ceil_div(a, unit) * unit; }

struct InOrder {
  int64_t place(int64_t row) const { return row; }
};

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

// A column-major: element (r, k) at data[k * stride + r]. While the first columns of B are used, it is also added up
// over k into `totals` (rows), if there are any.
struct LeftColumns {
  static constexpr bool PACKED = true;
  const float *data;
  int64_t stride;
  float *totals = nullptr;

  LeftBlock block(int64_t row, int64_t rows, int64_t k, int64_t depth, float *scratch, bool first) const {
    for (int64_t i = 0; i < depth; i += STRIP) {
      const int64_t strip = std::min(STRIP, depth - i);
      for (int64_t r = 0; r < rows; r += TILE_ROWS) {
        const float *from = data + (k + i) * stride + row + r;
        copy_tile(from, strip, std::min<int64_t>(TILE_ROWS, rows - r), scratch + r * depth + i * TILE_ROWS);
      }
    }
    for (int64_t r = 0; totals && first && r < rows; r += TILE_ROWS) {
      add_up(scratch + r * depth, depth, std::min<int64_t>(TILE_ROWS, rows - r), totals + row + r, k == 0);
    }
    return {scratch, depth, 1, TILE_ROWS};
  }

 private:
  void copy_tile(const float *from, int64_t depth, int64_t rows, float *to) const {
    for (int64_t i = 0; i < depth; i++, from += stride, to += TILE_ROWS) {
      __builtin_prefetch(from + STRIP * stride);
      if (rows == TILE_ROWS) {
        std::copy(from, from + TILE_ROWS, to);
      } else {
        std::copy(from, from + rows, to);
      }
    }
  }

  static void add_up(const float *tile, int64_t depth, int64_t rows, float *totals, bool start) {
    float sums[TILE_ROWS] = {};
    for (int64_t i = 0; i < depth; i++) {
      for (int r = 0; r < TILE_ROWS; r++) sums[r] += tile[i * TILE_ROWS + r];
    }
    for (int64_t r = 0; r < rows; r++) totals[r] = (start ? 0.0f : totals[r]) + sums[r];
  }
};

// B row-major: element (k, c) at data[place(k) * stride + c].
template <class Order = InOrder>
struct RightRows {
  const float *data;
  int64_t stride;
  Order order = {};

  void pack(int64_t k, int64_t depth, int64_t col, int64_t cols, float *panels) const {
    for (int64_t i = 0; i < depth; i += STRIP) {
      const int64_t strip = std::min(STRIP, depth - i);
      for (int64_t c = 0; c < cols; c += TILE_COLS) {
        const int64_t count = std::min<int64_t>(TILE_COLS, cols - c);
        copy_panel(k + i, strip, col + c, count, panels + c * depth + i * round_up(count, LANES));
      }
    }
  }

 private:
  void copy_panel(int64_t k, int64_t depth, int64_t col, int64_t cols, float *to) const {
    const int64_t whole = cols / LANES * LANES;
    for (int64_t i = 0; i < depth; i++) {
      const float *from = data + order.place(k + i) * stride + col;
      for (int64_t c = 0; c < whole; c += LANES, to += LANES) {
        __builtin_prefetch(from + STRIP * stride + c);
        store(to, load(from + c));
      }
      if (whole < cols) {
        store(to, load_part(from + whole, cols - whole));
        to += LANES;
      }
    }
  }
};

// B column-major: element (k, c) at data[place(c) * stride + k].
template <class Order = InOrder>
struct RightColumns {
  const float *data;
  int64_t stride;
  Order order = {};

  void pack(int64_t k, int64_t depth, int64_t col, int64_t cols, float *panels) const {
    for (int64_t c = 0; c < cols; c += LANES) {
      const int64_t panel = c / TILE_COLS * TILE_COLS, count = std::min<int64_t>(LANES, cols - c);
      const int64_t width = std::min<int64_t>(TILE_COLS, round_up(cols - panel, LANES));
      const float *from[LANES];
      for (int lane = 0; lane < count; lane++) from[lane] = data + order.place(col + c + lane) * stride + k;
      transpose_rows(from, depth, count, panels + panel * depth + c - panel, width);
    }
  }

 private:
  static void transpose_rows(const float *const *from, int64_t depth, int64_t count, float *to, int64_t width) {
    const int64_t whole = depth / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
      Vec block[LANES];
      for (int lane = 0; lane < LANES; lane++) block[lane] = lane < count ? load(from[lane] + i) : Vec{};
      transpose(block);
      for (int lane = 0; lane < LANES; lane++) store(to + (i + lane) * width, block[lane]);
    }
    for (int64_t i = whole; i < depth; i++) {
      for (int lane = 0; lane < LANES; lane++) to[i * width + lane] = lane < count ? from[lane][i] : 0.0f;
    }
  }
};

}  // namespace vgen
