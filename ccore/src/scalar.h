/* scalar.h - math.inc for one double at a time */
#ifndef DPC_SCALAR_H
#define DPC_SCALAR_H

#include "model.h"

#include <math.h>

#define num double
#define mask int
#define SPLAT(x) (x)
#define SELECT(m, a, b) ((m) ? (a) : (b))
#define TRUNC(x) trunc(x)
#define SQRT(x) sqrt(x)
#define WIDTH 1
#define LANE(x, l) (x)
#define MATH(x) dpc_double_##x
#define HD static inline
#include "math.inc"
#undef num
#undef mask
#undef SPLAT
#undef SELECT
#undef TRUNC
#undef SQRT
#undef WIDTH
#undef LANE
#undef MATH
#undef HD

#endif
