/* input.h - what md.c is told: options, and atoms from an (extended) xyz file */
#ifndef MD_INPUT_H
#define MD_INPUT_H

#include <dpc.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS, EVERY, THREADS, TIMESTEP, TEMPERATURE, SKIN, OPTIONS }; /* up to THREADS they are whole numbers */
static struct {
    const char *name;
    double least, most, value;
} option[OPTIONS] = {{"steps", 0, 1e9, 1000},     {"every", 1, 1e9, 10},       {"threads", 1, 1024, 1},
                     {"timestep", 1e-6, 100, 0.5}, {"temperature", 0, 1e6, 0}, {"skin", 0, 100, 1}};

static struct {
    size_t count;
    double cell[9]; /* rows are lattice vectors; zeros: no periodicity */
    double *position, *velocity, *force, *mass, *listed; /* listed: positions when the list was built */
    int32_t *type;
} atoms;

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("md: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void *zeros(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        die("no memory for %zu atoms", atoms.count);
    return memory;
}

static int type_of(const dpc_model_info *info, const char *name)
{
    for (size_t t = 0; t < info->types; t++)
        if (strcmp(info->type_names[t], name) == 0)
            return (int)t;
    return -1;
}

/* NAME=VALUE: an option, or the mass of a type. */
static void set(char *word, const dpc_model_info *info, double *mass)
{
    char *equals = strchr(word, '='), *end = NULL;
    const double value = equals != NULL ? strtod(equals + 1, &end) : 0;
    if (equals == NULL || end == equals + 1 || *end != '\0')
        die("%s is not NAME=NUMBER", word);
    *equals = '\0';
    for (int k = 0; k < OPTIONS; k++)
        if (strcmp(word, option[k].name) == 0) {
            if (!(value >= option[k].least && value <= option[k].most) || (k <= THREADS && value != floor(value)))
                die("%s must be a%s number from %g to %g, not %g", word, k <= THREADS ? " whole" : "",
                    option[k].least, option[k].most, value);
            option[k].value = value;
            return;
        }
    const int type = type_of(info, word);
    if (type < 0)
        die("%s is neither an option nor one of the model's types", word);
    if (!(value > 0 && isfinite(value)))
        die("the mass of %s must be positive, not %g", word, value);
    mass[type] = value;
}

static void read_atoms(const char *path, const dpc_model_info *info, const double *mass)
{
    char line[4096], name[32], *at;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        die("%s: %s", path, strerror(errno));
    const long count = fgets(line, sizeof(line), file) != NULL ? strtol(line, &at, 10) : 0;
    if (count < 1 || fgets(line, sizeof(line), file) == NULL)
        die("%s is no xyz file: it must start with the number of atoms and a comment", path);
    if ((at = strstr(line, "Properties=")) != NULL && strncmp(at + 11, "species:S:1:pos:R:3", 19) != 0)
        die("%s: Properties must start with species:S:1:pos:R:3", path);
    const char *pbc = strstr(line, "pbc=\"");
    const int open = pbc != NULL && strncmp(pbc + 5, "F F F\"", 6) == 0;
    if (pbc != NULL && !open && strncmp(pbc + 5, "T T T\"", 6) != 0)
        die("%s: atoms can be periodic in all three directions or in none", path);
    double *c = atoms.cell;
    at = open ? NULL : strstr(line, "Lattice=\"");
    if (at != NULL && sscanf(at + 9, "%lf %lf %lf %lf %lf %lf %lf %lf %lf", c, c + 1, c + 2, c + 3, c + 4, c + 5,
                             c + 6, c + 7, c + 8) != 9)
        die("%s: Lattice must be nine numbers", path);
    atoms.count = (size_t)count;
    double **const vectors[] = {&atoms.position, &atoms.velocity, &atoms.force, &atoms.listed};
    for (size_t k = 0; k < sizeof(vectors) / sizeof(vectors[0]); k++)
        *vectors[k] = zeros(atoms.count, 3 * sizeof(double));
    atoms.mass = zeros(atoms.count, sizeof(double));
    atoms.type = zeros(atoms.count, sizeof(int32_t));
    for (size_t i = 0; i < atoms.count; i++) {
        double *x = atoms.position + 3 * i;
        if (fgets(line, sizeof(line), file) == NULL || sscanf(line, "%31s %lf %lf %lf", name, x, x + 1, x + 2) != 4)
            die("%s: line %zu is not an element and three coordinates", path, i + 3);
        if ((atoms.type[i] = type_of(info, name)) < 0)
            die("%s: line %zu: the model has no type %s", path, i + 3, name);
        if ((atoms.mass[i] = mass[atoms.type[i]]) == 0)
            die("the mass of %s is missing: add %s=MASS", name, name);
    }
    fclose(file);
}

#endif
