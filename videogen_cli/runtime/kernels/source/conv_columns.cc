// Gathering the columns of convolutions: see conv.h.
#include "conv.h"

namespace vgen {

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
  Reading *to = readings_.data();
  for (const Triple &tap : sampling_.taps) {
    for (int64_t vec = 0; vec < vecs; vec++) *to++ = reading(tap, vec);
  }
}

Columns::Reading Columns::reading(const Triple &tap, int64_t vec) const {
  const int32_t frames = sampling_.source[0], height = sampling_.source[1], width = sampling_.source[2];
  const int32_t tap_f = tap[0], tap_h = tap[1], tap_w = tap[2];
  const bool repeat = sampling_.repeat_frames;
  Reading result;
  int32_t inside[LANES];
  for (int i = 0; i < LANES; i++) {
    const int64_t lane = vec * LANES + i;
    int32_t f = frame_[lane] + tap_f;
    const int32_t h = row_[lane] + tap_h, w = column_[lane] + tap_w, image = image_[lane];
    if (repeat) f = std::max(0, std::min(f, frames - 1));
    const bool is_inside = (image >= 0) & (f >= 0) & (f < frames) & (h >= 0) & (h < height) & (w >= 0) & (w < width);
    inside[i] = is_inside ? -1 : 0;
    result.offsets[i] = is_inside ? image + (f * height + h) * width + w : 0;
  }
  std::memcpy(&result.inside, inside, sizeof(inside));
  int lane = 0;
  while (lane < LANES && !inside[lane]) lane++;
  if (lane == LANES) {
    result.kind = OUTSIDE;
    return result;
  }
  result.start = static_cast<int64_t>(result.offsets[lane]) - lane;
  bool is_run = true;
  for (int i = 0; i < LANES; i++) is_run &= !inside[i] | (result.offsets[i] == result.start + i);
  result.kind = is_run ? RUN : SCATTERED;
  return result;
}

inline Vec Columns::read(const Reading &reading, int64_t channel) const {
  if (reading.kind == OUTSIDE) return Vec{};
  const int64_t plane = points(sampling_.source), size = sampling_.images * sampling_.channels * plane;
  const int64_t start = reading.start + channel * plane;
  Vec values;
  if (reading.kind == RUN && start >= 0 && start + LANES <= size) {
    values = load(sampling_.x + start);
  } else {
    const float *from = sampling_.x + channel * plane;
    float lanes[LANES];
    for (int lane = 0; lane < LANES; lane++) lanes[lane] = from[reading.offsets[lane]];
    values = load(lanes);
  }
  const VecI kept = reinterpret_cast<const VecI &>(values) & reading.inside;
  return reinterpret_cast<const Vec &>(kept);
}

void Columns::gather(int64_t channel, int64_t count, float *to, int64_t stride) const {
  const int64_t taps = sampling_.tap_count();
  for (int64_t end = channel + count; channel < end; channel++) {
    const Reading *reading = readings_.data();
    for (int64_t tap = 0; tap < taps; tap++, to += stride) {
      for (int64_t vec = 0; vec < vecs_; vec++) store(to + vec * LANES, read(*reading++, channel));
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
