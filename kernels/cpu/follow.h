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

// One level's cells under one frame's motion. Most lie in one block: they are followed in runs, those
// of a row that share a block.
struct Follower {
  const LevelConstants& level;
  const Cover& cover;
  const Pair common, step, rest;  // motion of most blocks, the whole cells of it, what that leaves
  const int16_t *const y, *const x;
  const bool in_place;
  const MovedLevel& out;
  const Range rows, cols;
  const int64_t cells;
  const int32_t half, bits;

  Follower(const LevelConstants& level, const Cover& cover, Pair common, Pair step, const int16_t* y,
           const int16_t* x, bool in_place, const MovedLevel& out)
      : level(level), cover(cover), common(common), step(step),
        rest{common.y - step.y * level.cell, common.x - step.x * level.cell}, y(y), x(x),
        in_place(in_place), out(out), rows(Range::overlap(level.height, step.y)),
        cols(Range::overlap(level.width, step.x)), cells(int64_t(level.height) * level.width),
        half(level.cell >> 1),
        bits(level.cell & (level.cell - 1) ? 0 : __builtin_ctz(level.cell)) {}

  void follow_row(int32_t row) const {
    const bool single = cover.row_span == 1 && cover.col_span == 1;
    for (int32_t col = 0, last; col < level.width; col = last) {
      last = col + 1;
      if (single)
        while (last < level.width && cover.cols[last] == cover.cols[col]) ++last;
      const Members members = members_of(cover, row, col, common);
      if (members.unknown)
        fill(row, col, last, step, {0, 0}, {0, 0});
      else if (!members.apart)
        follow_common(row, col, last);
      else
        follow_apart(row, col, last, medoid(members));
    }
  }

  bool left_over(int32_t row) const {
    const int64_t start = int64_t(row) * level.width;
    int16_t any = 0;
    for (int64_t cell = start; cell < start + level.width; ++cell)
      any |= out.residual[cell] | out.residual[cells + cell];
    return any;
  }

  bool strays(int32_t row) const {
    const int64_t start = int64_t(row) * level.width;
    int32_t any = 0;
    for (int64_t cell = start; cell < start + level.width; ++cell)
      any |= (out.shift[cell] ^ int16_t(step.y)) | (out.shift[cells + cell] ^ int16_t(step.x));
    return any;
  }

 private:
  // Gives cells of a row one shift and residual; those in `valid` have a source.
  void fill(int32_t row, int32_t first, int32_t last, Pair shift, Pair left, Range valid) const {
    const int64_t start = int64_t(row) * level.width;
    for (int32_t col = first; col < last; ++col) {
      const int64_t cell = start + col;
      out.shift[cell] = shift.y;
      out.shift[cells + cell] = shift.x;
      out.residual[cell] = left.y;
      out.residual[cells + cell] = left.x;
      out.valid[cell] = col >= valid.first && col < valid.last;
    }
  }

  Range sources(int32_t row, Pair shift) const {
    const Range found = Range::overlap(level.width, shift.x);
    return Range::overlap(level.height, shift.y).has(row) ? found : Range{0, 0};
  }

  void follow_common(int32_t row, int32_t first, int32_t last) const {
    const Range valid = rows.has(row) ? cols : Range{0, 0};
    if (in_place) return fill(row, first, last, step, rest, valid);
    fill(row, first, last, step, {0, 0}, valid);
    if (!rows.last || !cols.last) return;
    const int64_t start = int64_t(row) * level.width;
    const int64_t source = int64_t(rows.nearest(row) - step.y) * level.width - step.x;
    int32_t torn = 0;
    for (int32_t col = first; col < last; ++col) {
      const int64_t at = source + cols.nearest(col);
      const int32_t down = y[at] + rest.y, right = x[at] + rest.x;
      out.residual[start + col] = down;
      out.residual[cells + start + col] = right;
      torn |= (uint32_t(down + half) >= uint32_t(2 * half)) | (uint32_t(right + half) >= uint32_t(2 * half));
    }
    for (int32_t col = first; torn && col < last; ++col) {
      const int32_t down = out.residual[start + col], right = out.residual[cells + start + col];
      if (down < -half || down >= half || right < -half || right >= half)
        follow_one(row, col, common);
    }
  }

  void follow_apart(int32_t row, int32_t first, int32_t last, Pair vector) const {
    if (!in_place) {
      for (int32_t col = first; col < last; ++col) follow_one(row, col, vector);
      return;
    }
    const CarriedRemainders nothing{y, x, level, row, first, bits};
    Pair left;
    const Pair shift = nearest_source(nothing, vector, left);
    fill(row, first, last, shift, left, sources(row, shift));
  }

  void follow_one(int32_t row, int32_t col, Pair vector) const {
    const CarriedRemainders remainders{y, x, level, row, col, bits};
    Pair left;
    const Pair shift = nearest_source(remainders, vector, left);
    const int32_t from_row = row - shift.y, from_col = col - shift.x;
    const int64_t cell = int64_t(row) * level.width + col;
    out.shift[cell] = shift.y;
    out.shift[cells + cell] = shift.x;
    out.residual[cell] = std::clamp(left.y, -level.cell, level.cell);
    out.residual[cells + cell] = std::clamp(left.x, -level.cell, level.cell);
    out.valid[cell] = from_row >= 0 && from_row < level.height && from_col >= 0 &&
                      from_col < level.width && size_of(left) <= half;
  }
};

// `common` is the motion most blocks share, `step` the whole cells it moves the level by; `y` and `x`
// (height, width) what the cached content carries, all zero if it is `in_place`. Returns how many
// strays there are; `remains` says whether any residual is left.
static int64_t follow(const LevelConstants& level, const Cover& cover, Pair common, Pair step,
                      const int16_t* y, const int16_t* x, bool in_place, const MovedLevel& out,
                      bool& remains, int32_t threads) {
  const Follower follower(level, cover, common, step, y, x, in_place, out);
  std::atomic<bool> some{false};
  std::vector<uint8_t> astray(level.height);
  const int64_t pieces = (level.height + ROWS - 1) / ROWS;
  run_pieces({pieces}, follower.cells > FEW ? threads : 1, [&](int64_t, int64_t piece) {
    const int32_t last = std::min<int64_t>(level.height, (piece + 1) * ROWS);
    for (int32_t row = piece * ROWS; row < last; ++row) {
      follower.follow_row(row);
      if (follower.left_over(row)) some.store(true, std::memory_order_relaxed);
      astray[row] = follower.strays(row);
    }
  });
  remains = some;
  int64_t strays = 0;
  for (int32_t row = 0; row < level.height; ++row) {
    if (!astray[row]) continue;
    const int64_t start = int64_t(row) * level.width;
    for (int64_t cell = start; cell < start + level.width; ++cell)
      if (out.shift[cell] != step.y || out.shift[follower.cells + cell] != step.x)
        out.strays[strays++] = cell;
  }
  return strays;
}

}  // namespace fluxshard
