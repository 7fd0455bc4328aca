// The order in which cells can be moved inside one buffer with nothing but a cell of spare room.
//
// Every destination has one source. A cell may be overwritten once all that read it have been
// written, so destinations that nobody reads come first, then what they read, and so on. What then
// remains are cycles: the content of one cell of each is kept aside.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fluxshard {

constexpr int64_t SPARE = -1;  // stands for the room outside the buffer

struct Copy {
  int64_t from, to;
};

static std::vector<Copy> in_order(const int64_t* sources, const int64_t* destinations,
                                  int64_t count) {
  int64_t highest = -1;
  for (int64_t i = 0; i < count; ++i)
    highest = std::max({highest, sources[i], destinations[i]});
  std::vector<int32_t> writer(highest + 1, -1);  // which move overwrites a position
  for (int64_t i = 0; i < count; ++i) writer[destinations[i]] = i;
  std::vector<int32_t> readers(count, 0), ready;
  for (int64_t i = 0; i < count; ++i)
    if (writer[sources[i]] >= 0 && sources[i] != destinations[i]) ++readers[writer[sources[i]]];
  ready.reserve(count);
  for (int64_t i = 0; i < count; ++i)
    if (!readers[i]) ready.push_back(i);
  std::vector<Copy> copies;
  copies.reserve(count);
  std::vector<bool> done(count, false);
  for (size_t at = 0; at < ready.size(); ++at) {
    const int32_t i = ready[at];
    done[i] = true;
    if (sources[i] == destinations[i]) continue;
    copies.push_back({sources[i], destinations[i]});
    const int32_t next = writer[sources[i]];
    if (next >= 0 && !--readers[next]) ready.push_back(next);
  }
  for (int64_t i = 0; i < count; ++i) {
    if (done[i]) continue;
    copies.push_back({destinations[i], SPARE});
    for (int32_t at = i; !done[at]; at = writer[sources[at]]) {
      done[at] = true;
      const bool last = sources[at] == destinations[i];
      copies.push_back({last ? SPARE : sources[at], destinations[at]});
    }
  }
  return copies;
}

}  // namespace fluxshard
