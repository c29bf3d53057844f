# dpc.h as Cython sees it; tests/test_header.py keeps the two in step
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "dpc.h" nogil:
    ctypedef enum dpc_status:
        DPC_OK
        DPC_INVALID
        DPC_NO_MEMORY
        DPC_UNSUPPORTED
        DPC_IO
        DPC_FORMAT
        DPC_DEVICE
        DPC_INTERNAL

    ctypedef struct dpc_error:
        dpc_status status
        char message[252]

    ctypedef enum dpc_precision:
        DPC_FLOAT32
        DPC_FLOAT64
        DPC_MIXED

    ctypedef enum dpc_isa:
        DPC_ISA_AUTO
        DPC_ISA_BASE
        DPC_ISA_AVX2
        DPC_ISA_AVX512

    ctypedef void (*dpc_task)(void *job, size_t begin, size_t end) noexcept nogil
    ctypedef void (*dpc_parallel_for)(void *pool, size_t n, dpc_task task, void *job) noexcept nogil

    ctypedef struct dpc_exec:
        dpc_parallel_for parallel_for
        void *pool
        size_t workers
        dpc_isa isa

    void dpc_parallel_openmp(void *threads, size_t n, dpc_task task, void *job) noexcept

    ctypedef struct dpc_model:
        pass

    ctypedef struct dpc_workspace:
        pass

    ctypedef struct dpc_model_info:
        dpc_precision precision
        double cutoff
        size_t types, tables
        const char *const *type_names
        const char *kind
        size_t outputs
        int differentiable
        size_t fparams, aparams
        const double *spin_scale
        int64_t frequency
        int masked

    ctypedef struct dpc_atoms:
        size_t local, ghost
        const double *position
        const int32_t *type
        const double *fparam
        const double *aparam
        const double *spin

    ctypedef struct dpc_neighbours:
        size_t centres
        const int32_t *centre
        const int32_t *count
        const int32_t *const *list
        int32_t mask
        const int64_t *first
        const int32_t *index
        const int32_t *shift
        const double *cell
        uint64_t serial

    enum:
        DPC_STAGES

    ctypedef struct dpc_result:
        double *energy
        double *force
        double *virial
        double *atom_energy
        double *atom_virial
        int64_t *range
        double *range_worst
        int64_t *dropped
        double *stage
        double *force_mag

    dpc_status dpc_model_load(const char *path, dpc_model **model, dpc_error *err)
    dpc_status dpc_model_load_memory(const void *memory, size_t size, const char *folder, int checked,
                                     dpc_model **model, dpc_error *err)
    void dpc_model_free(dpc_model *model)
    void dpc_model_describe(const dpc_model *model, dpc_model_info *info)
    dpc_status dpc_workspace_create(const dpc_model *model, dpc_workspace **workspace, dpc_error *err)
    dpc_status dpc_workspace_create_on(const dpc_model *model, const char *device, dpc_workspace **workspace,
                                       dpc_error *err)
    void dpc_workspace_free(dpc_workspace *workspace)
    dpc_status dpc_model_compute(const dpc_model *model, dpc_workspace *workspace, const dpc_atoms *atoms,
                                 const dpc_neighbours *neighbours, const dpc_result *result, const dpc_exec *exec,
                                 dpc_error *err)

    void dpc_model_average(const dpc_model *model, const dpc_atoms *atoms, const dpc_result *each,
                           const dpc_result *mean)

    ctypedef struct dpc_list:
        pass

    dpc_status dpc_list_create(dpc_list **list, dpc_error *err)
    void dpc_list_free(dpc_list *list)
    dpc_status dpc_list_build(dpc_list *list, size_t atoms, const double *position, const double *cell, double cutoff,
                              const dpc_exec *exec, dpc_error *err)
    void dpc_list_view(const dpc_list *list, dpc_neighbours *view)

    ctypedef enum dpc_dtype:
        DPC_F32
        DPC_F64

    ctypedef struct dpc_quintic:
        dpc_dtype dtype
        size_t rows0, rows1, width
        double lower, step0, step1
        const void *coef

    dpc_status dpc_quintic_eval(const dpc_quintic *table, size_t n, const void *x, void *value, void *slope,
                                const dpc_exec *exec, dpc_error *err)

    ctypedef struct dpc_table:
        pass

    ctypedef struct dpc_table_spec:
        dpc_dtype dtype
        size_t rows0, rows1, width
        double lower, step0, step1
        const void *node

    ctypedef struct dpc_pairs:
        size_t atoms
        const int64_t *first
        const void *s
        const void *env

    dpc_status dpc_table_create(const dpc_table_spec *spec, dpc_table **table, dpc_error *err)
    void dpc_table_free(dpc_table *table)
    dpc_status dpc_contract_forward(const dpc_table *table, const dpc_pairs *pairs, void *out, const dpc_exec *exec,
                                    dpc_error *err)
    dpc_status dpc_contract_backward(const dpc_table *table, const dpc_pairs *pairs, const void *grad, void *grad_s,
                                     void *grad_env, const dpc_exec *exec, dpc_error *err)

    ctypedef struct dpc_net:
        pass

    ctypedef enum dpc_activation:
        DPC_LINEAR

    ctypedef struct dpc_layer:
        # `in` is a word of Python's: "in_ 'in'" names the C field
        size_t in_ "in"
        size_t out
        const void *weight
        const void *bias
        const void *idt
        dpc_activation activation
        int residual

    dpc_status dpc_net_create(dpc_dtype dtype, size_t layers, const dpc_layer *layer, dpc_net **net, dpc_error *err)
    void dpc_net_free(dpc_net *net)
    dpc_status dpc_net_eval(const dpc_net *net, size_t n, const void *x, void *value, void *grad,
                            const dpc_exec *exec, dpc_error *err)

    int dpc_version()
    int dpc_devices()
    const char *dpc_isa_name(dpc_isa isa)
