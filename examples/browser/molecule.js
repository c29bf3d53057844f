// molecule - a frame as shapes: balls for atoms, rods for bonds and for the cell's edges, arrows for forces.

import { add, cross, dot, inverse, mix, norm, rows, scale, subtract } from "./algebra.js";
import { rgb } from "./colors.js";
import { elementOf } from "./elements.js";

const BONDED = 1.2; // of the sum of covalent radii
const ROD = 0.1,
  EDGE = 0.022,
  SHAFT = 0.065,
  TIP = 0.17,
  TIP_LENGTH = 0.38; // Å
const MOST_BONDS = 20000;
const STUB = 0.32; // of the way to an image, which is not drawn itself

export const ballRadius = (symbol, type) => 0.24 + 0.24 * elementOf(symbol, type).radius;

/**
 * Shapes of a frame for Scene.show, with their center and reach.
 * colors: [n] of three numbers; arrows: [n] vectors in Å from the atoms, or null; ink: of the cell's edges.
 */
export function shapesOf(frame, types, colors, arrows, { ink, accent }) {
  const positions = rows(frame.positions),
    edges = frame.cell ? edgesOf(frame.cell) : [];
  const balls = [],
    rods = [],
    tips = [];
  positions.forEach((position, k) => {
    const radius = ballRadius(frame.symbols[k], types[k]);
    balls.push(...position, 0, 0, radius, radius, ...colors[k], 1);
  });
  for (const [from, vector] of halfBonds(frame, positions, types)) {
    rods.push(...positions[from], ...vector, ROD, ...mix(colors[from], [0.5, 0.5, 0.52], 0.15), 1);
  }
  for (const [from, to] of edges) rods.push(...from, ...subtract(to, from), EDGE, ...rgb(ink), 0);
  arrows?.forEach((vector, k) => {
    const length = norm(vector);
    if (length < 0.02) return;
    const way = scale(vector, 1 / length),
      from = add(positions[k], scale(way, 0.8 * balls[11 * k + 6]));
    const end = add(from, vector);
    rods.push(...from, ...vector, SHAFT, ...rgb(accent), 1);
    tips.push(...end, ...scale(way, TIP_LENGTH), TIP, ...rgb(accent), 1);
  });
  return { shapes: { balls, rods, tips }, ...bounds([...positions, ...edges.flat()]) };
}

/** [number of the atom, half of the way to another] for each bond from each of its ends; less of the way to an image. */
function halfBonds(frame, positions, types) {
  const radii = frame.symbols.map((symbol, k) => elementOf(symbol, types[k]).radius);
  const longest = 2 * BONDED * Math.max(...radii);
  const periodic = frame.cell && frame.periodic.includes(true);
  const home = periodic ? homes(frame, positions) : positions;
  const found = [];
  for (const image of periodic ? images(frame, longest) : [[0, 0, 0]]) {
    const here = image.every((component) => component === 0);
    for (let i = 0; i < home.length; i++) {
      for (let j = 0; j < home.length && found.length < MOST_BONDS; j++) {
        if (here && i === j) continue;
        const x = home[j][0] + image[0] - home[i][0];
        if (x > longest || x < -longest) continue;
        const way = [x, home[j][1] + image[1] - home[i][1], home[j][2] + image[2] - home[i][2]];
        const limit = BONDED * (radii[i] + radii[j]);
        if (dot(way, way) >= limit * limit) continue;
        const seen = norm(subtract(add(positions[i], way), positions[j])) < 1e-6;
        found.push([i, scale(way, seen ? 0.5 : STUB)]);
      }
    }
  }
  return found;
}

/** The atoms' places inside the cell. */
function homes(frame, positions) {
  const dual = inverse(frame.cell),
    lattice = rows(frame.cell);
  return positions.map((position) =>
    lattice.reduce((moved, vector, axis) => {
      const cells = frame.periodic[axis] ? Math.floor(dot(dual[axis], position)) : 0;
      return subtract(moved, scale(vector, cells));
    }, position),
  );
}

/** Vectors to the cells that have atoms within `distance` of this one's. */
function images(frame, distance) {
  const dual = inverse(frame.cell),
    lattice = rows(frame.cell);
  const most = dual.map((vector, axis) => (frame.periodic[axis] ? Math.ceil(distance * norm(vector)) : 0));
  const range = (count) => Array.from({ length: 2 * count + 1 }, (_, k) => k - count);
  return range(most[0]).flatMap((a) =>
    range(most[1]).flatMap((b) =>
      range(most[2]).map((c) =>
        [a, b, c].reduce((sum, count, axis) => add(sum, scale(lattice[axis], count)), [0, 0, 0]),
      ),
    ),
  );
}

function edgesOf(cell) {
  const [a, b, c] = rows(cell),
    zero = [0, 0, 0];
  const corners = (first, second) => [zero, first, second, add(first, second)];
  return [
    [a, b, c],
    [b, c, a],
    [c, a, b],
  ].flatMap(([way, first, second]) => corners(first, second).map((corner) => [corner, add(corner, way)]));
}

function bounds(points) {
  const [low, high] = [Math.min, Math.max].map((choose) =>
    [0, 1, 2].map((axis) => points.reduce((most, point) => choose(most, point[axis]), points[0][axis])),
  );
  const center = mix(low, high, 0.5);
  return { center, reach: 0.9 + points.reduce((most, point) => Math.max(most, norm(subtract(point, center))), 0) };
}

/** The volume of a cell [9] in Å³. */
export function volume(cell) {
  const [a, b, c] = rows(cell);
  return Math.abs(dot(a, cross(b, c)));
}

/** Symbols with their counts, as a chemist writes them: carbon, hydrogen, then by the alphabet. */
export function formula(symbols) {
  const counts = new Map();
  for (const symbol of symbols) counts.set(symbol, (counts.get(symbol) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => order(a, counts) - order(b, counts) || a.localeCompare(b));
}

const order = (symbol, counts) => (counts.has("C") ? ({ C: 0, H: 1 }[symbol] ?? 2) : 2);
