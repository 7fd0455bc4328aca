// Where the content of moved cells lies in the cache: fluxshard_core/reuse/remap.py has the meaning.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "cells.h"

namespace fluxshard {

// Quarter pixels a cell, rows and columns of the level.
struct LevelConstants {
  int32_t cell, height, width;
};

struct Pair {
  int32_t y, x;
};

// The power of two that `cell` is, or 0.
static inline int32_t bits_of(int32_t cell) { return cell & (cell - 1) ? 0 : __builtin_ctz(cell); }

// Whole cells of a distance, to the nearest, halves towards plus infinity.
static inline Pair rounded(Pair distance, int32_t cell, int32_t bits) {
  const int32_t half = cell >> 1;
  if (bits) return {(distance.y + half) >> bits, (distance.x + half) >> bits};
  return {floor_divide(distance.y + half, cell), floor_divide(distance.x + half, cell)};
}

static inline int32_t size_of(Pair p) { return std::max(std::abs(p.y), std::abs(p.x)); }

// What the content of one level's cells still had to move, as cell (row, col) looks it up.
struct CarriedRemainders {
  const int16_t *y, *x;  // (height, width)
  LevelConstants level;
  int32_t row, col;
  int32_t bits;  // bits_of(level.cell)

  Pair after(Pair shift) const {
    const int32_t from_row = std::clamp(row - shift.y, 0, level.height - 1);
    const int32_t from_col = std::clamp(col - shift.x, 0, level.width - 1);
    const int64_t at = int64_t(from_row) * level.width + from_col;
    return {y[at], x[at]};
  }

  Pair rounded(Pair distance) const { return fluxshard::rounded(distance, level.cell, bits); }

  Pair left(Pair vector, Pair remainder, Pair shift) const {
    return {vector.y + remainder.y - shift.y * level.cell,
            vector.x + remainder.x - shift.x * level.cell};
  }
};

// The shift of one cell, and in `left` what it leaves over.
static inline Pair nearest_source(const CarriedRemainders& carried, Pair vector, Pair& left) {
  const Pair plain = carried.rounded(vector);
  const Pair first = carried.after(plain);
  Pair shift = carried.rounded({vector.y + first.y, vector.x + first.x});
  const Pair found = carried.after(shift);
  left = carried.left(vector, found, shift);
  if (size_of(left) <= carried.level.cell >> 1) return shift;
  const Pair again = carried.rounded({vector.y + found.y, vector.x + found.x});
  for (const Pair candidate : {plain, again}) {
    const Pair other = carried.left(vector, carried.after(candidate), candidate);
    if (size_of(other) < size_of(left)) {
      shift = candidate;
      left = other;
    }
  }
  return shift;
}

}  // namespace fluxshard
