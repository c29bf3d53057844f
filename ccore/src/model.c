/* model.c - from nodes to a model, and back to nothing */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

/* Member `key` of the layout must be one of the words in `known`, ended by NULL. */
static dpc_status read_word(const char *layout, const char *key, const char *const *known, size_t *which,
                            dpc_error *err)
{
    struct dpc_strings word;
    dpc_status status = dpc_json_strings(layout, key, &word, err);
    if (status == DPC_OK && word.count != 1)
        status = dpc_fail(err, DPC_FORMAT, "%s is missing", key);
    for (*which = 0; status == DPC_OK && known[*which] != NULL; ++*which)
        if (strcmp(word.item[0], known[*which]) == 0)
            break;
    if (status == DPC_OK && known[*which] == NULL)
        status = dpc_fail(err, DPC_UNSUPPORTED, "%s %.60s is not supported by this version", key, word.item[0]);
    dpc_strings_free(&word);
    return status;
}

static dpc_status read_params(const struct dpc_node *node, struct dpc_term *term, dpc_error *err)
{
    struct dpc_params *params = &term->params;
    DPC_TRY(dpc_json_strings(node->layout, "parameters", &params->name, err));
    DPC_CHECK(params->name.count == node->count, "the layout names %zu parameters, the node has %zu",
              params->name.count, node->count);
    DPC_TRY(dpc_pool_alloc(&term->pool, node->count, sizeof(*params->tensor), &params->tensor, err));
    if (node->count > 0)
        memcpy(params->tensor, node->tensor, node->count * sizeof(*params->tensor));
    return DPC_OK;
}

static dpc_status read_members(struct dpc_term *term, const struct dpc_strings *word, dpc_error *err)
{
    const struct dpc_tensor *net;
    DPC_TRY(dpc_find(&term->params, &net, err, DPC_ONNX_I64, DPC_SHAPE(-1), "fit_net"));
    term->types = (size_t)net->shape[0];
    DPC_CHECK(term->types > 0 && term->types < 4096, "a model cannot have %zu types", term->types);
    DPC_CHECK(word->count > 0 && word->count < 1000, "a model cannot have %zu descriptors", word->count);
    term->members = word->count;
    DPC_TRY(dpc_pool_alloc(&term->pool, term->members, sizeof(*term->member), &term->member, err));
    for (size_t i = 0; i < term->members; i++) {
        struct dpc_member *m = &term->member[i];
        if (term->members > 1)
            snprintf(m->prefix, sizeof(m->prefix), "d%zu.", i);
        DPC_TRY(dpc_member_read(term, m, word->item[i], err));
        m->first_table = term->tables;
        term->tables += m->tables;
        term->features += m->features;
        m->first_row = term->rotations;
        m->first_axis = term->axes;
        term->rotations += m->kind == DPC_TWO_BODY ? m->width : 0;
        term->axes += m->axis;
    }
    DPC_CHECK(term->features < (1 << 18), "descriptors cannot have %zu features", term->features);
    return DPC_OK;
}

static dpc_status read_term(const struct dpc_node *node, struct dpc_term *term, dpc_precision *precision,
                            dpc_error *err)
{
    static const char *const precisions[] = {"float32", "float64", "mixed", NULL};
    const char *fittings[] = {dpc_shapes[0].name, dpc_shapes[1].name, dpc_shapes[2].name,
                              dpc_shapes[3].name, dpc_shapes[4].name, NULL};
    struct dpc_strings word;
    size_t which;
    DPC_TRY(read_word(node->layout, "precision", precisions, &which, err));
    *precision = (dpc_precision)(which + 1);
    term->dtype = *precision == DPC_FLOAT64 ? DPC_F64 : DPC_F32;
    DPC_TRY(read_word(node->layout, "fitting", fittings, &which, err));
    term->fitting.head = (enum dpc_head)which;
    DPC_TRY(read_params(node, term, err));
    dpc_status status = dpc_json_strings(node->layout, "descriptor", &word, err);
    if (status == DPC_OK)
        status = read_members(term, &word, err);
    dpc_strings_free(&word);
    DPC_TRY(status);
    DPC_TRY(dpc_fitting_read(term, err));
    DPC_TRY(dpc_pair_read(term, err));
    DPC_TRY(dpc_pool_alloc(&term->pool, term->types, sizeof(*term->full), &term->full, err));
    return dpc_pool_alloc(&term->pool, term->types, sizeof(*term->fold), &term->fold, err);
}

/* The number of an ensemble's model that a node is a term of. */
static size_t model_of(const struct dpc_node *node)
{
    const char *number = dpc_json_member(node->layout, "model");
    return number != NULL ? strtoul(number, NULL, 10) : 0;
}

/* What the terms have in common, and the numbers that add up. */
static dpc_status join(dpc_model *m, const struct dpc_term *term, dpc_precision precision, dpc_error *err)
{
    const struct dpc_fitting *f = &term->fitting;
    if (term == m->term) {
        m->models = 1;
        m->precision = precision;
        m->types = term->types;
        m->head = f->head;
        m->outputs = f->outputs;
        m->intensive = f->intensive;
    }
    DPC_CHECK(precision == m->precision && term->types == m->types && f->head == m->head &&
                  f->outputs == m->outputs && f->intensive == m->intensive,
              "the parts of the model differ in types, precision or outputs");
    DPC_CHECK(term->model == m->models - 1 || term->model == m->models, "the models of the ensemble are out of order");
    m->models = term->model + 1;
    DPC_CHECK(m->models == 1 || m->head == DPC_ENERGY, "only energies make an ensemble");
    DPC_CHECK(f->fparams == 0 || m->fparams == 0 || f->fparams == m->fparams,
              "the parts of the model take %zu and %zu fparam", f->fparams, m->fparams);
    DPC_CHECK(f->aparams == 0 || m->aparams == 0 || f->aparams == m->aparams,
              "the parts of the model take %zu and %zu aparam", f->aparams, m->aparams);
    m->fparams = f->fparams > 0 ? f->fparams : m->fparams;
    m->aparams = f->aparams > 0 ? f->aparams : m->aparams;
    m->members = term->members > m->members ? term->members : m->members;
    m->tables += term->tables;
    for (size_t i = 0; i < term->members; i++)
        m->cutoff = term->member[i].sw.cutoff > m->cutoff ? term->member[i].sw.cutoff : m->cutoff;
    if (term->pair != NULL && term->pair->list.sw.cutoff > m->cutoff)
        m->cutoff = term->pair->list.sw.cutoff;
    return DPC_OK;
}

/* What all nodes do with atoms before all else; the first one's word counts. */
static dpc_status read_atoms(dpc_model *m, dpc_error *err)
{
    struct dpc_term *term = m->term;
    const struct dpc_tensor *scale = dpc_lookup(&term->params, "spin_scale");
    const struct dpc_tensor *mask = dpc_lookup(&term->params, "aparam_mask");
    m->real_types = m->types;
    if (scale != NULL) {
        DPC_TRY(dpc_find(&term->params, &scale, err, DPC_ONNX_F64, DPC_SHAPE(-1), "spin_scale"));
        m->real_types = (size_t)scale->shape[0];
        DPC_CHECK(2 * m->real_types == m->types && m->head == DPC_ENERGY, "spin of %zu types does not fit the model",
                  m->real_types);
        DPC_TRY(dpc_read_doubles(&term->pool, scale, "spin_scale", &m->spin_scale, err));
    }
    if (mask != NULL) {
        DPC_TRY(dpc_find(&term->params, &mask, err, DPC_ONNX_I64, DPC_SCALAR, "aparam_mask"));
        m->masked = dpc_int_at(mask, 0) != 0;
        DPC_CHECK(!m->masked || (m->aparams == 0 && scale == NULL && m->head == DPC_ENERGY),
                  "a mask does not go with aparam, spin or tensors");
        m->aparams = m->masked ? 1 : m->aparams;
    }
    return DPC_OK;
}

static dpc_status read_terms(dpc_model *m, size_t terms, const struct dpc_node *node, dpc_error *err)
{
    DPC_TRY(dpc_alloc(terms, sizeof(*m->term), &m->term, err));
    m->terms = terms;
    for (size_t k = 0; k < terms; k++) {
        dpc_precision precision;
        m->term[k].first_table = m->tables;
        m->term[k].model = model_of(&node[k]) - model_of(&node[0]); /* onnxruntime has one node at a time */
        DPC_TRY(read_term(&node[k], &m->term[k], &precision, err));
        DPC_TRY(join(m, &m->term[k], precision, err));
        m->term[k].common = k > 0 ? dpc_term_compare(&m->term[k], &m->term[k - 1]) : DPC_APART;
    }
    m->outputs *= m->models;
    DPC_TRY(read_atoms(m, err));
    return dpc_packing_create(m->types, &m->packing, err);
}

dpc_status dpc_model_create(size_t terms, const struct dpc_node *node, dpc_model **model, dpc_error *err)
{
    DPC_REQUIRE(model != NULL && node != NULL && terms > 0, "an argument is NULL");
    dpc_model *m;
    *model = NULL;
    DPC_TRY(dpc_alloc(1, sizeof(*m), &m, err));
    const dpc_status status = read_terms(m, terms, node, err);
    if (status == DPC_OK)
        *model = m;
    else
        dpc_model_free(m);
    return status;
}

dpc_status dpc_model_name_types(dpc_model *m, size_t count, const char *const *names, dpc_error *err)
{
    DPC_CHECK(count == m->real_types, "the type map has %zu names, the model %zu types", count, m->real_types);
    DPC_TRY(dpc_alloc(count, sizeof(*m->type_names), &m->type_names, err));
    for (size_t t = 0; t < count; t++) {
        DPC_TRY(dpc_alloc(strlen(names[t]) + 1, 1, &m->type_names[t], err));
        strcpy(m->type_names[t], names[t]);
    }
    return DPC_OK;
}

static void release_term(struct dpc_term *term)
{
    for (size_t t = 0; t < term->types; t++) {
        if (term->full != NULL)
            dpc_view_release(&term->full[t], term);
        if (term->fold != NULL)
            dpc_view_release(&term->fold[t], term);
    }
    for (size_t i = 0; term->member != NULL && i < term->members; i++)
        for (size_t v = 0; term->member[i].packed != NULL && v < term->member[i].variants; v++)
            dpc_table_release(&term->member[i].packed[v]);
    for (size_t k = 0; term->fitting.packed != NULL && k < term->fitting.nets; k++)
        dpc_net_free(term->fitting.packed[k]);
    dpc_strings_free(&term->params.name);
    dpc_pool_free(&term->pool);
}

void dpc_model_free(dpc_model *m)
{
    if (m == NULL)
        return;
    for (size_t k = 0; m->term != NULL && k < m->terms; k++)
        release_term(&m->term[k]);
    free(m->term);
    for (size_t t = 0; m->type_names != NULL && t < m->real_types; t++)
        free(m->type_names[t]);
    free(m->type_names);
    for (size_t i = 0; m->bytes != NULL && i < m->files; i++)
        dpc_bytes_release(&m->bytes[i]);
    free(m->bytes);
    dpc_packing_free(m->packing);
    free(m);
}

void dpc_model_describe(const dpc_model *m, dpc_model_info *info)
{
    *info = (dpc_model_info){
        .precision = m->precision, .cutoff = m->cutoff, .types = m->real_types, .tables = m->tables,
        .type_names = (const char *const *)m->type_names, .kind = dpc_shapes[m->head].name, .outputs = m->outputs,
        .differentiable = dpc_shapes[m->head].slopes > 0, .fparams = m->fparams, .aparams = m->aparams,
        .spin_scale = m->spin_scale, .frequency = m->frequency, .masked = m->masked};
}
