// What a program is made of: plain records that Python fills in (kernels/cpu/records.py).
#pragma once

#include <cstdint>

namespace fluxshard {

enum Kind : int32_t { CONVOLVE, DEPTHWISE, MAXIMUM, AVERAGE, COPY, ADD, MULTIPLY, ACTIVATE };

enum Activation : int32_t {
  NONE, RELU, SILU, SIGMOID, TANH, LEAKY_RELU, HARDSWISH, HARDSIGMOID, RELU6, GELU
};

// A run of `length` numbers per output cell, `offset` numbers from the cell that `list` names in
// `buffer`.
struct Segment {
  int32_t buffer, list, offset, length;
};

// Where a window lies: cell (row, col) of the output reads from (row * stride - padding).
struct Window {
  int32_t kernel[2], dilation[2], size[2], pitch;
  int32_t table;  // list: the position of every place of the map
};

struct Operator {
  int32_t kind, activation;
  float slope;
  int32_t cells;               // list whose length is the number of output cells
  int32_t segment, segments;   // inputs, in the order in which they are summed
  int32_t other;               // ADD, MULTIPLY: the second input's segment
  int32_t buffer, list, offset, channels;  // the output
  int32_t rows, cols;          // MAXIMUM, AVERAGE: lists of first source rows and columns
  int32_t unused;
  const float* weights;
  const float* bias;
  Window window;
};

struct Buffer {
  void* data;
  int64_t stride;  // numbers a cell
};

// `positions` null: cell i lies at i.
struct List {
  const int32_t* positions;
  int64_t count;
};

// One endpoint's memory and cells.
struct Part {
  const Buffer* buffers;
  const List* lists;
};

static inline int64_t place(const List& list, int64_t index) {
  return list.positions ? list.positions[index] : index;
}

// Where the output cell `cell` finds its first number, of type `Number`.
template <typename Number>
static inline const Number* source(const Segment& segment, const Part& part, int64_t cell) {
  const Buffer& buffer = part.buffers[segment.buffer];
  return static_cast<const Number*>(buffer.data) +
         place(part.lists[segment.list], cell) * buffer.stride + segment.offset;
}

template <typename Number>
static inline Number* target(const Operator& op, const Part& part, int64_t cell) {
  const Buffer& buffer = part.buffers[op.buffer];
  return static_cast<Number*>(buffer.data) + place(part.lists[op.list], cell) * buffer.stride +
         op.offset;
}

}  // namespace fluxshard
