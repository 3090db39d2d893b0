// Linear layers: y = x w^T + bias + residual for x (rows x in), w (out x in), and their gradients.
#include "product.h"
#include "results.h"

using namespace vgen;

namespace {

// Fewer rows than this are packed, and weights read in place; else weights are packed.
constexpr int64_t FEW_ROWS = 64;

}  // namespace

// x (... in), w (out in), bias (out) or nothing, residual (... out) or nothing: y (... out)
VGEN_KERNEL(linear_forward) {
  const float *x = args.floats(0), *w = args.floats(1), *bias = args.optional(2), *residual = args.optional(3);
  const int64_t out = args.dim(1, 0), in = args.dim(1, 1), rows = args.size(0) / in;
  if (rows < FEW_ROWS) {
    product(out, rows, in, LeftRows{w, in}, RightColumns<>{x, in}, IntoColumns<>{args.floats(4), out, bias, residual});
  } else {
    product(rows, out, in, LeftRows{x, in}, RightColumns<>{w, in}, IntoRows<>{args.floats(4), out, bias, residual});
  }
}

// dy (... out), w (out in): dx (... in) = dy w
VGEN_KERNEL(linear_input_gradient) {
  const int64_t out = args.dim(1, 0), in = args.dim(1, 1), rows = args.size(0) / out;
  product(rows, in, out, LeftRows{args.floats(0), out}, RightRows<>{args.floats(1), in},
          IntoRows<>{args.floats(2), in});
}

// dy (... out), x (... in): dw (out in) = dy^T x, db (out) = the sum of dy over rows
VGEN_KERNEL(linear_weight_gradient) {
  const int64_t out = args.dim(0, -1), in = args.dim(1, -1), rows = args.size(0) / out;
  product(out, in, rows, LeftColumns{args.floats(0), out, args.floats(3)}, RightRows<>{args.floats(1), in},
          IntoRows<>{args.floats(2), in});
}
