// Maximum and average over a window; what lies outside the map is minus infinity, or a zero that
// counts.
#pragma once

#include <algorithm>
#include <limits>

#include "program.h"
#include "vector.h"

namespace fluxshard {

template <typename Number>
static void pool(const Operator& op, const Segment& segment, const Part& part, int64_t first,
                 int64_t last) {
  const Window& window = op.window;
  const int64_t stride = part.buffers[segment.buffer].stride;
  const Number* map = static_cast<const Number*>(part.buffers[segment.buffer].data) + segment.offset;
  const List& table = part.lists[window.table];
  const bool maximum = op.kind == MAXIMUM;
  const Vector start = maximum ? all(-std::numeric_limits<float>::infinity()) : Vector{};
  const float count = window.kernel[0] * window.kernel[1];
  for (; first < last; ++first) {
    const int64_t row = place(part.lists[op.rows], first), col = place(part.lists[op.cols], first);
    const int64_t corner = place(part.lists[segment.list], first);
    Number* to = target<Number>(op, part, first);
    for (int channel = 0; channel < op.channels; channel += WIDTH) {
      const int left = op.channels - channel;
      Vector value = start;
      for (int i = 0; i < window.kernel[0]; ++i) {
        const int64_t down = i * window.dilation[0];
        if (row + down < 0 || row + down >= window.size[0]) continue;
        for (int j = 0; j < window.kernel[1]; ++j) {
          const int64_t right = j * window.dilation[1];
          if (col + right < 0 || col + right >= window.size[1]) continue;
          const Number* from =
              map + place(table, corner + down * window.pitch + right) * stride + channel;
          const Vector seen = left >= WIDTH ? load(from) : load_some(from, left);
          // NaN wins, as in PyTorch.
          value = maximum ? ((seen > value) | (seen != seen) ? seen : value) : value + seen;
        }
      }
      store(to + channel, maximum ? value : value / count, left);
    }
  }
}

}  // namespace fluxshard
