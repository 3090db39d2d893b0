// Group normalisation with an optional SiLU behind, whose gradient computes what came before the SiLU once more.
//
// A group is a piece of memory per frame that it spans: its channels' planes, one after the other. Its statistics are
// made block by block, each in two passes over the cache, and put together in double (Chan, Golub and LeVeque 1979), so
// that one pass over memory does and a mean far from 0 costs no digits.
#include <numeric>

#include "norms_rows.h"

using namespace vgen;

namespace {

constexpr int64_t BLOCK = 4096;  // floats; fit into the first cache, and are few enough to add up in single precision

// How many numbers there were, their mean, and the sum of squared distances from it.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  void add(const Moments &other) {
    const double all = count + other.count, distance = other.mean - mean;
    squares += other.squares + distance * distance * count * other.count / all;
    mean += distance * other.count / all;
    count = all;
  }
};

Moments block_moments(const float *x, int64_t size) {
  Vec total{};
  each_part(size, [&](auto at) { total += at.load(x); });
  const float mean = sum(total) / size;
  Vec rest{}, squares{};
  each_part(size, [&](auto at) {
    const Vec distance = at.load(x, mean) - mean;
    rest += distance;
    squares += distance * distance;
  });
  const double correction = static_cast<double>(sum(rest)) / size;
  return {static_cast<double>(size), mean + correction, sum(squares) - correction * correction * size};
}

// Where the groups are; threads share groups, or where those are too few, what is inside of each. Images are ((b f) c
// ...), and a group has the f frames of a sample together.
struct Groups {
  int64_t frames, batch, channels, plane, groups, per_group, piece, size;
  int outside, inside;

  Groups(const Arguments &args, int64_t groups, int64_t frames = 1)
      : frames(frames),
        batch(args.dim(0, 0) / frames),
        channels(args.dim(0, 1)),
        plane(args.size(0) / (batch * frames * channels)),
        groups(groups),
        per_group(channels / groups),
        piece(per_group * plane),
        size(piece * frames) {
    const int wanted = threads_for(args.size(0));
    const bool many = batch * groups >= wanted;
    outside = many ? wanted : 1;
    inside = many ? 1 : wanted;
  }
  int64_t count() const { return batch * groups; }
  int64_t planes() const { return frames * per_group; }
  int64_t blocks_of_piece() const { return (piece + BLOCK - 1) / BLOCK; }
  int64_t blocks() const { return frames * blocks_of_piece(); }
  int64_t first_channel(int64_t group) const { return group % groups * per_group; }
  // The number, of all planes in memory, of a group's first one in a frame.
  int64_t first_plane(int64_t group, int64_t frame) const {
    return (group / groups * frames + frame) * channels + first_channel(group);
  }
  // body(number of the plane, channel of the group) for every plane of a group.
  template <class Body>
  void each_plane(int64_t group, int threads, Body body) const {
    if (threads > 1) {
      in_parallel(planes(), threads, [&](int64_t index) {
        body(first_plane(group, index / per_group) + index % per_group, index % per_group);
      });
      return;
    }
    for (int64_t frame = 0; frame < frames; frame++) {  // no division per plane: some are as short as a vector
      const int64_t first = first_plane(group, frame);
      for (int64_t channel = 0; channel < per_group; channel++) body(first + channel, channel);
    }
  }
};

// One channel of one group: y = xhat * weight + bias, xhat = (x - mean) / deviation, then SiLU or not.
template <bool SILU>
struct Plane {
  float mean, rstd, weight, bias;

  Vec xhat(Vec x) const { return (x - mean) * rstd; }
  Vec value(Vec x) const {
    const Vec y = xhat(x) * weight + bias;
    return SILU ? Silu::value(y) : y;
  }
  // The gradient of y from that of the output.
  Vec gradient(Vec xhat, Vec dout) const { return SILU ? dout * Silu::both(xhat * weight + bias).slope : dout; }
};

template <bool SILU>
void forward_of_long_planes(const Arguments &args) {
  const Groups groups(args, args.number(4, 0), args.number(4, 2));
  const float *x = args.floats(0), *weight = args.floats(1), *bias = args.floats(2);
  const double eps = args.floats(3)[0];
  float *y = args.floats(5), *mean = args.floats(6), *rstd = args.floats(7);
  const Scratch scratch(groups.count() * groups.blocks() * sizeof(Moments) / sizeof(float));
  Moments *parts = reinterpret_cast<Moments *>(scratch.get());
  in_parallel(groups.count(), groups.outside, [=](int64_t group) {
    Moments *own = parts + group * groups.blocks();
    in_parallel(groups.blocks(), groups.inside, [=](int64_t block) {
      const int64_t start = block % groups.blocks_of_piece() * BLOCK;
      const float *from = x + groups.first_plane(group, block / groups.blocks_of_piece()) * groups.plane + start;
      own[block] = block_moments(from, std::min(BLOCK, groups.piece - start));
    });
    Moments all;
    for (int64_t block = 0; block < groups.blocks(); block++) all.add(own[block]);
    mean[group] = static_cast<float>(all.mean);
    rstd[group] = static_cast<float>(1 / std::sqrt(all.squares / all.count + eps));
    const float *weights = weight + groups.first_channel(group), *biases = bias + groups.first_channel(group);
    groups.each_plane(group, groups.inside, [=](int64_t number, int64_t channel) {
      const int64_t offset = number * groups.plane;
      const Plane<SILU> plane{mean[group], rstd[group], weights[channel], biases[channel]};
      each_part(groups.plane, [=](auto at) { at.store(y + offset, plane.value(at.load(x + offset))); });
    });
  });
}

// Sums of the gradient of y over a plane: plain, and along xhat.
struct Sums {
  double plain = 0, along = 0;
};

template <bool SILU>
Sums plane_sums(const Plane<SILU> &plane, const float *x, const float *dout, int64_t size) {
  Sums all;
  for (int64_t start = 0; start < size; start += BLOCK) {
    Vec plain{}, along{};
    each_part(std::min(BLOCK, size - start), [&](auto at) {
      const Vec xhat = plane.xhat(at.load(x + start, plane.mean));
      const Vec dy = plane.gradient(xhat, at.load(dout + start));
      plain += dy;
      along += dy * xhat;
    });
    all.plain += sum(plain);
    all.along += sum(along);
  }
  return all;
}

template <bool SILU>
void backward_of_long_planes(const Arguments &args) {
  const Groups groups(args, args.number(6, 0), args.number(6, 2));
  const float *x = args.floats(0), *weight = args.floats(1), *bias = args.floats(2);
  const float *mean = args.floats(3), *rstd = args.floats(4), *dout = args.floats(5);
  float *dx = args.floats(7), *dweight = args.floats(8), *dbias = args.floats(9);
  const Scratch scratch(groups.count() * groups.planes() * sizeof(Sums) / sizeof(float));
  Sums *sums = reinterpret_cast<Sums *>(scratch.get());
  in_parallel(groups.count(), groups.outside, [=](int64_t group) {
    const float *weights = weight + groups.first_channel(group), *biases = bias + groups.first_channel(group);
    auto plane_of = [=](int64_t channel) {
      return Plane<SILU>{mean[group], rstd[group], weights[channel], biases[channel]};
    };
    groups.each_plane(group, groups.inside, [=](int64_t number, int64_t channel) {
      const int64_t offset = number * groups.plane;
      sums[number] = plane_sums(plane_of(channel), x + offset, dout + offset, groups.plane);
    });
    double plain = 0, along = 0;
    groups.each_plane(group, 1, [&](int64_t number, int64_t channel) {
      plain += weights[channel] * sums[number].plain;
      along += weights[channel] * sums[number].along;
    });
    const float plain_mean = static_cast<float>(plain / groups.size);
    const float along_mean = static_cast<float>(along / groups.size);
    groups.each_plane(group, groups.inside, [=](int64_t number, int64_t channel) {
      const Plane<SILU> plane = plane_of(channel);
      const int64_t offset = number * groups.plane;
      each_part(groups.plane, [=](auto at) {
        const Vec xhat = plane.xhat(at.load(x + offset));
        const Vec dy = plane.gradient(xhat, at.load(dout + offset));
        at.store(dx + offset, plane.rstd * (plane.weight * dy - plain_mean - xhat * along_mean));
      });
    });
  });
  for (int64_t channel = 0; channel < groups.channels; channel++) {
    Sums all;
    for (int64_t image = 0; image < groups.batch * groups.frames; image++) {
      all.plain += sums[image * groups.channels + channel].plain;
      all.along += sums[image * groups.channels + channel].along;
    }
    dweight[channel] = static_cast<float>(all.along);
    dbias[channel] = static_cast<float>(all.plain);
  }
}

// Planes shorter than this leave much of a vector empty: groups then are rows with a weight and a bias for each number.
constexpr int64_t SHORT_PLANE = 4 * LANES;

// (c) to (c plane)
void spread(const float *from, int64_t channels, int64_t plane, float *to) {
  for (int64_t channel = 0; channel < channels; channel++) {
    std::fill(to + channel * plane, to + (channel + 1) * plane, from[channel]);
  }
}

// (c plane) to (c)
void add_up(const float *from, int64_t channels, int64_t plane, float *to) {
  for (int64_t channel = 0; channel < channels; channel++) {
    to[channel] = std::accumulate(from + channel * plane, from + (channel + 1) * plane, 0.0f);
  }
}

template <bool SILU>
void forward_of_short_planes(const Arguments &args) {
  const Groups groups(args, args.number(4, 0));
  const int64_t width = groups.size;
  const float *x = args.floats(0);
  const float eps = args.floats(3)[0];
  float *y = args.floats(5), *mean = args.floats(6), *rstd = args.floats(7);
  const Scratch tables(2 * groups.groups * width);
  float *gains = tables.get(), *offsets = gains + groups.groups * width;
  spread(args.floats(1), groups.channels, groups.plane, gains);
  spread(args.floats(2), groups.channels, groups.plane, offsets);
  in_parallel(groups.count(), threads_for(args.size(0)), [=](int64_t row) {
    const float *from = x + row * width;
    const float *gain = gains + row % groups.groups * width, *offset = offsets + row % groups.groups * width;
    const RowMoments found = moments(from, width, true, eps);
    mean[row] = found.mean;
    rstd[row] = found.rstd;
    float *to = y + row * width;
    each_part(width, [=](auto at) {
      const Vec mapped = found.normed(at.load(from)) * at.load(gain) + at.load(offset);
      at.store(to, SILU ? Silu::value(mapped) : mapped);
    });
  });
}

template <bool SILU>
void backward_of_short_planes(const Arguments &args) {
  const Groups groups(args, args.number(6, 0));
  const int64_t width = groups.size, columns = groups.groups * width;
  const RowGradient<SILU> gradient{width,          true,           args.floats(0), args.floats(3),
                                   args.floats(4), args.floats(5), args.floats(7)};
  const Scratch tables(4 * columns);
  float *gains = tables.get(), *offsets = gains + columns, *plain = offsets + columns, *along = plain + columns;
  spread(args.floats(1), groups.channels, groups.plane, gains);
  spread(args.floats(2), groups.channels, groups.plane, offsets);
  std::fill(plain, plain + 2 * columns, 0.0f);
  in_parallel(groups.groups, threads_for(args.size(0)), [=](int64_t group) {
    const int64_t start = group * width;
    for (int64_t sample = 0; sample < groups.batch; sample++) {
      gradient.template rows<1>(sample * groups.groups + group,
                                {gains + start, offsets + start, plain + start, along + start});
    }
  });
  add_up(along, groups.channels, groups.plane, args.floats(8));
  add_up(plain, groups.channels, groups.plane, args.floats(9));
}

bool has_short_planes(const Arguments &args, int64_t frames) {
  return frames == 1 && args.size(0) / (args.dim(0, 0) * args.dim(0, 1)) < SHORT_PLANE;
}

template <bool SILU>
void forward(const Arguments &args) {
  has_short_planes(args, args.number(4, 2)) ? forward_of_short_planes<SILU>(args) : forward_of_long_planes<SILU>(args);
}

template <bool SILU>
void backward(const Arguments &args) {
  has_short_planes(args, args.number(6, 2)) ? backward_of_short_planes<SILU>(args) : backward_of_long_planes<SILU>(args);
}

}  // namespace

// x ((b f) c ...), weight (c), bias (c), eps, (groups, silu, f) -> y, mean (b groups), 1 / deviation (b groups)
VGEN_KERNEL(group_norm_forward) { args.number(4, 1) ? forward<true>(args) : forward<false>(args); }

// x, weight, bias, mean, 1 / deviation, dout, (groups, silu, f) -> dx, dweight, dbias
VGEN_KERNEL(group_norm_backward) { args.number(6, 1) ? backward<true>(args) : backward<false>(args); }
