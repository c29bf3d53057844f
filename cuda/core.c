/* core.c - what libdpc_cuda contains of ccore: error texts, clocks, bins of neighbour lists, tables */
#include "base.c"
#include "bins.c"
#include "table.c"
