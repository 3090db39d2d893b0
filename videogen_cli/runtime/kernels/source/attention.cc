// Attention, softmax(q k^T scale + mask) v, without ever holding all scores (Dao et al. 2022, arXiv:2205.14135).
//
// A task is a run of queries of one head. Its queries lie in panels, transposed: queries are lanes. Keys pass by in
// blocks; with keys as rows of a block of scores, the products k q^T and v^T p read k and v in place as their left
// operand, and the softmax needs no sums across lanes. Each query's maximum and sum of exponentials so far correct what
// was added up under an older maximum.
#include "attention.h"

namespace vgen::attention {
namespace {

constexpr int64_t KEY_BLOCK = 96;
constexpr int64_t LARGEST_QUERY_BLOCK = 4 * TILE_COLS;
constexpr int64_t QUERY_FLOATS = 16384;  // of a block of queries, which stays in the second-level cache with its sums

struct Problem {
  Sizes sizes;
  const float *q, *k, *v;
  Mask mask;
  float scale;
  float *out, *maxima, *inverse_sums;
};

// A thread's memory.
struct Room {
  float *queries, *out, *maxima, *sums, *scores, *mask, *keys, *values;

  static int64_t floats(int64_t dim, int64_t queries) {
    return 2 * padded(dim * queries) + 2 * queries + 2 * KEY_BLOCK * TILE_COLS + 2 * padded(KEY_BLOCK * dim);
  }
  Room(float *memory, int64_t dim, int64_t query_count)
      : queries(memory), out(queries + padded(dim * query_count)), maxima(out + padded(dim * query_count)),
        sums(maxima + query_count), scores(sums + query_count), mask(scores + KEY_BLOCK * TILE_COLS),
        keys(mask + KEY_BLOCK * TILE_COLS), values(keys + padded(KEY_BLOCK * dim)) {}
};

// Writes the mask of one panel of queries and a block of keys as (keys x vecs*LANES).
void transpose_mask(const Mask &mask, const float *from, int64_t queries, int64_t keys, int64_t vecs, float *to) {
  const int64_t width = vecs * LANES;
  const int64_t whole = mask.key == 1 && mask.query ? keys / LANES * LANES : 0;
  for (int64_t key = 0; key < whole; key += LANES) {
    for (int64_t lane = 0; lane < width; lane += LANES) {
      transpose_block(from + lane * mask.query + key, mask.query, queries - lane, to + key * width + lane, width, LANES,
                      broadcast(1.0f));
    }
  }
  for (int64_t key = whole; key < keys; key++) {
    for (int64_t lane = 0; lane < width; lane++) {
      to[key * width + lane] = from[std::min(lane, queries - 1) * mask.query + key * mask.key];
    }
  }
}

// Turns scores (keys x V*LANES) into exponentials relative to each query's maximum so far. What was added up before
// under smaller maxima, `sums` and the `dim` rows of `out`, is scaled down to the new ones.
template <int V>
void soften(float *scores, const float *mask, int64_t keys, float *maxima, float *sums, float *out, int64_t dim) {
  constexpr int WIDTH = V * LANES;
  Vec highest[V], factor[V], total[V];
  for (int v = 0; v < V; v++) highest[v] = load(maxima + v * LANES);
  for (int64_t key = 0; key < keys; key++) {
    for (int v = 0; v < V; v++) {
      const int64_t at = key * WIDTH + v * LANES;
      Vec score = load(scores + at);
      if (mask) store(scores + at, score += load(mask + at));
      highest[v] = maximum(highest[v], score);
    }
  }
  for (int v = 0; v < V; v++) {
    const Vec before = load(maxima + v * LANES);
    store(maxima + v * LANES, highest[v]);
    // Keys that are masked by minus infinity count nothing while others may follow
    highest[v] = highest[v] == -INFINITY ? Vec{} : highest[v];
    factor[v] = exp_below_88(before - highest[v]);
    total[v] = load(sums + v * LANES) * factor[v];
  }
  for (int64_t key = 0; key < keys; key++) {
    for (int v = 0; v < V; v++) {
      float *at = scores + key * WIDTH + v * LANES;
      const Vec e = exp_below_88(load(at) - highest[v]);
      total[v] += e;
      store(at, e);
    }
  }
  for (int v = 0; v < V; v++) store(sums + v * LANES, total[v]);
  for (int64_t d = 0; d < dim; d++) {
    for (int v = 0; v < V; v++) {
      float *at = out + d * WIDTH + v * LANES;
      store(at, load(at) * factor[v]);
    }
  }
}

template <int V = TILE_VECS>
void soften(int64_t vecs, float *scores, const float *mask, int64_t keys, float *maxima, float *sums, float *out,
            int64_t dim) {
  if (vecs == V) {
    soften<V>(scores, mask, keys, maxima, sums, out, dim);
  } else if constexpr (V > 1) {
    soften<V - 1>(vecs, scores, mask, keys, maxima, sums, out, dim);
  }
}

// `count` queries of a head, which attend to one block of keys after the other.
class QueryBlock {
 public:
  QueryBlock(const Problem &problem, int64_t sample, int64_t head, int64_t first, int64_t count, const Room &room)
      : problem(problem), sizes(problem.sizes), sample(sample), head(head), first(first), room(room), panels(count),
        start(sizes.query_at(sample, first, head)) {
    std::fill(room.maxima, room.maxima + panels.vecs * LANES, -INFINITY);
    std::fill(room.sums, room.sums + panels.vecs * LANES, 0.0f);
    for (int64_t panel = 0; panel < panels.count; panel++) {
      const int64_t query = panels.first(panel), stride = sizes.query_stride();
      pack_lanes(problem.q + start + query * stride, stride, panels.size(panel), sizes.dim, problem.scale,
                 room.queries + query * sizes.dim, panels.width(panel));
    }
  }

  void attend(int64_t key, int64_t keys) {
    const int64_t at = sizes.key_at(sample, key, head / sizes.group());
    Rows k{problem.k + at, sizes.key_stride()}, v{problem.v + at, sizes.key_stride()};
    if (panels.count > 1) {
      k = gathered(k, keys, sizes.dim, room.keys);
      v = gathered(v, keys, sizes.dim, room.values);
    }
    for (int64_t panel = 0; panel < panels.count; panel++) attend(panel, key, keys, k, v);
  }

  // Writes the outputs when all keys have been attended to.
  void finish() {
    for (int64_t lane = 0; lane < panels.vecs * LANES; lane++) room.sums[lane] = 1.0f / room.sums[lane];
    const int64_t statistic = sizes.statistic_at(sample, first, head);
    std::copy(room.maxima, room.maxima + panels.rows, problem.maxima + statistic);
    std::copy(room.sums, room.sums + panels.rows, problem.inverse_sums + statistic);
    for (int64_t panel = 0; panel < panels.count; panel++) {
      const int64_t query = panels.first(panel), stride = sizes.query_stride();
      unpack_lanes(room.out + query * sizes.dim, panels.width(panel), room.sums + query, panels.size(panel), sizes.dim,
                   problem.out + start + query * stride, stride);
    }
  }

 private:
  void attend(int64_t panel, int64_t key, int64_t keys, Rows k, Rows v) {
    const int64_t query = panels.first(panel), vecs = panels.width(panel), width = vecs * LANES, dim = sizes.dim;
    float *out = room.out + query * dim;
    multiply(keys, vecs, k.data, k.stride, 1, room.queries + query * dim, dim, room.scores, width, false);
    const float *mask = problem.mask.data ? room.mask : nullptr;
    if (mask) {
      transpose_mask(problem.mask, problem.mask.at(sample, head, first + query, key), panels.size(panel), keys, vecs,
                     room.mask);
    }
    soften(vecs, room.scores, mask, keys, room.maxima + query, room.sums + query, out, key > 0 ? dim : 0);
    multiply(dim, vecs, v.data, 1, v.stride, room.scores, keys, out, width, key > 0);
  }

  const Problem &problem;
  const Sizes &sizes;
  int64_t sample, head, first;
  const Room &room;
  Panels panels;
  int64_t start;  // of the first query in q and out
};

}  // namespace
}  // namespace vgen::attention

// q (b n heads*d), k and v (b m kv_heads*d), mask (broadcastable to b heads n m, or empty), scale (1), numbers (heads)
// -> out (b n heads*d), statistics (2 b heads n): largest score, then 1 / sum of exponentials relative to it.
VGEN_KERNEL(attention_forward) {
  using namespace vgen::attention;
  const Sizes sizes(args, 0, 1, args.number(5, 0));
  const int64_t rows = sizes.batch * sizes.heads * sizes.queries;
  float *statistics = args.floats(7);
  const Problem problem{sizes, args.floats(0), args.floats(1), args.floats(2), Mask(args, 3), *args.floats(4),
                        args.floats(6), statistics, statistics + rows};
  const int64_t fitting = std::max<int64_t>(1, QUERY_FLOATS / sizes.dim / vgen::TILE_COLS) * vgen::TILE_COLS;
  const int64_t block = std::min(LARGEST_QUERY_BLOCK, fitting), blocks = (sizes.queries + block - 1) / block;
  const int64_t room = Room::floats(sizes.dim, block);
  const int threads = vgen::threads_for(rows * sizes.keys * sizes.dim, 1 << 16);
  vgen::Scratch scratch(threads * room);
  const int64_t key_blocks = (sizes.keys + KEY_BLOCK - 1) / KEY_BLOCK;
  const int64_t key_block = round_up((sizes.keys + key_blocks - 1) / key_blocks, vgen::TILE_ROWS);
  parallel_runs(sizes.batch * sizes.heads * blocks, threads, [&](int64_t task, int thread) {
    const int64_t pair = task / blocks, first = task % blocks * block, count = std::min(block, sizes.queries - first);
    const Room own(scratch.get() + thread * room, sizes.dim, block);
    QueryBlock queries(problem, pair / sizes.heads, pair % sizes.heads, first, count, own);
    for (int64_t key = 0; key < sizes.keys; key += key_block) {
      queries.attend(key, std::min(key_block, sizes.keys - key));
    }
    queries.finish();
  });
}
