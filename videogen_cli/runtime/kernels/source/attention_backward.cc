// The gradients of attention. Probabilities are computed again from the largest score and the sum that the forward
// kernel kept: p = exp(s - largest) / sum, then ds = p (dout v^T - sum(dout out)) (Dao et al. 2022, arXiv:2205.14135).
//
// A task is one head of keys and values, or a part of its keys where there are few heads. Keys are lanes of panels, and
// blocks of queries pass by as rows: dk and dv of a panel are complete when all have, dq when all panels are through.
// The number of tasks depends on the shapes alone, and so do the sums' orders.
#include "attention.h"

namespace vgen::attention {
namespace {

constexpr int64_t QUERY_BLOCK = 64;
constexpr int64_t FEWEST_TASKS = 8;

struct Problem {
  Sizes sizes;
  const float *q, *k, *v;
  Mask mask;
  float scale;
  const float *out, *maxima, *inverse_sums, *dout;
  float *dq, *dk, *dv;
};

// A thread's memory.
struct Room {
  float *queries, *dout, *scores, *dscores, *keys, *values, *dkeys, *dvalues, *key_columns, *agreement;

  static int64_t floats(const Sizes &sizes) {
    return 2 * padded(QUERY_BLOCK * sizes.dim) + 2 * QUERY_BLOCK * TILE_COLS + 4 * sizes.dim * TILE_COLS +
           TILE_COLS * Panels(sizes.dim).vecs * LANES + padded(sizes.group() * sizes.queries);
  }
  Room(float *memory, int64_t dim)
      : queries(memory), dout(queries + padded(QUERY_BLOCK * dim)), scores(dout + padded(QUERY_BLOCK * dim)),
        dscores(scores + QUERY_BLOCK * TILE_COLS), keys(dscores + QUERY_BLOCK * TILE_COLS),
        values(keys + dim * TILE_COLS), dkeys(values + dim * TILE_COLS), dvalues(dkeys + dim * TILE_COLS),
        key_columns(dvalues + dim * TILE_COLS), agreement(key_columns + TILE_COLS * Panels(dim).vecs * LANES) {}
};

float dot(const float *a, const float *b, int64_t count) {
  Vec total{};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) total += load(a + i) * load(b + i);
  if (i < count) total += load_part(a + i, count - i) * load_part(b + i, count - i);
  return sum(total);
}

// Copies `keys` rows of `dim` floats into panels (keys x up to TILE_COLS), zeros after the last column.
void pack_columns(Rows from, int64_t keys, int64_t dim, float *to) {
  const Panels columns(dim);
  for (int64_t panel = 0; panel < columns.count; panel++) {
    const int64_t width = columns.width(panel) * LANES, count = columns.size(panel);
    for (int64_t key = 0; key < keys; key++, to += width) {
      const float *row = from.data + key * from.stride + columns.first(panel);
      for (int64_t lane = 0; lane < width; lane += LANES) {
        store(to + lane, count - lane >= LANES ? load(row + lane) : load_part(row + lane, count - lane));
      }
    }
  }
}

// What is added to the scores of a query and the keys of a vector, of which there are `count`.
Vec mask_of(const Mask &mask, const float *from, int64_t count) {
  if (mask.key == 0) return broadcast(*from);
  return count >= LANES ? load(from) : load_part(from, count);
}

// One head of keys and values, or a part of it, and all heads of queries that share it.
class Task {
 public:
  Task(const Problem &problem, int64_t sample, int64_t kv_head, const Room &room, float *dq)
      : problem(problem), sizes(problem.sizes), sample(sample), kv_head(kv_head), room(room), dq(dq),
        columns(sizes.dim) {
    for (int64_t row = 0; row < sizes.group() * sizes.queries; row++) {
      const int64_t at = sizes.query_at(sample, row % sizes.queries, head_of(row));
      room.agreement[row] = dot(problem.dout + at, problem.out + at, sizes.dim);
    }
  }

  // Writes dk and dv of a panel of keys, and writes (if `first`) or adds its part of dq.
  void visit(int64_t key, int64_t keys, int64_t vecs, bool first) {
    const int64_t at = sizes.key_at(sample, key, kv_head), stride = sizes.key_stride();
    pack_lanes(problem.k + at, stride, keys, sizes.dim, 1.0f, room.keys, vecs);
    pack_lanes(problem.v + at, stride, keys, sizes.dim, 1.0f, room.values, vecs);
    pack_columns({problem.k + at, stride}, keys, sizes.dim, room.key_columns);
    for (int64_t member = 0; member < sizes.group(); member++) {
      for (int64_t query = 0; query < sizes.queries; query += QUERY_BLOCK) {
        const int64_t count = std::min(QUERY_BLOCK, sizes.queries - query);
        visit_queries(member * sizes.queries + query, count, key, keys, vecs, first);
      }
    }
    float ones[TILE_COLS];
    std::fill(ones, ones + TILE_COLS, 1.0f);
    unpack_lanes(room.dkeys, vecs, ones, keys, sizes.dim, problem.dk + at, stride);
    unpack_lanes(room.dvalues, vecs, ones, keys, sizes.dim, problem.dv + at, stride);
  }

 private:
  int64_t head_of(int64_t row) const { return kv_head * sizes.group() + row / sizes.queries; }

  void visit_queries(int64_t row, int64_t count, int64_t key, int64_t keys, int64_t vecs, bool first) {
    const int64_t width = vecs * LANES, dim = sizes.dim, query = row % sizes.queries;
    const int64_t at = sizes.query_at(sample, query, head_of(row));
    for (int64_t r = 0; r < count; r++) {
      copy_scaled(problem.q + at + r * sizes.query_stride(), dim, problem.scale, room.queries + r * dim);
    }
    const Rows dout = gathered({problem.dout + at, sizes.query_stride()}, count, dim, room.dout);
    multiply(count, vecs, room.queries, dim, 1, room.keys, dim, room.scores, width, false);
    to_probabilities(query, head_of(row), count, key, keys, vecs);
    multiply(dim, vecs, dout.data, 1, dout.stride, room.scores, count, room.dvalues, width, row > 0);
    multiply(count, vecs, dout.data, dout.stride, 1, room.values, dim, room.dscores, width, false);
    for (int64_t r = 0; r < count; r++) {
      for (int64_t lane = r * width; lane < (r + 1) * width; lane += LANES) {
        store(room.scores + lane, load(room.scores + lane) * (load(room.dscores + lane) - room.agreement[row + r]));
      }
    }
    multiply(dim, vecs, room.queries, 1, dim, room.scores, count, room.dkeys, width, row > 0);
    for (int64_t panel = 0; panel < columns.count; panel++) {
      const int64_t column = columns.first(panel);
      multiply(count, columns.width(panel), room.scores, width, 1, room.key_columns + keys * column, keys,
               dq + row * columns.vecs * LANES + column, columns.vecs * LANES, !first);
    }
  }

  void to_probabilities(int64_t query, int64_t head, int64_t count, int64_t key, int64_t keys, int64_t vecs) {
    const int64_t statistic = sizes.statistic_at(sample, query, head);
    for (int64_t r = 0; r < count; r++) {
      const float largest = problem.maxima[statistic + r], factor = problem.inverse_sums[statistic + r];
      for (int64_t lane = 0; lane < vecs * LANES; lane += LANES) {
        float *at = room.scores + r * vecs * LANES + lane;
        Vec score = load(at);
        if (problem.mask.data) {
          score += mask_of(problem.mask, problem.mask.at(sample, head, query + r, key + lane), keys - lane);
        }
        store(at, exp_below_88(score - largest) * factor);
      }
    }
  }

  const Problem &problem;
  const Sizes &sizes;
  int64_t sample, kv_head;
  const Room &room;
  float *dq;  // (group*queries, dim in whole vectors), not yet scaled
  Panels columns;
};

// Writes a head's dq, or that of a group of heads, from the sum of what `parts` of the keys gave, which lie `apart`.
void write_dq(const Problem &problem, int64_t pair, const float *from, int64_t parts, int64_t apart) {
  const Sizes &sizes = problem.sizes;
  const int64_t row_floats = Panels(sizes.dim).vecs * LANES;
  for (int64_t row = 0; row < sizes.group() * sizes.queries; row++, from += row_floats) {
    const int64_t head = pair % sizes.kv_heads * sizes.group() + row / sizes.queries;
    float *to = problem.dq + sizes.query_at(pair / sizes.kv_heads, row % sizes.queries, head);
    copy_scaled(from, sizes.dim, problem.scale, to);
    for (int64_t part = 1; part < parts; part++) {
      for (int64_t d = 0; d < sizes.dim; d++) to[d] += from[part * apart + d] * problem.scale;
    }
  }
}

}  // namespace
}  // namespace vgen::attention

// The forward kernel's inputs and outputs, then dout (b n heads*d) -> dq, dk, dv.
VGEN_KERNEL(attention_backward) {
  using namespace vgen::attention;
  const Sizes sizes(args, 0, 1, args.number(5, 0));
  const int64_t rows = sizes.batch * sizes.heads * sizes.queries;
  const float *statistics = args.floats(7);
  const Problem problem{sizes, args.floats(0), args.floats(1), args.floats(2), Mask(args, 3), *args.floats(4),
                        args.floats(6), statistics, statistics + rows, args.floats(8),
                        args.floats(9), args.floats(10), args.floats(11)};
  const Panels panels(sizes.keys);
  const int64_t pairs = sizes.batch * sizes.kv_heads;
  const int64_t parts = std::min(panels.count, (FEWEST_TASKS + pairs - 1) / pairs), tasks = pairs * parts;
  const int threads = vgen::threads_for(rows * sizes.keys * sizes.dim, 1 << 15);
  const int64_t room = Room::floats(sizes);
  const int64_t dq_floats = sizes.group() * sizes.queries * Panels(sizes.dim).vecs * vgen::LANES;
  vgen::Scratch scratch(threads * room), dq((parts > 1 ? tasks : threads) * dq_floats);
  parallel_runs(tasks, threads, [&](int64_t index, int thread) {
    const int64_t pair = index / parts, part = index % parts;
    const Room own(scratch.get() + thread * room, sizes.dim);
    float *own_dq = dq.get() + (parts > 1 ? index : thread) * dq_floats;
    Task task(problem, pair / sizes.kv_heads, pair % sizes.kv_heads, own, own_dq);
    const int64_t first = panels.count * part / parts, end = panels.count * (part + 1) / parts;
    for (int64_t panel = first; panel < end; panel++) {
      task.visit(panels.first(panel), panels.size(panel), panels.width(panel), panel == first);
    }
    if (parts == 1) write_dq(problem, pair, own_dq, 1, 0);
  });
  for (int64_t pair = 0; pair < pairs && parts > 1; pair++) {
    write_dq(problem, pair, dq.get() + pair * parts * dq_floats, parts, dq_floats);
  }
}
