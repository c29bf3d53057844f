/* pair_dpc.h - pair style dpc of LAMMPS: compressed Deep Potential models */
#ifndef LMP_PAIR_DPC_H
#define LMP_PAIR_DPC_H

#include "inputs.h"
#include "loaded_model.h"
#include "model_deviation.h"
#include "parameters.h"
#include "range_check.h"
#include "settings.h"

#include "pair.h"

#include <memory>
#include <vector>

namespace LAMMPS_NS {

class PairDpc : public Pair {
public:
    explicit PairDpc(LAMMPS *lmp);
    ~PairDpc() override;

    void settings(int narg, char **arg) override;
    void coeff(int narg, char **arg) override;
    void init_style() override;
    void setup() override;
    double init_one(int i, int j) override;
    void compute(int eflag, int vflag) override;
    int pack_reverse_comm(int n, int first, double *buffer) override;
    void unpack_reverse_comm(int n, int *list, double *buffer) override;
    void write_restart(FILE *) override {} /* names of files may not hold elsewhere: the input says them again */
    void read_restart(FILE *) override { restarted = true; }
    void *extract(const char *name, int &dimension) override;
    double memory_usage() override;

private:
    void load_models();
    double longest_displacement() const;
    void allocate();
    void forget_types();
    void evaluate(size_t count, bool checks);
    void average(const dpc_atoms &atoms, const dpc_result &each);
    void add_results();
    void write_deviation();
    void report_range();

    dpc_lammps::Settings options;
    std::vector<dpc_lammps::LoadedModel> models;
    std::unique_ptr<dpc_lammps::Parameters> parameters;
    std::unique_ptr<dpc_lammps::ModelDeviation> deviation; /* of several models only */
    std::unique_ptr<dpc_lammps::RangeCheck> range_check;
    bool restarted = false;                   /* the earlier run's deviations stay in their file */
    double length_unit = 1, energy_unit = 1;  /* an angstrom and an eV in LAMMPS' units */
    double cutoff = 0;                        /* largest of the models', in LAMMPS' units */
    double reach = 0;                         /* how far neighbours are asked for: further where atoms have spins */
    double **scale = nullptr;                 /* for fix adapt; scales what LAMMPS gets, not the deviations */
    std::vector<int> model_type;              /* [ntypes + 1], by LAMMPS' type; -1: no atom of the model's */

    dpc_lammps::Inputs inputs;

    /* in angstrom and eV */
    size_t kinds = 1;                         /* of forces: on atoms, and on spins where the models have them */
    size_t stride = 0;                        /* 3 all: from one kind of forces to the next */
    size_t members = 1;                       /* models in all files */
    std::vector<double> forces, virials;      /* [kinds][members][all][3], [members][3][3], of the files evaluated */
    double energy = 0;                        /* the first file's, of an ensemble the mean, as what follows */
    std::vector<double> force_mean;           /* [kinds][all][3] */
    double virial_mean[9];
    std::vector<double> atom_energy;          /* [local], or empty where LAMMPS does not ask */
    std::vector<double> atom_virial;          /* [all][3][3], likewise */
};

} // namespace LAMMPS_NS
#endif
