// Transposing small blocks in registers.
#pragma once

#include <utility>

#include "vgen.h"

namespace vgen {

// Lanes FIRST, FIRST + 1, ... of a and b in turn.
template <int FIRST, int... LANE>
inline Vec zip(Vec a, Vec b, std::integer_sequence<int, LANE...>) {
  return __builtin_shufflevector(a, b, (FIRST + LANE / 2 + LANE % 2 * LANES)...);
}

// Transpose LANES vectors: zipping the first half of the rows with the second moves one bit of the row's number into
// the lane's, and one of the lane's into the row's.
inline void transpose(Vec (&rows)[LANES]) {
  constexpr auto lanes = std::make_integer_sequence<int, LANES>();
  constexpr int HALF = LANES / 2;
  for (int moved = 1; moved < LANES; moved *= 2) {
    Vec zipped[LANES];
    for (int r = 0; r < HALF; r++) {
      zipped[2 * r] = zip<0>(rows[r], rows[r + HALF], lanes);
      zipped[2 * r + 1] = zip<HALF>(rows[r], rows[r + HALF], lanes);
    }
    for (int r = 0; r < LANES; r++) rows[r] = zipped[r];
  }
}

}  // namespace vgen
