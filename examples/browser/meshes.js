// meshes - ball, rod and tip of unit size about the z axis, as triangles: positions and normals, three numbers each.

const BANDS = 18,
  SIDES = 30;

/** Triangles of a surface of revolution: outline [k] = [radius, z, normal outwards, normal along z]. */
function revolve(outline) {
  const positions = [],
    normals = [];
  for (let k = 0; k + 1 < outline.length; k++) {
    for (let side = 0; side < SIDES; side++) {
      const corners = [
        [k, side],
        [k, side + 1],
        [k + 1, side + 1],
        [k, side],
        [k + 1, side + 1],
        [k + 1, side],
      ];
      for (const [at, turn] of corners) {
        const [radius, z, outwards, along] = outline[at],
          angle = (2 * Math.PI * turn) / SIDES;
        const x = Math.cos(angle),
          y = Math.sin(angle);
        positions.push(radius * x, radius * y, z);
        normals.push(outwards * x, outwards * y, along);
      }
    }
  }
  return { positions: Float32Array.from(positions), normals: Float32Array.from(normals) };
}

const arc = Array.from({ length: BANDS + 1 }, (_, k) => Math.PI * (k / BANDS - 0.5));

export const MESHES = {
  balls: revolve(arc.map((angle) => [Math.cos(angle), Math.sin(angle), Math.cos(angle), Math.sin(angle)])),
  rods: revolve([
    [0, 0, 0, -1],
    [1, 0, 0, -1],
    [1, 0, 1, 0],
    [1, 1, 1, 0],
    [1, 1, 0, 1],
    [0, 1, 0, 1],
  ]),
  tips: revolve([
    [0, 0, 0, -1],
    [1, 0, 0, -1],
    [1, 0, 1, 1],
    [0, 1, 1, 1],
  ]),
};
