// Gathering the columns of convolutions: see conv.h.
#include "conv.h"

#include <utility>

namespace vgen {

template <int... LANE>
inline Vec every_second(Vec low, Vec high, std::integer_sequence<int, LANE...>) {
  return __builtin_shufflevector(low, high, 2 * LANE...);
}

Sampling sampling_of(const float *x, int64_t images, int64_t channels, const Triple &source, const Triple &columns,
                     const Triple &kernel, const Geometry &geometry) {
  Sampling sampling{x, images, channels, source, columns, geometry.stride, taps_of(kernel), geometry.repeat_frames};
  for (Triple &tap : sampling.taps) {
    for (int axis = 0; axis < 3; axis++) tap[axis] = tap[axis] * geometry.dilation[axis] - geometry.before[axis];
  }
  return sampling;
}

Columns::Columns(const Sampling &sampling, int64_t vecs)
    : sampling_(sampling),
      readings_(sampling.tap_count() * vecs),
      offsets_(sampling.tap_count() * vecs * LANES),
      frame_(vecs * LANES),
      row_(vecs * LANES),
      column_(vecs * LANES),
      image_(vecs * LANES) {}

void Columns::locate(int64_t first, int64_t vecs) {
  const Triple &columns = sampling_.columns, &step = sampling_.step;
  const int64_t image_size = sampling_.channels * points(sampling_.source);
  int64_t w = first % columns[2], h = first / columns[2] % columns[1];
  int64_t f = first / (columns[2] * columns[1]) % columns[0], image = first / points(columns);
  vecs_ = vecs;
  for (int64_t lane = 0; lane < vecs * LANES; lane++) {
    frame_[lane] = static_cast<int32_t>(f * step[0]);
    row_[lane] = static_cast<int32_t>(h * step[1]);
    column_[lane] = static_cast<int32_t>(w * step[2]);
    image_[lane] = image < sampling_.images ? static_cast<int32_t>(image * image_size) : -1;
    if (++w < columns[2]) continue;
    w = 0;
    if (++h < columns[1]) continue;
    h = 0;
    if (++f < columns[0]) continue;
    f = 0;
    image++;
  }
  Reading *reading = readings_.data();
  int32_t *offsets = offsets_.data();
  lowest_ = INT64_MAX, highest_ = 0;
  is_plain_ = true;
  for (const Triple &tap : sampling_.taps) {
    for (int64_t vec = 0; vec < vecs; vec++, reading++, offsets += LANES) {
      work_out(tap, vec, *reading, offsets);
      lowest_ = std::min(lowest_, reading->start);
      highest_ = std::max(highest_, reading->start);
      is_plain_ &= reading->apart == 1;
    }
  }
}

void Columns::work_out(const Triple &tap, int64_t vec, Reading &reading, int32_t *offsets) const {
  const int32_t frames = sampling_.source[0], height = sampling_.source[1], width = sampling_.source[2];
  const int32_t tap_f = tap[0], tap_h = tap[1], tap_w = tap[2];
  const bool repeat = sampling_.repeat_frames;
  int32_t inside[LANES];
  for (int i = 0; i < LANES; i++) {
    const int64_t lane = vec * LANES + i;
    int32_t f = frame_[lane] + tap_f;
    const int32_t h = row_[lane] + tap_h, w = column_[lane] + tap_w, image = image_[lane];
    if (repeat) f = std::max(0, std::min(f, frames - 1));
    const bool is_inside = (image >= 0) & (f >= 0) & (f < frames) & (h >= 0) & (h < height) & (w >= 0) & (w < width);
    inside[i] = is_inside ? -1 : 0;
    offsets[i] = is_inside ? image + (f * height + h) * width + w : 0;
  }
  std::memcpy(&reading.inside, inside, sizeof(inside));
  reading.start = 0;
  int first = 0;
  while (first < LANES && !inside[first]) first++;
  for (reading.apart = 1; reading.apart <= 2 && first < LANES; reading.apart++) {
    reading.start = offsets[first] - first * reading.apart;
    bool fits = true;
    for (int i = 0; i < LANES; i++) fits &= !inside[i] | (offsets[i] == reading.start + i * reading.apart);
    if (fits) return;
  }
  if (first == LANES) return;
  reading.start = 0, reading.apart = 0;
}

inline Vec masked(Vec values, VecI inside) {
  const VecI kept = reinterpret_cast<const VecI &>(values) & inside;
  return reinterpret_cast<const Vec &>(kept);
}

void Columns::gather(int64_t channel, int64_t count, float *to) const {
  const int64_t plane = points(sampling_.source), size = sampling_.images * sampling_.channels * plane;
  const int64_t readings = sampling_.tap_count() * vecs_;
  for (int64_t end = channel + count; channel < end; channel++, to += readings * LANES) {
    const float *from = sampling_.x + channel * plane;
    const int64_t before = channel * plane;
    const bool is_within = before + lowest_ >= 0 && before + highest_ + 2 * LANES <= size;
    if (is_plain_ && is_within) {
      const Reading *reading = readings_.data();
      for (int64_t i = 0; i < readings; i++) store(to + i * LANES, masked(load(from + reading[i].start), reading[i].inside));
    } else {
      gather_near_ends(from, is_within, to);
    }
  }
}

// Whatever the readings are; without `is_within` only points inside are touched.
void Columns::gather_near_ends(const float *from, bool is_within, float *to) const {
  const int64_t readings = sampling_.tap_count() * vecs_;
  for (int64_t i = 0; i < readings; i++, to += LANES) {
    const Reading &reading = readings_[i];
    if (is_within && reading.apart == 1) {
      store(to, masked(load(from + reading.start), reading.inside));
    } else if (is_within && reading.apart == 2) {
      const Vec low = load(from + reading.start), high = load(from + reading.start + LANES);
      store(to, masked(every_second(low, high, std::make_integer_sequence<int, LANES>()), reading.inside));
    } else {
      const int32_t *offsets = offsets_.data() + i * LANES;
      for (int lane = 0; lane < LANES; lane++) to[lane] = from[offsets[lane]];
      store(to, masked(load(to), reading.inside));
    }
  }
}

Tasks split(int64_t panels, int64_t most_panels, int64_t blocks, int64_t most_blocks) {
  const int64_t count = threads();
  const Tasks fewest{divided_up(panels, most_panels), divided_up(blocks, most_blocks)};
  Tasks best = fewest;
  int64_t least = INT64_MAX;
  for (int64_t rows = fewest.rows; rows <= std::min(blocks, fewest.rows + count); rows++) {
    for (int64_t columns = fewest.columns; columns <= std::min(panels, fewest.columns + 2 * count); columns++) {
      // a panel is gathered once per task, which takes about as long as one block of rows
      const int64_t load =
          divided_up(columns * rows, count) * divided_up(panels, columns) * (divided_up(blocks, rows) + 1);
      if (load < least) {
        least = load;
        best = {columns, rows};
      }
    }
  }
  return best;
}

}  // namespace vgen
