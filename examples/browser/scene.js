// scene - shapes in WebGL: balls, rods and tips, lit, turned by the pointer and drawn when something has changed.

import { product, rotation, subtract, turn } from "./algebra.js";
import { rgb } from "./colors.js";
import { MESHES } from "./meshes.js";

export const SHAPE = 11; // numbers of a shape: base [3], axis [3], radius, colour [3], 1 if lit
const OPENING = Math.tan((14 * Math.PI) / 180); // half of what is seen at distance 1
const NEAR = 0.3,
  FAR = 3; // of the camera's distance
const FIRST_VIEW = product(rotation([1, 0, 0], 0.32), rotation([0, 1, 0], -0.5));

const VERTEX = `#version 300 es
in vec3 position, normal, base, axis, color;
in float radius, lit;
uniform mat3 turned;
uniform vec3 center, camera;
uniform vec4 lens;
out vec3 outward, eye, surface;
out float shaded;
void main() {
  float size = max(length(axis), 1e-6);
  vec3 w = axis / size, u = normalize(cross(w, abs(w.z) < 0.9 ? vec3(0, 0, 1) : vec3(1, 0, 0))), v = cross(w, u);
  eye = turned * (base + radius * (position.x * u + position.y * v) + position.z * axis - center) + camera;
  outward = turned * ((normal.x * u + normal.y * v) / radius + normal.z * w / size);
  surface = color;
  shaded = lit;
  gl_Position = vec4(eye.xy * lens.xy, eye.z * lens.z + lens.w, -eye.z);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 outward, eye, surface;
in float shaded;
uniform vec3 background;
uniform vec2 depth;
out vec4 result;
const vec3 KEY = normalize(vec3(-0.5, 0.75, 0.7));
void main() {
  vec3 n = normalize(outward), toEye = normalize(-eye);
  float light = 0.34 + 0.26 * (0.5 + 0.5 * n.y) + 0.52 * max(dot(n, KEY), 0.0);
  float shine = 0.30 * pow(max(dot(n, normalize(KEY + toEye)), 0.0), 48.0);
  float rim = mix(0.5, 1.0, smoothstep(0.0, 0.5, dot(n, toEye)));
  vec3 seen = mix(surface, surface * light * rim + shine, shaded);
  result = vec4(mix(seen, background, 0.55 * smoothstep(depth.x, depth.y, -eye.z)), 1.0);
}`;

export class Scene {
  /** On a canvas; throws where there is no WebGL 2. */
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: true });
    if (!this.gl) throw new Error("This browser has no WebGL 2, which the picture needs.");
    this.program = compile(this.gl);
    this.meshes = Object.fromEntries(
      Object.entries(MESHES).map(([name, mesh]) => [name, upload(this.gl, this.program, mesh)]),
    );
    this.center = [0, 0, 0];
    this.reach = 1;
    this.targets = [];
    this.reset();
    new ResizeObserver(() => this.redraw()).observe(canvas);
    this.#listen();
  }

  /** Show shapes {balls, rods, tips}, arrays of SHAPE numbers each, that fit a ball about `center`; balls can be picked. */
  show(shapes, center, reach) {
    const gl = this.gl;
    this.center = center;
    this.reach = reach;
    for (const [name, mesh] of Object.entries(this.meshes)) {
      mesh.count = shapes[name].length / SHAPE;
      gl.bindBuffer(gl.ARRAY_BUFFER, mesh.instances);
      gl.bufferData(gl.ARRAY_BUFFER, Float32Array.from(shapes[name]), gl.DYNAMIC_DRAW);
    }
    this.targets = shapes.balls;
    this.redraw();
  }

  reset() {
    this.turned = FIRST_VIEW;
    this.zoom = 1;
    this.shift = [0, 0];
    this.redraw();
  }

  /** The color behind everything, which things far away fade to: #rrggbb. */
  set background(hex) {
    this.fade = rgb(hex);
    this.redraw();
  }

  redraw() {
    this.waiting ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = undefined;
    const { gl, canvas, program } = this,
      ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(program.handle);
    const { distance, camera, lens } = this.#optics();
    gl.uniformMatrix3fv(program.turned, true, this.turned);
    gl.uniform3fv(program.center, this.center);
    gl.uniform3fv(program.camera, camera);
    gl.uniform4fv(program.lens, lens);
    gl.uniform3fv(program.background, this.fade ?? [1, 1, 1]);
    gl.uniform2f(program.depth, distance - 0.3 * this.reach, distance + 1.6 * this.reach);
    for (const mesh of Object.values(this.meshes)) {
      gl.bindVertexArray(mesh.array);
      gl.drawArraysInstanced(gl.TRIANGLES, 0, mesh.vertices, mesh.count ?? 0);
    }
  }

  /** A PNG of what is seen. */
  picture() {
    this.draw();
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }

  #optics() {
    const aspect = this.canvas.clientWidth / Math.max(1, this.canvas.clientHeight);
    const distance = (0.94 * this.reach) / Math.sin(Math.atan(OPENING)) / Math.min(1, aspect) / this.zoom;
    const near = NEAR * Math.min(distance, this.reach),
      far = distance + FAR * this.reach;
    const lens = [1 / (OPENING * aspect), 1 / OPENING, -(far + near) / (far - near), (-2 * far * near) / (far - near)];
    return { aspect, distance, camera: [...this.shift, -distance], lens };
  }

  /** The number of the ball at a place of the canvas in CSS pixels, or -1. */
  pick(x, y) {
    const { aspect, camera } = this.#optics();
    const ray = [(2 * x) / this.canvas.clientWidth - 1, 1 - (2 * y) / this.canvas.clientHeight];
    const toward = [ray[0] * OPENING * aspect, ray[1] * OPENING, -1],
      square = toward.reduce((sum, c) => sum + c * c, 0);
    let found = -1,
      nearest = Infinity;
    for (let k = 0; k * SHAPE < this.targets.length; k++) {
      const base = this.targets.slice(k * SHAPE, k * SHAPE + 3),
        radius = this.targets[k * SHAPE + 6];
      const eye = turn(this.turned, subtract(base, this.center)).map((value, axis) => value + camera[axis]);
      const along = eye.reduce((sum, value, axis) => sum + value * toward[axis], 0) / square;
      const away = Math.hypot(...eye.map((value, axis) => value - along * toward[axis]));
      if (away <= radius && along > 0 && along < nearest) [found, nearest] = [k, along];
    }
    return found;
  }

  #listen() {
    const { canvas } = this,
      held = new Map();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY],
        moved = [now[0] - before[0], now[1] - before[1]];
      const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
      held.set(event.pointerId, now);
      if (other) this.#pinch(before, now, other);
      else if (event.shiftKey || event.buttons === 2) this.#move(moved);
      else this.#rotate(moved);
    });
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, (event) => held.delete(event.pointerId));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.#enlarge(Math.exp(-event.deltaY / 600));
      },
      { passive: false },
    );
  }

  #rotate([right, down]) {
    const angle = Math.hypot(right, down) / 130;
    if (!angle) return;
    const length = Math.hypot(right, down);
    this.turned = product(rotation([down / length, right / length, 0], angle), this.turned);
    this.redraw();
  }

  #move([right, down]) {
    const size = (2 * OPENING * this.#optics().distance) / this.canvas.clientHeight;
    this.shift = [this.shift[0] + right * size, this.shift[1] - down * size];
    this.redraw();
  }

  #pinch(before, now, other) {
    const span = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
    this.#enlarge(span(now) / Math.max(1, span(before)));
  }

  #enlarge(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.3), 20);
    this.redraw();
  }
}

function compile(gl) {
  const handle = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(handle, shader);
  }
  gl.linkProgram(handle);
  if (!gl.getProgramParameter(handle, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(handle));
  const names = ["turned", "center", "camera", "lens", "background", "depth"];
  return { handle, ...Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(handle, name)])) };
}

/** A mesh and a buffer for its instances on the device. */
function upload(gl, program, mesh) {
  const array = gl.createVertexArray(),
    instances = gl.createBuffer();
  gl.bindVertexArray(array);
  const attribute = (name, size, stride, offset, divisor) => {
    const place = gl.getAttribLocation(program.handle, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, gl.FLOAT, false, 4 * stride, 4 * offset);
    gl.vertexAttribDivisor(place, divisor);
  };
  for (const [name, values] of [
    ["position", mesh.positions],
    ["normal", mesh.normals],
  ]) {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    attribute(name, 3, 3, 0, 0);
  }
  gl.bindBuffer(gl.ARRAY_BUFFER, instances);
  for (const [name, size, offset] of [
    ["base", 3, 0],
    ["axis", 3, 3],
    ["radius", 1, 6],
    ["color", 3, 7],
    ["lit", 1, 10],
  ]) {
    attribute(name, size, SHAPE, offset, 1);
  }
  return { array, instances, vertices: mesh.positions.length / 3 };
}
