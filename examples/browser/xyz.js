// xyz - frames of an xyz file, plain or extended: symbols, positions, cell, and whatever columns and values it names.

import { Refusal } from "./refusal.js";

const PLAIN = "species:S:1:pos:R:3";
const WORD = /([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))/g;

/**
 * The frames of a file's text, each with
 * symbols [n], positions [3 n] and cell [9] in Å (rows are lattice vectors; null: none), periodic [3] booleans,
 * columns: {name: {width, values [width n]}} of numbers, and values: {name: text} of its second line.
 */
export function parseXyz(text) {
  const lines = text.split(/\r?\n/);
  while (lines.length && !lines.at(-1).trim()) lines.pop();
  const frames = [];
  for (let at = 0; at < lines.length;) {
    const count = Number(lines[at].trim() || NaN);
    const where = `line ${at + 1}`;
    if (!Number.isInteger(count) || count < 1)
      throw new Refusal(`This is not an xyz file: ${where} should be a number of atoms.`);
    if (at + 2 + count > lines.length) throw new Refusal(`The file ends early: ${where} promises ${count} atoms.`);
    frames.push(frame(lines, at, count));
    at += 2 + count;
  }
  if (!frames.length) throw new Refusal("This file is empty.");
  return frames;
}

function frame(lines, start, count) {
  const values = {};
  for (const [, name, ...text] of lines[start + 1].matchAll(WORD))
    values[name] = text.find((part) => part !== undefined);
  const layout = columnsOf(values.Properties ?? PLAIN);
  const symbols = [],
    numbers = Object.fromEntries(layout.map(({ name, width }) => [name, new Float64Array(width * count)]));
  const words = layout.reduce((sum, { width }) => sum + width, 0);
  for (let k = 0; k < count; k++) {
    const cells = lines[start + 2 + k].trim().split(/\s+/);
    const where = `Line ${start + 3 + k}`;
    if (cells.length < words) throw new Refusal(`${where} should have ${words} columns, and has ${cells.length}.`);
    let column = 0;
    for (const { name, kind, width } of layout) {
      for (let c = 0; c < width; c++) {
        const cell = cells[column++];
        if (name === "species") symbols.push(cell);
        if (kind === "S" || kind === "L") continue;
        const number = Number(cell.replace(/[dD]/, "e"));
        if (!Number.isFinite(number)) throw new Refusal(`${where} has "${cell}" where a number should be.`);
        numbers[name][width * k + c] = number;
      }
    }
  }
  const columns = Object.fromEntries(
    layout
      .filter(({ kind }) => kind === "R" || kind === "I")
      .map(({ name, width }) => [name, { width, values: numbers[name] }]),
  );
  const cell = values.Lattice === undefined ? null : numbersOf(values.Lattice, 9, "Lattice");
  const periodic =
    values.pbc === undefined
      ? Array(3).fill(cell !== null)
      : values.pbc
          .trim()
          .split(/[\s,]+/)
          .map(isTrue);
  if (periodic.length !== 3) throw new Refusal(`pbc="${values.pbc}" should be three of T and F.`);
  if (!cell && periodic.includes(true)) throw new Refusal("The file says pbc, but gives no Lattice.");
  return { symbols, positions: columns.pos.values, cell, periodic, columns, values };
}

/** Three entries of Properties for each column: name, kind (S, R, I or L) and width. */
function columnsOf(properties) {
  const parts = properties.split(":");
  const layout = [];
  for (let k = 0; k + 2 < parts.length; k += 3)
    layout.push({ name: parts[k], kind: parts[k + 1], width: Number(parts[k + 2]) });
  const known = (name, width) => layout.some((column) => column.name === name && column.width === width);
  if (!known("species", 1) || !known("pos", 3))
    throw new Refusal(`Properties=${properties} lacks species:S:1 or pos:R:3.`);
  return layout;
}

/** `count` numbers of a text, or any number of them for count null. */
export function numbersOf(text, count, name) {
  const numbers = Float64Array.from(text.trim().split(/[\s,]+/), Number);
  if ((count !== null && numbers.length !== count) || !numbers.every(Number.isFinite)) {
    throw new Refusal(`${name}="${text}" should be ${count ?? "some"} numbers.`);
  }
  return numbers;
}

const isTrue = (word) => /^(T|true|1)$/i.test(word);
