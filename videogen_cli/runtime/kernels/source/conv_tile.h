// The register tile of convolutions: as in gemm.h, but the left factor's columns may be anywhere in memory, so that
// weights are read in place whichever of their axes are rows.
#pragma once

#include "gemm.h"

namespace vgen {

// C (R x V vectors, one row right behind the other) = start + A B, with start C itself if `accumulate`, else bias[row]
// or 0. Element (r, k) of A is at a[r * lda + places[k]]; row k of B at b + k * V * LANES. Loops over registers are
// unrolled by order: left to itself, the compiler does it too late to keep the sums out of memory.
template <int R, int V>
inline void placed_tile(const float *a, int64_t lda, const int32_t *places, const float *b, int64_t k_count, float *c,
                        bool accumulate, const float *bias) {
  Vec sums[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    const Vec start = broadcast(bias && !accumulate ? bias[r] : 0.0f);
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) sums[r][v] = start;
  }
  for (int64_t k = 0; k < k_count; k++, b += V * LANES) {
    const float *column = a + places[k];
    Vec row[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) row[v] = load(b + v * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const float element = column[r * lda];
#pragma GCC unroll 8
      for (int v = 0; v < V; v++) sums[r][v] += element * row[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) {
      float *to = c + (r * V + v) * LANES;
      store(to, accumulate ? sums[r][v] + load(to) : sums[r][v]);
    }
  }
}

// placed_tile() of `count` rows, 1 to TILE_ROWS.
template <int V, int R = TILE_ROWS>
inline void placed_rows(int64_t count, const float *a, int64_t lda, const int32_t *places, const float *b,
                        int64_t k_count, float *c, bool accumulate, const float *bias) {
  if (count == R) {
    placed_tile<R, V>(a, lda, places, b, k_count, c, accumulate, bias);
  } else if constexpr (R > 1) {
    placed_rows<V, R - 1>(count, a, lda, places, b, k_count, c, accumulate, bias);
  }
}

// placed_rows() of `vecs` vectors, 1 to TILE_VECS.
template <int V = TILE_VECS>
inline void placed_rows_of(int64_t vecs, int64_t count, const float *a, int64_t lda, const int32_t *places,
                           const float *b, int64_t k_count, float *c, bool accumulate, const float *bias = nullptr) {
  if (vecs == V) {
    placed_rows<V>(count, a, lda, places, b, k_count, c, accumulate, bias);
  } else if constexpr (V > 1) {
    placed_rows_of<V - 1>(vecs, count, a, lda, places, b, k_count, c, accumulate, bias);
  }
}

}  // namespace vgen
