// Attention of a map to itself: a cell's output is the mean of all cells' values, each weighted by
// exp(scale * query . key). (A. Vaswani et al., "Attention Is All You Need", 2017.)
//
// A query's scores are summed over channels, its output over cells, its weights in PARTIAL sums that
// are added at the end: one order, whichever queries are computed with it and however wide a vector
// is. Keys and values are packed once a head, as the weights of a convolution are; sums are floats.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "convolution.h"
#include "crew.h"

namespace fluxshard {

constexpr int QUERIES = cells_at_a_time(PANEL);  // at a time
constexpr int64_t QUERIES_A_PIECE = 4 * QUERIES;
constexpr int PARTIAL = 16;
constexpr float NEGLIGIBLE = -80.0f;  // exp of less changes no sum that has an exp(0) in it

// A map of `cells` times `channels()` numbers: per head its query, its key, its value.
struct Heads {
  int64_t cells, count;
  int64_t key, value;  // channels; a query has as many as a key

  int64_t width() const { return 2 * key + value; }
  int64_t channels() const { return count * width(); }
  int64_t scored() const { return (cells + PARTIAL - 1) / PARTIAL * PARTIAL; }
  // Floats of a head's keys [panel][channel][cells] and values [panel][cell][channels], packed.
  int64_t keys() const { return scored() * key; }
  int64_t values() const { return (value + WIDTH - 1) / WIDTH * WIDTH * cells; }
};

constexpr int64_t PANEL_FLOATS = PANEL * WIDTH;

static inline int64_t panels(int64_t numbers) { return (numbers + PANEL_FLOATS - 1) / PANEL_FLOATS; }

// Floats in a row of the panel that begins with number `first` of so many.
static inline int64_t panel_width(int64_t numbers, int64_t first) {
  return std::min(PANEL_FLOATS, (numbers - first + WIDTH - 1) / WIDTH * WIDTH);
}

// Packs one head's keys and values of the cells of one panel; `values` gets what it packs, too.
template <typename Number>
static void pack_panel(const Heads& heads, const Number* map, int64_t head, int64_t panel,
                       float* room, Number* values) {
  const int64_t first = panel * PANEL_FLOATS, width = panel_width(heads.scored(), first);
  float* keys = room + head * (heads.keys() + heads.values()) + first * heads.key;
  float* packed = room + head * (heads.keys() + heads.values()) + heads.keys();
  std::vector<float> widened(heads.width() + WIDTH);
  for (int64_t lane = 0; lane < width; ++lane) {
    const int64_t cell = first + lane;
    if (cell >= heads.cells) {
      for (int64_t k = 0; k < heads.key; ++k) keys[k * width + lane] = 0.0f;
      continue;
    }
    const Number* from = map + cell * heads.channels() + head * heads.width() + heads.key;
    const float* key = as_floats(from, heads.key + heads.value, widened.data());
    for (int64_t k = 0; k < heads.key; ++k) keys[k * width + lane] = key[k];
    for (int64_t start = 0; start < heads.value; start += PANEL_FLOATS) {
      const int64_t wide = panel_width(heads.value, start);
      const int64_t length = std::min(wide, heads.value - start);
      float* to = packed + start * heads.cells + cell * wide;
      std::copy_n(key + heads.key + start, length, to);
      std::fill(to + length, to + wide, 0.0f);
    }
    if (values)
      std::copy_n(from + heads.key, heads.value, values + (cell * heads.count + head) * heads.value);
  }
}

// Rows, `pitch` floats apart, times one panel of weights [depth][VECTORS].
template <int VECTORS, typename Emit>
static void multiply(const float* rows, int64_t pitch, const float* weights, int64_t depth,
                     const Emit& emit) {
  Vector sum[QUERIES][VECTORS] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Vector taps[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) taps[v] = load(weights + v * WIDTH);
    weights += VECTORS * WIDTH;
#pragma GCC unroll 8
    for (int m = 0; m < QUERIES; ++m) {
      const float value = rows[m * pitch + k];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) sum[m][v] += value * taps[v];
    }
  }
  for (int m = 0; m < QUERIES; ++m)
    for (int v = 0; v < VECTORS; ++v) emit(m, v * WIDTH, sum[m][v]);
}

// Rows times all panels, `emit(row, column, vector)` for each vector of the result.
template <typename Emit>
static void multiply_all(const float* rows, int64_t pitch, const float* weights, int64_t depth,
                         int64_t columns, const Emit& emit) {
  for (int64_t first = 0; first < columns; first += PANEL_FLOATS) {
    const float* panel = weights + first * depth;
    const auto shifted = [&](int m, int64_t column, Vector sum) { emit(m, first + column, sum); };
    switch (panel_width(columns, first) / WIDTH) {
      case 1: multiply<1>(rows, pitch, panel, depth, shifted); break;
      case 2: multiply<2>(rows, pitch, panel, depth, shifted); break;
#if defined(__AVX512F__) || defined(__aarch64__)
      case 3: multiply<3>(rows, pitch, panel, depth, shifted); break;
      case 4: multiply<4>(rows, pitch, panel, depth, shifted); break;
#endif
    }
  }
}

// Turns a query's scores into weights; returns their sum. NaN, infinity too, makes it NaN.
static float weigh(const Heads& heads, float* scores) {
  constexpr float least = -std::numeric_limits<float>::infinity();
  std::fill(scores + heads.cells, scores + heads.scored(), least);
  Vector highest = all(least);
  for (int64_t n = 0; n < heads.scored(); n += WIDTH) highest = larger(load(scores + n), highest);
  float most = highest[0];
  for (int lane = 1; lane < WIDTH; ++lane) most = std::max(most, highest[lane]);
  Vector sums[PARTIAL / WIDTH] = {};
  for (int64_t n = 0; n < heads.scored(); n += PARTIAL)
    for (int part = 0; part < PARTIAL / WIDTH; ++part) {
      const Vector x = load(scores + n + part * WIDTH) - most;
      // Zeros, not numbers so small that processors take a hundred times as long for them.
      const Vector weight = x < NEGLIGIBLE ? Vector{} : exponential(x);
      sums[part] += weight;
      store(scores + n + part * WIDTH, weight, WIDTH);
    }
  float total = 0.0f;
  for (int i = 0; i < PARTIAL; ++i) total += sums[i / WIDTH][i % WIDTH];
  return total;
}

// One head's queries of `count` cells, scaled; the last stands for those that are not there.
template <typename Number>
static void scale_queries(const Heads& heads, const Number* map, float scale, int64_t head,
                          int64_t first, int count, float* queries) {
  std::vector<float> widened(heads.key + WIDTH);
  for (int m = 0; m < QUERIES; ++m) {
    const int64_t cell = first + std::min(m, count - 1);
    const Number* from = map + cell * heads.channels() + head * heads.width();
    const float* query = as_floats(from, heads.key, widened.data());
    for (int64_t k = 0; k < heads.key; ++k) queries[m * heads.key + k] = query[k] * scale;
  }
}

// Writes one head's output of the cells from `first` to `last`.
template <typename Number>
static void attend_from(const Heads& heads, const Number* map, float scale, const float* room,
                        int64_t head, int64_t first, int64_t last, Number* out) {
  const float* keys = room + head * (heads.keys() + heads.values());
  std::vector<float> queries(QUERIES * heads.key), scores(QUERIES * heads.scored());
  float* scored = scores.data();
  for (; first < last; first += QUERIES) {
    const int count = std::min<int64_t>(QUERIES, last - first);
    scale_queries(heads, map, scale, head, first, count, queries.data());
    multiply_all(queries.data(), heads.key, keys, heads.key, heads.scored(),
                 [&](int m, int64_t cell, Vector sum) {
                   store(scored + m * heads.scored() + cell, sum, WIDTH);
                 });
    float totals[QUERIES];
    for (int m = 0; m < QUERIES; ++m) totals[m] = weigh(heads, scored + m * heads.scored());
    multiply_all(scored, heads.scored(), keys + heads.keys(), heads.cells, heads.value,
                 [&](int m, int64_t channel, Vector sum) {
                   if (m >= count) return;
                   Number* to = out + ((first + m) * heads.count + head) * heads.value + channel;
                   store(to, sum / totals[m], heads.value - channel);
                 });
  }
}

// Floats of memory that `attend` needs.
static int64_t attention_room(const Heads& heads) {
  return heads.count * (heads.keys() + heads.values());
}

// Writes the attention and, unless it is null, the values of all cells, heads one after the other.
template <typename Number>
static void attend(const Heads& heads, const Number* map, float scale, float* room, Number* out,
                   Number* values, int32_t threads) {
  const int64_t packed = panels(heads.scored());
  const int64_t chunks = (heads.cells + QUERIES_A_PIECE - 1) / QUERIES_A_PIECE;
  run_pieces({heads.count * packed, heads.count * chunks}, threads, [&](int64_t step, int64_t i) {
    if (step == 0) return pack_panel(heads, map, i / packed, i % packed, room, values);
    const int64_t first = i % chunks * QUERIES_A_PIECE;
    const int64_t last = std::min(heads.cells, first + QUERIES_A_PIECE);
    attend_from(heads, map, scale, room, i / chunks, first, last, out);
  });
}

}  // namespace fluxshard
