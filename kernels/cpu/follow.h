// Where every cached cell of every level moves, for one frame: what
// fluxshard_core/reuse/level_draft.py says in numpy, cell by cell.
#pragma once

#include <cstring>

#include "crew.h"
#include "nearest.h"

namespace fluxshard {

// How the blocks of the frame moved; `common` is the motion that most share.
struct Blocks {
  const int16_t* vectors;  // (2, rows, cols), dy then dx
  const uint8_t* known;    // (rows, cols)
  int64_t rows, cols;
  Pair common;
};

struct FollowedLevel {
  LevelConstants constants;
  int32_t in_place;  // whether nothing is carried
  Pair step;         // found: whole cells that content with the most frequent remainder moves by
  const int64_t *rows, *cols;  // (height, row_span), (width, col_span): blocks that cells lie in
  int64_t row_span, col_span;  // along each axis, repeated to fill
  const int16_t *y, *x;        // (height, width) what the cached content carries
  int16_t *shift, *residual;   // found: (2, height, width)
  uint8_t* valid;              // found: (height, width)
  int64_t remains;             // found: whether any residual is left

  int64_t cells() const { return int64_t(constants.height) * constants.width; }
};

constexpr int MOST_MEMBERS = 64;
constexpr int64_t FEW = 4096;    // cells that one thread follows sooner than it has help
constexpr int64_t PIECE = 4096;  // cells
constexpr int SAMPLE = 32;       // cells a side that are looked at for the most frequent remainder

struct Members {
  Pair vectors[MOST_MEMBERS];
  int count = 0;
  bool unknown = false, apart = false;
};

static Members members_of(const Blocks& blocks, const FollowedLevel& level, int32_t row,
                          int32_t col) {
  Members found;
  const Pair common = blocks.common;
  for (int64_t i = 0; i < level.row_span; ++i)
    for (int64_t j = 0; j < level.col_span; ++j) {
      const int64_t block = level.rows[row * level.row_span + i] * blocks.cols +
                            level.cols[col * level.col_span + j];
      const Pair vector = {blocks.vectors[block], blocks.vectors[blocks.rows * blocks.cols + block]};
      found.vectors[found.count++] = vector;
      found.unknown |= !blocks.known[block];
      found.apart |= blocks.known[block] && (vector.y != common.y || vector.x != common.x);
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
  const Blocks& blocks;
  const FollowedLevel& out;
  const LevelConstants& level;
  const Pair common, step, rest;  // motion of most blocks, the whole cells of it, what that leaves
  const int16_t *const y, *const x;
  const bool in_place;
  const Range rows, cols;
  const int64_t cells;
  const int32_t half, bits;

  Follower(const Blocks& blocks, const FollowedLevel& out)
      : blocks(blocks), out(out), level(out.constants), common(blocks.common), step(out.step),
        rest{common.y - step.y * level.cell, common.x - step.x * level.cell}, y(out.y), x(out.x),
        in_place(out.in_place), rows(Range::overlap(level.height, step.y)),
        cols(Range::overlap(level.width, step.x)), cells(out.cells()), half(level.cell >> 1),
        bits(bits_of(level.cell)) {}

  void follow_row(int32_t row) const {
    for (int32_t col = 0, last; col < level.width; col = last) {
      last = end_of_run(row, col);
      const Members members = members_of(blocks, out, row, col);
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
    if (out.row_span > 1 || out.col_span > 1) return last;
    const int64_t line = out.rows[row] * blocks.cols;
    const int16_t* const down = blocks.vectors + line;
    const int16_t* const right = down + blocks.rows * blocks.cols;
    const int64_t block = out.cols[first];
    for (; last < level.width; ++last) {
      const int64_t next = out.cols[last];
      if (next != block && (down[next] != down[block] || right[next] != right[block] ||
                            blocks.known[line + next] != blocks.known[line + block]))
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

// How often each of a few numbers occurs; a table with twice the room that a sample needs.
class Counts {
 public:
  int32_t add(int32_t number) {
    uint32_t at = uint32_t(number) * 2654435761u >> (32 - BITS);
    while (entries_[at].count && entries_[at].number != number) at = (at + 1) % (1 << BITS);
    entries_[at].number = number;
    return ++entries_[at].count;
  }

 private:
  struct Entry {
    int32_t number, count;
  };
  static constexpr int BITS = 13;
  static_assert(4 * SAMPLE * SAMPLE * 2 <= 1 << BITS, "a sample has up to twice SAMPLE a side");
  Entry entries_[1 << BITS] = {};
};

// What a sample of the cells carries most often, the first of equals in order of (y, x).
static Pair most_frequent_remainder(const FollowedLevel& level) {
  const int32_t height = level.constants.height, width = level.constants.width;
  const int32_t down = std::max(1, height / SAMPLE), right = std::max(1, width / SAMPLE);
  Counts counts;
  int32_t best = 0, most = 0;
  for (int32_t row = down / 2; row < height; row += down)
    for (int32_t col = right / 2; col < width; col += right) {
      const int64_t at = int64_t(row) * width + col;
      const int32_t packed = level.y[at] * 65536 + level.x[at] + 32768;
      const int32_t count = counts.add(packed);
      if (count > most || (count == most && packed < best)) {
        best = packed;
        most = count;
      }
    }
  return {best >> 16, (best & 65535) - 32768};
}

static Pair common_step(const Blocks& blocks, const FollowedLevel& level) {
  Pair distance = blocks.common;
  if (!level.in_place) {
    const Pair carried = most_frequent_remainder(level);
    distance = {distance.y + carried.y, distance.x + carried.x};
  }
  return rounded(distance, level.constants.cell, bits_of(level.constants.cell));
}

// Fills in what is to be found of each level.
static void follow(const Blocks& blocks, FollowedLevel* levels, int64_t count, int32_t threads) {
  int64_t cells = 0, pieces = 0;
  std::vector<int64_t> rows(count), ends(count);  // of a piece; pieces up to here
  std::vector<std::atomic<bool>> remains(count);
  for (int64_t i = 0; i < count; ++i) {
    const LevelConstants& size = levels[i].constants;
    rows[i] = std::max<int64_t>(1, PIECE / size.width);
    ends[i] = pieces += (size.height + rows[i] - 1) / rows[i];
    cells += levels[i].cells();
  }
  const auto follow_piece = [&](int64_t piece) {
    const int64_t i = std::upper_bound(ends.begin(), ends.end(), piece) - ends.begin();
    const int64_t first = (piece - (i ? ends[i - 1] : 0)) * rows[i];
    const int64_t last = std::min<int64_t>(levels[i].constants.height, first + rows[i]);
    const Follower follower(blocks, levels[i]);
    bool any = false;
    for (int32_t row = first; row < last; ++row) {
      follower.follow_row(row);
      any |= follower.left_over(row);
    }
    if (any) remains[i].store(true, std::memory_order_relaxed);
  };
  run_pieces({count, pieces}, cells > FEW ? threads : 1, [&](int64_t step, int64_t piece) {
    if (step)
      follow_piece(piece);
    else
      levels[piece].step = common_step(blocks, levels[piece]);
  });
  for (int64_t i = 0; i < count; ++i) levels[i].remains = remains[i];
}

}  // namespace fluxshard
