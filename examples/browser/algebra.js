// algebra - vectors of three numbers, and matrices of 16 numbers by columns, as WebGL takes them.

export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const scale = (a, factor) => [a[0] * factor, a[1] * factor, a[2] * factor];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const norm = (a) => Math.hypot(a[0], a[1], a[2]);
export const mix = (a, b, share) => add(scale(a, 1 - share), scale(b, share));

/** The vectors that follow each other in an array of 3 n numbers. */
export const rows = (flat) =>
  Array.from({ length: flat.length / 3 }, (_, k) => Array.from(flat.slice(3 * k, 3 * k + 3)));

/** Rows whose products with the cell's [9] rows are 1 and 0: the dual lattice. */
export function inverse(cell) {
  const [a, b, c] = rows(cell);
  const volume = dot(a, cross(b, c));
  return [cross(b, c), cross(c, a), cross(a, b)].map((vector) => scale(vector, 1 / volume));
}

/** first · second, of rotations [9] by rows. */
export function product(first, second) {
  const [x, y, z] = rows(second);
  return rows(first).flatMap((row) => add(add(scale(x, row[0]), scale(y, row[1])), scale(z, row[2])));
}

/** The rotation [9] by rows about an axis of unit length. */
export function rotation(axis, angle) {
  const [x, y, z] = axis,
    c = Math.cos(angle),
    s = Math.sin(angle),
    d = 1 - c;
  return [
    c + x * x * d,
    x * y * d - z * s,
    x * z * d + y * s,
    y * x * d + z * s,
    c + y * y * d,
    y * z * d - x * s,
    z * x * d - y * s,
    z * y * d + x * s,
    c + z * z * d,
  ];
}

export const turn = (matrix, vector) => rows(matrix).map((row) => dot(row, vector));
