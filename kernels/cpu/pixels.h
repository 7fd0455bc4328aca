// Frames of bytes, (height, width, 3): their blocks moved, compared and put together, and what a
// network reads of them. `side` pixels a block; height and width are whole blocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "crew.h"
#include "vector.h"

namespace fluxshard {

constexpr int64_t CHANNELS = 3;

struct Frame {
  int64_t height, width, side;
};

// Calls `work(row, col)` for every block, a row of them a piece.
template <typename Work>
static void for_blocks(const Frame& frame, int32_t threads, Work work) {
  run_pieces({frame.height / frame.side}, threads, [&](int64_t, int64_t row) {
    for (int64_t col = 0; col < frame.width / frame.side; ++col) work(row, col);
  });
}

// Block (row, col) of `out` is what lies `shifts` (rows, cols, 2), dx and dy pixels, before it in
// `image`; the outermost pixels go on outside.
static void move_blocks(const Frame& frame, const uint8_t* image, const int32_t* shifts, uint8_t* out,
                        int32_t threads) {
  const int64_t cols = frame.width / frame.side, pitch = frame.width * CHANNELS;
  for_blocks(frame, threads, [&](int64_t row, int64_t col) {
    const int32_t* shift = shifts + (row * cols + col) * 2;
    const int64_t left = col * frame.side - shift[0];
    const bool inside = left >= 0 && left + frame.side <= frame.width;
    for (int64_t y = row * frame.side; y < (row + 1) * frame.side; ++y) {
      const uint8_t* from = image + std::clamp<int64_t>(y - shift[1], 0, frame.height - 1) * pitch;
      uint8_t* to = out + y * pitch + col * frame.side * CHANNELS;
      if (inside) {
        std::memcpy(to, from + left * CHANNELS, frame.side * CHANNELS);
        continue;
      }
      for (int64_t x = 0; x < frame.side; ++x) {
        const int64_t nearest = std::clamp<int64_t>(left + x, 0, frame.width - 1);
        std::memcpy(to + x * CHANNELS, from + nearest * CHANNELS, CHANNELS);
      }
    }
  });
}

// Sum of absolute differences of each block, (rows, cols).
static void compare_blocks(const Frame& frame, const uint8_t* image, const uint8_t* other,
                           uint32_t* sums, int32_t threads) {
  const int64_t cols = frame.width / frame.side, length = frame.side * CHANNELS;
  for_blocks(frame, threads, [&](int64_t row, int64_t col) {
    uint32_t sum = 0;
    for (int64_t y = 0; y < frame.side; ++y) {
      const int64_t at = (row * frame.side + y) * frame.width * CHANNELS + col * length;
      for (int64_t i = 0; i < length; ++i) sum += std::abs(int(image[at + i]) - int(other[at + i]));
    }
    sums[row * cols + col] = sum;
  });
}

// `out` is `image` in the blocks that are `fresh` (rows, cols), `other` elsewhere.
static void compose_blocks(const Frame& frame, const uint8_t* image, const uint8_t* other,
                           const uint8_t* fresh, uint8_t* out, int32_t threads) {
  const int64_t cols = frame.width / frame.side, length = frame.side * CHANNELS;
  for_blocks(frame, threads, [&](int64_t row, int64_t col) {
    const uint8_t* from = fresh[row * cols + col] ? image : other;
    for (int64_t y = 0; y < frame.side; ++y) {
      const int64_t at = (row * frame.side + y) * frame.width * CHANNELS + col * length;
      std::memcpy(out + at, from + at, length);
    }
  });
}

// Bytes as numbers in [0, 1], rows of `length` of them, in `out` so many numbers apart.
template <typename Number>
static void scale_bytes(const uint8_t* bytes, int64_t rows, int64_t length, Number* out,
                        int64_t pitch, int32_t threads) {
  typedef uint8_t Bytes __attribute__((vector_size(WIDTH)));
  constexpr int64_t ROWS_A_PIECE = 16;
  run_pieces({(rows + ROWS_A_PIECE - 1) / ROWS_A_PIECE}, threads, [&](int64_t, int64_t piece) {
    const int64_t last = std::min(rows, (piece + 1) * ROWS_A_PIECE);
    for (int64_t row = piece * ROWS_A_PIECE; row < last; ++row)
      for (int64_t at = 0; at < length; at += WIDTH) {
        const int64_t count = std::min<int64_t>(WIDTH, length - at);
        Bytes some = {};
        std::memcpy(&some, bytes + row * length + at, count);
        const Integers whole = __builtin_convertvector(some, Integers);
        store(out + row * pitch + at, __builtin_convertvector(whole, Vector) / 255.0f, count);
      }
  });
}

}  // namespace fluxshard
