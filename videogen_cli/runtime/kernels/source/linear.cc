// Linear layers: y = x w^T + bias + residual for x (rows x in), w (out x in), and their gradients.
#include "product.h"

using namespace vgen;

namespace {

// A block of sums as rows of the output, row-major, plus what there is of a bias per column and a residual.
struct IntoRows {
  float *out;
  int64_t stride;
  const float *bias = nullptr, *residual = nullptr;

  void operator()(const float *sums, int64_t ldc, int64_t row, int64_t rows, int64_t col, int64_t cols) const {
    for (int64_t r = 0; r < rows; r++) {
      const float *from = sums + r * ldc;
      const int64_t at = (row + r) * stride + col;
      for (int64_t c = 0; c < cols; c += LANES) {
        const int64_t count = std::min<int64_t>(LANES, cols - c);
        Vec values = load(from + c);
        if (count == LANES) {
          if (bias) values += load(bias + col + c);
          if (residual) values += load(residual + at + c);
          store(out + at + c, values);
        } else {
          if (bias) values += load_part(bias + col + c, count);
          if (residual) values += load_part(residual + at + c, count);
          store_part(out + at + c, values, count);
        }
      }
    }
  }
};

// The same, transposed: columns of sums are rows of the output.
struct IntoColumns {
  float *out;
  int64_t stride;
  const float *bias = nullptr, *residual = nullptr;

  void operator()(const float *sums, int64_t ldc, int64_t row, int64_t rows, int64_t col, int64_t cols) const {
    const IntoRows turned{out, stride, bias, residual};
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

// Fewer tokens than this are packed, and weights read in place; else weights are packed.
constexpr int64_t FEW_ROWS = 64;

const float *optional(const Arguments &args, int index) { return args.dim(index, 0) ? args.floats(index) : nullptr; }

}  // namespace

// x (... in), w (out in), bias (out) or nothing, residual (... out) or nothing: y (... out)
VGEN_KERNEL(linear_forward) {
  const float *x = args.floats(0), *w = args.floats(1), *bias = optional(args, 2), *residual = optional(args, 3);
  const int64_t out = args.dim(1, 0), in = args.dim(1, 1), rows = args.size(0) / in;
  if (rows < FEW_ROWS) {
    product(out, rows, in, LeftRows{w, in}, RightColumns{x, in}, IntoColumns{args.floats(4), out, bias, residual});
  } else {
    product(rows, out, in, LeftRows{x, in}, RightColumns{w, in}, IntoRows{args.floats(4), out, bias, residual});
  }
}

// dy (... out), w (out in): dx (... in) = dy w
VGEN_KERNEL(linear_input_gradient) {
  const int64_t out = args.dim(1, 0), in = args.dim(1, 1), rows = args.size(0) / out;
  product(rows, in, out, LeftRows{args.floats(0), out}, RightRows{args.floats(1), in}, IntoRows{args.floats(2), in});
}

// dy (... out), x (... in): dw (out in) = dy^T x, db (out) = the sum of dy over rows
VGEN_KERNEL(linear_weight_gradient) {
  const int64_t out = args.dim(0, -1), in = args.dim(1, -1), rows = args.size(0) / out;
  product(out, in, rows, LeftColumns{args.floats(0), out, args.floats(3)}, RightRows{args.floats(1), in},
          IntoRows{args.floats(2), in});
}
