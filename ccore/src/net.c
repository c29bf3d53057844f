/* net.c - fitting nets: checked and packed into panels */
#include "model.h"

#include <stdlib.h>
#include <string.h>

static dpc_status pack_vector(dpc_dtype dtype, const void *from, size_t n, size_t padded, void *pointer,
                              dpc_error *err)
{
    void *to;
    DPC_TRY(dpc_alloc(padded, dpc_dtype_size(dtype), &to, err));
    if (from != NULL)
        memcpy(to, from, n * dpc_dtype_size(dtype));
    memcpy(pointer, &to, sizeof(to));
    return DPC_OK;
}

static dpc_status pack_layer(dpc_dtype dtype, const dpc_layer *from, struct dpc_packed_layer *to, dpc_error *err)
{
    const size_t size = dpc_dtype_size(dtype);
    to->in = from->in;
    to->out = from->out;
    to->in_padded = dpc_round_up(from->in, DPC_PANEL);
    to->out_padded = dpc_round_up(from->out, DPC_PANEL);
    to->activation = from->activation;
    to->residual = from->residual;
    DPC_TRY(pack_vector(dtype, from->bias, from->out, to->out_padded, &to->bias, err));
    if (from->idt != NULL)
        DPC_TRY(pack_vector(dtype, from->idt, from->out, to->out_padded, &to->idt, err));
    DPC_TRY(dpc_alloc(to->in_padded * to->out_padded, size, &to->weight, err));
    for (size_t k = 0; k < from->in; k++)
        for (size_t n = 0; n < from->out; n += DPC_PANEL) {
            const size_t some = from->out - n < DPC_PANEL ? from->out - n : DPC_PANEL;
            memcpy((char *)to->weight + (n * to->in_padded + k * DPC_PANEL) * size,
                   (const char *)from->weight + (k * from->out + n) * size, some * size);
        }
    return DPC_OK;
}

dpc_status dpc_net_check(size_t layers, const dpc_layer *layer, dpc_error *err)
{
    DPC_REQUIRE(layers > 0 && layer != NULL, "a net needs at least one layer");
    for (size_t l = 0; l < layers; l++) {
        const dpc_layer *a = &layer[l];
        DPC_REQUIRE(a->in > 0 && a->out > 0 && a->in < (1u << 24) && a->out < (1u << 24) && a->weight != NULL,
                    "layer %zu is empty", l);
        DPC_REQUIRE(l == 0 || a->in == layer[l - 1].out, "layer %zu takes %zu inputs, the one before it has %zu", l,
                    a->in, layer[l - 1].out);
        DPC_REQUIRE(a->residual >= 0 && a->residual <= 2 && (a->residual == 0 || a->out == (size_t)a->residual * a->in),
                    "layer %zu from %zu to %zu cannot have residual %d", l, a->in, a->out, a->residual);
        DPC_REQUIRE(a->activation >= DPC_LINEAR && a->activation <= DPC_SILUT, "layer %zu: %d is no activation", l,
                    (int)a->activation);
    }
    const dpc_layer *last = &layer[layers - 1];
    DPC_REQUIRE(last->activation == DPC_LINEAR && last->residual == 0 && last->idt == NULL,
                "the last layer must be linear");
    return DPC_OK;
}

dpc_status dpc_net_pack(dpc_dtype dtype, size_t layers, const dpc_layer *layer, dpc_net **net, dpc_error *err)
{
    DPC_TRY(dpc_net_check(layers, layer, err));
    dpc_net *n;
    DPC_TRY(dpc_alloc(1, sizeof(*n), &n, err));
    const dpc_layer *last = &layer[layers - 1];
    n->dtype = dtype;
    n->in = layer[0].in;
    n->outputs = last->out;
    n->layers = last->out == 1 ? layers - 1 : layers;
    dpc_status status = DPC_OK;
    if (last->out == 1) {
        n->last_bias = last->bias != NULL ? dpc_get(last->bias, dtype, 0) : 0;
        status = pack_vector(dtype, last->weight, last->in, last->in, &n->last, err);
    }
    if (status == DPC_OK)
        status = dpc_alloc(n->layers, sizeof(*n->layer), &n->layer, err);
    for (size_t l = 0; status == DPC_OK && l < n->layers; l++) {
        status = pack_layer(dtype, &layer[l], &n->layer[l], err);
        n->slopes += n->layer[l].out_padded;
        if (n->layer[l].out_padded > n->widest)
            n->widest = n->layer[l].out_padded;
    }
    if (status != DPC_OK) {
        dpc_net_free(n);
        return status;
    }
    *net = n;
    return DPC_OK;
}

dpc_status dpc_net_create(dpc_dtype dtype, size_t layers, const dpc_layer *layer, dpc_net **net, dpc_error *err)
{
    DPC_REQUIRE(net != NULL, "net must not be NULL");
    *net = NULL;
    DPC_REQUIRE(dtype == DPC_F32 || dtype == DPC_F64, "%d is no dtype", (int)dtype);
    DPC_TRY(dpc_net_check(layers, layer, err));
    DPC_REQUIRE(layer[layers - 1].out == 1, "the last layer must be linear with one output");
    return dpc_net_pack(dtype, layers, layer, net, err);
}

void dpc_net_free(dpc_net *net)
{
    if (net == NULL)
        return;
    for (size_t l = 0; net->layer != NULL && l < net->layers; l++) {
        free(net->layer[l].weight);
        free(net->layer[l].bias);
        free(net->layer[l].idt);
    }
    free(net->layer);
    free(net->last);
    free(net);
}
