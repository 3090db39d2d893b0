// Repeating pixels, and adding up the gradients of the repetitions.
#include "elementwise.h"

using namespace vgen;

namespace {

// Every float `factor` times.
template <int FACTOR>
void repeat(const float *from, int64_t size, int64_t, float *to) {
  for (int64_t i = 0; i < size; i++) {
    for (int copy = 0; copy < FACTOR; copy++) to[i * FACTOR + copy] = from[i];
  }
}

void repeat_any(const float *from, int64_t size, int64_t factor, float *to) {
  for (int64_t i = 0; i < size; i++) std::fill_n(to + i * factor, factor, from[i]);
}

// Adds every `factor` floats up, onto what is there.
template <int FACTOR>
void collect(const float *from, int64_t size, int64_t, float *to) {
  for (int64_t i = 0; i < size; i++) {
    float total = to[i];
    for (int copy = 0; copy < FACTOR; copy++) total += from[i * FACTOR + copy];
    to[i] = total;
  }
}

void collect_any(const float *from, int64_t size, int64_t factor, float *to) {
  for (int64_t i = 0; i < size; i++) {
    for (int64_t copy = 0; copy < factor; copy++) to[i] += from[i * factor + copy];
  }
}

// One of these for the usual factors, which become vector code, or for any.
using RowFunction = void (*)(const float *, int64_t, int64_t, float *);

RowFunction choose(int64_t factor, RowFunction one, RowFunction two, RowFunction any) {
  return factor == 1 ? one : factor == 2 ? two : any;
}

}  // namespace

// x (... h w), (rows, columns) -> x with every row and column as many times
VGEN_KERNEL(upsample_forward) {
  const int64_t rows = args.number(1, 0), columns = args.number(1, 1), width = args.dim(0, -1), wide = width * columns;
  const RowFunction row_of = choose(columns, repeat<1>, repeat<2>, repeat_any);
  const float *x = args.floats(0);
  float *y = args.floats(2);
  in_parallel(args.size(0) / width, threads_for(args.size(2)), [=](int64_t row) {
    float *first = y + row * rows * wide;
    row_of(x + row * width, width, columns, first);
    for (int64_t copy = 1; copy < rows; copy++) std::copy_n(first, wide, first + copy * wide);
  });
}

// dy (... h*rows w*columns), (rows, columns) -> dx (... h w)
VGEN_KERNEL(upsample_backward) {
  const int64_t rows = args.number(1, 0), columns = args.number(1, 1), width = args.dim(2, -1), wide = width * columns;
  const RowFunction collect_row = choose(columns, collect<1>, collect<2>, collect_any);
  const float *dy = args.floats(0);
  float *dx = args.floats(2);
  in_parallel(args.size(2) / width, threads_for(args.size(0)), [=](int64_t row) {
    float *to = dx + row * width;
    std::fill_n(to, width, 0.0f);
    for (int64_t copy = 0; copy < rows; copy++) collect_row(dy + (row * rows + copy) * wide, width, columns, to);
  });
}
