// A level's table: at which position of the maps' buffers the content of each place lies.
//
// Motion changes the table, not the maps. Several places may share a position as long as nobody
// writes there: a cell that is about to be written gets a position of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fluxshard {

// Cell (row, col) has the place origin + row * pitch + col; `size` places in all, padding included.
struct Grid {
  int64_t height, width, pitch, origin, size;
};

static inline int64_t clamped(int64_t value, int64_t size) {
  return std::max<int64_t>(0, std::min(value, size - 1));
}

// Writes the table after a frame's motion: a kept cell finds what its source had, any other a
// position that no kept cell reads: the one of its own place if that is free, so that what is
// computed together lies together. There are as many positions as cells, so there always is one.
static void move_table(const Grid& grid, const int32_t* old, int32_t* table, const int16_t* dy,
                       const int16_t* dx, const uint8_t* kept) {
  std::vector<uint8_t> taken(grid.size, 0);
  int64_t cell = 0;
  for (int64_t row = 0; row < grid.height; ++row)
    for (int64_t col = 0; col < grid.width; ++col, ++cell) {
      if (!kept[cell]) continue;
      const int64_t from = clamped(row - dy[cell], grid.height) * grid.pitch +
                           clamped(col - dx[cell], grid.width);
      const int32_t position = old[grid.origin + from];
      table[grid.origin + row * grid.pitch + col] = position;
      taken[position] = 1;
    }
  std::vector<int64_t> homeless;
  cell = 0;
  for (int64_t row = 0; row < grid.height; ++row)
    for (int64_t col = 0; col < grid.width; ++col, ++cell) {
      if (kept[cell]) continue;
      const int64_t place = grid.origin + row * grid.pitch + col;
      table[place] = place;
      if (taken[place]) homeless.push_back(place);
      taken[place] = 1;
    }
  int64_t row = 0, col = -1;
  for (const int64_t place : homeless) {
    int64_t free;
    do {
      if (++col == grid.width) col = 0, ++row;
      free = grid.origin + row * grid.pitch + col;
    } while (taken[free]);
    table[place] = free;
  }
}

}  // namespace fluxshard
