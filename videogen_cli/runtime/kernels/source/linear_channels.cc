// Linear layers between images, (n c p), and tokens, (n p c) or with frames together ((b p) f c): what would be a
// transposition before or after a linear layer is a matter of how its factors are packed and its results stored. The
// number of frames that lie together is 0 where none do.
#include "channels.h"
#include "product.h"

using namespace vgen;

namespace {

// An image tensor (n c ...) of the arguments, with the tokens it stands for.
struct Images {
  ChannelLayout layout;
  TokenOrder order;
  int64_t columns;

  Images(const Arguments &args, int index, int numbers) {
    const int64_t samples = args.dim(index, 0), channels = args.dim(index, 1);
    layout = {channels, args.size(index) / samples / channels};
    order = {layout.pixels, std::max<int64_t>(1, args.number(numbers, 0))};
    columns = samples * layout.pixels;
  }
};

// The sum of every column of `values` (rows cols), first of as many rows as a block is deep, then of those.
void add_rows(const float *values, int64_t rows, int64_t cols, float *totals) {
  Scratch partial(cols);
  const int parts = threads_for(rows * cols);
  parallel(parts, parts, [&](int64_t part, int) {
    const Range range = share(cols, LANES, parts, part);
    float *sums = partial.get();
    std::fill(totals + range.first, totals + range.end, 0.0f);
    for (int64_t first = 0; first < rows; first += MOST_DEPTH) {
      std::fill(sums + range.first, sums + range.end, 0.0f);
      for (int64_t r = first; r < std::min(rows, first + MOST_DEPTH); r++) {
        for (int64_t c = range.first; c < range.end; c++) sums[c] += values[r * cols + c];
      }
      for (int64_t c = range.first; c < range.end; c++) totals[c] += sums[c];
    }
  });
}

}  // namespace

// images x (n in ...), w (out in), bias (out) or nothing, (frames): tokens y (... out)
VGEN_KERNEL(linear_from_channels) {
  const int64_t out = args.dim(1, 0), in = args.dim(1, 1);
  const Images images(args, 0, 3);
  product(out, images.columns, in, LeftRows{args.floats(1), in}, RightChannels{args.floats(0), images.layout},
          IntoColumns<TokenOrder>{args.floats(4), out, args.optional(2), nullptr, images.order});
}

// tokens dy (... out), w (out in), images x for their shape, (frames): dx
VGEN_KERNEL(linear_from_channels_input_gradient) {
  const int64_t out = args.dim(1, 0), in = args.dim(1, 1);
  const Images images(args, 2, 3);
  product(in, images.columns, out, LeftColumns{args.floats(1), in},
          RightColumns<TokenOrder>{args.floats(0), out, images.order}, IntoChannels{args.floats(4), images.layout});
}

// tokens dy (... out), images x (n in ...), (frames): dw (out in), db (out)
VGEN_KERNEL(linear_from_channels_weight_gradient) {
  const int64_t out = args.dim(0, -1), in = args.dim(1, 1);
  const Images images(args, 1, 2);
  product(in, out, images.columns, LeftChannels{args.floats(1), images.layout},
          RightRows<TokenOrder>{args.floats(0), out, images.order}, IntoColumns<>{args.floats(3), in});
  add_rows(args.floats(0), images.columns, out, args.floats(4));
}

// tokens x (... in), w (out in), bias (out) or nothing, images residual (n out ...), (frames): images y like residual
VGEN_KERNEL(linear_to_channels) {
  const int64_t out = args.dim(1, 0), in = args.dim(1, 1);
  const Images images(args, 3, 4);
  product(out, images.columns, in, LeftRows{args.floats(1), in},
          RightColumns<TokenOrder>{args.floats(0), in, images.order},
          IntoChannels{args.floats(5), images.layout, args.optional(2), args.floats(3)});
}

// images dy (n out ...), w (out in), tokens x for their shape, (frames): dx
VGEN_KERNEL(linear_to_channels_input_gradient) {
  const int64_t out = args.dim(1, 0), in = args.dim(1, 1);
  const Images images(args, 0, 3);
  product(in, images.columns, out, LeftColumns{args.floats(1), in}, RightChannels{args.floats(0), images.layout},
          IntoColumns<TokenOrder>{args.floats(4), in, nullptr, nullptr, images.order});
}

// images dy (n out ...), tokens x (... in), (frames): dw (out in), db (out)
VGEN_KERNEL(linear_to_channels_weight_gradient) {
  const int64_t out = args.dim(0, 1), in = args.dim(1, -1);
  const Images images(args, 0, 2);
  product(out, in, images.columns, LeftChannels{args.floats(0), images.layout, args.floats(4)},
          RightRows<TokenOrder>{args.floats(1), in, images.order}, IntoRows<>{args.floats(3), in});
}
