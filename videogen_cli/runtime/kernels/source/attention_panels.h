// Between rows of a tensor and the lanes of a panel, and the product of what lies in panels.
#pragma once

#include "gemm.h"
#include "transpose.h"

namespace vgen::attention {

// A run of rows as the lanes of panels of up to TILE_VECS vectors, as equal as whole vectors allow.
struct Panels {
  int64_t rows, vecs, count;

  explicit Panels(int64_t rows)
      : rows(rows), vecs((rows + LANES - 1) / LANES), count((vecs + TILE_VECS - 1) / TILE_VECS) {}
  int64_t first(int64_t panel) const { return vecs * panel / count * LANES; }
  int64_t width(int64_t panel) const { return vecs * (panel + 1) / count - vecs * panel / count; }
  int64_t size(int64_t panel) const { return std::min(rows, first(panel + 1)) - first(panel); }
};

// Writes `written` rows of LANES floats: the columns of the `given` rows of LANES floats at `from`, times `factor`.
// Where fewer than LANES rows are given the last one stands for the missing ones.
inline void transpose_block(const float *from, int64_t from_stride, int64_t given, float *to, int64_t to_stride,
                            int64_t written, Vec factor) {
  Vec rows[LANES];
#pragma GCC unroll 16
  for (int64_t row = 0; row < LANES; row++) rows[row] = load(from + std::min(row, given - 1) * from_stride) * factor;
  transpose(rows);
#pragma GCC unroll 16
  for (int64_t row = 0; row < LANES; row++) {
    if (row < written) store(to + row * to_stride, rows[row]);
  }
}

// Packs `count` rows of `dim` floats, times `factor`, into a panel (dim x vecs*LANES). Lanes without a row repeat the
// last one.
inline void pack_lanes(const float *from, int64_t stride, int64_t count, int64_t dim, float factor, float *panel,
                       int64_t vecs) {
  const int64_t width = vecs * LANES;
  for (int64_t lane = 0; lane < width && dim < LANES; lane++) {
    const float *row = from + std::min(lane, count - 1) * stride;
    for (int64_t d = 0; d < dim; d++) panel[d * width + lane] = row[d] * factor;
  }
  for (int64_t lane = 0; lane < width && dim >= LANES; lane += LANES) {
    for (int64_t d = 0; d < dim; d += LANES) {
      const int64_t start = std::min(d, dim - LANES);  // the last columns, some of them a second time
      transpose_block(from + lane * stride + start, stride, count - lane, panel + start * width + lane, width, LANES,
                      broadcast(factor));
    }
  }
}

// The way back: writes `count` rows of `dim` floats from a panel (dim x vecs*LANES), times a factor for each lane.
inline void unpack_lanes(const float *panel, int64_t vecs, const float *factors, int64_t count, int64_t dim, float *to,
                         int64_t stride) {
  const int64_t width = vecs * LANES;
  for (int64_t lane = 0; lane < count && dim < LANES; lane++) {
    for (int64_t d = 0; d < dim; d++) to[lane * stride + d] = panel[d * width + lane] * factors[lane];
  }
  for (int64_t lane = 0; lane < count && dim >= LANES; lane += LANES) {
    for (int64_t d = 0; d < dim; d += LANES) {
      const int64_t start = std::min(d, dim - LANES);
      transpose_block(panel + start * width + lane, width, LANES, to + lane * stride + start, stride, count - lane,
                      load(factors + lane));
    }
  }
}

// Rows of a matrix in a larger one: row r starts at data + r * stride.
struct Rows {
  const float *data;
  int64_t stride;
};

// to[i] = from[i] * factor
inline void copy_scaled(const float *from, int64_t count, float factor, float *to) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) store(to + i, load(from + i) * factor);
  if (i < count) store_part(to + i, load_part(from + i, count - i) * factor, count - i);
}

// Rows one after the other, copied into `room` unless they lie so already: columns of far apart rows are slow to walk.
inline Rows gathered(Rows from, int64_t rows, int64_t dim, float *room) {
  if (from.stride == dim) return from;
  for (int64_t r = 0; r < rows; r++) copy_scaled(from.data + r * from.stride, dim, 1.0f, room + r * dim);
  return {room, dim};
}

// C (rows x vecs*LANES) = A B, added to C if `accumulate`. A is read in place, element (r, k) at
// a[r * lda + k * step]; B is a panel as wide as C. Long sums run in parts so that B's part stays in the nearest cache.
[[gnu::noinline]] inline void multiply(int64_t row_count, int64_t vecs, const float *a, int64_t lda, int64_t step,
                                       const float *b, int64_t k_count, float *c, int64_t ldc, bool accumulate) {
  constexpr int64_t PART = 128;
  const int64_t width = vecs * LANES;
  for (int64_t k = 0; k < k_count; k += PART) {
    for (int64_t r = 0; r < row_count; r += TILE_ROWS) {
      rows_of(vecs, std::min<int64_t>(TILE_ROWS, row_count - r), a + r * lda + k * step, lda, step, b + k * width,
              std::min(PART, k_count - k), c + r * ldc, ldc, accumulate || k > 0);
    }
  }
}

}  // namespace vgen::attention
