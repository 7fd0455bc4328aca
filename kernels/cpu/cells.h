// Cells: which are marked, and where what they read lies.
#pragma once

#include <cstdint>

namespace fluxshard {

// Source of output cell (row, col): floor((row * scale + shift) / divisor) along each axis, taken
// only of cells with (row + phase) % period == 0 where there is a period.
struct Rule {
  int32_t scale[2], shift[2], divisor[2], period[2], phase[2];
  int32_t what;  // 0: position of place origin + row * pitch + col, 1: row, 2: col, 3: the index
  int32_t pitch;
  int64_t origin;
  const int32_t* table;  // position of every place; null: place p is position p
};

static inline int32_t floor_divide(int32_t value, int32_t divisor) {
  if (divisor == 1) return value;
  return value >= 0 ? value / divisor : -((divisor - 1 - value) / divisor);
}

static int64_t apply(const Rule& rule, const int32_t* rows, const int32_t* cols, int64_t count,
                     int32_t* out) {
  int64_t written = 0;
  const bool some = rule.period[0] > 1 || rule.period[1] > 1;
  const bool whole = rule.divisor[0] == 1 && rule.divisor[1] == 1;
  if (!some && whole && rule.what == 0) {  // nearly all of them, in a loop without a branch
    const int32_t origin = rule.origin + int64_t(rule.shift[0]) * rule.pitch + rule.shift[1];
    const int32_t down = rule.scale[0] * rule.pitch, right = rule.scale[1];
    for (int64_t i = 0; i < count; ++i) out[i] = origin + rows[i] * down + cols[i] * right;
    if (rule.table)
      for (int64_t i = 0; i < count; ++i) out[i] = rule.table[out[i]];
    return count;
  }
  for (int64_t i = 0; i < count; ++i) {
    if (some && ((rows[i] + rule.phase[0]) % rule.period[0] ||
                 (cols[i] + rule.phase[1]) % rule.period[1]))
      continue;
    const int32_t row = floor_divide(rows[i] * rule.scale[0] + rule.shift[0], rule.divisor[0]);
    const int32_t col = floor_divide(cols[i] * rule.scale[1] + rule.shift[1], rule.divisor[1]);
    const int64_t place = rule.origin + int64_t(row) * rule.pitch + col;
    out[written++] = rule.what == 0   ? rule.table ? rule.table[place] : int32_t(place)
                     : rule.what == 1 ? row
                     : rule.what == 2 ? col
                                      : int32_t(i);
  }
  return written;
}

}  // namespace fluxshard
