// Maps of numbers at one look: whether all are finite, and the largest of each cell.
#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "crew.h"
#include "vector.h"

namespace fluxshard {

struct SurveyedMap {
  const float* cells;  // (count, channels)
  int64_t count, channels;
  float* peaks;    // found: the largest of each cell, anything if not all are finite; may be null
  int64_t finite;  // found
};

constexpr int64_t SURVEYED = 65536;  // numbers a piece

// The largest of `channels` numbers; `strange` becomes NaN in some place if one is not finite.
static float survey_cell(const float* cell, int64_t channels, Vector& strange) {
  Vector most = all(cell[0]);
  for (int64_t channel = 0; channel < channels; channel += WIDTH) {
    const int64_t left = channels - channel;
    Vector seen = most;
    if (left >= WIDTH)
      seen = load(cell + channel);
    else  // the rest, beside numbers that are there already
      std::memcpy(&seen, cell + channel, sizeof(float) * left);
    most = larger(seen, most);
    strange += seen * 0.0f;
  }
  float peak = most[0];
  for (int lane = 1; lane < WIDTH; ++lane) peak = std::max(peak, most[lane]);
  return peak;
}

// Fills in what is to be found of each map.
static void survey(SurveyedMap* maps, int64_t count, int32_t threads) {
  std::vector<int64_t> each(count), ends(count);  // cells of a piece; pieces up to here
  std::vector<std::atomic<bool>> strange(count);
  int64_t pieces = 0;
  for (int64_t i = 0; i < count; ++i) {
    each[i] = std::max<int64_t>(1, SURVEYED / maps[i].channels);
    ends[i] = pieces += (maps[i].count + each[i] - 1) / each[i];
  }
  run_pieces({pieces}, threads, [&](int64_t, int64_t piece) {
    const int64_t i = std::upper_bound(ends.begin(), ends.end(), piece) - ends.begin();
    const SurveyedMap& map = maps[i];
    const int64_t first = (piece - (i ? ends[i - 1] : 0)) * each[i];
    const int64_t last = std::min(map.count, first + each[i]);
    Vector zeros = {};
    for (int64_t cell = first; cell < last; ++cell) {
      const float peak = survey_cell(map.cells + cell * map.channels, map.channels, zeros);
      if (map.peaks) map.peaks[cell] = peak;
    }
    for (int lane = 0; lane < WIDTH; ++lane)
      if (zeros[lane] != 0.0f) strange[i].store(true, std::memory_order_relaxed);
  });
  for (int64_t i = 0; i < count; ++i) maps[i].finite = !strange[i];
}

}  // namespace fluxshard
