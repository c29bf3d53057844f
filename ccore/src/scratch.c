/* scratch.c - lay one worker's memory out for the blocks to come */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

/* The next array, from byte *at of base on; base is NULL while all is only measured. */
static void take(char *base, size_t *at, void *pointer, size_t count, size_t size)
{
    if (base != NULL)
        memcpy(pointer, &(void *){base + *at}, sizeof(void *));
    *at += dpc_round_up(count * size, DPC_ALIGN);
}

static size_t lay_out(struct dpc_scratch *s, const struct dpc_kernels *k, const struct dpc_extent *e, char *base)
{
    const size_t row = DPC_BLOCK_BYTES, real = k->real_size, env = k->e_size;
    size_t at = 0;
    take(base, &at, &s->found_d, 3 * s->cap, sizeof(double));
    take(base, &at, &s->found_j, s->cap, sizeof(int32_t));
    take(base, &at, &s->near_d, 3 * e->types * s->cap, sizeof(double));
    take(base, &at, &s->near_j, e->types * s->cap, sizeof(int32_t));
    take(base, &at, &s->near_count, e->types, sizeof(int32_t));
    take(base, &at, &s->taken, e->types, sizeof(int32_t));
    take(base, &at, &s->segment, e->atoms * e->members * e->types, sizeof(struct dpc_segment));
    take(base, &at, &s->d, 3 * s->pairs, env);
    take(base, &at, &s->x, s->pairs, env);
    take(base, &at, &s->q, s->pairs, env);
    take(base, &at, &s->ds, s->pairs, env);
    take(base, &at, &s->dq, s->pairs, env);
    take(base, &at, &s->gate, e->gated ? s->pairs : 0, env);
    take(base, &at, &s->dgate, e->gated ? s->pairs : 0, env);
    take(base, &at, &s->env, 4 * s->pairs, real);
    take(base, &at, &s->j, s->pairs, sizeof(int32_t));
    take(base, &at, &s->touched[0], 2 * s->pairs, sizeof(int32_t));
    take(base, &at, &s->touched[1], e->gated ? 2 * s->pairs : 0, sizeof(int32_t));
    take(base, &at, &s->row, s->cap, sizeof(int32_t));
    /* at least 16 bytes a neighbour: collect.c sorts in it */
    take(base, &at, &s->basis, 12 * s->cap, real);
    take(base, &at, &s->grad, 6 * s->cap, real);
    take(base, &at, &s->grad2, e->gated ? 5 * s->cap : 0, real);
    take(base, &at, &s->gated, e->gated ? 4 * s->cap : 0, real);
    take(base, &at, &s->force, 3 * s->cap, env);
    for (int w = 0; w < 2; w++) {
        s->weights[w].nodes = w == 0 || e->gated ? e->nodes : 0;
        take(base, &at, &s->weights[w].w, 12 * s->weights[w].nodes, real);
        take(base, &at, &s->weights[w].stamp, s->weights[w].nodes, sizeof(uint32_t));
        take(base, &at, &s->list[w], e->three ? s->weights[w].nodes : 0, sizeof(int32_t));
    }
    take(base, &at, &s->xa, 4 * e->stride, real);
    take(base, &at, &s->u, e->three ? 4 * s->near : 0, env);
    take(base, &at, &s->of_u, e->three ? 4 * s->near : 0, env);
    take(base, &at, &s->t, e->three ? s->cap : 0, env);
    take(base, &at, &s->of_t, e->three ? s->cap : 0, env);
    take(base, &at, &s->value, e->three ? s->cap : 0, real);
    take(base, &at, &s->gated_value, s->cap, real);
    take(base, &at, &s->xt, 4 * e->rotations, row);
    take(base, &at, &s->dxt, 4 * e->rotations, row);
    take(base, &at, &s->yt, 4 * e->axes, row);
    take(base, &at, &s->feature, dpc_round_up(e->features, DPC_PANEL), row);
    take(base, &at, &s->h[0], e->widest, row);
    take(base, &at, &s->h[1], e->widest, row);
    take(base, &at, &s->slope, e->slopes, row);
    take(base, &at, &s->kept, e->several ? e->slopes : 0, row);
    take(base, &at, &s->out, e->net_outputs, row);
    take(base, &at, &s->seed, e->net_outputs, row);
    take(base, &at, &s->rot, e->several ? 3 * e->rotations : 0, row);
    take(base, &at, &s->of_rot, e->several ? 3 * e->rotations : 0, row);
    take(base, &at, &s->result, e->outputs, row);
    return at;
}

dpc_status dpc_scratch_prepare(struct dpc_scratch *s, const struct dpc_kernels *k, const struct dpc_extent *extent,
                               dpc_error *err)
{
    const size_t cap = dpc_round_up(extent->neighbours + 1, k->lanes);
    if (s->memory.data != NULL && cap <= s->cap)
        return DPC_OK;
    s->cap = cap + cap / 8 / k->lanes * k->lanes; /* so that a slowly growing list settles */
    s->near = s->cap + extent->types * k->lanes;
    s->pairs = extent->atoms * extent->members * s->near;
    const size_t bytes = lay_out(s, k, extent, NULL);
    free(s->memory.data);
    s->memory = (struct dpc_buffer){NULL, bytes};
    const dpc_status status = dpc_alloc(bytes, 1, &s->memory.data, err);
    if (status != DPC_OK) {
        s->memory.bytes = s->cap = s->pairs = 0;
        return status;
    }
    lay_out(s, k, extent, s->memory.data);
    s->weights[0].epoch = s->weights[1].epoch = 0; /* as stamps are: nothing begins with epoch 0 */
    return DPC_OK;
}
