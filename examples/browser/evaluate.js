// evaluate - a compressed model in onnxruntime-web: from a frame of atoms to energies, forces, or what else it gives.

import { cross, dot, inverse, norm, rows } from "./algebra.js";
import { readMetadata, verifyDigest } from "./onnx.js";
import { Refusal } from "./refusal.js";
import { numbersOf } from "./xyz.js";

// where onnxruntime-web is: npm install puts it here; a copy of its folder dist, or the address of one, serves as well
const ONNXRUNTIME = "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
export const MOST_ATOMS = 1000; // the graph looks at all pairs of atoms at once, and WebAssembly has 4 GB
const SPINS = ["spin", "magmoms", "initial_magmoms"]; // columns that may hold them

export class Model {
  /** A model of the bytes of an .onnx; throws a Refusal that says why there is none. */
  static async load(bytes) {
    const metadata = readMetadata(bytes);
    await verifyDigest(bytes, metadata);
    if (metadata.interface !== "cell") {
      throw new Refusal(
        `This model was made with --interface ${metadata.interface}; this page takes --interface cell.`,
      );
    }
    const ort = await import(ONNXRUNTIME).catch(() => {
      throw new Refusal("onnxruntime-web is missing: run npm install in the folder of this page.");
    });
    ort.env.wasm.numThreads = 1; // more would need a server that isolates the page
    // every new number of pairs would be a new memory pattern, kept for ever
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], enableMemPattern: false });
    return new Model(ort, session, metadata);
  }

  constructor(ort, session, metadata) {
    this.ort = ort;
    this.session = session;
    this.metadata = metadata;
    this.typeMap = JSON.parse(metadata.type_map);
    this.cutoff = Number(metadata.cutoff); // Å
    this.widths = Object.fromEntries(session.inputMetadata.map(({ name, shape }) => [name, shape.at(-1)]));
  }

  /** The graph's outputs for a frame of xyz.js, as arrays by name, and the milliseconds that it took. */
  async evaluate(frame) {
    const feeds = this.#feeds(frame);
    const start = performance.now();
    const results = await this.session.run(feeds).catch((error) => {
      throw new Refusal(`onnxruntime-web could not evaluate ${frame.symbols.length} atoms: ${error.message ?? error}`);
    });
    const milliseconds = performance.now() - start;
    const outputs = {};
    for (const [name, { data }] of Object.entries(results)) {
      outputs[name] = Float64Array.from(data, Number);
      if (!outputs[name].every(Number.isFinite))
        throw new Refusal("The result is no number: two atoms may be in the same place.");
    }
    return { milliseconds, outputs };
  }

  /** Give back what the model holds; it evaluates nothing from then on. */
  release() {
    return this.session.release();
  }

  #feeds(frame) {
    const count = frame.symbols.length;
    if (count > MOST_ATOMS) {
      throw new Refusal(
        `${count} atoms are too many for a page, which takes ${MOST_ATOMS}: use compress_onnx.DeepPot or LAMMPS.`,
      );
    }
    const reals = (values, shape) => new this.ort.Tensor("float64", values, shape);
    const feeds = {
      coord: reals(frame.positions, [count, 3]),
      atype: new this.ort.Tensor("int32", this.#types(frame.symbols), [count]),
      cell: reals(periodicCell(frame, this.cutoff), [3, 3]),
    };
    if (this.widths.fparam) {
      const text = frame.values.fparam;
      if (text === undefined)
        throw new Refusal(`The model needs fparam="..." of ${this.widths.fparam} numbers in the second line.`);
      feeds.fparam = reals(numbersOf(text, this.widths.fparam, "fparam"), [this.widths.fparam]);
    }
    if (this.widths.aparam)
      feeds.aparam = reals(column(frame, ["aparam"], this.widths.aparam), [count, this.widths.aparam]);
    if (this.widths.spin) feeds.spin = reals(column(frame, SPINS, 3), [count, 3]);
    return feeds;
  }

  #types(symbols) {
    const unknown = [...new Set(symbols)].filter((symbol) => !this.typeMap.includes(symbol));
    if (unknown.length) {
      throw new Refusal(
        `The model knows ${this.typeMap.join(", ")} and not ${unknown.join(", ")}, which the atoms have.`,
      );
    }
    return Int32Array.from(symbols, (symbol) => this.typeMap.indexOf(symbol));
  }
}

function column(frame, names, width) {
  const name = names.find((name) => frame.columns[name]?.width === width);
  if (!name) throw new Refusal(`The model needs a column ${names[0]}:R:${width} of its atoms.`);
  return frame.columns[name].values;
}

/** The cell [9], zeros where nothing is periodic; a direction that is not gets so long that no image is seen. */
export function periodicCell(frame, cutoff) {
  if (!frame.periodic.includes(true)) return new Float64Array(9);
  const [a, b, c] = rows(frame.cell);
  if (Math.abs(dot(a, cross(b, c))) < 1e-9) throw new Refusal("The Lattice has no volume: give three vectors.");
  const dual = inverse(frame.cell);
  return Float64Array.from(
    [a, b, c].flatMap((vector, axis) => {
      if (frame.periodic[axis]) return vector;
      const along = rows(frame.positions).map((position) => dot(dual[axis], position));
      const extent = Math.max(...along) - Math.min(...along) + 2 * cutoff * norm(dual[axis]);
      return vector.map((component) => component * Math.max(extent, 1));
    }),
  );
}
