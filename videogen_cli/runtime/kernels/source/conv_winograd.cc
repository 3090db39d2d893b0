// Convolutions of a 3x3 window by Winograd's algorithm F(2x2, 3x3) (Lavin and Gray 2016, arXiv:1509.09308): 2x2 outputs
// from 16 multiplications per channel instead of 36.
//
// Windows of 4x4 inputs, weights and products are transformed; in between, each of the 16 places of a window is a
// matrix product of its own, whose columns are windows and whose depth is (channel, frame tap). A task has one panel of
// windows and some rows. Transformed weights are made for a group of rows at a time, shared by all tasks.
//
// Sums are shorter than a direct convolution's, so errors are smaller. But what is not finite would make all four outputs
// of its windows not a number, so where there is such a thing the direct way is taken.
#include "conv.h"
#include "elementwise.h"
#include "transpose.h"

namespace vgen {
namespace {

constexpr int64_t PLACES = 16;
constexpr int64_t MOST_WEIGHTS = 1 << 22, MOST_WINDOWS = 1 << 20;  // floats, of a group and of a panel
constexpr int64_t MOST_ROWS = 64;                                  // whose products are kept at a time
constexpr int64_t APART = LANES;        // so that the 16 places of a window do not share cache sets
constexpr int64_t WORTH_WHILE = 1 << 13;  // transformed weights per output point: more of them cost too much

// The window's rows, or columns, at stride `s` of 16 vectors: B^T d of the paper.
inline void transform_input(Vec *d, int s) {
  const Vec d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s];
  d[0] = d0 - d2;
  d[s] = d1 + d2;
  d[2 * s] = d2 - d1;
  d[3 * s] = d1 - d3;
}

struct Winograd {
  const Sampling &sampling;  // of windows: step 2, taps (frame tap, 4, 4)
  const Weights &weights;
  const Target &target;
  int64_t frame_taps, depth, vecs, panels;

  int64_t first_vec(int64_t panel) const { return part(vecs, panels, panel); }
  int64_t windows_stride() const { return depth * TILE_COLS + APART; }

  // Transforms windows of a panel, `width` vectors of them: to (place, depth, width). `gathered` is for one channel.
  void transform_windows(const Columns &columns, int64_t width, float *gathered, float *to) const {
    for (int64_t channel = 0; channel < sampling.channels; channel++) {
      columns.gather(channel, 1, gathered);
      for (int64_t tap = 0; tap < frame_taps; tap++) {
        for (int64_t vec = 0; vec < width; vec++) {
          const float *from = gathered + (tap * PLACES * width + vec) * LANES;
          Vec d[PLACES];
#pragma GCC unroll 16
          for (int place = 0; place < PLACES; place++) d[place] = load(from + place * width * LANES);
#pragma GCC unroll 4
          for (int column = 0; column < 4; column++) transform_input(d + column, 4);
#pragma GCC unroll 4
          for (int row = 0; row < 4; row++) transform_input(d + 4 * row, 1);
          float *line = to + ((channel * frame_taps + tap) * width + vec) * LANES;
#pragma GCC unroll 16
          for (int place = 0; place < PLACES; place++) store(line + place * windows_stride(), d[place]);
        }
      }
    }
  }

  // Transforms the weights of rows from `first` on, for LANES of depth from `k` on: to (place, row, depth).
  void transform_weights(int64_t first, int64_t rows, int64_t k, const std::vector<int64_t> &order, float *to) const {
    const int64_t count = std::min<int64_t>(LANES, depth - k);
    for (int64_t row = 0; row < rows; row++) {
      float taps[9][LANES] = {};
      for (int64_t lane = 0; lane < count; lane++) {
        const int64_t channel = (k + lane) / frame_taps, frame_tap = (k + lane) % frame_taps;
        const float *from = weights.data + (first + row) * weights.row + channel * weights.channel;
        for (int tap = 0; tap < 9; tap++) taps[tap][lane] = from[order[frame_tap * 9 + tap]];
      }
      Vec half[4][3], full[4][4];
      for (int w = 0; w < 3; w++) {
        const Vec a = load(taps[w]), b = load(taps[3 + w]), c = load(taps[6 + w]);
        half[0][w] = a, half[1][w] = 0.5f * (a + b + c), half[2][w] = 0.5f * (a - b + c), half[3][w] = c;
      }
      for (int h = 0; h < 4; h++) {
        const Vec a = half[h][0], b = half[h][1], c = half[h][2];
        full[h][0] = a, full[h][1] = 0.5f * (a + b + c), full[h][2] = 0.5f * (a - b + c), full[h][3] = c;
      }
      for (int place = 0; place < PLACES; place++) {
        store_part(to + (place * rows + row) * depth + k, full[place / 4][place % 4], count);
      }
    }
  }

  // Products (place, row, width) of one row to outputs: A^T m A of the paper, plus bias and residual.
  void finish(const float *products, int64_t stride, int64_t row, int64_t panel) const {
    const int64_t width = first_vec(panel + 1) - first_vec(panel), first = first_vec(panel) * LANES;
    const Vec bias = broadcast(target.bias ? target.bias[row] : 0.0f);
    float lines[2][2 * TILE_COLS];
    for (int64_t vec = 0; vec < width; vec++) {
      Vec half[2][4];
      for (int w = 0; w < 4; w++) {
        const float *from = products + w * stride + vec * LANES;
        const Vec a = load(from), b = load(from + 4 * stride);
        const Vec c = load(from + 8 * stride), d = load(from + 12 * stride);
        half[0][w] = a + b + c;
        half[1][w] = b - c - d;
      }
      for (int h = 0; h < 2; h++) {
        const Vec left = half[h][0] + half[h][1] + half[h][2] + bias;
        const Vec right = half[h][1] - half[h][2] - half[h][3] + bias;
        constexpr auto lanes = std::make_integer_sequence<int, LANES>();
        store(lines[h] + 2 * vec * LANES, zip<0>(left, right, lanes));
        store(lines[h] + (2 * vec + 1) * LANES, zip<LANES / 2>(left, right, lanes));
      }
    }
    write(lines, first, std::min(sampling.column_count() - first, width * LANES), row);
  }

  // Both lines of `count` windows from `first` on.
  void write(const float (*lines)[2 * TILE_COLS], int64_t first, int64_t count, int64_t row) const {
    const Triple &windows = sampling.columns, &extent = target.extent;
    for (int64_t done = 0; done < count;) {
      const int64_t w = (first + done) % windows[2], line = (first + done) / windows[2];
      const int64_t h = line % windows[1], f = line / windows[1] % windows[0], image = line / windows[1] / windows[0];
      const int64_t run = std::min(count - done, windows[2] - w), floats = std::min(2 * run, extent[2] - 2 * w);
      for (int64_t i = 0; i < 2 && 2 * h + i < extent[1]; i++) {
        const int64_t at = (((image * weights.rows + row) * extent[0] + f) * extent[1] + 2 * h + i) * extent[2] + 2 * w;
        const float *values = lines[i] + 2 * done;
        float *to = target.out + at;
        if (target.residual) {
          for (int64_t j = 0; j < floats; j++) to[j] = values[j] + target.residual[at + j];
        } else {
          std::copy(values, values + floats, to);
        }
      }
      done += run;
    }
  }

  // One panel times transformed weights (place, rows, depth), whose first row is `first_row`.
  void multiply(const float *transformed, int64_t rows, int64_t first_row, int64_t begin, int64_t end, int64_t panel,
                const int32_t *places, const float *windows, float *products) const {
    const int64_t width = first_vec(panel + 1) - first_vec(panel), stride = MOST_ROWS * width * LANES + APART;
    for (int64_t block = begin; block < end; block += MOST_ROWS) {
      const int64_t block_rows = std::min(MOST_ROWS, end - block);
      for (int place = 0; place < PLACES; place++) {
        for (int64_t row = 0; row < block_rows; row += TILE_ROWS) {
          const float *a = transformed + (place * rows + block + row) * depth, *b = windows + place * windows_stride();
          placed_rows_of(width, std::min<int64_t>(TILE_ROWS, block_rows - row), a, depth, places, b, depth,
                         products + place * stride + row * width * LANES, false);
        }
      }
      for (int64_t row = 0; row < block_rows; row++) {
        finish(products + row * width * LANES, stride, first_row + block + row, panel);
      }
    }
  }
};

// The taps' order by frame, height and width if they are frame taps times a 3x3 window; else nothing.
std::vector<int64_t> window_order(const std::vector<Triple> &taps) {
  std::vector<int64_t> order;
  if (taps.size() % 9) return order;
  for (size_t i = 0; i < taps.size(); i++) order.push_back(static_cast<int64_t>(i));
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return taps[a] < taps[b]; });
  for (size_t i = 0; i < taps.size(); i++) {
    const Triple &first = taps[order[i / 9 * 9]], &tap = taps[order[i]];
    const int64_t h = i % 9 / 3, w = i % 3;
    if (tap != Triple{first[0], first[1] + h, first[2] + w}) return {};
  }
  return order;
}

}  // namespace

bool suits_winograd(const Sampling &sampling, const Weights &weights, const Target &target) {
  const int64_t depth = sampling.channels * sampling.tap_count() / 9, count = sampling.column_count();
  const bool is_dense = sampling.step == Triple{1, 1, 1} && target.step == Triple{1, 1, 1};
  const bool is_large = sampling.columns[1] >= 2 && sampling.columns[2] >= 2 && count >= 512;
  return is_dense && is_large && weights.rows >= 32 && depth >= 32 && PLACES * depth * TILE_COLS <= MOST_WINDOWS &&
         PLACES * depth * weights.rows <= WORTH_WHILE * count && !window_order(sampling.taps).empty() &&
         all_finite(sampling.x, sampling.images * sampling.channels * points(sampling.source)) &&
         all_finite(weights.data, weights.rows * depth * 9);
}

void convolve_winograd(const Sampling &sampling, const Weights &weights, const Target &target) {
  Sampling windows = sampling;
  windows.columns = {sampling.columns[0], divided_up(sampling.columns[1], 2), divided_up(sampling.columns[2], 2)};
  windows.step = {1, 2, 2};
  windows.taps.clear();
  std::vector<int64_t> order = window_order(sampling.taps);
  const int64_t frame_taps = sampling.tap_count() / 9, depth = sampling.channels * frame_taps;
  for (int64_t tap = 0; tap < frame_taps; tap++) {
    const Triple &first = sampling.taps[order[tap * 9]];
    for (int64_t place = 0; place < PLACES; place++) {
      windows.taps.push_back({first[0], first[1] + place / 4, first[2] + place % 4});
    }
  }
  for (int64_t &tap : order) tap = weights.taps[tap];

  const int64_t vecs = divided_up(windows.column_count(), LANES), panels = divided_up(vecs, TILE_VECS);
  const Winograd work{windows, weights, target, frame_taps, depth, vecs, panels};
  const int64_t most_rows = std::max<int64_t>(MOST_ROWS, MOST_WEIGHTS / (PLACES * depth) / MOST_ROWS * MOST_ROWS);
  const int64_t groups = divided_up(weights.rows, most_rows);
  const int64_t group = divided_up(divided_up(weights.rows, groups), TILE_ROWS) * TILE_ROWS;
  const int team = threads();
  const int64_t windows_size = PLACES * work.windows_stride(), products_size = PLACES * (MOST_ROWS * TILE_COLS + APART);
  const int64_t gathered_size = PLACES * frame_taps * TILE_COLS;
  const int64_t scratch_size = windows_size + products_size + gathered_size;
  Scratch scratch(team * scratch_size + PLACES * group * depth);
  float *transformed = scratch.get() + team * scratch_size;
  std::vector<Columns> columns(team, Columns(windows, TILE_VECS));
  std::vector<int32_t> places(depth);
  for (int64_t k = 0; k < depth; k++) places[k] = static_cast<int32_t>(k);

  for (int64_t first_row = 0; first_row < weights.rows; first_row += group) {
    const int64_t rows = std::min(group, weights.rows - first_row), blocks = divided_up(rows, TILE_ROWS);
    parallel(divided_up(depth, LANES), team, [&](int64_t index, int) {
      work.transform_weights(first_row, rows, index * LANES, order, transformed);
    });
    const Tasks tasks = split(panels, 1, blocks, blocks);
    parallel(tasks.columns * tasks.rows, team, [&](int64_t index, int thread) {
      float *panel_windows = scratch.get() + thread * scratch_size, *products = panel_windows + windows_size;
      const int64_t panel = index % tasks.columns, down = index / tasks.columns;
      const int64_t width = work.first_vec(panel + 1) - work.first_vec(panel);
      columns[thread].locate(work.first_vec(panel) * LANES, width);
      work.transform_windows(columns[thread], width, products + products_size, panel_windows);
      work.multiply(transformed, rows, first_row, part(blocks, tasks.rows, down) * TILE_ROWS,
                    std::min(rows, part(blocks, tasks.rows, down + 1) * TILE_ROWS), panel, places.data(),
                    panel_windows, products);
    });
  }
}

}  // namespace vgen
