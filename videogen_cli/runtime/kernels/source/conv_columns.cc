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
    : sampling_(sampling), readings_(sampling.tap_count() * vecs) {}

void Columns::locate(int64_t first, int64_t vecs) {
  vecs_ = vecs;
  lowest_ = 0, highest_ = 0;
  for (int64_t vec = 0; vec < vecs; vec++) {
    const Lanes lanes = lanes_of(first + vec * LANES);
    apart_ = vec == 0 || lanes.apart == apart_ ? lanes.apart : 0;
    for (int64_t tap = 0; tap < sampling_.tap_count(); tap++) {
      Reading &to = readings_[tap * vecs + vec];
      to = reading(lanes, sampling_.taps[tap]);
      lowest_ = std::min(lowest_, to.start);
      highest_ = std::max(highest_, to.start);
    }
  }
}

Columns::Lanes Columns::lanes_of(int64_t first) const {
  const Triple &columns = sampling_.columns, &source = sampling_.source, &step = sampling_.step;
  const int64_t image_size = sampling_.channels * points(source);
  int64_t w = first % columns[2], h = first / columns[2] % columns[1];
  int64_t f = first / (columns[2] * columns[1]) % columns[0], image = first / points(columns);
  Lanes lanes;
  int64_t start = 0;
  bool is_apart[3] = {false, true, true};
  for (int lane = 0; lane < LANES; lane++) {
    lanes.image[lane] = image < sampling_.images ? static_cast<int32_t>(image * image_size) : -1;
    lanes.f[lane] = static_cast<int32_t>(f * step[0]);
    lanes.h[lane] = static_cast<int32_t>(h * step[1]);
    lanes.w[lane] = static_cast<int32_t>(w * step[2]);
    const int64_t place = image * image_size + ((f * step[0]) * source[1] + h * step[1]) * source[2] + w * step[2];
    if (lane == 0) start = place;
    const bool is_behind = image >= sampling_.images;
    const bool is_other_frame = sampling_.repeat_frames && lanes.f[lane] != lanes.f[0];
    for (int apart = 1; apart <= 2; apart++) {
      is_apart[apart] &= is_behind || (place == start + lane * apart && !is_other_frame);
    }
    if (++w < columns[2]) continue;
    w = 0;
    if (++h < columns[1]) continue;
    h = 0;
    if (++f < columns[0]) continue;
    f = 0;
    image++;
  }
  lanes.apart = is_apart[1] ? 1 : is_apart[2] ? 2 : 0;
  return lanes;
}

Columns::Reading Columns::reading(const Lanes &lanes, const Triple &tap) const {
  const int32_t frames = sampling_.source[0], height = sampling_.source[1], width = sampling_.source[2];
  const int32_t tap_f = tap[0], tap_h = tap[1], tap_w = tap[2];
  VecI f = lanes.f + tap_f;
  const VecI h = lanes.h + tap_h, w = lanes.w + tap_w;
  if (sampling_.repeat_frames) {
    f = f > 0 ? f : VecI{};
    f = f < frames ? f : VecI{} + (frames - 1);
  }
  const VecI places = lanes.image + (f * height + h) * width + w;
  const VecI inside = (lanes.image >= 0) & (f >= 0) & (f < frames) & (h >= 0) & (h < height) & (w >= 0) & (w < width);
  bool is_empty = true;
  for (int lane = 0; lane < LANES; lane++) is_empty &= inside[lane] == 0;
  return {lanes.apart ? places[0] : 0, lanes.apart, is_empty, inside, places & inside};
}

inline Vec masked(Vec values, VecI inside) {
  const VecI kept = reinterpret_cast<const VecI &>(values) & inside;
  return reinterpret_cast<const Vec &>(kept);
}

// LANES floats `apart` from each other, 1 or 2.
inline Vec load_apart(const float *from, int64_t apart) {
  if (apart == 1) return load(from);
  return every_second(load(from), load(from + LANES), std::make_integer_sequence<int, LANES>());
}

template <int APART>
inline void Columns::gather_apart(const float *from, float *to) const {
  const int64_t readings = sampling_.tap_count() * vecs_;
  const Reading *reading = readings_.data();
  const int64_t ahead = 2 * points(sampling_.source);  // channels are too far apart for the processor to foresee
  for (int64_t i = 0; i < readings; i++, reading++, to += LANES) {
    store(to, masked(load_apart(from + reading->start, APART), reading->inside));
    __builtin_prefetch(from + ahead + reading->start);
  }
}

void Columns::gather(int64_t channel, int64_t count, float *to) const {
  const int64_t plane = points(sampling_.source), size = sampling_.images * sampling_.channels * plane;
  const int64_t readings = sampling_.tap_count() * vecs_;
  for (int64_t end = channel + count; channel < end; channel++, to += readings * LANES) {
    const float *from = sampling_.x + channel * plane;
    const bool is_within = channel * plane + lowest_ >= 0 && channel * plane + highest_ + 2 * LANES <= size;
    if (is_within && apart_ == 1) {
      gather_apart<1>(from, to);
    } else if (is_within && apart_ == 2) {
      gather_apart<2>(from, to);
    } else {
      gather_carefully(from, is_within, to);
    }
  }
}

// Whatever the readings are; without `is_within`, only points inside are touched.
void Columns::gather_carefully(const float *from, bool is_within, float *to) const {
  const int64_t readings = sampling_.tap_count() * vecs_;
  const Reading *reading = readings_.data();
  for (int64_t i = 0; i < readings; i++, reading++, to += LANES) {
    Vec values{};
    if (is_within && reading->apart) {
      values = load_apart(from + reading->start, reading->apart);
    } else if (!reading->is_empty) {
      for (int lane = 0; lane < LANES; lane++) values[lane] = from[reading->places[lane]];
    }
    store(to, masked(values, reading->inside));
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
