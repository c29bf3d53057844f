/*
 * peer_loop.c - the fused operator as a plain loop: every neighbour evaluates a polynomial of six
 * coefficients for each channel. Compiled without any vector option, as the peer's wheels are.
 */
#include <stddef.h>
#include <stdint.h>

struct table { /* of constant step */
    double lower, step;
    int64_t width;
    const double *coef; /* [rows][width][6], constant term first */
};

/* The coefficients of the interval that x lies in; x becomes its offset in it. */
static const double *interval(const struct table *t, double *x)
{
    const int64_t row = (int64_t)((*x - t->lower) / t->step);
    *x -= t->lower + (double)row * t->step;
    return t->coef + row * t->width * 6;
}

/* out [atoms][4][width] = sum over the pairs of each atom of env ⊗ g(s) */
void peer_forward(const struct table *t, int64_t atoms, const int64_t *first, const double *s, const double *env,
                  double *out)
{
    const int64_t width = t->width;
    for (int64_t i = 0; i < atoms; i++, out += 4 * width) {
        for (int64_t k = 0; k < 4 * width; k++)
            out[k] = 0;
        for (int64_t p = first[i]; p < first[i + 1]; p++) {
            double x = s[p];
            const double *c = interval(t, &x), *e = env + 4 * p;
            for (int64_t m = 0; m < width; m++, c += 6) {
                const double g = c[0] + x * (c[1] + x * (c[2] + x * (c[3] + x * (c[4] + x * c[5]))));
                for (int a = 0; a < 4; a++)
                    out[a * width + m] += e[a] * g;
            }
        }
    }
}

/* grad [atoms][4][width] of out -> grad_s [pairs], grad_env [pairs][4] */
void peer_backward(const struct table *t, int64_t atoms, const int64_t *first, const double *s, const double *env,
                   const double *grad, double *grad_s, double *grad_env)
{
    const int64_t width = t->width;
    for (int64_t i = 0; i < atoms; i++, grad += 4 * width)
        for (int64_t p = first[i]; p < first[i + 1]; p++) {
            double x = s[p], of_s = 0, of_env[4] = {0, 0, 0, 0};
            const double *c = interval(t, &x), *e = env + 4 * p;
            for (int64_t m = 0; m < width; m++, c += 6) {
                const double g = c[0] + x * (c[1] + x * (c[2] + x * (c[3] + x * (c[4] + x * c[5]))));
                const double slope = c[1] + x * (2 * c[2] + x * (3 * c[3] + x * (4 * c[4] + x * 5 * c[5])));
                double of_g = 0;
                for (int a = 0; a < 4; a++) {
                    of_env[a] += g * grad[a * width + m];
                    of_g += e[a] * grad[a * width + m];
                }
                of_s += slope * of_g;
            }
            grad_s[p] = of_s;
            for (int a = 0; a < 4; a++)
                grad_env[4 * p + a] = of_env[a];
        }
}
