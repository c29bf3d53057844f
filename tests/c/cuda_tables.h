// cuda_tables.h - random tables, of the precision that is tested, and what they say in double
#pragma once
#include "cuda_near.h"
extern "C" {
#include "scalar.h"
}

struct Table {
    int width = 0;
    std::vector<double> node; // [nodes][3][width]
    dpc_table packed = {};

    Table() = default;
    Table(const Table &) = delete;
    ~Table() { dpc_table_release(&packed); }

    void fill(const dpc_grid &grid, dpc_dtype dtype, int channels, std::mt19937 &random)
    {
        std::normal_distribution<double> normal;
        dpc_error err;
        width = channels;
        node.resize(3 * dpc_grid_nodes(&grid) * (size_t)width);
        for (double &x : node)
            x = (double)(float)normal(random);
        const std::vector<float> narrow(node.begin(), node.end());
        const void *given = dtype == DPC_F32 ? (const void *)narrow.data() : node.data();
        EXPECT(dpc_table_fill(&packed, dtype, (size_t)width, &grid, given, nullptr, &err) == DPC_OK, "%s", err.message);
    }

    // The interpolant at t and its derivative.
    void interpolate(double t, std::vector<double> &value, std::vector<double> &slope) const
    {
        dpc_double_place at;
        double b[6], d[6];
        dpc_double_locate(&packed.grid, &t, &at);
        dpc_double_hermite(&at, b, d);
        value.assign((size_t)width, 0);
        slope.assign((size_t)width, 0);
        for (int p = 0; p < 6; p++)
            for (int k = 0; k < width; k++) {
                const double here = node[((size_t)at.row * 3 + (size_t)p) * (size_t)width + (size_t)k];
                value[(size_t)k] += b[p] * here;
                slope[(size_t)k] += d[p] * here;
            }
    }
};
