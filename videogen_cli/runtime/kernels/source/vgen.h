// What every kernel shares: vectors, arguments, threads, scratch memory, and the exponential.
//
// A kernel is a C function that MindSpore's Custom operator (func_type "aot") calls with its inputs, then its outputs.
// Nothing here needs MindSpore: one library serves every version of it and of Python.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sched.h>

#include "parallel.h"
#include "scratch.h"

namespace vgen {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

// Aligned like their elements, so that they can be loaded from anywhere.
typedef float Vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t VecI __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t VecU __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

inline Vec load(const float *from) { return *reinterpret_cast<const Vec *>(from); }
inline void store(float *to, Vec values) { *reinterpret_cast<Vec *>(to) = values; }
inline Vec broadcast(float value) { return Vec{} + value; }

// The first `count` floats; the other lanes hold `filling`. Compilers make one masked load of it.
inline Vec load_part(const float *from, int64_t count, float filling = 0) {
  float lanes[LANES];
  const int wanted = static_cast<int>(count);
  for (int lane = 0; lane < LANES; lane++) lanes[lane] = lane < wanted ? from[lane] : filling;
  return load(lanes);
}

inline void store_part(float *to, Vec values, int64_t count) {
  float lanes[LANES];
  store(lanes, values);
  const int wanted = static_cast<int>(count);
  for (int lane = 0; lane < LANES; lane++) {
    if (lane < wanted) to[lane] = lanes[lane];
  }
}

// Adds lanes in halves, so that the order of additions is always the same.
template <int COUNT>
inline float add_halves(const float *lanes) {
  if constexpr (COUNT == 1) {
    return lanes[0];
  } else {
    float halves[COUNT / 2];
    for (int lane = 0; lane < COUNT / 2; lane++) halves[lane] = lanes[lane] + lanes[lane + COUNT / 2];
    return add_halves<COUNT / 2>(halves);
  }
}

inline float sum(Vec values) {
  float lanes[LANES];
  store(lanes, values);
  return add_halves<LANES>(lanes);
}

inline Vec maximum(Vec a, Vec b) { return a > b ? a : b; }
inline Vec minimum(Vec a, Vec b) { return a < b ? a : b; }

inline Vec sqrt(Vec x) {
  for (int lane = 0; lane < LANES; lane++) x[lane] = std::sqrt(x[lane]);
  return x;
}

// exp(x) within 2 units in the last place: 2^n * p(r) with x = n log 2 + r (Cephes' expf polynomial). Not a number
// stays that, infinity too; what is below the smallest normal number becomes 0.
inline Vec exp(Vec x) {
  constexpr float LEAST = -87.33654f, LARGEST = 88.72283f;  // results are normal numbers between them
  constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: adding it rounds, and leaves the integer in the last bits
  const Vec shifted = x * 1.44269504088896341f + ROUND;
  const Vec n = shifted - ROUND;
  const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = r * 1.9875691500E-4f + 1.3981999507E-3f;
  p = p * r + 8.3334519073E-3f;
  p = p * r + 4.1665795894E-2f;
  p = p * r + 1.6666665459E-1f;
  p = p * r + 5.0000001201E-1f;
  p = p * r * r + r + 1.0f;
  // p is 2^-1/2 to 2^1/2, so that n can be added to its exponent
  const VecU scaled = reinterpret_cast<const VecU &>(p) + (reinterpret_cast<const VecU &>(shifted) << 23);
  Vec result = reinterpret_cast<const Vec &>(scaled);
  result = x < LEAST ? Vec{} : result;
  result = x > LARGEST ? broadcast(INFINITY) : result;
  return x == x ? result : x;
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }

inline int allowed_processors() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

// How many threads kernels use: OMP_NUM_THREADS, which the command line sets from affinity and quota.
inline int threads() {
  static const int count = [] {
    const char *asked = std::getenv("OMP_NUM_THREADS");
    const int number = asked ? std::atoi(asked) : 0;
    return number > 0 ? number : allowed_processors();
  }();
  return count;
}

// Threads worth waking for `work` floating-point operations or floats moved: waking costs some microseconds.
inline int threads_for(int64_t work, int64_t least = 1 << 14) {
#ifdef VGEN_SPLIT_ALWAYS  // for tests: small cases are shared too
  least = 1;
#endif
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads(), work / least)));
}

// What a kernel was called with: inputs, then outputs. Numbers such as a stride arrive as the shape of an empty tensor.
struct Arguments {
  int count;
  void **data;
  int *ndims;
  int64_t **shapes;

  float *floats(int index) const { return static_cast<float *>(data[index]); }
  // Nothing for a tensor that was left out: an empty one is in its place.
  const float *optional(int index) const { return dim(index, 0) ? floats(index) : nullptr; }
  const int64_t *shape(int index) const { return shapes[index]; }
  int ndim(int index) const { return ndims[index]; }
  int64_t dim(int index, int axis) const { return shapes[index][axis < 0 ? ndims[index] + axis : axis]; }
  // The number at `position` of the empty tensor (0, numbers...).
  int64_t number(int index, int position) const { return shapes[index][position + 1]; }
  int64_t size(int index) const {
    int64_t product = 1;
    for (int axis = 0; axis < ndims[index]; axis++) product *= shapes[index][axis];
    return product;
  }
};

constexpr int OK = 0, FAILED = 1, NO_MEMORY = 2;

template <class Body>
int run(Body body, const Arguments &arguments) {
  try {
    body(arguments);
    return OK;
  } catch (const std::bad_alloc &) {
    return NO_MEMORY;
  } catch (...) {
    return FAILED;
  }
}

}  // namespace vgen

// VGEN_KERNEL(name) { body using `args` } defines a kernel that Custom finds by `name`.
#define VGEN_KERNEL(name)                                                                                  \
  static void name##_body(const vgen::Arguments &args);                                                    \
  extern "C" int name(int count, void **data, int *ndims, int64_t **shapes, const char **, void *, void *) { \
    return vgen::run(name##_body, vgen::Arguments{count, data, ndims, shapes});                            \
  }                                                                                                        \
  static void name##_body(const vgen::Arguments &args)
