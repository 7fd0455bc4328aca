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
    for (int32_t col = 0, last; col < level.width; col = last) {
      last = end_of_run(row, col);
      const Members members = members_of(cover, row, col, common);
      if (members.unknown) {
        fill(row, col, last, step, {0, 0}, {0, 0});
      } else if (!members.apart) {
        follow_common(row, col, last);
      } else {
        const Pair vector = medoid(members);
        const Pair shift = CarriedRemainders{y, x, level, row, col, bits}.rounded(vector);
        follow_run(row, col, last, vector, shift);
      }
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

  // Where the run of cells that moves as the one at `first` does ends.
  int32_t end_of_run(int32_t row, int32_t first) const {
    int32_t last = first + 1;
    if (cover.row_span > 1 || cover.col_span > 1) return last;
    const int64_t line = cover.rows[row] * cover.block_cols;
    const int16_t* const down = cover.vectors + line;
    const int16_t* const right = down + cover.block_rows * cover.block_cols;
    const int64_t block = cover.cols[first];
    for (; last < level.width; ++last) {
      const int64_t next = cover.cols[last];
      if (next != block && (down[next] != down[block] || right[next] != right[block] ||
                            cover.known[line + next] != cover.known[line + block]))
        break;
    }
    return last;
  }

  Range sources(int32_t row, Pair shift) const {
    const Range found = Range::overlap(level.width, shift.x);
    return Range::overlap(level.height, shift.y).has(row) ? found : Range{0, 0};
  }

  void follow_common(int32_t row, int32_t first, int32_t last) const {
    if (rows.last && cols.last) return follow_run(row, first, last, common, step);
    fill(row, first, last, step, in_place ? rest : Pair{0, 0}, {0, 0});
  }

  // Cells with one motion. Content that `shift` brings within half a cell needs no closer look.
  void follow_run(int32_t row, int32_t first, int32_t last, Pair vector, Pair shift) const {
    const Pair left = {vector.y - shift.y * level.cell, vector.x - shift.x * level.cell};
    fill(row, first, last, shift, left, sources(row, shift));
    if (in_place) return;
    const int64_t source = std::clamp(row - shift.y, 0, level.height - 1) * int64_t(level.width);
    const int32_t low = std::clamp(shift.x, first, last);
    const int32_t high = std::clamp(level.width + shift.x, low, last);
    const int64_t start = int64_t(row) * level.width;
    bool torn = add_carried(start + low, source + low - shift.x, high - low);
    for (int32_t col = first; col < low; ++col) torn |= add_carried(start + col, source, 1);
    for (int32_t col = high; col < last; ++col)
      torn |= add_carried(start + col, source + level.width - 1, 1);
    for (int32_t col = first; torn && col < last; ++col)
      if (beyond(out.residual[start + col]) || beyond(out.residual[cells + start + col]))
        follow_one(row, col, vector);
  }

  bool beyond(int16_t left) const { return uint16_t(left + half) >= uint16_t(level.cell); }

  // Adds what the content of so many cells from `at` on carried to the residuals from `cell` on;
  // returns whether any is now half a cell or more.
  bool add_carried(int64_t cell, int64_t at, int32_t count) const {
    int16_t *const down = out.residual + cell, *const right = down + cells;
    uint16_t torn = 0;
    for (int32_t i = 0; i < count; ++i) {
      down[i] += y[at + i];
      right[i] += x[at + i];
      torn |= beyond(down[i]) | beyond(right[i]);
    }
    return torn;
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
