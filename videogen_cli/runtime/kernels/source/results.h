// Where complete sums of a product go: blocks of C plus what there is of a bias and a residual, laid out as asked for.
#pragma once

#include "operands.h"

namespace vgen {

// out = sums + constant, plus what there is of a bias and a residual.
inline void finish_row(float *out, const float *sums, int64_t count, float constant, const float *bias,
                       const float *residual) {
  for (int64_t i = 0; i < count; i += LANES) {
    const int64_t left = count - i;
    if (left >= LANES) {
      Vec values = load(sums + i) + constant;
      if (bias) values += load(bias + i);
      if (residual) values += load(residual + i);
      store(out + i, values);
    } else {
      Vec values = load_part(sums + i, left) + constant;
      if (bias) values += load_part(bias + i, left);
      if (residual) values += load_part(residual + i, left);
      store_part(out + i, values, left);
    }
  }
}

inline const float *offset(const float *data, int64_t by) { return data ? data + by : nullptr; }

// Row-major: element (r, c) at out[place(r) * stride + c]; a bias for each column.
template <class Order = InOrder>
struct IntoRows {
  float *out;
  int64_t stride;
  const float *bias = nullptr, *residual = nullptr;
  Order order = {};

  void operator()(const float *sums, int64_t ldc, int64_t row, int64_t rows, int64_t col, int64_t cols) const {
    for (int64_t r = 0; r < rows; r++) {
      const int64_t at = order.place(row + r) * stride + col;
      finish_row(out + at, sums + r * ldc, cols, 0, offset(bias, col), offset(residual, at));
    }
  }
};

// Column-major: element (r, c) at out[place(c) * stride + r]; a bias for each row.
template <class Order = InOrder>
struct IntoColumns {
  float *out;
  int64_t stride;
  const float *bias = nullptr, *residual = nullptr;
  Order order = {};

  void operator()(const float *sums, int64_t ldc, int64_t row, int64_t rows, int64_t col, int64_t cols) const {
    const IntoRows<Order> turned{out, stride, bias, residual, order};
    for (int64_t r = 0; r < rows; r += LANES) {
      const int64_t row_count = std::min<int64_t>(LANES, rows - r);
      for (int64_t c = 0; c < cols; c += LANES) {
        Vec block[LANES];
        for (int i = 0; i < LANES; i++) block[i] = i < row_count ? load(sums + (r + i) * ldc + c) : Vec{};
        transpose(block);
        float flat[LANES * LANES];
        for (int i = 0; i < LANES; i++) store(flat + i * LANES, block[i]);
        turned(flat, LANES, col + c, std::min<int64_t>(LANES, cols - c), row + r, row_count);
      }
    }
  }
};

}  // namespace vgen
