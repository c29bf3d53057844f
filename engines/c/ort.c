/* ort.c - a model through onnxruntime's C interface, in plain C, with our operators
 *
 *   ./ort LIBONNXRUNTIME LIBDPC_ORT MODEL.onnx < ATOMS
 *
 * ATOMS: their number, the cell (nine numbers, rows are lattice vectors; zeros: no periodicity), then type and position
 * of each. Written: energy, virial and forces. Angstrom, eV.
 *
 * onnxruntime's own header comes with its release; -DONNXRUNTIME_HEADER takes it. Without, ort_abi.h, which declares
 * the few functions that are called. The library is opened at run time: what it exports changes its name with each
 * release. A program that is linked to one calls OrtGetApiBase() instead. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef ONNXRUNTIME_HEADER
#  include <onnxruntime_c_api.h>
#else
#  include "../ort/ort_abi.h"
enum { ORT_LOGGING_LEVEL_WARNING = 2, OrtDeviceAllocator = 0, OrtMemTypeDefault = 0 };
enum { ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 = ORT_INT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE = ORT_DOUBLE };
#endif

enum {
    OLDEST = 17, /* the interface of onnxruntime 1.17 */
    INT32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
    DOUBLE = ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE
};

static const OrtApi *api;
static OrtMemoryInfo *memory;

static void die(const char *message)
{
    fprintf(stderr, "ort: %s\n", message);
    exit(1);
}

static void check(OrtStatus *failed)
{
    if (failed != NULL)
        die(api->GetErrorMessage(failed));
}

static void open_onnxruntime(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    if (library == NULL)
        die(dlerror());
    const OrtApiBase *(*get_base)(void);
    void *symbol = dlsym(library, "OrtGetApiBase");
    if (symbol == NULL)
        die(dlerror());
    memcpy(&get_base, &symbol, sizeof(get_base)); /* ISO C has no cast from an object to a function */
    api = get_base()->GetApi(OLDEST);
    if (api == NULL)
        die("this onnxruntime is too old");
}

/* A tensor over the caller's numbers. */
static OrtValue *tensor(void *data, size_t size, int type, const int64_t *shape, size_t rank)
{
    OrtValue *value;
    check(api->CreateTensorWithDataAsOrtValue(memory, data, size, shape, rank, type, &value));
    return value;
}

static double *numbers(size_t count)
{
    double *memory_of = calloc(count, sizeof(double));
    if (memory_of == NULL)
        die("no memory");
    return memory_of;
}

static void print(const char *name, const double *row, size_t count)
{
    printf("%s", name);
    for (size_t k = 0; k < count; k++)
        printf(" %.10f", row[k]);
    printf("\n");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("usage: ort LIBONNXRUNTIME LIBDPC_ORT MODEL.onnx < ATOMS");
    open_onnxruntime(argv[1]);

    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "ort", &env));
    check(api->CreateSessionOptions(&options));
    check(api->RegisterCustomOpsLibrary_V2(options, argv[2])); /* without it, the file's own functions run: slower */
    check(api->CreateSession(env, argv[3], options, &session));

    double cell[9], energy, virial[9];
    long atoms = 0;
    int complete = scanf("%ld", &atoms) == 1 && atoms > 0;
    for (int k = 0; k < 9 && complete; k++)
        complete = scanf("%lf", cell + k) == 1;
    const size_t count = complete ? (size_t)atoms : 0;
    double *position = numbers(3 * count), *force = numbers(3 * count);
    int32_t *type = calloc(count, sizeof(*type));
    if (type == NULL)
        die("no memory");
    for (size_t i = 0; i < count && complete; i++) {
        double *x = position + 3 * i;
        complete = scanf("%d %lf %lf %lf", type + i, x, x + 1, x + 2) == 4;
    }
    if (!complete)
        die("the input is not a number of atoms, a cell, and a type and a position for each atom");

    /* Made once: the next step's positions go into the same memory, and Run writes its results into these. */
    const int64_t one[] = {1}, by_atom[] = {atoms, 3}, square[] = {3, 3};
    const size_t vectors = 3 * count * sizeof(double);
    check(api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
    OrtValue *input[] = {tensor(position, vectors, DOUBLE, by_atom, 2),
                         tensor(type, count * sizeof(*type), INT32, by_atom, 1),
                         tensor(cell, sizeof(cell), DOUBLE, square, 2)};
    OrtValue *output[] = {tensor(&energy, sizeof(energy), DOUBLE, one, 1),
                          tensor(virial, sizeof(virial), DOUBLE, square, 2),
                          tensor(force, vectors, DOUBLE, by_atom, 2)};
    const char *const input_name[] = {"coord", "atype", "cell"}, *const output_name[] = {"energy", "virial", "force"};
    check(api->Run(session, NULL, input_name, (const OrtValue *const *)input, 3, output_name, 3, output));

    print("energy", &energy, 1);
    print("virial", virial, 9);
    for (size_t i = 0; i < count; i++)
        print("force", force + 3 * i, 3);

    for (int k = 0; k < 3; k++) {
        api->ReleaseValue(input[k]);
        api->ReleaseValue(output[k]);
    }
    api->ReleaseMemoryInfo(memory);
    api->ReleaseSession(session);
    api->ReleaseSessionOptions(options);
    api->ReleaseEnv(env);
    free(position);
    free(force);
    free(type);
    return 0;
}
