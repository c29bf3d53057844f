# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""libdpc for Python: handles as objects, arrays as numpy's, failures as exceptions.

Arrays are converted and checked here; what they mean is said in dpc.h.
"""

import os

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free

from compress_onnx cimport libdpc as c

from compress_onnx.model import ACTIVATIONS, ModelError

cnp.import_array()

_EXCEPTIONS = {
    c.DPC_INVALID: ValueError,
    c.DPC_NO_MEMORY: MemoryError,
    c.DPC_UNSUPPORTED: ModelError,
    c.DPC_IO: ModelError,
    c.DPC_FORMAT: ModelError,
}
_ISAS = {"auto": c.DPC_ISA_AUTO, "base": c.DPC_ISA_BASE, "avx2": c.DPC_ISA_AVX2, "avx512": c.DPC_ISA_AVX512}
STAGES = ("neighbours", "contraction", "descriptor", "fitting net", "forces")
_PRECISIONS = {c.DPC_FLOAT32: "float32", c.DPC_FLOAT64: "float64", c.DPC_MIXED: "mixed"}


cdef int check(c.dpc_status status, c.dpc_error *err) except -1:
    """Raise what `status` stands for; every call into libdpc ends here."""
    if status != c.DPC_OK:
        raise _EXCEPTIONS.get(status, RuntimeError)(err.message.decode("utf-8", "replace"))
    return 0


cdef cnp.ndarray as_array(obj, dtype, tuple shape, str name):
    """`obj` as a contiguous array of `dtype`; -1 in `shape` matches any length."""
    cdef cnp.ndarray array = np.ascontiguousarray(obj, dtype)
    if array.ndim != len(shape) or any(w >= 0 and w != g for w, g in zip(shape, np.shape(array))):
        raise ValueError(f"{name} must have shape {shape}, got {np.shape(array)}")
    return array


cdef void *data(cnp.ndarray array) noexcept:
    """Where an array's elements are; NULL for None."""
    return NULL if array is None else cnp.PyArray_DATA(array)


cdef Py_ssize_t pairs_of(cnp.ndarray first) except? -1:
    """How many pairs there are: what first [atoms + 1] ends with."""
    if first.shape[0] == 0:
        raise ValueError("first must have one entry more than there are atoms, it has none")
    return first[first.shape[0] - 1]


cdef bint _forked = False


def _remember_fork():
    global _forked
    _forked = True


# the threads of GNU's OpenMP stay behind in the parent; a child that asks for them waits without end
os.register_at_fork(after_in_child=_remember_fork)


cdef c.dpc_exec execution(int *threads, str isa) except *:
    """As many workers as threads, one in a forked process; `threads` must outlive the call."""
    if threads[0] < 1:
        raise ValueError(f"threads must be at least 1, got {threads[0]}")
    if _forked:
        threads[0] = 1
    if isa not in _ISAS:
        raise ValueError(f"isa must be one of {', '.join(_ISAS)}, not {isa!r}")
    cdef c.dpc_exec how
    how.parallel_for = c.dpc_parallel_openmp
    how.pool = threads
    how.workers = threads[0]
    how.isa = _ISAS[isa]
    return how


cdef object float_dtype(array):
    """The dtype of a table's or net's arrays: float32 or float64."""
    dtype = np.asarray(array).dtype
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"arrays must be float32 or float64, not {dtype}")
    return dtype


cdef c.dpc_dtype c_dtype(dtype):
    return c.DPC_F32 if dtype == np.float32 else c.DPC_F64


def isas():
    """The instruction sets that this build can run here, worst first."""
    return tuple(n for n, i in _ISAS.items() if n != "auto" and c.dpc_isa_name(i) != NULL)


def devices():
    """How many CUDA devices libdpc_cuda can use; 0 without it."""
    return c.dpc_devices()


cdef class Neighbours:
    """A neighbour list; its memory is reused from one build to the next."""

    cdef c.dpc_list *handle
    cdef readonly int64_t builds  # so far

    def __cinit__(self):
        cdef c.dpc_error err
        check(c.dpc_list_create(&self.handle, &err), &err)

    def __dealloc__(self):
        c.dpc_list_free(self.handle)

    def build(self, coord, cell, double cutoff, *, int threads=1):
        """All pairs and images within `cutoff`; cell [3, 3], None or zeros for an open system."""
        cdef cnp.ndarray r = as_array(coord, np.float64, (-1, 3), "coord")
        cdef cnp.ndarray box = None if cell is None else as_array(cell, np.float64, (3, 3), "cell")
        cdef c.dpc_exec how = execution(&threads, "auto")
        cdef const double *position = <const double *>data(r)
        cdef const double *vectors = <const double *>data(box)
        cdef size_t atoms = r.shape[0]
        cdef c.dpc_error err
        cdef c.dpc_status status
        self.builds += 1
        with nogil:
            status = c.dpc_list_build(self.handle, atoms, position, vectors, cutoff, &how, &err)
        check(status, &err)
        return self

    def arrays(self):
        """Copies of first [atoms + 1], index [pairs], shift [pairs, 3]."""
        cdef c.dpc_neighbours view
        cdef cnp.npy_intp n
        c.dpc_list_view(self.handle, &view)
        first = np.array(<int64_t[:view.centres + 1]>view.first) if view.first != NULL else np.zeros(1, np.int64)
        n = pairs_of(first)
        if n == 0:
            return first, np.zeros(0, np.int32), np.zeros((0, 3), np.int32)
        shift = np.array(<int32_t[:n, :3]>view.shift) if view.shift != NULL else np.zeros((n, 3), np.int32)
        return first, np.array(<int32_t[:n]>view.index), shift


cdef class Model:
    """A compressed model; immutable, so threads may share it."""

    cdef c.dpc_model *handle
    cdef readonly tuple type_map
    cdef readonly double cutoff
    cdef readonly str precision
    cdef readonly str kind
    cdef readonly Py_ssize_t tables
    cdef readonly Py_ssize_t outputs
    cdef readonly bint differentiable
    cdef readonly Py_ssize_t fparams
    cdef readonly Py_ssize_t aparams
    cdef readonly object spin_scale  # [types] Å per unit of spin, or None
    cdef readonly int64_t frequency  # evaluations between looks at the range; -1: never
    cdef readonly bint masked

    def __cinit__(self, source, *, bint verify=True):
        """`source`: the path of an .onnx, or bytes, taken as they are. verify: refuse a file that is damaged, by its digest."""
        cdef c.dpc_error err
        cdef c.dpc_model_info info
        cdef bytes text, folder
        if isinstance(source, bytes):
            text = source
            check(c.dpc_model_load_memory(<const char *>text, len(text), NULL, 0, &self.handle, &err), &err)
        elif not verify:
            with open(source, "rb") as file:
                text = file.read()
            folder = os.path.dirname(os.path.abspath(os.fsencode(source)))
            check(c.dpc_model_load_memory(<const char *>text, len(text), folder, 0, &self.handle, &err), &err)
        else:
            text = os.fsencode(source)
            check(c.dpc_model_load(text, &self.handle, &err), &err)
        c.dpc_model_describe(self.handle, &info)
        self.type_map = tuple(info.type_names[t].decode("utf-8", "replace") for t in range(info.types))
        self.cutoff = info.cutoff
        self.precision = _PRECISIONS[info.precision]
        self.kind = info.kind.decode()
        self.tables, self.outputs, self.differentiable = info.tables, info.outputs, info.differentiable
        self.fparams, self.aparams, self.masked = info.fparams, info.aparams, info.masked
        self.frequency = info.frequency
        if info.spin_scale != NULL:
            self.spin_scale = np.array([info.spin_scale[t] for t in range(info.types)])

    def __dealloc__(self):
        c.dpc_model_free(self.handle)


cdef class Workspace:
    """Scratch of one thread for one model, on "cpu" or on "cuda:N"."""

    cdef c.dpc_workspace *handle
    cdef Model model
    cdef Neighbours neighbours
    cdef object listed  # coord, cell, skin and reach that the neighbours were searched for
    cdef uint64_t serial
    cdef object numbered  # neighbours, how often they were built and types that have this number

    def __cinit__(self, Model model not None, str device="cpu"):
        cdef c.dpc_error err
        cdef bytes name = device.encode()
        self.model = model
        self.neighbours = Neighbours()
        check(c.dpc_workspace_create_on(model.handle, name, &self.handle, &err), &err)

    def __dealloc__(self):
        c.dpc_workspace_free(self.handle)

    def search(self, coord, cell, double skin, int threads, double more=0):
        """Neighbours within cutoff + more + skin; those of last time if no atom has moved by half the skin since."""
        if self.model.masked:
            cell = None
        if self.listed is not None:
            old_coord, old_cell, old_skin, old_more = self.listed
            moved = coord - old_coord if np.shape(old_coord) == np.shape(coord) else None
            same = old_skin == skin > 0 and old_more >= more
            if same and np.array_equal(old_cell, cell) and moved is not None:
                if np.einsum("ij,ij->i", moved, moved).max(initial=0) < skin * skin / 4:
                    return self.neighbours
        self.listed = None
        self.neighbours.build(coord, cell, self.model.cutoff + more + skin, threads=threads)
        self.listed = np.copy(coord), None if cell is None else np.copy(cell), skin, more
        return self.neighbours

    cdef uint64_t number(self, Neighbours neighbours, atype) except 0:
        """That of this list and these types: another one unless both are those of last time."""
        if self.numbered is not None:
            old, builds, types = self.numbered
            if old is neighbours and builds == neighbours.builds and np.array_equal(types, atype):
                return self.serial
        self.serial += 1
        self.numbered = neighbours, neighbours.builds, np.copy(atype)
        return self.serial

    def compute(self, coord, atype, cell=None, *, fparam=None, aparam=None, spin=None, pairs=None, double skin=0,
                bint atomic=False, bint counted=True, bint timed=False, int threads=1, str isa="auto"):
        """Results and their derivatives at coord [all, 3] of atoms of types atype [all].

        fparam [fparams], aparam [local, aparams] and spin [all, 3], where the model takes them.
        pairs: (first [local + 1], index [pairs], shift [pairs, 3]) of the local atoms, which come
        first; or a Neighbours; None: search, reaching `skin` Å beyond the cutoff.

        Returns a dict of energy, force [all, 3], virial [3, 3], atom_energy [local], dropped; if counted, range
        [tables, 4] and range_worst [tables, 3]; if atomic, atom_virial [all, 3, 3]; with spin, force_mag [all, 3]; if timed, the seconds of each of STAGES. Of an
        ensemble these are means over the models, and there are energies [models], forces [models, all, 3], virials
        [models, 3, 3] and force_devi [all], the standard deviation of each atom's force. Models of k outputs that are no energy
        have tensor [k] and atom_tensor [local, k] instead, and if they are differentiable force [k, all, 3], virial
        [k, 3, 3], atom_virial [k, all, 3, 3].
        """
        cdef cnp.ndarray r = as_array(coord, np.float64, (-1, 3), "coord")
        cdef cnp.ndarray t = as_array(atype, np.int32, (r.shape[0],), "atype")
        cdef cnp.ndarray box = None if cell is None else as_array(cell, np.float64, (3, 3), "cell")
        cdef cnp.ndarray first, index, shift
        cdef c.dpc_exec how = execution(&threads, isa)
        cdef c.dpc_neighbours view
        cdef cnp.ndarray spins = self.spins(spin, r)
        if pairs is None:
            pairs = self.search(r, box, skin, threads, self.reach(t, spins))
        if isinstance(pairs, Neighbours):
            c.dpc_list_view((<Neighbours>pairs).handle, &view)
            view.serial = self.number(pairs, t)
        else:
            first = as_array(pairs[0], np.int64, (-1,), "first")
            index = as_array(pairs[1], np.int32, (pairs_of(first),), "index")
            shift = as_array(pairs[2], np.int32, (index.shape[0], 3), "shift")
            if box is None:
                shift = None
            view = c.dpc_neighbours(first.shape[0] - 1, NULL, NULL, NULL, 0, <int64_t *>data(first),
                                    <int32_t *>data(index), <int32_t *>data(shift), <double *>data(box), 0)
        cdef size_t all = r.shape[0], local = view.centres, outputs = self.model.outputs
        if local > all:
            raise ValueError(f"pairs are of {local} atoms, coord has {all}")
        cdef cnp.ndarray frame = self.parameter(fparam, (self.model.fparams,), "fparam")
        cdef cnp.ndarray own = self.parameter(aparam, (local, self.model.aparams), "aparam")
        cdef c.dpc_atoms atoms = c.dpc_atoms(local, all - local, <const double *>data(r), <const int32_t *>data(t),
                                             <const double *>data(frame), <const double *>data(own),
                                             <const double *>data(spins))
        cdef bint slopes = self.model.differentiable
        cdef cnp.ndarray energy = np.empty(outputs), atom_energy = np.empty((local, outputs))
        cdef cnp.ndarray force = np.empty((outputs, all, 3)) if slopes else None
        cdef cnp.ndarray virial = np.empty((outputs, 3, 3)) if slopes else None
        cdef cnp.ndarray atom_virial = np.empty((outputs, all, 3, 3)) if slopes and atomic else None
        cdef cnp.ndarray force_mag = None if spins is None else np.empty((outputs, all, 3))
        cdef cnp.ndarray range = np.empty((self.model.tables, 4), np.int64) if counted else None
        cdef cnp.ndarray worst = np.empty((self.model.tables, 3)) if counted else None
        cdef cnp.ndarray stage = np.empty(c.DPC_STAGES) if timed else None
        cdef int64_t dropped = 0
        cdef c.dpc_result out = c.dpc_result(
            <double *>data(energy), <double *>data(force), <double *>data(virial),
            <double *>data(atom_energy), <double *>data(atom_virial),
            <int64_t *>data(range), <double *>data(worst), &dropped, <double *>data(stage), <double *>data(force_mag))
        cdef c.dpc_error err
        cdef c.dpc_status status
        with nogil:
            status = c.dpc_model_compute(self.model.handle, self.handle, &atoms, &view, &out, &how, &err)
        check(status, &err)
        result = dict(force=force, virial=virial, atom_virial=atom_virial, force_mag=force_mag)
        result = {name: values for name, values in result.items() if values is not None}
        if self.model.kind == "ener":
            result = of_models(dict(energy=energy, atom_energy=atom_energy.T, **result))
        else:
            result |= dict(tensor=energy, atom_tensor=atom_energy)
        result["dropped"] = dropped
        if counted:
            result |= dict(range=range, range_worst=worst)
        if timed:
            result["stages"] = dict(zip(STAGES, stage.tolist(), strict=True))
        return result

    def spins(self, spin, coord):
        """spin as an array; None where the model has none."""
        if self.model.spin_scale is None:
            if spin is not None:
                raise ValueError("the model has no spin")
            return None
        if spin is None:
            raise ValueError("the model needs the spin of each atom")
        return as_array(spin, np.float64, np.shape(coord), "spin")

    def reach(self, atype, spins):
        """How far beyond the cutoff atoms are whose virtual ones are within it, in Å."""
        if spins is None:
            return 0.0
        scale = self.model.spin_scale[np.clip(atype, 0, len(self.model.spin_scale) - 1)]
        return (np.linalg.norm(spins, axis=1) * scale).max(initial=0)

    def parameter(self, value, tuple shape, str name):
        """fparam or aparam as an array of that shape; None where the model takes none."""
        if shape[len(shape) - 1] == 0:
            if value is not None and np.size(value) > 0:
                raise ValueError(f"the model takes no {name}")
            return None
        if value is None:
            raise ValueError(f"the model needs {name} of shape {shape}")
        return as_array(value, np.float64, shape, name)


def of_models(values):
    """Energies and their derivatives of an ensemble's models, or of one, [models, ...]: as the file's outputs have them."""
    result = {name: each[0] if len(each) == 1 else each.mean(axis=0) for name, each in values.items()}
    result["energy"] = float(result["energy"])
    if len(values["energy"]) > 1:
        square = ((values["force"] - result["force"]) ** 2).sum(axis=-1)
        result |= dict(energies=values["energy"], forces=values["force"], virials=values["virial"])
        result["force_devi"] = np.sqrt(square.mean(axis=0))
    return result


def quintic(coef, x, *, Py_ssize_t rows0, double lower, double step0, double step1, int threads=1):
    """DeePMD-kit's tables coef [rows, width, 6] at x [n]: value and slope, each [n, width]."""
    dtype = float_dtype(coef)
    cdef cnp.ndarray a = as_array(coef, dtype, (-1, -1, 6), "coef"), xa = as_array(x, dtype, (-1,), "x")
    if not 0 < rows0 <= a.shape[0]:
        raise ValueError(f"rows0 must be between 1 and {a.shape[0]}, got {rows0}")
    cdef cnp.ndarray value = np.empty((xa.shape[0], a.shape[1]), dtype), slope = np.empty_like(value)
    cdef c.dpc_quintic table = c.dpc_quintic(c_dtype(dtype), rows0, a.shape[0] - rows0, a.shape[1], lower, step0,
                                             step1, data(a))
    cdef c.dpc_exec how = execution(&threads, "auto")
    cdef c.dpc_error err
    check(c.dpc_quintic_eval(&table, xa.shape[0], data(xa), data(value), data(slope), &how, &err), &err)
    return value, slope


cdef class Table:
    """A nodal table [rows0 + rows1 + 1, 3, width], packed for the kernels."""

    cdef c.dpc_table *handle
    cdef readonly object dtype
    cdef readonly Py_ssize_t width

    def __cinit__(self, node, *, Py_ssize_t rows0, double lower, double step0, double step1):
        cdef c.dpc_error err
        self.dtype = float_dtype(node)
        cdef cnp.ndarray array = as_array(node, self.dtype, (-1, 3, -1), "node")
        self.width = array.shape[2]
        if not 0 < rows0 < array.shape[0]:
            raise ValueError(f"rows0 must be between 1 and {array.shape[0] - 1}, got {rows0}")
        cdef c.dpc_table_spec spec = c.dpc_table_spec(c_dtype(self.dtype), rows0, array.shape[0] - 1 - rows0,
                                                      array.shape[2], lower, step0, step1, data(array))
        check(c.dpc_table_create(&spec, &self.handle, &err), &err)

    def __dealloc__(self):
        c.dpc_table_free(self.handle)

    def forward(self, first, s, env, *, int threads=1, str isa="auto"):
        """Sum over each atom's pairs of env ⊗ g(s): [atoms, 4, width]; atom a's are first[a]:first[a + 1]."""
        cdef cnp.ndarray fa = as_array(first, np.int64, (-1,), "first")
        cdef cnp.ndarray sa = as_array(s, self.dtype, (pairs_of(fa),), "s")
        cdef cnp.ndarray ea = as_array(env, self.dtype, (sa.shape[0], 4), "env")
        cdef cnp.ndarray out = np.empty((fa.shape[0] - 1, 4, self.width), self.dtype)
        cdef c.dpc_pairs pairs = c.dpc_pairs(fa.shape[0] - 1, <int64_t *>data(fa), data(sa), data(ea))
        cdef c.dpc_exec how = execution(&threads, isa)
        cdef c.dpc_error err
        check(c.dpc_contract_forward(self.handle, &pairs, data(out), &how, &err), &err)
        return out

    def backward(self, first, s, env, grad, *, int threads=1, str isa="auto"):
        """grad [atoms, 4, width] of forward's result -> gradients of s [pairs] and env [pairs, 4]."""
        cdef cnp.ndarray fa = as_array(first, np.int64, (-1,), "first")
        cdef cnp.ndarray sa = as_array(s, self.dtype, (pairs_of(fa),), "s")
        cdef cnp.ndarray ea = as_array(env, self.dtype, (sa.shape[0], 4), "env")
        cdef cnp.ndarray ga = as_array(grad, self.dtype, (fa.shape[0] - 1, 4, self.width), "grad")
        cdef cnp.ndarray grad_s = np.empty_like(sa), grad_env = np.empty_like(ea)
        cdef c.dpc_pairs pairs = c.dpc_pairs(fa.shape[0] - 1, <int64_t *>data(fa), data(sa), data(ea))
        cdef c.dpc_exec how = execution(&threads, isa)
        cdef c.dpc_error err
        check(c.dpc_contract_backward(self.handle, &pairs, data(ga), data(grad_s), data(grad_env), &how, &err), &err)
        return grad_s, grad_env


cdef class Net:
    """A fitting net with one output, packed for the kernels, from model.Layer objects."""

    cdef c.dpc_net *handle
    cdef readonly object dtype
    cdef readonly Py_ssize_t width

    def __cinit__(self, layers, dtype=np.float64):
        cdef c.dpc_error err
        cdef list keep = []
        cdef cnp.ndarray array
        cdef c.dpc_layer *layer = <c.dpc_layer *>calloc(len(layers) + 1, sizeof(c.dpc_layer))
        if layer == NULL:
            raise MemoryError()
        self.dtype = np.dtype(dtype)
        try:
            for i, source in enumerate(layers):
                array = as_array(source.weight, self.dtype, (-1, -1), "weight")
                keep.append(array)
                layer[i].in_, layer[i].out, layer[i].weight = array.shape[0], array.shape[1], data(array)
                if source.bias is not None:
                    array = as_array(source.bias, self.dtype, (layer[i].out,), "bias")
                    keep.append(array)
                    layer[i].bias = data(array)
                if source.idt is not None:
                    array = as_array(source.idt, self.dtype, (layer[i].out,), "idt")
                    keep.append(array)
                    layer[i].idt = data(array)
                layer[i].activation = <c.dpc_activation><int>ACTIVATIONS.index(source.activation)
                layer[i].residual = source.residual
            check(c.dpc_net_create(c_dtype(self.dtype), len(layers), layer, &self.handle, &err), &err)
            self.width = layer[0].in_
        finally:
            free(layer)

    def __dealloc__(self):
        c.dpc_net_free(self.handle)

    def eval(self, x, *, int threads=1, str isa="auto"):
        """Value [n] at x [n, width], and its gradient [n, width]."""
        cdef cnp.ndarray xa = as_array(x, self.dtype, (-1, self.width), "x")
        cdef cnp.ndarray value = np.empty(xa.shape[0], self.dtype), grad = np.empty_like(xa)
        cdef c.dpc_exec how = execution(&threads, isa)
        cdef c.dpc_error err
        check(c.dpc_net_eval(self.handle, xa.shape[0], data(xa), data(value),
                             data(grad), &how, &err), &err)
        return value, grad
