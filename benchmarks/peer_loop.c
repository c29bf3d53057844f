/*
 * peer_loop.c - the fused operators as plain loops: every neighbour, or pair of neighbours, evaluates a polynomial of
 * six coefficients for each channel. Compiled without any vector option, as the peer's wheels are; with BY_DEGREE
 * and vector options, the best that can be made of the same loops.
 */
#include <stddef.h>
#include <stdint.h>

struct table { /* of constant step */
    double lower, step;
    int64_t width;
    const double *coef; /* [rows][width][6], constant term first; BY_DEGREE: [rows][6][width] */
};

#ifdef BY_DEGREE
#define C(p) c[(p) * width + m]
#else
#define C(p) c[6 * m + (p)]
#endif
#define VALUE (C(0) + x * (C(1) + x * (C(2) + x * (C(3) + x * (C(4) + x * C(5))))))
#define SLOPE (C(1) + x * (2 * C(2) + x * (3 * C(3) + x * (4 * C(4) + x * 5 * C(5)))))

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
            for (int64_t m = 0; m < width; m++) {
                const double g = VALUE;
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
            for (int64_t m = 0; m < width; m++) {
                const double g = VALUE, slope = SLOPE;
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

/* out [atoms][width] = sum over neighbours n of one type and m of another of t g(t), t = u_n · u_m */
void peer_angles_forward(const struct table *t, int64_t atoms, const int64_t *first, const double *u,
                         const int64_t *other_first, const double *other, double *out)
{
    const int64_t width = t->width;
    for (int64_t i = 0; i < atoms; i++, out += width) {
        for (int64_t m = 0; m < width; m++)
            out[m] = 0;
        for (int64_t p = first[i]; p < first[i + 1]; p++)
            for (int64_t q = other_first[i]; q < other_first[i + 1]; q++) {
                const double *a = u + 3 * p, *b = other + 3 * q;
                const double product = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
                double x = product;
                const double *c = interval(t, &x);
                for (int64_t m = 0; m < width; m++)
                    out[m] += product * VALUE;
            }
    }
}

/* grad [atoms][width] of out is added to grad_u and grad_other, which may be one array */
void peer_angles_backward(const struct table *t, int64_t atoms, const int64_t *first, const double *u,
                          const int64_t *other_first, const double *other, const double *grad, double *grad_u,
                          double *grad_other)
{
    const int64_t width = t->width;
    for (int64_t i = 0; i < atoms; i++, grad += width)
        for (int64_t p = first[i]; p < first[i + 1]; p++)
            for (int64_t q = other_first[i]; q < other_first[i + 1]; q++) {
                const double *a = u + 3 * p, *b = other + 3 * q;
                const double product = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
                double x = product, sum = 0;
                const double *c = interval(t, &x);
                for (int64_t m = 0; m < width; m++)
                    sum += (VALUE + product * SLOPE) * grad[m];
                for (int k = 0; k < 3; k++) {
                    grad_u[3 * p + k] += sum * b[k];
                    grad_other[3 * q + k] += sum * a[k];
                }
            }
}
