// What normalisations share: sums over rows that come out the same for any number of threads.
#pragma once

#include "elementwise.h"

namespace vgen {



// Rows of floats that belong to samples, `samples` times an equal number, cut into chunks for threads to work on. The
// cut depends on nothing but sizes, and sums over a sample's rows are made chunk by chunk: so they are always the same.
struct Chunks {
  int64_t samples, rows_per_sample, per_sample, rows;

  Chunks(int64_t samples, int64_t all_rows) : samples(samples), rows_per_sample(all_rows / samples) {
    constexpr int64_t WANTED = 32, FEWEST_ROWS = 16;
    const int64_t most = std::max<int64_t>(1, rows_per_sample / FEWEST_ROWS);
    per_sample = std::min(most, (WANTED + samples - 1) / samples);
    rows = (rows_per_sample + per_sample - 1) / per_sample;
  }
  int64_t count() const { return samples * per_sample; }
  int64_t sample(int64_t chunk) const { return chunk / per_sample; }
  int64_t first(int64_t chunk) const {
    return sample(chunk) * rows_per_sample + std::min(rows_per_sample, chunk % per_sample * rows);
  }
  int64_t last(int64_t chunk) const {
    return sample(chunk) * rows_per_sample + std::min(rows_per_sample, (chunk % per_sample + 1) * rows);
  }

  // Adds up each sample's rows of `partial` (chunk width): those of its first chunk become the sums.
  void add_up(float *partial, int64_t width) const {
    in_parallel(samples, threads_for(count() * width), [=, *this](int64_t sample) {
      float *sums = partial + sample * per_sample * width;
      for (int64_t chunk = 1; chunk < per_sample; chunk++) {
        const float *more = sums + chunk * width;
        each_part(width, [=](auto at) { at.store(sums, at.load(sums) + at.load(more)); });
      }
    });
  }
};

}  // namespace vgen
