/* check.h - what the parts of the C test share: failures, frames, an allocator that can fail, threads */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#include "dpc.h"

extern int failures;

#define CHECK(cond, ...)                                \
    do {                                                \
        if (!(cond)) {                                  \
            failures++;                                 \
            printf("FAIL %s:%d: ", __FILE__, __LINE__); \
            printf(__VA_ARGS__);                        \
            printf("\n");                               \
        }                                               \
    } while (0)

#define OK(call) CHECK((call) == DPC_OK, "%s: %s", #call, err.message)

/* Atoms, and what the caller knows of them: k results. */
struct frame {
    size_t atoms;
    const double *cell, *position;                   /* [9]; [atoms][3] */
    int32_t *type;                                   /* [atoms] */
    const double *energy, *force, *virial, *atomic; /* [k]; [k][atoms][3]; [k][9]; [atoms][k] */
    const double *fparam, *aparam;                   /* as many as the model takes; [atoms] of them */
};

/* The frame's atoms, all local. */
dpc_atoms frame_atoms(const struct frame *frame);

/* Every function called wrongly. */
void check_misuse(const dpc_model *model);

/* SHA-256, which files are checked by. */
void check_digest(void);

/* The file, damaged in many ways. */
void check_damage(const char *path, const struct frame *frame);

/* Every allocation of loading and evaluating fails once. */
void check_memory(const char *path, const struct frame *frame);

/* The library's allocations fail from the one after `successes` more on; negative: never. */
void fail_after(long successes);
int has_failed(void);

/* A dpc_parallel_for of one thread per task; `pool` is not used. */
void parallel_threads(void *pool, size_t n, dpc_task task, void *job);

#endif
