// Indirect convolution: a matrix product whose rows are read where they lie.
//
// Output cell m is bias + sum over segments and their floats of input * weight, in that order
// whatever the number of cells, so that a value never depends on which others are computed with
// it. (M. Dukhan, "The Indirect Convolution Algorithm", 2019, on segments instead of taps: the
// cells of one kernel row are neighbours in memory, hence one segment.)
//
// Weights are packed in panels of up to PANEL vectors of output channels: [panel][depth][vectors].
#pragma once

#include <unistd.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "activation.h"

namespace fluxshard {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int PANEL = 4;  // vectors of output channels at a time; 32 registers
#else
constexpr int PANEL = 2;  // 16 registers
#endif
constexpr int MOST_CELLS = 8;
constexpr int64_t CHUNK_FLOATS = 786432;  // of input that is used again for every panel
constexpr int64_t LEAST_CELLS = 24;        // whole groups of 6 and of 8
constexpr int AHEAD = 2048;  // floats of weights that are called for before they are used
constexpr int SHORT_ROW = 256;  // numbers; the machine's own prefetching is too late for these
constexpr int ROW_START = 256;  // bytes of such a row that are called for before they are used

// Floats of weights that stay in the second-level cache, beside rows and what else runs there, while
// all cells of a piece pass. The order of sums does not follow them.
static inline int64_t slice_floats() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  static const int64_t cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
#else
  constexpr int64_t cache = 0;
#endif
  return (cache > 0 ? cache : 1 << 19) / (4 * sizeof(float));
}

// Cells at a time: enough sums in flight to hide the latency of one, few enough for registers.
constexpr int cells_at_a_time(int vectors) {
  return PANEL == 4 ? (vectors == 4 ? 6 : 8) : (vectors == 2 ? 6 : 8);
}

// A bfloat16 row is widened before it is used, once for all vectors of output channels.
constexpr int WIDENED = 2048;

static inline const float* as_floats(const float* row, int, float*) { return row; }

static inline const float* as_floats(const Half* row, int length, float* room) {
  for (int k = 0; k < length; k += WIDTH) {
    const int left = length - k;
    store(room + k, left >= WIDTH ? load(row + k) : load_some(row + k, left), WIDTH);
  }
  return room;
}

// Calls for the first lines of a segment's rows: active cells lie in short runs, and where one ends
// nothing but the lists knows where the next begins.
template <typename Number, int CELLS>
static inline void fetch_rows(const Segment& segment, const Part& part, int64_t first) {
  if (segment.length > SHORT_ROW) return;
  const int bytes = std::min<int>(segment.length * sizeof(Number), ROW_START);
  for (int m = 0; m < CELLS; ++m) {
    const char* row = reinterpret_cast<const char*>(source<Number>(segment, part, first + m));
    for (int b = 0; b < bytes; b += 64) __builtin_prefetch(row + b, 0, 3);
  }
}

// A part of the depth: from number `start` of a segment on, so many numbers.
struct Slice {
  int segment, start;
  int64_t depth;
  bool first, last;  // of an output's sum
};

// `sums`: what the slices before left of each cell, VECTORS vectors. `more`: as many cells follow.
// `FRESH`: the panel's weights are read for the first time and lie far away. The machine's own
// prefetching stops at the end of every page, sixteen steps on.
template <typename Number, int CELLS, int VECTORS, bool FRESH>
static void convolve_cells(const Operator& op, const Segment* segments, const Part& part,
                           const Slice& slice, int64_t first, const float* weights, int channel,
                           float* sums, bool more) {
  Vector sum[CELLS][VECTORS];
  if (slice.first)
    for (int v = 0; v < VECTORS; ++v) {
      const int left = op.channels - channel - v * WIDTH;
      const Vector start = !op.bias ? Vector{}
                           : left >= WIDTH ? load(op.bias + channel + v * WIDTH)
                                           : load_some(op.bias + channel + v * WIDTH, left);
      for (int m = 0; m < CELLS; ++m) sum[m][v] = start;
    }
  else
    for (int m = 0; m < CELLS; ++m)
      for (int v = 0; v < VECTORS; ++v) sum[m][v] = load(sums + (m * VECTORS + v) * WIDTH);
  constexpr bool plain = std::is_same<Number, float>::value;
  const int run = plain ? INT32_MAX : WIDENED;
  float room[plain ? 1 : CELLS][plain ? 1 : WIDENED];
  int64_t left = slice.depth;
  for (int s = slice.segment, start = slice.start; left > 0;) {
    if (more && start == 0) fetch_rows<Number, CELLS>(segments[s], part, first + CELLS);
    const int length = std::min<int64_t>(std::min(run, segments[s].length - start), left);
    const float* rows[CELLS];
    for (int m = 0; m < CELLS; ++m)
      rows[m] = as_floats(source<Number>(segments[s], part, first + m) + start, length, room[plain ? 0 : m]);
    for (int k = 0; k < length; ++k) {
      Vector taps[VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) taps[v] = load(weights + v * WIDTH);
      if constexpr (FRESH)
        for (int v = 0; v < VECTORS; ++v) __builtin_prefetch(weights + AHEAD + v * WIDTH, 0, 2);
      weights += VECTORS * WIDTH;
#pragma GCC unroll 8
      for (int m = 0; m < CELLS; ++m) {
        const float value = rows[m][k];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) sum[m][v] += value * taps[v];
      }
    }
    left -= length;
    start += length;
    if (start == segments[s].length) {
      ++s;
      start = 0;
    }
  }
  if (!slice.last) {
    for (int m = 0; m < CELLS; ++m)
      for (int v = 0; v < VECTORS; ++v) store(sums + (m * VECTORS + v) * WIDTH, sum[m][v], WIDTH);
    return;
  }
  for (int m = 0; m < CELLS; ++m) {
    Number* to = target<Number>(op, part, first + m) + channel;
    for (int v = 0; v < VECTORS; ++v) {
      const int left = op.channels - channel - v * WIDTH;
      store(to + v * WIDTH, activate(sum[m][v], op.activation, op.slope), left);
    }
  }
}

template <typename Number, int VECTORS, int CELLS = cells_at_a_time(VECTORS)>
static void convolve_slice(const Operator& op, const Segment* segments, const Part& part,
                           const Slice& slice, int64_t first, int64_t last, const float* weights,
                           int channel, float* sums, bool fresh = true) {
  constexpr int64_t step = CELLS * VECTORS * WIDTH;
  if (fresh && first + CELLS <= last) {
    convolve_cells<Number, CELLS, VECTORS, true>(op, segments, part, slice, first, weights, channel,
                                                 sums, first + 2 * CELLS <= last);
    first += CELLS;
    sums += step;
    fresh = false;
  }
  for (; first + CELLS <= last; first += CELLS, sums += step)
    convolve_cells<Number, CELLS, VECTORS, false>(op, segments, part, slice, first, weights,
                                                  channel, sums, first + 2 * CELLS <= last);
  if constexpr (CELLS > 1)
    if (first < last)
      convolve_slice<Number, VECTORS, CELLS - 1>(op, segments, part, slice, first, last, weights,
                                                 channel, sums, fresh);
}

// Some cells of one panel, slice after slice.
template <typename Number, int VECTORS>
static void convolve_panel(const Operator& op, const Segment* segments, const Part& part,
                           int64_t first, int64_t last, const float* weights, int channel,
                           int64_t depth) {
  const int64_t most = std::max<int64_t>(1, slice_floats() / (VECTORS * WIDTH));
  const int64_t slices = std::max<int64_t>(1, (depth + most - 1) / most);
  std::vector<float> sums(slices > 1 ? (last - first) * VECTORS * WIDTH : 0);
  Slice slice = {0, 0, 0, true, false};
  for (int64_t i = 0, done = 0; i < slices; ++i, done += slice.depth) {
    slice.depth = depth * (i + 1) / slices - done;
    slice.first = i == 0;
    slice.last = i == slices - 1;
    convolve_slice<Number, VECTORS>(op, segments, part, slice, first, last,
                                    weights + done * VECTORS * WIDTH, channel, sums.data());
    for (slice.start += slice.depth;
         !slice.last && slice.start >= segments[slice.segment].length; ++slice.segment)
      slice.start -= segments[slice.segment].length;
  }
}

// The work of one operator in pieces: some cells and one panel of output channels each.
static int64_t convolution_chunk(const Operator& op, const Segment* segments, int64_t cells,
                                 int threads) {
  int64_t depth = 0;
  for (int s = 0; s < op.segments; ++s) depth += segments[s].length;
  const int64_t panels = (op.channels + PANEL * WIDTH - 1) / (PANEL * WIDTH);
  const int64_t fair = cells * panels / (4 * threads);  // several pieces a thread, where there are
  const int64_t chunk = std::max(LEAST_CELLS, std::min(CHUNK_FLOATS / std::max<int64_t>(depth, 1), fair));
  const int64_t pieces = (cells + chunk - 1) / chunk;  // of one size, none left over
  return ((cells + pieces - 1) / pieces + LEAST_CELLS - 1) / LEAST_CELLS * LEAST_CELLS;
}

template <typename Number>
static void convolve(const Operator& op, const Segment* segments, const Part& part, int64_t first,
                     int64_t last, int64_t panel) {
  int64_t depth = 0;
  for (int s = 0; s < op.segments; ++s) depth += segments[s].length;
  const int channel = panel * PANEL * WIDTH;
  const float* weights = op.weights + channel * depth;
  switch (std::min(PANEL, (op.channels - channel + WIDTH - 1) / WIDTH)) {
    case 1: return convolve_panel<Number, 1>(op, segments, part, first, last, weights, channel, depth);
    case 2: return convolve_panel<Number, 2>(op, segments, part, first, last, weights, channel, depth);
#if defined(__AVX512F__) || defined(__aarch64__)
    case 3: return convolve_panel<Number, 3>(op, segments, part, first, last, weights, channel, depth);
    case 4: return convolve_panel<Number, 4>(op, segments, part, first, last, weights, channel, depth);
#endif
  }
}

}  // namespace fluxshard
