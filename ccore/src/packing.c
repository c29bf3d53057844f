/* packing.c - which types of a model have been packed, for several threads that evaluate it */
#include "model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct dpc_packing {
    size_t types;
    pthread_mutex_t lock;
    _Atomic unsigned char *ready; /* [types] that all of these have what they need of each other */
    unsigned char *wanted;        /* [types], under the lock */
};

dpc_status dpc_packing_create(size_t types, struct dpc_packing **packing, dpc_error *err)
{
    struct dpc_packing *made;
    DPC_TRY(dpc_alloc(1, sizeof(*made), &made, err));
    made->types = types;
    dpc_status status = dpc_alloc(types, sizeof(*made->ready), &made->ready, err);
    if (status == DPC_OK)
        status = dpc_alloc(types, 1, &made->wanted, err);
    if (status == DPC_OK && pthread_mutex_init(&made->lock, NULL) != 0)
        status = dpc_fail(err, DPC_NO_MEMORY, "out of memory: no lock");
    if (status != DPC_OK) {
        free((void *)made->ready);
        free(made->wanted);
        free(made);
        return status;
    }
    *packing = made;
    return DPC_OK;
}

void dpc_packing_free(struct dpc_packing *packing)
{
    if (packing == NULL)
        return;
    pthread_mutex_destroy(&packing->lock);
    free((void *)packing->ready);
    free(packing->wanted);
    free(packing);
}

static int is_ready(struct dpc_packing *p, const unsigned char *present)
{
    for (size_t t = 0; t < p->types; t++)
        if (present[t] && !atomic_load_explicit(&p->ready[t], memory_order_acquire))
            return 0;
    return 1;
}

dpc_status dpc_model_pack(const dpc_model *model, const unsigned char *present, dpc_error *err)
{
    struct dpc_packing *p = model->packing;
    if (is_ready(p, present))
        return DPC_OK;
    pthread_mutex_lock(&p->lock);
    for (size_t t = 0; t < p->types; t++)
        p->wanted[t] = present[t] || atomic_load_explicit(&p->ready[t], memory_order_relaxed);
    dpc_status status = DPC_OK;
    for (size_t k = 0; status == DPC_OK && k < model->terms; k++)
        status = dpc_term_pack(&model->term[k], p->wanted, err);
    for (size_t t = 0; status == DPC_OK && t < p->types; t++)
        atomic_store_explicit(&p->ready[t], p->wanted[t], memory_order_release);
    pthread_mutex_unlock(&p->lock);
    return status;
}
