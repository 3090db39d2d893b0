// The optimizer's part of a training step: the length of all gradients together, and AdamW in one pass over memory.
//
// Both take many tensors at once and cut them into chunks of at most CHUNK numbers, which threads take as they become
// free. What a chunk gives depends neither on the thread nor on the moment, so results are the same every time and with
// any number of threads. Unlike other kernels, adamw writes into its inputs: it is called on the host's own memory.
#include <vector>

#include "vgen.h"

using namespace vgen;

namespace {

constexpr int64_t CHUNK = 1 << 16;

struct Chunk {
  int tensor;
  int64_t begin, size;  // begin counts from the tensor's start
  int64_t place;        // of its first number when all tensors are laid end to end
};

// The chunks of `count` tensors, of which the first is argument `first`.
std::vector<Chunk> chunks_of(const Arguments &args, int first, int count) {
  std::vector<Chunk> chunks;
  int64_t place = 0;
  for (int tensor = 0; tensor < count; tensor++) {
    const int64_t size = args.size(first + tensor);
    for (int64_t begin = 0; begin < size; begin += CHUNK) {
      chunks.push_back({tensor, begin, std::min(CHUNK, size - begin), place + begin});
    }
    place += size;
  }
  return chunks;
}

int64_t numbers_in(const std::vector<Chunk> &chunks) {
  return chunks.empty() ? 0 : chunks.back().place + chunks.back().size;
}

// The sum of squares in double precision, each lane by itself and then lane by lane.
double squared_length(const float *values, int64_t size) {
  typedef double Wide __attribute__((vector_size(LANES * 8)));
  Wide total{};
  auto add = [&](Vec part) {
    const Wide wide = __builtin_convertvector(part, Wide);
    total += wide * wide;
  };
  int64_t done = 0;
  for (; done + LANES <= size; done += LANES) add(load(values + done));
  if (done < size) add(load_part(values + done, size - done));
  double sum = 0;
  for (int lane = 0; lane < LANES; lane++) sum += total[lane];
  return sum;
}

// The numbers of an update that all tensors have in common, in the order in which they arrive.
struct Step {
  float scale, first_share, second_share, epsilon, average_share;
};

// Where a chunk's numbers are, or a vector's.
struct Place {
  const float *gradient;
  float *weight, *first, *second, *average;  // average may be null
};

// One vector of AdamW. `keep` is what the decay leaves of a weight; `rate` holds the first moment's bias correction,
// `epsilon` the second's. Load and Store read and write one vector.
template <class Load, class Store>
inline void advance(const Place &at, const Step &step, float keep, float rate, Load load, Store store) {
  const Vec gradient = load(at.gradient) * step.scale;
  Vec first = load(at.first), second = load(at.second), weight = load(at.weight);
  first += (gradient - first) * step.first_share;
  second += (gradient * gradient - second) * step.second_share;
  weight = weight * keep - rate * first / (sqrt(second) + step.epsilon);
  store(at.first, first);
  store(at.second, second);
  store(at.weight, weight);
  if (at.average) {
    const Vec average = load(at.average);
    store(at.average, average + (weight - average) * step.average_share);
  }
}

Place moved(const Place &at, int64_t by) {
  return {at.gradient + by, at.weight + by, at.first + by, at.second + by, at.average ? at.average + by : nullptr};
}

void advance_all(const Place &at, int64_t size, const Step &step, float keep, float rate) {
  int64_t done = 0;
  for (; done + LANES <= size; done += LANES) {
    advance(moved(at, done), step, keep, rate, load, store);
  }
  const int64_t rest = size - done;
  if (rest == 0) return;
  auto load_rest = [=](const float *from) { return load_part(from, rest); };
  auto store_rest = [=](float *to, Vec values) { store_part(to, values, rest); };
  advance(moved(at, done), step, keep, rate, load_rest, store_rest);
}

}  // namespace

// Inputs: any tensors. Output: the sum of the squares of all their numbers, (1,).
VGEN_KERNEL(squared_norm) {
  const int count = args.count - 1;
  const std::vector<Chunk> chunks = chunks_of(args, 0, count);
  const int64_t pieces = chunks.size();
  std::vector<double> sums(pieces);
  parallel(pieces, threads_for(numbers_in(chunks)), [&](int64_t piece, int) {
    const Chunk &chunk = chunks[piece];
    sums[piece] = squared_length(args.floats(chunk.tensor) + chunk.begin, chunk.size);
  });
  double total = 0;
  for (double sum : sums) total += sum;
  args.floats(count)[0] = static_cast<float>(total);
}

// Inputs: numbers(tensors n, whether there is an average), Step, every tensor's keep and rate (n 2), n gradients,
// n weights, and of the same sizes end to end: first moments, second moments, averages. All but the gradients change.
VGEN_KERNEL(adamw) {
  const int count = static_cast<int>(args.number(0, 0));
  const bool averages = args.number(0, 1);
  const Step step = *reinterpret_cast<const Step *>(args.floats(1));
  const float *own = args.floats(2);
  const int gradients = 3, weights = gradients + count, state = weights + count;
  const std::vector<Chunk> chunks = chunks_of(args, gradients, count);
  const int64_t pieces = chunks.size();
  parallel(pieces, threads_for(numbers_in(chunks)), [&](int64_t piece, int) {
    const Chunk &chunk = chunks[piece];
    const Place at = {args.floats(gradients + chunk.tensor) + chunk.begin,
                      args.floats(weights + chunk.tensor) + chunk.begin,
                      args.floats(state) + chunk.place,
                      args.floats(state + 1) + chunk.place,
                      averages ? args.floats(state + 2) + chunk.place : nullptr};
    advance_all(at, chunk.size, step, own[2 * chunk.tensor], own[2 * chunk.tensor + 1]);
  });
}
