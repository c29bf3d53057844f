/* misuse.c - every function called wrongly: the status and the message, and no harm done */
#include "check.h"

#include <math.h>
#include <string.h>

/* The call fails with `status` and a message that contains `text`; without an error struct alike. */
#define FAILS(call, expected, text)                                                                             \
    do {                                                                                                        \
        dpc_error it_, *err = &it_;                                                                             \
        memset(&it_, 0, sizeof(it_));                                                                           \
        dpc_status got_ = (call);                                                                               \
        CHECK(got_ == (expected) && it_.status == got_ && strstr(it_.message, text) != NULL, "%s: status %d, %s", \
              #call, (int)got_, it_.message);                                                                   \
        err = NULL;                                                                                             \
        CHECK((call) == (expected), "%s without err", #call);                                                   \
    } while (0)

enum { ATOMS = 3, MOST = 8 }; /* parameters that a model may take */
static const double position[3 * ATOMS] = {0, 0, 0, 1, 0, 0, 0, 1.2, 0};
static const int32_t type[ATOMS] = {0, 0, 0};

static void check_loading(const dpc_model *model)
{
    dpc_model *other;
    dpc_workspace *workspace;
    FAILS(dpc_model_load(NULL, &other, err), DPC_INVALID, "path must not be NULL");
    FAILS(dpc_model_load("absent.onnx", NULL, err), DPC_INVALID, "model must not be NULL");
    FAILS(dpc_model_load("absent.onnx", &other, err), DPC_IO, "cannot open absent.onnx");
    FAILS(dpc_model_load_memory(NULL, 3, NULL, 1, &other, err), DPC_INVALID, "memory must not be NULL");
    FAILS(dpc_model_load_memory("abc", 3, NULL, 1, NULL, err), DPC_INVALID, "model must not be NULL");
    FAILS(dpc_model_load_memory("abc", 3, NULL, 1, &other, err), DPC_FORMAT, "damaged or no ONNX model");
    FAILS(dpc_model_load_memory("abc", 0, NULL, 1, &other, err), DPC_FORMAT, "no model of compress-onnx");
    CHECK(other == NULL, "a model that was not loaded is not NULL");
    FAILS(dpc_workspace_create(NULL, &workspace, err), DPC_INVALID, "must not be NULL");
    FAILS(dpc_workspace_create(model, NULL, err), DPC_INVALID, "must not be NULL");
    FAILS(dpc_workspace_create_on(model, NULL, &workspace, err), DPC_INVALID, "must not be NULL");
    FAILS(dpc_workspace_create_on(model, "gpu", &workspace, err), DPC_INVALID, "a device is cpu or cuda:NUMBER, not gpu");
    dpc_model_free(NULL);
    dpc_workspace_free(NULL);
}

/* COMPUTE with one field of one argument changed. */
#define COMPUTE(arg, field, value, expected, text)                                                             \
    do {                                                                                                       \
        dpc_atoms atoms = right_atoms;                                                                         \
        dpc_neighbours near = right_near;                                                                      \
        dpc_exec exec = {.workers = 1};                                                                        \
        arg.field = (value);                                                                                   \
        FAILS(dpc_model_compute(model, workspace, &atoms, &near, &result, &exec, err), expected, text);        \
    } while (0)

static void check_compute(const dpc_model *model, dpc_workspace *workspace)
{
    static const int64_t first[ATOMS + 1] = {0, 1, 2, 3}, falling[ATOMS + 1] = {0, 2, 1, 3};
    static const int64_t late[ATOMS + 1] = {1, 2, 3, 3};
    static const int64_t crowded[ATOMS + 1] = {0, 3000000000, 3000000000, 3000000000};
    static const int32_t index[ATOMS] = {1, 0, 0}, outside[ATOMS] = {1, 0, ATOMS}, negative[ATOMS] = {1, -1, 0};
    static const int32_t shift[3 * ATOMS] = {0}, foreign[ATOMS] = {0, 100, 0};
    static const double infinite[9] = {(double)INFINITY, 0, 0, 0, 1, 0, 0, 0, 1};
    double nan_position[3 * ATOMS];
    memcpy(nan_position, position, sizeof(position));
    nan_position[7] = (double)NAN;
    static const double parameter[MOST * ATOMS] = {0};
    const dpc_atoms right_atoms = {.local = ATOMS, .position = position, .type = type, .fparam = parameter,
                                   .aparam = parameter};
    dpc_model_info info;
    dpc_model_describe(model, &info);
    CHECK(info.fparams <= MOST && info.aparams <= MOST, "%zu and %zu parameters", info.fparams, info.aparams);
    const dpc_neighbours right_near = {.centres = ATOMS, .first = first, .index = index};
    const dpc_result result = {.energy = NULL};
    dpc_error fine;
    CHECK(dpc_model_compute(model, workspace, &right_atoms, &right_near, &result, NULL, &fine) == DPC_OK,
          "%s", fine.message); /* no result asked for, no exec */

    FAILS(dpc_model_compute(NULL, workspace, &right_atoms, &right_near, &result, NULL, err), DPC_INVALID, "is NULL");
    FAILS(dpc_model_compute(model, NULL, &right_atoms, &right_near, &result, NULL, err), DPC_INVALID, "is NULL");
    FAILS(dpc_model_compute(model, workspace, NULL, &right_near, &result, NULL, err), DPC_INVALID, "is NULL");
    FAILS(dpc_model_compute(model, workspace, &right_atoms, NULL, &result, NULL, err), DPC_INVALID, "is NULL");
    FAILS(dpc_model_compute(model, workspace, &right_atoms, &right_near, NULL, NULL, err), DPC_INVALID, "is NULL");
    COMPUTE(exec, isa, (dpc_isa)9, DPC_UNSUPPORTED, "instruction set 9 cannot run here");
    COMPUTE(atoms, position, NULL, DPC_INVALID, "position and type must not be NULL");
    COMPUTE(atoms, type, NULL, DPC_INVALID, "position and type must not be NULL");
    COMPUTE(atoms, type, foreign, DPC_INVALID, "atom 1 has type 100, the model has types 0 to");
    COMPUTE(atoms, position, nan_position, DPC_INVALID, "position of atom 2 is not finite");
    COMPUTE(atoms, local, 2, DPC_INVALID, "3 centres among 2 local atoms");
    COMPUTE(near, first, falling, DPC_INVALID, "first decreases after atom 1");
    COMPUTE(near, first, crowded, DPC_INVALID, "atom 0 has 3000000000 neighbours");
    COMPUTE(near, first, late, DPC_INVALID, "first must start with 0");
    COMPUTE(near, first, NULL, DPC_INVALID, "the neighbour list is NULL");
    COMPUTE(near, index, NULL, DPC_INVALID, "index must not be NULL");
    COMPUTE(near, index, outside, DPC_INVALID, "pair 2 points to atom 3 of 3");
    COMPUTE(near, index, negative, DPC_INVALID, "pair 1 points to atom -1 of 3");
    COMPUTE(near, shift, shift, DPC_INVALID, "shifts need a cell");

    if (info.fparams > 0) {
        COMPUTE(atoms, fparam, NULL, DPC_INVALID, "the model needs");
        COMPUTE(atoms, fparam, infinite, DPC_INVALID, "fparam and aparam must be finite");
    }
    if (info.aparams > 0)
        COMPUTE(atoms, aparam, NULL, DPC_INVALID, "aparam of each atom");

    dpc_neighbours shifted = right_near;
    shifted.shift = shift;
    shifted.cell = infinite;
    FAILS(dpc_model_compute(model, workspace, &right_atoms, &shifted, &result, NULL, err), DPC_INVALID,
          "the cell is not finite");

    static const int32_t one[1] = {1}, count[ATOMS] = {1, 0, 0}, less[ATOMS] = {-1, 0, 0}, none[1] = {ATOMS};
    const int32_t *const list[ATOMS] = {one, NULL, NULL};
    static const int32_t centre[1] = {0};
    const dpc_neighbours lists = {.centres = 1, .centre = centre, .count = count, .list = list, .mask = 0xff};
    dpc_neighbours wrong = lists;
    CHECK(dpc_model_compute(model, workspace, &right_atoms, &lists, &result, NULL, &fine) == DPC_OK, "%s",
          fine.message);
    wrong.count = less;
    FAILS(dpc_model_compute(model, workspace, &right_atoms, &wrong, &result, NULL, err), DPC_INVALID,
          "atom 0 has -1 neighbours");
    wrong = lists;
    wrong.centre = none;
    FAILS(dpc_model_compute(model, workspace, &right_atoms, &wrong, &result, NULL, err), DPC_INVALID,
          "centre 0 is atom 3 of 3 local ones");
}

static void check_lists(void)
{
    dpc_list *list;
    dpc_error fine;
    const double flat[9] = {1, 0, 0, 0, 1, 0, 1, 1, 0};
    FAILS(dpc_list_create(NULL, err), DPC_INVALID, "list must not be NULL");
    CHECK(dpc_list_create(&list, &fine) == DPC_OK, "%s", fine.message);
    dpc_neighbours view;
    dpc_list_view(list, &view);
    CHECK(view.centres == 0, "an empty list has %zu atoms", view.centres);
    FAILS(dpc_list_build(NULL, ATOMS, position, NULL, 2, NULL, err), DPC_INVALID, "must not be NULL");
    FAILS(dpc_list_build(list, ATOMS, NULL, NULL, 2, NULL, err), DPC_INVALID, "must not be NULL");
    FAILS(dpc_list_build(list, ATOMS, position, NULL, 0, NULL, err), DPC_INVALID, "cutoff must be positive, got 0");
    FAILS(dpc_list_build(list, ATOMS, position, flat, 2, NULL, err), DPC_INVALID, "singular");
    FAILS(dpc_list_build(list, SIZE_MAX / 4, position, NULL, 2, NULL, err), DPC_INVALID, "more than one list can take");
    dpc_list_free(list);
    dpc_list_free(NULL);
}

static void check_tables(void)
{
    static const double node[12] = {0}, x[1] = {0}, nan[1] = {(double)NAN};
    static const int64_t first[2] = {0, 1};
    double out[8];
    dpc_table *table;
    dpc_error fine;
    dpc_table_spec spec = {.dtype = DPC_F64, .rows0 = 1, .width = 2, .step0 = 1, .step1 = 1, .node = node};
    FAILS(dpc_table_create(NULL, &table, err), DPC_INVALID, "must not be NULL");
    FAILS(dpc_table_create(&spec, NULL, err), DPC_INVALID, "must not be NULL");
    spec.dtype = (dpc_dtype)7;
    FAILS(dpc_table_create(&spec, &table, err), DPC_INVALID, "7 is no dtype");
    spec.dtype = DPC_F64;
    spec.node = NULL;
    FAILS(dpc_table_create(&spec, &table, err), DPC_INVALID, "node must not be NULL");
    CHECK(table == NULL, "a table that was not created is not NULL");
    spec.node = node;
    CHECK(dpc_table_create(&spec, &table, &fine) == DPC_OK, "%s", fine.message);

    dpc_pairs pairs = {.atoms = 1, .first = first, .s = x, .env = node};
    const dpc_exec exec = {.isa = (dpc_isa)9};
    FAILS(dpc_contract_forward(NULL, &pairs, out, NULL, err), DPC_INVALID, "table and in must not be NULL");
    FAILS(dpc_contract_forward(table, NULL, out, NULL, err), DPC_INVALID, "table and in must not be NULL");
    FAILS(dpc_contract_forward(table, &pairs, NULL, NULL, err), DPC_INVALID, "out must not be NULL");
    FAILS(dpc_contract_forward(table, &pairs, out, &exec, err), DPC_UNSUPPORTED, "cannot run here");
    FAILS(dpc_contract_backward(table, &pairs, out, NULL, out, NULL, err), DPC_INVALID, "a gradient buffer is NULL");
    pairs.s = NULL;
    FAILS(dpc_contract_forward(table, &pairs, out, NULL, err), DPC_INVALID, "s and env must not be NULL");
    pairs.first = NULL;
    FAILS(dpc_contract_forward(table, &pairs, out, NULL, err), DPC_INVALID, "first must start with 0");
    dpc_table_free(table);
    dpc_table_free(NULL);

    dpc_quintic quintic = {.dtype = DPC_F64, .rows0 = 1, .width = 2, .step0 = 1, .step1 = 1, .coef = node};
    CHECK(dpc_quintic_eval(&quintic, 1, x, out, NULL, NULL, &fine) == DPC_OK, "%s", fine.message);
    FAILS(dpc_quintic_eval(NULL, 1, x, out, NULL, NULL, err), DPC_INVALID, "must not be NULL");
    FAILS(dpc_quintic_eval(&quintic, 1, NULL, out, NULL, NULL, err), DPC_INVALID, "x and value must not be NULL");
    FAILS(dpc_quintic_eval(&quintic, 1, nan, out, NULL, NULL, err), DPC_INVALID, "x[0] is not a number");
    quintic.rows0 = 0;
    FAILS(dpc_quintic_eval(&quintic, 1, x, out, NULL, NULL, err), DPC_INVALID, "a table cannot have 0 and 0 rows");
}

static void check_nets(void)
{
    static const double weight[6] = {0};
    double out[4];
    dpc_net *net;
    dpc_error fine;
    dpc_layer layer[2] = {{.in = 2, .out = 3, .weight = weight}, {.in = 3, .out = 1, .weight = weight}};
    FAILS(dpc_net_create(DPC_F64, 2, layer, NULL, err), DPC_INVALID, "net must not be NULL");
    FAILS(dpc_net_create(DPC_F64, 0, layer, &net, err), DPC_INVALID, "at least one layer");
    FAILS(dpc_net_create(DPC_F64, 2, NULL, &net, err), DPC_INVALID, "at least one layer");
    FAILS(dpc_net_create((dpc_dtype)0, 2, layer, &net, err), DPC_INVALID, "0 is no dtype");
    FAILS(dpc_net_create(DPC_F64, 1, layer, &net, err), DPC_INVALID, "last layer must be linear with one output");
    layer[0].activation = (dpc_activation)99;
    FAILS(dpc_net_create(DPC_F64, 2, layer, &net, err), DPC_INVALID, "99 is no activation");
    layer[0].activation = DPC_TANH;
    layer[0].weight = NULL;
    FAILS(dpc_net_create(DPC_F64, 2, layer, &net, err), DPC_INVALID, "layer 0 is empty");
    CHECK(net == NULL, "a net that was not created is not NULL");
    layer[0].weight = weight;
    CHECK(dpc_net_create(DPC_F64, 2, layer, &net, &fine) == DPC_OK, "%s", fine.message);
    FAILS(dpc_net_eval(NULL, 1, weight, out, NULL, NULL, err), DPC_INVALID, "net must not be NULL");
    FAILS(dpc_net_eval(net, 1, NULL, out, NULL, NULL, err), DPC_INVALID, "x and value must not be NULL");
    CHECK(dpc_net_eval(net, 0, NULL, NULL, NULL, NULL, &fine) == DPC_OK, "%s", fine.message);
    CHECK(dpc_net_eval(net, 1, weight, out, NULL, NULL, &fine) == DPC_OK, "%s", fine.message);
    dpc_net_free(net);
    dpc_net_free(NULL);
}

void check_misuse(const dpc_model *model)
{
    dpc_workspace *workspace;
    dpc_error err;
    check_loading(model);
    OK(dpc_workspace_create(model, &workspace, &err));
    check_compute(model, workspace);
    dpc_workspace_free(workspace);
    check_lists();
    check_tables();
    check_nets();
    CHECK(dpc_version() == DPC_VERSION, "the library has version %d", dpc_version());
    CHECK(strcmp(dpc_status_name(DPC_NO_MEMORY), "out of memory") == 0, "%s", dpc_status_name(DPC_NO_MEMORY));
    for (int s = 0; s < 256; s++)
        CHECK(dpc_status_name((dpc_status)s) != NULL, "status %d has no name", s);
    CHECK(dpc_isa_name((dpc_isa)9) == NULL && dpc_isa_name(DPC_ISA_AUTO) != NULL, "names of instruction sets");
}
