// Activation functions of vectors, with their slopes.
#pragma once

#include "vgen.h"

namespace vgen {

inline Vec magnitude(Vec x) { return maximum(x, -x); }

// a0 + a1 x + a2 x^2 + ...
template <class... Coefficients>
inline Vec polynomial(Vec x, float first, Coefficients... others) {
  if constexpr (sizeof...(others) == 0) {
    return broadcast(first);
  } else {
    return polynomial(x, others...) * x + first;
  }
}

// tanh(x) within 2 units in the last place: near 0 an odd polynomial (Cephes' tanhf), else by the exponential.
inline Vec tanh(Vec x) {
  const Vec square = x * x;
  const Vec near = x + x * square * polynomial(square, -3.33332819422e-1f, 1.33314422036e-1f, -5.37397155531e-2f,
                                               2.06390887954e-2f, -5.70498872745e-3f);
  const Vec size = magnitude(x);
  const Vec far = 1.0f - 2.0f / (exp(2.0f * size) + 1.0f);
  return size < 0.625f ? near : x < 0.0f ? -far : far;
}

// Functions whose slope follows from their value y.
struct Exp {
  static Vec value(Vec x) { return exp(x); }
  static Vec slope(Vec y) { return y; }
};

struct Sigmoid {
  static Vec value(Vec x) { return sigmoid(x); }
  static Vec slope(Vec y) { return y * (1.0f - y); }
};

struct Tanh {
  static Vec value(Vec x) { return tanh(x); }
  static Vec slope(Vec y) { return 1.0f - y * y; }
};

// The standard normal distribution at x: the probability of what is below, and the density.
//
// The tail behind |x| is exp(-x^2 / 2) t P(t), t = 1 / (1 + 0.26 |x|), a form of Hastings (1955); P was fitted for the
// smallest greatest relative error, 2.5e-8.
struct Normal {
  Vec below, density;

  explicit Normal(Vec x) {
    const Vec bell = exp(-0.5f * x * x);
    const Vec t = 1.0f / (1.0f + 0.26f * magnitude(x));
    const Vec p = polynomial(t, 0.10375906f, 0.10301674f, 0.1030303f, 0.0510275029f, 0.160948291f, -0.150949612f,
                             0.251491845f, -0.152829096f, 0.0305049419f);
    const Vec tail = bell * t * p;
    below = x < 0.0f ? tail : 1.0f - tail;
    density = bell * 0.39894228f;
  }
};

// What an activation makes of x, and its slope there.
struct ValueAndSlope {
  Vec value, slope;
};

// x * sigmoid(x)
struct Silu {
  static Vec value(Vec x) { return x * sigmoid(x); }
  static ValueAndSlope both(Vec x) {
    const Vec s = sigmoid(x);
    return {x * s, s * (1.0f + x * (1.0f - s))};
  }
};

// x times the normal distribution function
struct Gelu {
  static Vec value(Vec x) { return x * Normal(x).below; }
  static ValueAndSlope both(Vec x) {
    const Normal normal(x);
    return {x * normal.below, normal.below + x * normal.density};
  }
};

// x (1 + tanh(u)) / 2 = x sigmoid(2u), 2u = sqrt(8 / pi) (x + 0.044715 x^3)
struct GeluTanh {
  static constexpr float LINEAR = 1.59576912f, CUBIC = 0.0713548163f;

  static Vec value(Vec x) { return x * sigmoid(x * (LINEAR + CUBIC * x * x)); }
  static ValueAndSlope both(Vec x) {
    const Vec square = x * x;
    const Vec s = sigmoid(x * (LINEAR + CUBIC * square));
    return {x * s, s + x * s * (1.0f - s) * (LINEAR + 3.0f * CUBIC * square)};
  }
};

}  // namespace vgen
