// Products of matrices of any size and layout: C (rows x cols) = A (rows x depth) B (depth x cols).
//
// Every thread computes a rectangle of C, block by block: `depth` is cut so that a block of B, packed into panels as
// wide as a tile, stays in the second-level cache while all tiles of a block of C add their part; these sums stay in
// scratch memory until they are complete and `finish` takes them. How depth is cut depends on depth alone and every sum
// runs in the order of k, so the values depend neither on the number of threads nor on the number of rows or columns.
#pragma once

#include "gemm.h"
#include "operands.h"

namespace vgen {

// How much is done at once, tuned on cores with 48 KiB and 1 MiB of cache. Columns are whole panels on every target.
constexpr int64_t MOST_DEPTH = 384, BLOCK_ROWS = 256, BLOCK_COLS = 384;
static_assert(BLOCK_COLS % TILE_COLS == 0, "blocks end where panels do");
constexpr int64_t KEPT_FLOATS = 1 << 22;  // of B, packed in all threads, that are kept for the next block of rows

struct Range {
  int64_t first, end;
};

// The share of one of `parts` threads, in units.
inline Range share(int64_t total, int64_t unit, int64_t parts, int64_t part) {
  const int64_t units = ceil_div(total, unit);
  return {std::min(total, units * part / parts * unit), std::min(total, units * (part + 1) / parts * unit)};
}

struct Plan {
  int64_t row_parts = 1, col_parts = 1;
  int64_t block_rows, block_cols, block_depth;
  bool keeps;  // the packed columns of B for all of depth
  int64_t packed_b, packed_a, sums;  // floats of scratch memory per thread

  Plan(int64_t rows, int64_t cols, int64_t depth, bool packs_a) {
    const int64_t moved = rows * cols + rows * depth + cols * depth;
    split(rows, cols, threads_for(rows * cols * depth + 8 * moved, 1 << 18));
    const int64_t part_rows = round_up(ceil_div(rows, row_parts), TILE_ROWS);
    const int64_t part_cols = round_up(ceil_div(cols, col_parts), LANES);
    block_depth = round_up(ceil_div(depth, ceil_div(depth, MOST_DEPTH)), LANES);
    const int64_t most_cols = BLOCK_COLS * std::min<int64_t>(4, MOST_DEPTH / block_depth);
    block_cols = std::min(part_cols, round_up(ceil_div(part_cols, ceil_div(part_cols, most_cols)), TILE_COLS));
    const bool complete = block_depth >= depth;  // at once: then sums are best taken from the first-level cache
    const int64_t most_rows = complete ? 2 * TILE_ROWS : BLOCK_ROWS;
    block_rows = round_up(ceil_div(part_rows, ceil_div(part_rows, most_rows)), TILE_ROWS);
    keeps = part_rows > block_rows && depth * block_cols * parts() <= KEPT_FLOATS;
    packed_b = (keeps ? depth : block_depth) * block_cols;
    packed_a = packs_a ? block_rows * block_depth : 0;
    sums = block_rows * block_cols;
  }

  int64_t parts() const { return row_parts * col_parts; }
  int64_t floats() const { return packed_b + packed_a + sums; }

 private:
  // Cut C so that the largest part is least work: its multiplications, and what reading A and packing B cost.
  void split(int64_t rows, int64_t cols, int64_t count) {
    constexpr int64_t READING = 12;
    int64_t least = INT64_MAX;
    for (int64_t down = 1; down <= count; down++) {
      const int64_t across = count / down;
      const int64_t part_rows = ceil_div(ceil_div(rows, TILE_ROWS), down) * TILE_ROWS;
      const int64_t part_cols = ceil_div(ceil_div(cols, LANES), across) * LANES;
      const int64_t work = part_rows * part_cols + READING * (part_rows + part_cols);
      if (work < least) {
        least = work;
        row_parts = down;
        col_parts = across;
      }
    }
  }
};

// sums (rows x cols, rows `ldc` apart) = or += the block of A times the packed block of B.
inline void multiply_block(const LeftBlock &a, const float *b, int64_t rows, int64_t cols, int64_t depth, float *sums,
                           int64_t ldc, bool accumulate) {
  for (int64_t r = 0; r < rows; r += TILE_ROWS) {
    const int64_t count = std::min<int64_t>(TILE_ROWS, rows - r);
    for (int64_t c = 0; c < cols; c += TILE_COLS) {
      const int64_t vecs = std::min<int64_t>(TILE_VECS, ceil_div(cols - c, LANES));
      const float *tile = a.data + r * a.pitch;
      rows_of(vecs, count, tile, a.lda, a.step, b + c * depth, depth, sums + r * ldc + c, ldc, accumulate);
    }
  }
}

// One thread's part of a product.
template <class A, class B, class Finish>
void multiply_part(const Plan &plan, Range rows, Range cols, int64_t depth, const A &a, const B &b,
                   const Finish &finish, float *scratch) {
  float *packed_b = scratch, *packed_a = packed_b + plan.packed_b, *sums = packed_a + plan.packed_a;
  for (int64_t c = cols.first; c < cols.end; c += plan.block_cols) {
    const int64_t col_count = std::min(plan.block_cols, cols.end - c);
    for (int64_t r = rows.first; r < rows.end; r += plan.block_rows) {
      const int64_t row_count = std::min(plan.block_rows, rows.end - r);
      for (int64_t k = 0; k < depth; k += plan.block_depth) {
        const int64_t k_count = std::min(plan.block_depth, depth - k);
        float *panels = packed_b + (plan.keeps ? k * plan.block_cols : 0);
        if (!plan.keeps || r == rows.first) b.pack(k, k_count, c, col_count, panels);
        const LeftBlock left = a.block(r, row_count, k, k_count, packed_a, c == 0);
        multiply_block(left, panels, row_count, col_count, k_count, sums, plan.block_cols, k > 0);
      }
      finish(sums, plan.block_cols, r, row_count, c, col_count);
    }
  }
}

// A and B as in operands.h; finish(sums, row stride, first row, rows, first column, columns) takes a block of C.
template <class A, class B, class Finish>
void product(int64_t rows, int64_t cols, int64_t depth, const A &a, const B &b, const Finish &finish) {
  const Plan plan(rows, cols, depth, A::PACKED);
  Scratch scratch(plan.parts() * plan.floats());
  parallel(plan.parts(), plan.parts(), [&](int64_t part, int) {
    const Range part_rows = share(rows, TILE_ROWS, plan.row_parts, part / plan.col_parts);
    const Range part_cols = share(cols, LANES, plan.col_parts, part % plan.col_parts);
    multiply_part(plan, part_rows, part_cols, depth, a, b, finish, scratch.get() + part * plan.floats());
  });
}

}  // namespace vgen
