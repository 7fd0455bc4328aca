// What rounding motion to whole cells leaves over: cells it leaves without content, and what is kept
// for the next frame. fluxshard_core/sparse/active.py and reuse/remap.py have the meaning.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "nearest.h"

namespace fluxshard {

// Marks the cells of a level that no cached cell belongs to. `residual` may be null; `limit` is how
// many quarter pixels away a cell's content may lie.
static void mark_lost(const LevelConstants& level, const int16_t* shift, const int16_t* residual,
                         const uint8_t* valid, double limit, uint8_t* lost) {
  const int64_t cells = int64_t(level.height) * level.width;
  for (int32_t row = 0; row < level.height; ++row) {
    const int64_t start = int64_t(row) * level.width;
    int32_t missing = 0;
    for (int64_t cell = start; cell < start + level.width; ++cell)
      missing += lost[cell] = !valid[cell];
    for (int32_t col = 0; missing && residual && col < level.width; ++col) {
      const int64_t cell = start + col;
      if (!lost[cell]) continue;
      const int32_t distance = size_of({residual[cell], residual[cells + cell]});
      const int32_t from_row = row - shift[cell], from_col = col - shift[cells + cell];
      if (distance * 2 > level.cell && distance < limit && from_row >= 0 &&
          from_row < level.height && from_col >= 0 && from_col < level.width)
        lost[cell] = 0;
    }
  }
}

// Keeps a level's residuals (2, cells) as `y` and `x`, none where `fresh` (may be null); returns
// whether any is left.
static bool keep_remainders(int64_t cells, const int16_t* residual, const uint8_t* fresh, int16_t* y,
                            int16_t* x) {
  int32_t any = 0;
  for (int64_t cell = 0; cell < cells; ++cell) {
    const int16_t kept = fresh ? int16_t(fresh[cell] - 1) : int16_t(-1);
    y[cell] = residual[cell] & kept;
    x[cell] = residual[cells + cell] & kept;
    any |= y[cell] | x[cell];
  }
  return any;
}

}  // namespace fluxshard
