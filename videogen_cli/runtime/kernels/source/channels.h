// Factors and results of products that lie channel by channel: (n c p), the pixels p of each channel together.
//
// As a matrix, such a tensor has a row per channel and a column per pixel of all samples n. Tokens are the same
// numbers pixel by pixel, (n p c), or with the frames of a video beside each other, ((b p) f c) for n = (b f).
#pragma once

#include "results.h"

namespace vgen {

// Where the token of pixel `column` of all samples is.
struct TokenOrder {
  int64_t pixels, frames;

  int64_t place(int64_t column) const {
    if (frames == 1) return column;
    const int64_t sample = column / pixels, pixel = column % pixels;
    return (sample / frames * pixels + pixel) * frames + sample % frames;
  }
};

struct ChannelLayout {
  int64_t channels, pixels;

  // Of channel 0; the next ones are `pixels` apart.
  int64_t place(int64_t column) const { return column / pixels * channels * pixels + column % pixels; }
  // How many of `most` columns lie beside each other.
  int64_t together(int64_t column, int64_t most) const { return std::min(most, pixels - column % pixels); }
};

// A with a row for each channel; depth runs over pixels. Rows are added up into `totals`, if there are any.
struct LeftChannels {
  static constexpr bool PACKED = true;
  const float *data;
  ChannelLayout layout;
  float *totals = nullptr;

  LeftBlock block(int64_t row, int64_t rows, int64_t k, int64_t depth, float *scratch, bool first) const {
    for (int64_t i = 0; i < depth;) {
      const int64_t count = layout.together(k + i, depth - i);
      const float *from = data + layout.place(k + i) + row * layout.pixels;
      for (int64_t r = 0; r < rows; r++) {
        std::copy(from + r * layout.pixels, from + r * layout.pixels + count, scratch + r * depth + i);
      }
      i += count;
    }
    for (int64_t r = 0; totals && first && r < rows; r++) {
      totals[row + r] = (k == 0 ? 0.0f : totals[row + r]) + total(scratch + r * depth, depth);
    }
    return {scratch, depth, depth, 1};
  }

 private:
  static float total(const float *values, int64_t count) {
    Vec sums = load_part(values, count % LANES);
    for (int64_t i = count % LANES; i < count; i += LANES) sums += load(values + i);
    return sum(sums);
  }
};

// B with a column for each pixel; depth runs over channels.
struct RightChannels {
  const float *data;
  ChannelLayout layout;

  void pack(int64_t k, int64_t depth, int64_t col, int64_t cols, float *panels) const {
    for (int64_t c = 0; c < cols; c += LANES) {
      const int64_t panel = c / TILE_COLS * TILE_COLS, count = std::min<int64_t>(LANES, cols - c);
      const int64_t width = std::min<int64_t>(TILE_COLS, round_up(cols - panel, LANES));
      copy_vector(k, depth, col + c, count, panels + panel * depth + c - panel, width);
    }
  }

 private:
  void copy_vector(int64_t k, int64_t depth, int64_t col, int64_t count, float *to, int64_t width) const {
    const float *from[LANES];
    for (int64_t lane = 0; lane < count; lane++) from[lane] = data + layout.place(col + lane) + k * layout.pixels;
    const bool together = layout.together(col, LANES) == LANES && count == LANES;
    for (int64_t i = 0; i < depth; i++) {
      const int64_t at = i * layout.pixels;
      if (together) {
        __builtin_prefetch(from[0] + at + STRIP * layout.pixels);
        store(to + i * width, load(from[0] + at));
      } else {
        for (int lane = 0; lane < LANES; lane++) to[i * width + lane] = lane < count ? from[lane][at] : 0.0f;
      }
    }
  }
};

// C with a row for each channel and a column for each pixel; a bias for each channel.
struct IntoChannels {
  float *out;
  ChannelLayout layout;
  const float *bias = nullptr, *residual = nullptr;

  void operator()(const float *sums, int64_t ldc, int64_t row, int64_t rows, int64_t col, int64_t cols) const {
    for (int64_t c = 0; c < cols;) {
      const int64_t count = layout.together(col + c, cols - c);
      for (int64_t r = 0; r < rows; r++) {
        const int64_t at = layout.place(col + c) + (row + r) * layout.pixels;
        const float start = bias ? bias[row + r] : 0.0f;
        finish_row(out + at, sums + r * ldc + c, count, start, nullptr, offset(residual, at));
      }
      c += count;
    }
  }
};

}  // namespace vgen
