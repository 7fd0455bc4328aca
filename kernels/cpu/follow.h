// Where every cached cell of a level moves, for one frame: what fluxshard_core/reuse/level_draft.py
// says in numpy, cell by cell.
#pragma once

#include <cstring>

#include "crew.h"
#include "nearest.h"

namespace fluxshard {

// Which blocks the cells of a level lie in: `spans` of them along each axis, repeated to fill.
struct Cover {
  const int64_t *rows, *cols;  // (height, row_span), (width, col_span)
  int64_t row_span, col_span;
  const int16_t* vectors;  // (2, block rows, block cols), dy then dx
  const uint8_t* known;    // (block rows, block cols)
  int64_t block_rows, block_cols;
};

struct MovedLevel {
  int16_t *shift, *residual;  // (2, height, width)
  uint8_t* valid;             // (height, width)
  int64_t* strays;            // room for every cell
};

constexpr int MOST_MEMBERS = 64;
constexpr int64_t FEW = 4096;  // cells that one thread follows sooner than it has help
constexpr int64_t ROWS = 16;   // a piece

struct Members {
  Pair vectors[MOST_MEMBERS];
  int count = 0;
  bool unknown = false, apart = false;
};

static Members members_of(const Cover& cover, int32_t row, int32_t col, Pair common) {
  Members found;
  for (int64_t i = 0; i < cover.row_span; ++i)
    for (int64_t j = 0; j < cover.col_span; ++j) {
      const int64_t block = cover.rows[row * cover.row_span + i] * cover.block_cols +
                            cover.cols[col * cover.col_span + j];
      const Pair vector = {cover.vectors[block],
                           cover.vectors[cover.block_rows * cover.block_cols + block]};
      found.vectors[found.count++] = vector;
      found.unknown |= !cover.known[block];
      found.apart |= cover.known[block] && (vector.y != common.y || vector.x != common.x);
    }
  return found;
}

// The member nearest to the others in sum, the first of equals.
static Pair medoid(const Members& members) {
  int best = 0;
  int64_t least = INT64_MAX;
  for (int i = 0; i < members.count && members.count > 1; ++i) {
    int64_t sum = 0;
    for (int j = 0; j < members.count; ++j)
      sum += std::abs(members.vectors[i].y - members.vectors[j].y) +
             std::abs(members.vectors[i].x - members.vectors[j].x);
    if (sum < least) {
      least = sum;
      best = i;
    }
  }
  return members.vectors[best];
}

// Cells of one axis whose source under a common step lies in the level.
struct Range {
  int32_t first, last;

  static Range overlap(int32_t size, int32_t step) {
    const int32_t first = std::max(0, step), last = std::min(size, size + step);
    return first < last ? Range{first, last} : Range{0, 0};
  }
  bool has(int32_t at) const { return at >= first && at < last; }
  int32_t nearest(int32_t at) const { return std::clamp(at, first, last - 1); }
};

// `common` is the motion most blocks share, `step` the whole cells it moves the level by; `y` and `x`
// (height, width) what the cached content carries, all zero if it is `in_place`. Returns how many
// strays there are; `remains` says whether any residual is left.
static int64_t follow(const LevelConstants& level, const Cover& cover, Pair common, Pair step,
                      const int16_t* y, const int16_t* x, bool in_place, const MovedLevel& out,
                      bool& remains, int32_t threads) {
  const int64_t cells = int64_t(level.height) * level.width;
  const int32_t half = level.cell >> 1;
  const Range rows = Range::overlap(level.height, step.y);
  const Range cols = Range::overlap(level.width, step.x);
  const bool any = rows.last && cols.last;
  const int32_t bits = level.cell & (level.cell - 1) ? 0 : __builtin_ctz(level.cell);
  const Pair rest = {common.y - step.y * level.cell, common.x - step.x * level.cell};
  std::atomic<bool> some{false};
  const auto follow_row = [&](int32_t row) {
    bool left_over = false;
    for (int32_t col = 0; col < level.width; ++col) {
      const int64_t cell = int64_t(row) * level.width + col;
      const Members members = members_of(cover, row, col, common);
      Pair shift = step, left = rest;
      bool valid = rows.has(row) && cols.has(col);
      if (!in_place) {
        left = {0, 0};
        if (any) {
          const int64_t at = int64_t(rows.nearest(row) - step.y) * level.width +
                             cols.nearest(col) - step.x;
          left = {y[at] + rest.y, x[at] + rest.x};
        }
      }
      if (members.unknown) {
        valid = false;
        left = {0, 0};
      } else if (members.apart ||
                 (!in_place && (left.y < -half || left.y >= half || left.x < -half ||
                                left.x >= half))) {
        const CarriedRemainders remainders{y, x, level, row, col, bits};
        shift = nearest_source(remainders, medoid(members), left);
        const int32_t from_row = row - shift.y, from_col = col - shift.x;
        valid = from_row >= 0 && from_row < level.height && from_col >= 0 &&
                from_col < level.width && size_of(left) <= half;
        left = {std::clamp(left.y, -level.cell, level.cell),
                std::clamp(left.x, -level.cell, level.cell)};
      }
      out.shift[cell] = shift.y;
      out.shift[cells + cell] = shift.x;
      out.residual[cell] = left.y;
      out.residual[cells + cell] = left.x;
      out.valid[cell] = valid;
      left_over |= left.y || left.x;
    }
    if (left_over) some.store(true, std::memory_order_relaxed);
  };
  const int64_t pieces = (level.height + ROWS - 1) / ROWS;
  run_pieces({pieces}, cells > FEW ? threads : 1, [&](int64_t, int64_t piece) {
    const int64_t last = std::min<int64_t>(level.height, (piece + 1) * ROWS);
    for (int64_t row = piece * ROWS; row < last; ++row) follow_row(row);
  });
  remains = some;
  int64_t strays = 0;
  for (int64_t cell = 0; cell < cells; ++cell)
    if (out.shift[cell] != step.y || out.shift[cells + cell] != step.x) out.strays[strays++] = cell;
  return strays;
}

}  // namespace fluxshard
