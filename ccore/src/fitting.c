/* fitting.c - what is fitted to the descriptors: nets by type, their other inputs, biases */
#include "model.h"

#define FIND(tensor, type, shape, ...) DPC_TRY(dpc_find(&term->params, &(tensor), err, type, shape, __VA_ARGS__))

enum { LAYERS = 64 };

const struct dpc_shape dpc_shapes[] = {
    [DPC_ENERGY] = {"ener", 1}, [DPC_DIPOLE] = {"dipole", 3}, [DPC_POLAR] = {"polar", 6},
    [DPC_DOS] = {"dos", 0}, [DPC_PROPERTY] = {"property", 0},
};

/* Inputs after the descriptors': the type's constants, then normalised frame and atom parameters. */
static dpc_status read_inputs(struct dpc_term *term, dpc_error *err)
{
    struct dpc_fitting *f = &term->fitting;
    const struct dpc_tensor *constant = dpc_lookup(&term->params, "fit_constant");
    if (constant != NULL) {
        FIND(constant, DPC_ONNX_F64, DPC_SHAPE((int64_t)term->types, -1), "fit_constant");
        f->constants = (size_t)constant->shape[1];
        DPC_TRY(dpc_read_doubles(&term->pool, constant, "fit_constant", &f->constant, err));
    }
    const struct {
        const char *name;
        size_t *count;
        double **norm;
    } parameter[] = {{"fparam_norm", &f->fparams, &f->fparam}, {"aparam_norm", &f->aparams, &f->aparam}};
    for (size_t k = 0; k < 2; k++) {
        const struct dpc_tensor *norm = dpc_lookup(&term->params, "%s", parameter[k].name);
        if (norm == NULL)
            continue;
        FIND(norm, DPC_ONNX_F64, DPC_SHAPE(2, -1), "%s", parameter[k].name);
        *parameter[k].count = (size_t)norm->shape[1];
        DPC_TRY(dpc_read_doubles(&term->pool, norm, parameter[k].name, parameter[k].norm, err));
    }
    return DPC_OK;
}

/* Layers of net k, `first` in place of the first one's weight unless it is NULL. */
static dpc_status read_layers(const struct dpc_term *term, size_t k, const struct dpc_tensor *first, int finite,
                              dpc_layer *layer, dpc_error *err)
{
    const struct dpc_fitting *f = &term->fitting;
    const int real = term->dtype == DPC_F32 ? DPC_ONNX_F32 : DPC_ONNX_F64;
    for (size_t l = 0; l < f->layers; l++) {
        const struct dpc_tensor *weight = first, *bias, *idt = dpc_lookup(&term->params, "fit.%zu.%zu.idt", k, l);
        if (l > 0 || first == NULL)
            FIND(weight, real, DPC_SHAPE(-1, -1), "fit.%zu.%zu.weight", k, l);
        FIND(bias, real, DPC_SHAPE(weight->shape[1]), "fit.%zu.%zu.bias", k, l);
        if (idt != NULL)
            FIND(idt, real, DPC_SHAPE(weight->shape[1]), "fit.%zu.%zu.idt", k, l);
        DPC_CHECK(!finite || (dpc_finite(weight) && dpc_finite(bias) && (idt == NULL || dpc_finite(idt))),
                  "layer %zu of fitting net %zu holds something that is no number", l, k);
        layer[l] = (dpc_layer){.in = (size_t)weight->shape[0], .out = (size_t)weight->shape[1],
                               .weight = weight->data, .bias = bias->data, .idt = idt ? idt->data : NULL,
                               .activation = (dpc_activation)f->activation[k * f->layers + l],
                               .residual = f->residual[k * f->layers + l]};
    }
    return DPC_OK;
}

/* The shapes of net k's layers, and the room that they need. */
static dpc_status check_net(struct dpc_term *term, size_t k, dpc_error *err)
{
    struct dpc_fitting *f = &term->fitting;
    const size_t inputs = term->features + f->constants + f->fparams + f->aparams;
    dpc_layer layer[LAYERS] = {{0}};
    DPC_TRY(read_layers(term, k, NULL, 0, layer, err));
    DPC_TRY(dpc_net_check(f->layers, layer, err));
    DPC_CHECK(layer[0].in == inputs, "fitting net %zu takes %zu inputs, the descriptor has %zu", k, layer[0].in,
              inputs);
    const size_t out = layer[f->layers - 1].out;
    DPC_CHECK(k == 0 || out == f->net_outputs, "fitting net %zu has %zu outputs, others %zu", k, out, f->net_outputs);
    f->net_outputs = out;
    size_t slopes = 0;
    for (size_t l = 0; l < f->layers; l++) {
        const size_t padded = dpc_round_up(layer[l].out, DPC_PANEL);
        slopes += padded;
        f->widest = padded > f->widest ? padded : f->widest;
    }
    f->slopes = slopes > f->slopes ? slopes : f->slopes;
    return DPC_OK;
}

static dpc_status read_outputs(struct dpc_term *term, dpc_error *err)
{
    struct dpc_fitting *f = &term->fitting;
    const struct dpc_tensor *bias, *intensive = dpc_lookup(&term->params, "intensive");
    const size_t rot = term->rotations, net = f->net_outputs;
    const int right = f->head == DPC_ENERGY   ? net == 1
                      : f->head == DPC_DIPOLE ? net == rot
                      : f->head == DPC_POLAR  ? net == rot || net == rot * rot
                                              : net > 0;
    DPC_CHECK(f->nets == 0 || right, "fitting nets of a %s model with %zu outputs for %zu channels",
              dpc_shapes[f->head].name, net, rot);
    FIND(bias, DPC_ONNX_F64, DPC_SHAPE((int64_t)term->types, -1), "bias");
    DPC_TRY(dpc_read_doubles(&term->pool, bias, "bias", &f->bias, err));
    f->biases = (size_t)bias->shape[1];
    f->outputs = f->head == DPC_DIPOLE ? 3 : f->head == DPC_POLAR ? 9 : f->biases;
    DPC_CHECK(f->biases > 0 && (f->head == DPC_POLAR || f->biases == f->outputs) && f->outputs < (1 << 20) &&
                  (dpc_shapes[f->head].slopes > 1 || f->nets == 0 || net == f->outputs),
              "bias has %zu columns for %zu outputs", f->biases, f->nets > 0 ? net : f->outputs);
    if (intensive != NULL) {
        FIND(intensive, DPC_ONNX_I64, DPC_SCALAR, "intensive");
        DPC_CHECK(f->head == DPC_PROPERTY, "only a property can be intensive");
        f->intensive = dpc_int_at(intensive, 0) != 0;
    }
    return DPC_OK;
}

dpc_status dpc_fitting_read(struct dpc_term *term, dpc_error *err)
{
    struct dpc_fitting *f = &term->fitting;
    const struct dpc_tensor *net, *activation, *residual;
    FIND(activation, DPC_ONNX_I64, DPC_SHAPE(-1, -1), "fit_activation");
    FIND(residual, DPC_ONNX_I64, DPC_SHAPE(activation->shape[0], activation->shape[1]), "fit_residual");
    f->nets = (size_t)activation->shape[0];
    f->layers = (size_t)activation->shape[1];
    DPC_CHECK(f->layers > 0 && f->layers <= LAYERS, "a fitting net cannot have %zu layers", f->layers);
    DPC_TRY(dpc_read_codes(&term->pool, activation, "fit_activation", DPC_LINEAR, DPC_SILUT, &f->activation, err));
    DPC_TRY(dpc_read_codes(&term->pool, residual, "fit_residual", 0, 2, &f->residual, err));
    FIND(net, DPC_ONNX_I64, DPC_SHAPE((int64_t)term->types), "fit_net");
    DPC_TRY(dpc_read_codes(&term->pool, net, "fit_net", -1, (int64_t)f->nets - 1, &f->net, err));
    DPC_TRY(dpc_pool_alloc(&term->pool, f->nets, sizeof(*f->packed), &f->packed, err));
    DPC_TRY(read_inputs(term, err));
    for (size_t k = 0; k < f->nets; k++)
        DPC_TRY(check_net(term, k, err));
    return read_outputs(term, err);
}

dpc_status dpc_fitting_net(const struct dpc_term *term, size_t k, const struct dpc_tensor *first, dpc_net **net,
                           dpc_error *err)
{
    dpc_layer layer[LAYERS] = {{0}};
    DPC_TRY(read_layers(term, k, first, 1, layer, err));
    return dpc_net_pack(term->dtype, term->fitting.layers, layer, net, err);
}
