/* bins.c - bins of atoms: as many as a cell, or a box of open space, and a cutoff ask for */
#include "bins.h"

static void cross(const double *a, const double *b, double *c)
{
    c[0] = a[1] * b[2] - a[2] * b[1];
    c[1] = a[2] * b[0] - a[0] * b[2];
    c[2] = a[0] * b[1] - a[1] * b[0];
}

static double length(const double *a)
{
    return sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]);
}

/* Box of an open system: a cell that holds all atoms, never crossed by an image. */
static void enclose(struct dpc_bins *b, size_t atoms, const double *low, const double *high)
{
    memset(b->cell, 0, sizeof(b->cell));
    memset(b->inverse, 0, sizeof(b->inverse));
    for (int a = 0; a < 3; a++) {
        b->origin[a] = atoms > 0 ? low[a] : 0;
        b->cell[4 * a] = atoms > 0 ? fmax(high[a] - low[a], 1e-3) * (1 + 1e-9) : 1;
        b->inverse[4 * a] = 1 / b->cell[4 * a];
    }
}

static dpc_status set_cell(struct dpc_bins *b, size_t atoms, const double *cell, const double *low, const double *high,
                           dpc_error *err)
{
    b->periodic = 0;
    for (int i = 0; cell != NULL && i < 9; i++) {
        DPC_REQUIRE(isfinite(cell[i]), "the cell is not finite");
        b->periodic |= cell[i] != 0;
    }
    if (!b->periodic) {
        enclose(b, atoms, low, high);
        return DPC_OK;
    }
    double volume = 0, size = 1;
    memcpy(b->cell, cell, sizeof(b->cell));
    for (int a = 0; a < 3; a++) {
        b->origin[a] = 0;
        size *= length(cell + 3 * a);
    }
    for (int a = 0; a < 3; a++) { /* columns of the inverse: reciprocal vectors */
        double column[3];
        cross(cell + 3 * ((a + 1) % 3), cell + 3 * ((a + 2) % 3), column);
        volume = column[0] * cell[3 * a] + column[1] * cell[3 * a + 1] + column[2] * cell[3 * a + 2];
        DPC_REQUIRE(fabs(volume) > 1e-10 * size, "the cell is singular: its vectors span no volume");
        for (int c = 0; c < 3; c++)
            b->inverse[3 * c + a] = column[c] / volume;
    }
    return DPC_OK;
}

dpc_status dpc_bins_set(struct dpc_bins *b, size_t atoms, const double *cell, const double *low, const double *high,
                        double cutoff, dpc_error *err)
{
    double height[3], most = 2 * (double)atoms + 1, visits = 1;
    int32_t *n = b->count;
    DPC_TRY(set_cell(b, atoms, cell, low, high, err));
    for (int a = 0; a < 3; a++) {
        const double column[3] = {b->inverse[a], b->inverse[3 + a], b->inverse[6 + a]};
        height[a] = 1 / length(column);
        n[a] = (int32_t)fmin(fmax(2 * height[a] / cutoff, 1), most);
    }
    while ((double)n[0] * (double)n[1] * (double)n[2] > most) {
        const int a = n[0] >= n[1] ? (n[0] >= n[2] ? 0 : 2) : (n[1] >= n[2] ? 1 : 2);
        n[a] = (n[a] + 1) / 2;
    }
    for (int a = 0; a < 3; a++) {
        double reach = ceil(cutoff / (height[a] / (double)n[a]) * (1 + 1e-12));
        if (!b->periodic)
            reach = fmin(reach, (double)n[a] - 1);
        DPC_REQUIRE(reach < 1e4, "the cell is too thin for the cutoff %g", cutoff);
        b->reach[a] = (int32_t)reach;
        visits *= 2 * reach + 1;
    }
    DPC_REQUIRE(visits < 1e8, "the cell is too small for the cutoff %g", cutoff);
    return DPC_OK;
}
