// Vectors of floats as wide as the machine's registers, and the functions kernels apply to them.
//
// Features are floats or bfloat16 (`Half`, the upper half of a float); sums are always floats.
#pragma once

#include <cstdint>
#include <cstring>

namespace fluxshard {

#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#elif defined(__AVX__)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif

typedef float Vector __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Integers __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t Words __attribute__((vector_size(4 * WIDTH)));
typedef uint16_t Half;
typedef Half Halves __attribute__((vector_size(2 * WIDTH)));

static inline Vector load(const float* from) {
  Vector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

static inline Vector load_some(const float* from, int count) {
  Vector value = {};
  std::memcpy(&value, from, sizeof(float) * count);
  return value;
}

static inline Vector widen(Halves values) {
  return (Vector)(__builtin_convertvector(values, Words) << 16);
}

// To the nearest, ties to even; NaN stays NaN.
static inline Halves narrow(Vector value) {
  const Words bits = (Words)value;
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return __builtin_convertvector(value != value ? (bits >> 16) | 0x40 : rounded, Halves);
}

static inline Vector load(const Half* from) {
  Halves values;
  std::memcpy(&values, from, sizeof values);
  return widen(values);
}

static inline Vector load_some(const Half* from, int count) {
  Halves values = {};
  std::memcpy(&values, from, sizeof(Half) * count);
  return widen(values);
}

// `count` may be anything from 1 on; what exceeds a vector is left to the next store.
static inline void store(float* to, Vector value, int count) {
  if (count >= WIDTH)
    std::memcpy(to, &value, sizeof value);
  else
    std::memcpy(to, &value, sizeof(float) * count);
}

static inline void store(Half* to, Vector value, int count) {
  const Halves values = narrow(value);
  if (count >= WIDTH)
    std::memcpy(to, &values, sizeof values);
  else
    std::memcpy(to, &values, sizeof(Half) * count);
}

static inline Vector smaller(Vector a, Vector b) { return a < b ? a : b; }
static inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }
static inline Vector all(float value) { return value - Vector{}; }

// exp(x) to about one unit in the last place: 2^n times a polynomial on [-ln2/2, ln2/2].
static inline Vector exponential(Vector x) {
  x = x < -87.0f ? all(-87.0f) : x;  // written so that NaN stays NaN
  x = x > 88.0f ? all(88.0f) : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
  Vector shifted = x * 1.44269504f + magic;
  Vector whole = shifted - magic;
  Vector rest = x - whole * 0.693359375f;
  rest = rest + whole * 2.12194440e-4f;
  Vector sum = all(1.9875691500e-4f);
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * (rest * rest) + rest + 1.0f;
  Integers power = ((Integers)shifted - (Integers)all(magic) + 127) << 23;
  return sum * (Vector)power;
}

static inline Vector sigmoid(Vector x) { return 1.0f / (1.0f + exponential(-x)); }

}  // namespace fluxshard
