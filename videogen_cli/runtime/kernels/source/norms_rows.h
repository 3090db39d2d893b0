// Normalising a row of floats, with an affine map behind that differs from column to column.
#pragma once

#include "activations.h"
#include "norms.h"

namespace vgen {

struct RowMoments {
  float mean, rstd;

  Vec normed(Vec x) const { return (x - mean) * rstd; }
};

// In two passes, the second of which also corrects the mean's rounding. Without `centred`, the mean counts as 0.
inline RowMoments moments(const float *x, int64_t width, bool centred, float eps) {
  Vec total{};
  if (centred) each_part(width, [&](auto at) { total += at.load(x); });
  const float mean = sum(total) / width;
  Vec rest{}, squares{};
  each_part(width, [&](auto at) {
    const Vec distance = at.load(x, mean) - mean;
    rest += distance;
    squares += distance * distance;
  });
  const float correction = centred ? sum(rest) / width : 0.0f;
  const float variance = sum(squares) / width - correction * correction;
  return {mean + correction, 1.0f / std::sqrt(variance + eps)};
}

// The affine map xhat * gain + offset of rows, and the sums over them of its gradient, as it is and times xhat.
struct Columns {
  const float *gain, *offset;
  float *plain, *along;
};

// The gradient of rows that were normalised, mapped and, if SILU, sent through that. Without it no offset is read.
template <bool SILU>
struct RowGradient {
  int64_t width;
  bool centred;
  const float *x, *mean, *rstd, *dout;
  float *dx;

  // ROWS rows from `row` on.
  template <int ROWS>
  void rows(int64_t row, const Columns &columns) const {
    Vec direct[ROWS] = {}, turned[ROWS] = {};
    each_part(width, [&](auto at) {
      const Vec gain = at.load(columns.gain);
      Vec plain = at.load(columns.plain), along = at.load(columns.along);
      for (int r = 0; r < ROWS; r++) {
        const Vec xhat = normed(at, row + r), dy = mapped(at, row + r, xhat, columns);
        plain += dy;
        along += dy * xhat;
        direct[r] += dy * gain;
        turned[r] += dy * gain * xhat;
      }
      at.store(columns.plain, plain);
      at.store(columns.along, along);
    });
    for (int r = 0; r < ROWS; r++) {
      const float a = centred ? sum(direct[r]) / width : 0.0f, c = sum(turned[r]) / width, grow = rstd[row + r];
      each_part(width, [&](auto at) {
        const Vec xhat = normed(at, row + r), dy = mapped(at, row + r, xhat, columns);
        at.store(dx + (row + r) * width, grow * (dy * at.load(columns.gain) - a - xhat * c));
      });
    }
  }

 private:
  template <class At>
  Vec normed(At at, int64_t row) const {
    return RowMoments{mean[row], rstd[row]}.normed(at.load(x + row * width));
  }
  // The gradient of what the affine map makes.
  template <class At>
  Vec mapped(At at, int64_t row, Vec xhat, const Columns &columns) const {
    const Vec gradient = at.load(dout + row * width);
    if (!SILU) return gradient;
    return gradient * Silu::both(xhat * at.load(columns.gain) + at.load(columns.offset)).slope;
  }
};

}  // namespace vgen
