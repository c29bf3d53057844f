// summary - what the arrays of an evaluation mean: numbers with their units, and what each atom has.

import { dot, norm, rows } from "./algebra.js";
import { volume } from "./molecule.js";

const GIGAPASCAL = 160.21766; // GPa per eV/Å³
const TITLES = {
  dipole: () => "Length of the dipole",
  polar: () => "Polarizability, a third of its trace",
  dos: (width) => `Density of states, sum of ${width}`,
  property: (width) => (width > 1 ? `Property, sum of ${width}` : "Property"),
};

/**
 * {title, value, unit}: the result; tiles: more of them, with notes;
 * perAtom {title, name, unit, values [n], signed}: a number of each atom; vectors {title, unit, values}: [n] of three, or null.
 */
export function summarise(kind, { outputs }, frame, types) {
  return kind === "ener" ? energies(outputs, frame, types) : tensors(kind, outputs, frame);
}

function energies(outputs, frame, types) {
  const count = frame.symbols.length,
    energy = outputs.energy[0],
    forces = rows(outputs.force);
  const sizes = forces.map(norm),
    strongest = sizes.indexOf(Math.max(...sizes));
  const tiles = [
    { title: "Per atom", value: fixed(energy / count, 6), unit: "eV" },
    {
      title: "Largest force",
      value: fixed(sizes[strongest], 4),
      unit: "eV/Å",
      note: `${frame.symbols[strongest]} ${strongest + 1}`,
    },
    {
      title: "Forces, rms",
      value: fixed(Math.sqrt(forces.reduce((sum, force) => sum + dot(force, force), 0) / (3 * count)), 4),
      unit: "eV/Å",
    },
  ];
  if (frame.cell && !frame.periodic.includes(false)) {
    const trace = outputs.virial[0] + outputs.virial[4] + outputs.virial[8];
    tiles.push({
      title: "Pressure",
      value: fixed((trace / 3 / volume(frame.cell)) * GIGAPASCAL, 3),
      unit: "GPa",
      note: "of the forces alone",
    });
  }
  if (outputs.force_devi) {
    const largest = Math.max(...outputs.force_devi),
      atom = outputs.force_devi.indexOf(largest);
    tiles.push({
      title: "Models differ by",
      value: fixed(largest, 4),
      unit: "eV/Å",
      note: `${frame.symbols[atom]} ${atom + 1}`,
    });
  }
  return {
    title: "Energy",
    value: fixed(energy, 6),
    unit: "eV",
    tiles: [...tiles, ...comparison(energy, outputs.force, frame)],
    perAtom: {
      title: "Energy",
      name: "Atomic energy, minus its element's mean",
      unit: "eV",
      values: aboveMean(outputs.atom_energy, types),
      signed: true,
    },
    vectors: { title: "Force", unit: "eV/Å", values: forces },
  };
}

/** Tiles about the energy and forces that the file of atoms brings itself. */
function comparison(energy, force, frame) {
  const count = frame.symbols.length,
    tiles = [],
    stated = Number(frame.values.energy ?? NaN);
  const theirs = ["forces", "force"].map((name) => frame.columns[name]).find((column) => column?.width === 3)?.values;
  if (Number.isFinite(stated)) {
    tiles.push({
      title: "Energy, minus the file's",
      value: significant((1000 * (energy - stated)) / count),
      unit: "meV/atom",
    });
  }
  if (theirs) {
    const square = force.reduce((sum, value, k) => sum + (value - theirs[k]) ** 2, 0);
    tiles.push({
      title: "Forces, off the file's",
      value: significant(Math.sqrt(square / (3 * count))),
      unit: "eV/Å",
      note: "rms",
    });
  }
  return tiles;
}

function tensors(kind, outputs, frame) {
  const count = frame.symbols.length,
    total = outputs.tensor,
    width = total.length;
  const each = Array.from({ length: count }, (_, k) => outputs.atom_tensor.slice(width * k, width * (k + 1)));
  const isVector = kind === "dipole";
  const reduced =
    { dipole: norm, polar: (t) => (t[0] + t[4] + t[8]) / 3 }[kind] ?? ((t) => t.reduce((sum, value) => sum + value, 0));
  const names = { dipole: "Length of the atomic dipole", polar: "A third of the atomic trace" };
  return {
    title: TITLES[kind](width),
    value: isVector ? fixed(norm(total), 4) : significant(reduced(total)),
    unit: "",
    tiles: Array.from(total, (value, k) => ({ title: component(kind, k), value: significant(value), unit: "" })),
    perAtom: {
      title: "Atom",
      name: names[kind] ?? "Sum of the atom's numbers",
      unit: "",
      values: each.map(reduced),
      signed: kind !== "dipole",
    },
    vectors: isVector ? { title: "Dipole", unit: "", values: each.map((vector) => Array.from(vector)) } : null,
  };
}

const component = (kind, k) =>
  ({ dipole: "xyz"[k], polar: "xyz"[Math.floor(k / 3)] + "xyz"[k % 3] })[kind] ?? `${k + 1}`;

function aboveMean(values, types) {
  const sums = new Map();
  types.forEach((type, k) => {
    const [sum, count] = sums.get(type) ?? [0, 0];
    sums.set(type, [sum + values[k], count + 1]);
  });
  return Array.from(values, (value, k) => value - sums.get(types[k])[0] / sums.get(types[k])[1]);
}

/** A number with so many decimals, thousands apart, and a real minus sign. */
export function fixed(value, decimals) {
  const [whole, part] = Math.abs(value).toFixed(decimals).split(".");
  const sign = value < 0 && Number(value.toFixed(decimals)) !== 0 ? "−" : "";
  return `${sign}${whole.replace(/\B(?=(\d{3})+$)/g, "\u202f")}${part ? `.${part}` : ""}`;
}

/** A number with four digits, or as a power of ten where that is shorter. */
export function significant(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-3 || size >= 1e6) {
    const [digits, power] = value.toExponential(1).split("e");
    return `${digits.replace("-", "−")}·10${superscript(Number(power))}`;
  }
  return fixed(value, size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4);
}

const superscript = (power) => String(power).replace(/[-\d]/g, (sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign]));
