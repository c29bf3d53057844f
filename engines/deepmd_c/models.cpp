/* models.cpp - DP_DeepPot* and DP_DeepPotModelDevi*: made, asked, evaluated, deleted */
#include "evaluate.h"

#include <algorithm>
#include <stdexcept>

using namespace dpc_deepmd_c;

namespace {

std::string joined(const Potential &potential)
{
    std::string text;
    for (const std::string &name : potential.type_names())
        text += (text.empty() ? "" : " ") + name;
    return text;
}

/* contents [models], or NULL; an empty one is read from its path. */
template <typename Model>
Model *make(const char *const *paths, int models, const char *const *contents, const int *sizes)
{
    Model *made = new Model;
    guarded(*made, [&] {
        if (models < 1)
            throw std::runtime_error("no model is named");
        std::vector<Potential> potentials;
        for (int m = 0; m < models; m++) {
            potentials.emplace_back(paths[m], contents == nullptr ? "" : std::string(contents[m], sizes[m]));
            const dpc_model_info &info = potentials[m].info(), &first = potentials[0].info();
            if (potentials[m].type_names() != potentials[0].type_names())
                throw std::runtime_error(std::string(paths[m]) + " has other types (" + joined(potentials[m]) +
                                         ") than " + paths[0] + " (" + joined(potentials[0]) + ")");
            if (info.fparams != first.fparams || info.aparams != first.aparams)
                throw std::runtime_error(std::string(paths[m]) + " takes other parameters than " + paths[0]);
        }
        made->potentials = std::move(potentials);
    });
    return made;
}

double cutoff(const Handle &handle)
{
    double largest = 0;
    for (const Potential &potential : handle.potentials)
        largest = std::max(largest, potential.info().cutoff);
    return largest;
}

/* One of the numbers that all of its models have in common. */
int shared(const Handle &handle, size_t dpc_model_info::*number)
{
    return handle.potentials.empty() ? 0 : static_cast<int>(handle.potentials[0].info().*number);
}

const char *type_map(const Handle &handle)
{
    return copied(handle.potentials.empty() ? "" : joined(handle.potentials[0]));
}

void set_charge_spin(Handle &handle, int count)
{
    if (!handle.potentials.empty())
        guarded(handle, [&] {
            if (count != 0)
                throw std::runtime_error("this model takes no charge and spin");
        });
}

template <typename Real>
Frames<Real> with_list(Frames<Real> frames, int ghosts, const DP_Nlist *list)
{
    frames.has_list = true;
    frames.ghosts = ghosts;
    frames.list = list;
    return frames;
}

template <typename Real>
Frames<Real> with_mixed_type(Frames<Real> frames)
{
    frames.mixed_type = true;
    return frames;
}

} // namespace

DP_DeepPot *DP_NewDeepPot(const char *path)
{
    return make<DP_DeepPot>(&path, 1, nullptr, nullptr);
}

DP_DeepPot *DP_NewDeepPotWithParam(const char *path, int, const char *)
{
    return make<DP_DeepPot>(&path, 1, nullptr, nullptr); /* bytes of unknown number are no content */
}

DP_DeepPot *DP_NewDeepPotWithParam2(const char *path, int, const char *content, int size)
{
    return make<DP_DeepPot>(&path, 1, &content, &size);
}

DP_DeepPotModelDevi *DP_NewDeepPotModelDevi(const char **paths, int models)
{
    return make<DP_DeepPotModelDevi>(paths, models, nullptr, nullptr);
}

DP_DeepPotModelDevi *DP_NewDeepPotModelDeviWithParam(const char **paths, int models, int, const char **contents,
                                                     int content_count, const int *sizes)
{
    return make<DP_DeepPotModelDevi>(paths, models, content_count == models ? contents : nullptr, sizes);
}

#define DEFINE_QUERIES(MODEL)                                                                            \
    void DP_Delete##MODEL(DP_##MODEL *model) { delete model; }                                           \
    const char *DP_##MODEL##CheckOK(DP_##MODEL *model) { return copied(model->error); }                  \
    double DP_##MODEL##GetCutoff(DP_##MODEL *model) { return cutoff(*model); }                           \
    int DP_##MODEL##GetNumbTypes(DP_##MODEL *model) { return shared(*model, &dpc_model_info::types); }   \
    int DP_##MODEL##GetNumbTypesSpin(DP_##MODEL *) { return 0; }                                         \
    int DP_##MODEL##GetDimFParam(DP_##MODEL *model) { return shared(*model, &dpc_model_info::fparams); } \
    int DP_##MODEL##GetDimAParam(DP_##MODEL *model) { return shared(*model, &dpc_model_info::aparams); } \
    bool DP_##MODEL##IsAParamNAll(DP_##MODEL *) { return false; }                                        \
    bool DP_##MODEL##HasDefaultFParam(DP_##MODEL *) { return false; }

DEFINE_QUERIES(DeepPot)
DEFINE_QUERIES(DeepPotModelDevi)
DEFINE_QUERIES(DeepBaseModel)
DEFINE_QUERIES(DeepBaseModelDevi)

const char *DP_DeepPotGetTypeMap(DP_DeepPot *model)
{
    return type_map(*model);
}

const char *DP_DeepBaseModelGetTypeMap(DP_DeepBaseModel *model)
{
    return type_map(*model);
}

int DP_DeepPotGetDimChgSpin(DP_DeepPot *)
{
    return 0;
}

int DP_DeepPotModelDeviGetDimChgSpin(DP_DeepPotModelDevi *)
{
    return 0;
}

void DP_DeepPotSetChargeSpin(DP_DeepPot *model, const double *, int count)
{
    set_charge_spin(*model, count);
}

void DP_DeepPotModelDeviSetChargeSpin(DP_DeepPotModelDevi *model, const double *, int count)
{
    set_charge_spin(*model, count);
}

#define ONE_FRAME(REAL) Frames<REAL>{1, atoms, position, type, cell}
#define FRAMES(REAL) Frames<REAL>{frames, atoms, position, type, cell, fparam, aparam}
#define RESULTS(REAL) Results<REAL>{energy, force, virial, atom_energy, atom_virial}

#define DEFINE_EVALUATIONS(MODEL, F, REAL)                                                                         \
    void DP_##MODEL##Compute##F(DP_##MODEL *model, int atoms, DP_FRAMES(REAL), DP_RESULTS(REAL))                   \
    {                                                                                                              \
        evaluate(*model, ONE_FRAME(REAL), RESULTS(REAL));                                                          \
    }                                                                                                              \
    void DP_##MODEL##Compute##F##2(DP_##MODEL *model, int frames, int atoms, DP_FRAMES(REAL), DP_PARAMETERS(REAL), \
                                   DP_RESULTS(REAL))                                                               \
    {                                                                                                              \
        evaluate(*model, FRAMES(REAL), RESULTS(REAL));                                                             \
    }                                                                                                              \
    void DP_##MODEL##Compute##F##3(DP_##MODEL *model, int frames, int atoms, DP_FRAMES(REAL), DP_PARAMETERS(REAL), \
                                   const REAL *, DP_RESULTS(REAL))                                                 \
    {                                                                                                              \
        evaluate(*model, FRAMES(REAL), RESULTS(REAL));                                                             \
    }                                                                                                              \
    void DP_##MODEL##ComputeNList##F(DP_##MODEL *model, int atoms, DP_FRAMES(REAL), DP_LIST, DP_RESULTS(REAL))     \
    {                                                                                                              \
        (void)ago;                                                                                                 \
        evaluate(*model, with_list(ONE_FRAME(REAL), ghosts, nlist), RESULTS(REAL));                                \
    }                                                                                                              \
    void DP_##MODEL##ComputeNList##F##2(DP_##MODEL *model, int frames, int atoms, DP_FRAMES(REAL), DP_LIST,        \
                                        DP_PARAMETERS(REAL), DP_RESULTS(REAL))                                     \
    {                                                                                                              \
        (void)ago;                                                                                                 \
        evaluate(*model, with_list(FRAMES(REAL), ghosts, nlist), RESULTS(REAL));                                   \
    }                                                                                                              \
    void DP_##MODEL##ComputeNList##F##3(DP_##MODEL *model, int frames, int atoms, DP_FRAMES(REAL), DP_LIST,        \
                                        DP_PARAMETERS(REAL), const REAL *, DP_RESULTS(REAL))                       \
    {                                                                                                              \
        (void)ago;                                                                                                 \
        evaluate(*model, with_list(FRAMES(REAL), ghosts, nlist), RESULTS(REAL));                                   \
    }

DEFINE_EVALUATIONS(DeepPot, , double)
DEFINE_EVALUATIONS(DeepPot, f, float)
DEFINE_EVALUATIONS(DeepPotModelDevi, , double)
DEFINE_EVALUATIONS(DeepPotModelDevi, f, float)

void DP_DeepPotComputeMixedType(DP_DeepPot *model, int frames, int atoms, DP_FRAMES(double), DP_PARAMETERS(double),
                                DP_RESULTS(double))
{
    evaluate(*model, with_mixed_type(FRAMES(double)), RESULTS(double));
}

void DP_DeepPotComputeMixedTypef(DP_DeepPot *model, int frames, int atoms, DP_FRAMES(float), DP_PARAMETERS(float),
                                 DP_RESULTS(float))
{
    evaluate(*model, with_mixed_type(FRAMES(float)), RESULTS(float));
}
