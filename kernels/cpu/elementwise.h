// Copies, sums, products and lone activations, cell by cell.
#pragma once

#include "activation.h"

namespace fluxshard {

static inline const float* source(const Segment& segment, const Part& part, int64_t cell) {
  const Buffer& buffer = part.buffers[segment.buffer];
  return buffer.data + place(part.lists[segment.list], cell) * buffer.stride + segment.offset;
}

static void combine(const Operator& op, const Segment* segments, const Part& part, int64_t first,
                    int64_t last) {
  const Buffer& out = part.buffers[op.buffer];
  const Segment& left = segments[0];
  const Segment& right = segments[op.other];
  for (; first < last; ++first) {
    const float* a = source(left, part, first);
    float* to = out.data + place(part.lists[op.list], first) * out.stride + op.offset;
    if (op.kind == COPY) {
      std::memcpy(to, a, sizeof(float) * op.channels);
      continue;
    }
    const float* b = source(right, part, first);
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
