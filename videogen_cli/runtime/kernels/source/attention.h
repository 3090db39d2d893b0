// What attention's forward and backward kernels share: sizes, the mask and the exponential.
//
// Tensors stay (b n heads*d) and are read with the stride of a row. Scores exist as small blocks only, whose lanes run
// along queries in the forward kernel and along keys in the backward one.
#pragma once

#include "attention_panels.h"
#include "parallel.h"

namespace vgen::attention {

// q is (batch queries heads*dim), k and v are (batch keys kv_heads*dim); heads share keys and values in groups.
struct Sizes {
  int64_t batch, queries, keys, heads, kv_heads, dim;

  Sizes(const Arguments &args, int q, int k, int64_t heads)
      : batch(args.dim(q, 0)), queries(args.dim(q, 1)), keys(args.dim(k, 1)), heads(heads),
        kv_heads(heads * args.dim(k, 2) / args.dim(q, 2)), dim(args.dim(q, 2) / heads) {}

  int64_t group() const { return heads / kv_heads; }
  int64_t query_stride() const { return heads * dim; }
  int64_t key_stride() const { return kv_heads * dim; }
  int64_t query_at(int64_t sample, int64_t row, int64_t head) const {
    return ((sample * queries + row) * heads + head) * dim;
  }
  int64_t key_at(int64_t sample, int64_t row, int64_t kv_head) const {
    return ((sample * keys + row) * kv_heads + kv_head) * dim;
  }
  // Of one number per query and head (batch heads queries).
  int64_t statistic_at(int64_t sample, int64_t row, int64_t head) const {
    return (sample * heads + head) * queries + row;
  }
};

// Numbers added to the scores (batch heads queries keys), with a step of 0 along the axes it is broadcast over.
struct Mask {
  const float *data = nullptr;
  int64_t sample = 0, head = 0, query = 0, key = 0;

  // An empty tensor stands for no mask.
  Mask(const Arguments &args, int index) {
    if (args.size(index) == 0) return;
    data = args.floats(index);
    int64_t *steps[4] = {&key, &query, &head, &sample};
    int64_t size = 1;
    for (int axis = 0; axis < args.ndim(index); axis++) {
      const int64_t length = args.dim(index, -1 - axis);
      if (length > 1) *steps[axis] = size;
      size *= length;
    }
  }

  const float *at(int64_t sample_index, int64_t head_index, int64_t query_index, int64_t key_index) const {
    return data + sample_index * sample + head_index * head + query_index * query + key_index * key;
  }
};

typedef uint32_t VecU __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

// exp(x) within 2e-7 of itself for x below 88, 0 below -87.7: 2^n * 2^f with n + f = x log2 e and a polynomial for 2^f.
// What is not a number stays that.
inline Vec exp_below_88(Vec x) {
  constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, found in the lowest bits
  constexpr float LOG2_E = 1.44269504088896341f;
  const Vec clipped = maximum(broadcast(-88.0f), x);
  const Vec shifted = clipped * LOG2_E + ROUND;
  const Vec f = clipped * LOG2_E - (shifted - ROUND);
  Vec p = f * 1.327647199e-3f + 9.675541334e-3f;
  p = p * f + 5.550713273e-2f;
  p = p * f + 2.402211972e-1f;
  p = p * f + 6.931469671e-1f;
  p = p * f + 1.000000072f;
  const VecU power = (reinterpret_cast<const VecU &>(shifted) << 23) + (127u << 23);
  return p * reinterpret_cast<const Vec &>(power);
}

// parallel() for tasks that may be short: a thread takes several in a row.
template <class Body>
inline void parallel_runs(int64_t tasks, int threads, const Body &body) {
  const int64_t run = std::max<int64_t>(1, tasks / (threads * 16));
  parallel((tasks + run - 1) / run, threads, [&](int64_t index, int thread) {
    const int64_t end = std::min(tasks, (index + 1) * run);
    for (int64_t task = index * run; task < end; task++) body(task, thread);
  });
}

inline int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Floats of scratch memory that keep what follows aligned.
inline int64_t padded(int64_t floats) { return round_up(floats, 16); }

}  // namespace vgen::attention
