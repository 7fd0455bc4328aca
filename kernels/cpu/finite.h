// Whether numbers are finite.
#pragma once

#include <cstdint>
#include <cstring>

namespace fluxshard {

static bool all_finite(const float* values, int64_t count) {
  uint32_t worst = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    bits &= 0x7f800000u;
    worst = bits > worst ? bits : worst;
  }
  return worst != 0x7f800000u;
}

}  // namespace fluxshard
