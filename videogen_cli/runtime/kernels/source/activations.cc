// Activations and their gradients, one pass over memory each.
#include "activations.h"

#include "elementwise.h"

using namespace vgen;

// body(Activation{}) with the activation of that number, see activations.py.
template <class Body>
static void with_activation(int64_t number, Body body) {
  switch (number) {
    case 0: return body(Silu{});
    case 1: return body(Gelu{});
    default: return body(GeluTanh{});
  }
}

// x, (activation) -> y
VGEN_KERNEL(activation_forward) {
  with_activation(args.number(1, 0), [&](auto activation) {
    map(args.floats(2), args.size(0), decltype(activation)::value, args.floats(0));
  });
}

// x, (activation), dout -> dx
VGEN_KERNEL(activation_backward) {
  with_activation(args.number(1, 0), [&](auto activation) {
    auto gradient = [](Vec x, Vec dout) { return dout * decltype(activation)::both(x).slope; };
    map(args.floats(3), args.size(0), gradient, args.floats(0), args.floats(2));
  });
}

// The gradients of gate and value in one place of value * activation(gate).
template <class Activation, class At>
static void gated_gradients(At at, const float *gate, const float *value, const float *dout, float *dgate,
                            float *dvalue) {
  const ValueAndSlope activated = Activation::both(at.load(gate));
  const Vec gradient = at.load(dout);
  at.store(dgate, gradient * at.load(value) * activated.slope);
  at.store(dvalue, gradient * activated.value);
}

// gate, value -> value * silu(gate)
VGEN_KERNEL(swiglu_forward) {
  auto product = [](Vec gate, Vec value) { return value * Silu::value(gate); };
  map(args.floats(2), args.size(0), product, args.floats(0), args.floats(1));
}

// gate, value, dout -> dgate, dvalue
VGEN_KERNEL(swiglu_backward) {
  const float *gate = args.floats(0), *value = args.floats(1), *dout = args.floats(2);
  float *dgate = args.floats(3), *dvalue = args.floats(4);
  each_part_in_parallel(args.size(0), [=](auto at) {
    gated_gradients<Silu>(at, gate, value, dout, dgate, dvalue);
  });
}

// x (... 2d), values before gates -> values * gelu(gates) (... d)
VGEN_KERNEL(geglu_forward) {
  const int64_t width = args.dim(1, -1), rows = args.size(1) / width;
  const float *x = args.floats(0);
  float *out = args.floats(1);
  in_parallel(rows, threads_for(rows * width), [=](int64_t row) {
    const float *value = x + row * 2 * width;
    float *to = out + row * width;
    each_part(width, [=](auto at) { at.store(to, at.load(value) * Gelu::value(at.load(value + width))); });
  });
}

// x (... 2d), dout (... d) -> dx
VGEN_KERNEL(geglu_backward) {
  const int64_t width = args.dim(1, -1), rows = args.size(1) / width;
  const float *x = args.floats(0), *dout = args.floats(1);
  float *dx = args.floats(2);
  in_parallel(rows, threads_for(rows * width), [=](int64_t row) {
    const float *value = x + row * 2 * width, *gradient = dout + row * width;
    float *dvalue = dx + row * 2 * width;
    each_part(width, [=](auto at) {
      gated_gradients<Gelu>(at, value + width, value, gradient, dvalue + width, dvalue);
    });
  });
}

// body(Function{}) with the elementary function of that number, see activations.py.
template <class Body>
static void with_elementary(int64_t number, Body body) {
  switch (number) {
    case 0: return body(Exp{});
    case 1: return body(Sigmoid{});
    default: return body(Tanh{});
  }
}

// x, (function) -> y
VGEN_KERNEL(elementary_forward) {
  with_elementary(args.number(1, 0), [&](auto function) {
    map(args.floats(2), args.size(0), decltype(function)::value, args.floats(0));
  });
}

// y, (function), dout -> dx
VGEN_KERNEL(elementary_backward) {
  with_elementary(args.number(1, 0), [&](auto function) {
    auto gradient = [](Vec y, Vec dout) { return dout * decltype(function)::slope(y); };
    map(args.floats(3), args.size(0), gradient, args.floats(0), args.floats(2));
  });
}
