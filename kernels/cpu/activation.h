// Activations on a vector; every lane is computed alike, wherever it stands.
#pragma once

#include <cmath>

#include "program.h"
#include "vector.h"

namespace fluxshard {

template <typename Function>
static inline Vector lane_by_lane(Vector x, Function function) {
  for (int lane = 0; lane < WIDTH; ++lane) x[lane] = function(x[lane]);
  return x;
}

static inline Vector activate(Vector x, int32_t kind, float slope) {
  switch (kind) {
    case RELU: return x < 0.0f ? Vector{} : x;
    case SILU: return x / (1.0f + exponential(-x));
    case SIGMOID: return sigmoid(x);
    case TANH: return lane_by_lane(x, [](float v) { return std::tanh(v); });
    case LEAKY_RELU: return x > 0.0f ? x : x * slope;
    case HARDSWISH: return x * smaller(larger(x + 3.0f, Vector{}), all(6.0f)) / 6.0f;
    case HARDSIGMOID: return smaller(larger(x + 3.0f, Vector{}), all(6.0f)) / 6.0f;
    case RELU6: return x < 0.0f ? Vector{} : (x > 6.0f ? all(6.0f) : x);
    case GELU:
      return lane_by_lane(x, [](float v) { return 0.5f * v * (1.0f + std::erf(v * 0.70710678f)); });
    default: return x;
  }
}

}  // namespace fluxshard
