// What several rounds' figures are told by.
#pragma once

#include <vector>

#include "lib/base/value.h"

namespace rag::bench {

// Least, median and largest of some numbers, which are not empty.
struct Spread {
  double median = 0;
  double low = 0;
  double high = 0;
};
Spread SpreadOf(std::vector<double> values);
// {"median", "min", "max"}.
Value::Object SpreadToJson(const Spread& spread);

}  // namespace rag::bench
