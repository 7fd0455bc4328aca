// Depthwise convolution: every channel on its own, one segment a tap.
//
// Weights are [tap][channels], channels filled up with zeros to whole vectors; so is the bias.
#pragma once

#include <algorithm>

#include "activation.h"

namespace fluxshard {

template <typename Number, int CELLS>
static void depthwise_cells(const Operator& op, const Segment* segments, const Part& part,
                            int64_t first) {
  const int padded = (op.channels + WIDTH - 1) / WIDTH * WIDTH;
  for (int channel = 0; channel < op.channels; channel += WIDTH) {
    const int left = op.channels - channel;
    Vector sum[CELLS];
    for (int m = 0; m < CELLS; ++m) sum[m] = op.bias ? load(op.bias + channel) : Vector{};
    for (int s = 0; s < op.segments; ++s) {
      const Vector tap = load(op.weights + s * padded + channel);
      for (int m = 0; m < CELLS; ++m) {
        const Number* from = source<Number>(segments[s], part, first + m) + channel;
        sum[m] += (left >= WIDTH ? load(from) : load_some(from, left)) * tap;
      }
    }
    for (int m = 0; m < CELLS; ++m) {
      store(target<Number>(op, part, first + m) + channel,
            activate(sum[m], op.activation, op.slope), left);
    }
  }
}

template <typename Number>
static void convolve_depthwise(const Operator& op, const Segment* segments, const Part& part,
                               int64_t first, int64_t last) {
  for (; first + 4 <= last; first += 4) depthwise_cells<Number, 4>(op, segments, part, first);
  for (; first < last; ++first) depthwise_cells<Number, 1>(op, segments, part, first);
}

}  // namespace fluxshard
