// Copies, sums, products and lone activations, cell by cell.
#pragma once

#include "activation.h"

namespace fluxshard {

template <typename Number>
static void combine(const Operator& op, const Segment* segments, const Part& part, int64_t first,
                    int64_t last) {
  const Segment& left = segments[0];
  const Segment& right = segments[op.other];
  for (; first < last; ++first) {
    const Number* a = source<Number>(left, part, first);
    Number* to = target<Number>(op, part, first);
    if (op.kind == COPY) {
      std::memcpy(to, a, sizeof(Number) * op.channels);
      continue;
    }
    const Number* b = source<Number>(right, part, first);
    for (int channel = 0; channel < op.channels; channel += WIDTH) {
      const int count = op.channels - channel;
      Vector x = count >= WIDTH ? load(a + channel) : load_some(a + channel, count);
      if (op.kind != ACTIVATE) {
        const Vector y = count >= WIDTH ? load(b + channel) : load_some(b + channel, count);
        x = op.kind == ADD ? x + y : x * y;
      } else {
        x = activate(x, op.activation, op.slope);
      }
      store(to + channel, x, count);
    }
  }
}

}  // namespace fluxshard
