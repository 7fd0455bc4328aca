// What Python calls. Nothing here checks its arguments: kernels/cpu/library.py does.

#include <chrono>
#include <vector>

#include "attention.h"
#include "cells.h"
#include "convolution.h"
#include "crew.h"
#include "depthwise.h"
#include "elementwise.h"
#include "follow.h"
#include "moves.h"
#include "pixels.h"
#include "pool.h"
#include "remainders.h"
#include "survey.h"
#include "table.h"

using namespace fluxshard;

namespace {

constexpr int64_t SMALL_CHUNK = 128;  // cells of an operator that does little with each

struct Pieces {
  int64_t chunk, chunks, panels;
};

Pieces cut(const Operator& op, const Segment* segments, int64_t cells, int threads) {
  if (op.kind != CONVOLVE) return {SMALL_CHUNK, (cells + SMALL_CHUNK - 1) / SMALL_CHUNK, 1};
  const int64_t chunk = convolution_chunk(op, segments, cells, threads);
  return {chunk, (cells + chunk - 1) / chunk, (op.channels + PANEL * WIDTH - 1) / (PANEL * WIDTH)};
}

template <typename Number>
void run_piece(const Operator& op, const Segment* segments, const Part& part, const Pieces& pieces,
               int64_t piece) {
  const int64_t first = piece / pieces.panels * pieces.chunk;
  const int64_t last = std::min(part.lists[op.cells].count, first + pieces.chunk);
  switch (op.kind) {
    case CONVOLVE: return convolve<Number>(op, segments, part, first, last, piece % pieces.panels);
    case DEPTHWISE: return convolve_depthwise<Number>(op, segments, part, first, last);
    case MAXIMUM:
    case AVERAGE: return pool<Number>(op, *segments, part, first, last);
    default: return combine<Number>(op, segments, part, first, last);
  }
}

}  // namespace

extern "C" {

int32_t fluxshard_width() { return WIDTH; }
int32_t fluxshard_panel() { return PANEL; }

// Runs operators in order, each for all parts, on so many threads; numbers are bfloat16 where
// `half`, else floats. `spent`, where given, gets the nanoseconds of each.
void fluxshard_run(const Operator* operators, int64_t count, const Segment* all_segments,
                   const Part* parts, int64_t part_count, int32_t half, int32_t threads,
                   int64_t* spent) {
  const auto run = half ? run_piece<Half> : run_piece<float>;
  std::vector<Pieces> cuts(count * part_count);
  std::vector<int64_t> totals(count, 0);
  for (int64_t index = 0; index < count; ++index)
    for (int64_t p = 0; p < part_count; ++p) {
      const Operator& op = operators[index];
      const int64_t cells = parts[p].lists[op.cells].count;
      Pieces& pieces = cuts[index * part_count + p];
      pieces = cells ? cut(op, all_segments + op.segment, cells, threads) : Pieces{0, 0, 0};
      totals[index] += pieces.chunks * pieces.panels;
    }
  const auto work = [&](int64_t index, int64_t piece) {
    const Pieces* pieces = &cuts[index * part_count];
    int64_t p = 0;
    for (; piece >= pieces[p].chunks * pieces[p].panels; ++p)
      piece -= pieces[p].chunks * pieces[p].panels;
    const Operator& op = operators[index];
    run(op, all_segments + op.segment, parts[p], pieces[p], piece);
  };
  auto start = std::chrono::steady_clock::now();
  const auto note = [&](int64_t index) {
    const auto now = std::chrono::steady_clock::now();
    spent[index] = (now - start).count();
    start = now;
  };
  run_pieces(std::move(totals), threads, work,
             spent ? std::function<void(int64_t)>(note) : nullptr);
}

// Rows and columns of the marked cells of an (height, width) map of bytes; all, where it is null.
int64_t fluxshard_marked(const uint8_t* marks, int32_t height, int32_t width, int32_t* rows,
                         int32_t* cols) {
  int64_t count = 0;
  for (int32_t row = 0; row < height; ++row)
    for (int32_t col = 0; col < width; ++col)
      if (!marks || marks[int64_t(row) * width + col]) {
        rows[count] = row;
        cols[count++] = col;
      }
  return count;
}

// Applies each rule to the cells of its level; `levels` are pairs of rows and columns.
void fluxshard_lists(const Rule* rules, int64_t count, const int32_t* const* rows,
                     const int32_t* const* cols, const int64_t* counts, const int32_t* level_of,
                     int32_t* const* out, int64_t* written, int32_t threads) {
  run_pieces({count}, threads, [&](int64_t, int64_t i) {
    const int32_t level = level_of[i];
    written[i] = apply(rules[i], rows[level], cols[level], counts[level], out[i]);
  });
}

// Follows the cells of several levels through a frame's motion; see follow.h.
void fluxshard_follow(const Blocks* blocks, FollowedLevel* levels, int64_t count, int32_t threads) {
  follow(*blocks, levels, count, threads);
}

// Writes a level's table after a frame's motion; see table.h.
void fluxshard_move_table(const Grid* grid, const int32_t* old, int32_t* table, const int16_t* dy,
                          const int16_t* dx, const uint8_t* kept) {
  move_table(*grid, old, table, dy, dx, kept);
}

// Copies the cells of a map, `size` bytes each, at so many positions, one after the other.
void fluxshard_gather(const char* map, int64_t size, const int32_t* positions, int64_t count,
                      char* out, int32_t threads) {
  constexpr int64_t CELLS = 1024;  // a piece
  run_pieces({(count + CELLS - 1) / CELLS}, threads, [&](int64_t, int64_t piece) {
    const int64_t last = std::min(count, (piece + 1) * CELLS);
    for (int64_t i = piece * CELLS; i < last; ++i)
      std::memcpy(out + i * size, map + positions[i] * size, size);
  });
}

// Moves cells of several maps, whose strides are in bytes, as if all sources of a map were read before
// any of its cells is written. No destination may occur twice.
void fluxshard_move(const Buffer* maps, int64_t count, const int64_t* sources,
                    const int64_t* destinations, int64_t cells, int32_t threads) {
  const std::vector<Copy> copies = in_order(sources, destinations, cells);
  run_pieces({count}, threads, [&](int64_t, int64_t i) {
    const int64_t size = maps[i].stride;
    char* data = static_cast<char*>(maps[i].data);
    std::vector<char> spare(size);
    for (const Copy& copy : copies)
      std::memcpy(copy.to == SPARE ? spare.data() : data + copy.to * size,
                  copy.from == SPARE ? spare.data() : data + copy.from * size, size);
  });
}

// Marks the cells of a level without content; see remainders.h.
void fluxshard_lost(const LevelConstants* level, const int16_t* shift, const int16_t* residual,
                    const uint8_t* valid, double limit, uint8_t* lost) {
  mark_lost(*level, shift, residual, valid, limit, lost);
}

// Keeps a level's residuals for the next frame; see remainders.h.
int32_t fluxshard_keep(int64_t cells, const int16_t* residual, const uint8_t* fresh, int16_t* y,
                       int16_t* x) {
  return keep_remainders(cells, residual, fresh, y, x);
}

// Looks at maps of floats once; see survey.h.
void fluxshard_survey(SurveyedMap* maps, int64_t count, int32_t threads) {
  survey(maps, count, threads);
}

// Blocks of frames of bytes; see pixels.h.
void fluxshard_move_blocks(const Frame* frame, const uint8_t* image, const int32_t* shifts,
                           uint8_t* out, int32_t threads) {
  move_blocks(*frame, image, shifts, out, threads);
}

void fluxshard_compare_blocks(const Frame* frame, const uint8_t* image, const uint8_t* other,
                              uint32_t* sums, int32_t threads) {
  compare_blocks(*frame, image, other, sums, threads);
}

void fluxshard_compose_blocks(const Frame* frame, const uint8_t* image, const uint8_t* other,
                              const uint8_t* fresh, uint8_t* out, int32_t threads) {
  compose_blocks(*frame, image, other, fresh, out, threads);
}

// Bytes as numbers in [0, 1], bfloat16 where `half`; see pixels.h.
void fluxshard_scale_bytes(const uint8_t* bytes, int64_t rows, int64_t length, void* out,
                           int64_t pitch, int32_t half, int32_t threads) {
  if (half)
    scale_bytes(bytes, rows, length, static_cast<Half*>(out), pitch, threads);
  else
    scale_bytes(bytes, rows, length, static_cast<float*>(out), pitch, threads);
}

int64_t fluxshard_attention_room(const Heads* heads) { return attention_room(*heads); }

// Attention of a map to itself, bfloat16 where `half`; see attention.h.
void fluxshard_attend(const Heads* heads, const void* map, float scale, float* room, void* out,
                      void* values, int32_t half, int32_t threads) {
  const auto run = [&](auto* from) {
    using Number = std::remove_const_t<std::remove_pointer_t<decltype(from)>>;
    attend(*heads, from, scale, room, static_cast<Number*>(out), static_cast<Number*>(values), threads);
  };
  if (half)
    run(static_cast<const Half*>(map));
  else
    run(static_cast<const float*>(map));
}
}
