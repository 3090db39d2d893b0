// The inner loop of every matrix product: a tile of C that stays in registers while K runs.
#pragma once

#include "vgen.h"

namespace vgen {

// Rows times vectors of a tile, as many accumulators as leave registers for one row of B and an element of A.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TILE_ROWS = 8, TILE_VECS = 3;  // 24 of 32 registers
#else
constexpr int TILE_ROWS = 6, TILE_VECS = 2;  // 12 of 16
#endif
constexpr int TILE_COLS = TILE_VECS * LANES;

// C (R x V*LANES, row stride ldc) = start + A B, with start C itself if `accumulate`, else bias[row] or 0. C is added at
// the end, so that rounding errors grow with the number of blocks of K and not with K. A is read in
// place, element (r, k) at a[r * lda + k * step]; B is packed, row k at b + k * V * LANES.
template <int R, int V>
inline void tile(const float *a, int64_t lda, int64_t step, const float *b, int64_t k_count, float *c, int64_t ldc,
                 bool accumulate, const float *bias = nullptr) {
  Vec sums[R][V];
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) {
      sums[r][v] = broadcast(bias && !accumulate ? bias[r] : 0.0f);
    }
  }
  for (int64_t k = 0; k < k_count; k++, b += V * LANES) {
    Vec row[V];
    for (int v = 0; v < V; v++) row[v] = load(b + v * LANES);
    for (int r = 0; r < R; r++) {
      const float element = a[r * lda + k * step];
      for (int v = 0; v < V; v++) sums[r][v] += element * row[v];
    }
  }
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) {
      float *to = c + r * ldc + v * LANES;
      store(to, accumulate ? sums[r][v] + load(to) : sums[r][v]);
    }
  }
}

// tile() of `count` rows, 1 to TILE_ROWS: what is left at the bottom of a matrix.
template <int V, int R = TILE_ROWS>
inline void rows(int64_t count, const float *a, int64_t lda, int64_t step, const float *b, int64_t k_count, float *c,
                 int64_t ldc, bool accumulate, const float *bias = nullptr) {
  if (count == R) {
    tile<R, V>(a, lda, step, b, k_count, c, ldc, accumulate, bias);
  } else if constexpr (R > 1) {
    rows<V, R - 1>(count, a, lda, step, b, k_count, c, ldc, accumulate, bias);
  }
}

// rows() of `vecs` vectors, 1 to TILE_VECS: what is left at the right. The panel of B is that many vectors wide.
template <int V = TILE_VECS>
inline void rows_of(int64_t vecs, int64_t count, const float *a, int64_t lda, int64_t step, const float *b,
                    int64_t k_count, float *c, int64_t ldc, bool accumulate, const float *bias = nullptr) {
  if (vecs == V) {
    rows<V>(count, a, lda, step, b, k_count, c, ldc, accumulate, bias);
  } else if constexpr (V > 1) {
    rows_of<V - 1>(vecs, count, a, lda, step, b, k_count, c, ldc, accumulate, bias);
  }
}

}  // namespace vgen
