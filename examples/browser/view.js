// view - what is seen on the page of its state {model, frames, at, results, coloring}: the picture, its legend, numbers.

import { norm, scale } from "./algebra.js";
import { rgb, scaleOf } from "./colors.js";
import { elementOf } from "./elements.js";
import { formula, shapesOf } from "./molecule.js";
import { element, outsideOf, panelOf } from "./panel.js";
import { Scene } from "./scene.js";
import { fixed, significant, summarise } from "./summary.js";

const ARROW = 1.3; // Å, of the longest force at first

export const part = (id) => document.getElementById(id);

export let scene = null;
let sceneProblem = "";
try {
  scene = new Scene(part("picture"));
} catch (error) {
  sceneProblem = error.message;
}

function current(state) {
  const frame = state.frames[state.at],
    evaluated = state.results[state.at];
  if (!frame) return {};
  const typeMap = state.model?.typeMap ?? [...new Set(frame.symbols)];
  const types = frame.symbols.map((symbol) => typeMap.indexOf(symbol));
  const summary = evaluated && summarise(state.model.metadata.fitting, evaluated, frame, types);
  return { frame, types, evaluated, summary };
}

/** All of it. */
export function show(state) {
  const { frame, types, evaluated, summary } = current(state);
  part("empty").hidden = Boolean(frame);
  part("controls").hidden = !frame;
  if (!frame && state.model) part("empty").querySelector("h2").textContent = "Now drop atoms here";
  part("panel").replaceChildren(
    ...panelOf({
      result: summary,
      model: state.model,
      frame,
      milliseconds: evaluated?.milliseconds,
      outside: evaluated && outsideOf(evaluated.outputs, frame.symbols),
    }),
  );
  part("panel").hidden = !summary && !state.model;
  if (!frame) return;
  caption(frame);
  draw(state.coloring, frame, types, summary);
  showFrames(state);
}

function caption(frame) {
  const counts = formula(frame.symbols).flatMap(([symbol, count]) => [
    symbol,
    count > 1 ? element("sub", "", String(count)) : "",
  ]);
  const lengths = frame.cell && [0, 3, 6].map((k) => fixed(norm(frame.cell.slice(k, k + 3)), 2)).join(" × ");
  const periodic = frame.periodic.filter(Boolean).length;
  const around = lengths
    ? `${lengths} Å, ${periodic === 3 ? "periodic" : periodic ? `periodic in ${periodic} directions` : "not periodic"}`
    : "no cell";
  part("caption").replaceChildren(element("h2", "", ...counts), element("p", "", around));
}

/** [n] colours by element, or by a number of each atom, and the scale of that. */
function coloring(key, frame, types, summary) {
  const numbers = {
    atom: summary?.perAtom,
    vector: summary?.vectors && {
      ...summary.vectors,
      name: `Size of the ${summary.vectors.title.toLowerCase()}`,
      values: summary.vectors.values.map(norm),
      signed: false,
    },
  }[key];
  if (!numbers) return { colors: frame.symbols.map((symbol, k) => rgb(elementOf(symbol, types[k]).color)) };
  const scaled = scaleOf(numbers.values, numbers.signed);
  return { colors: numbers.values.map(scaled.color), numbers, scaled };
}

function draw(key, frame, types, summary) {
  const { colors, numbers, scaled } = coloring(key, frame, types, summary),
    vectors = summary?.vectors;
  const longest = vectors && Math.max(...vectors.values.map(norm)),
    [shown, length] = part("arrows").querySelectorAll("input");
  const factor = longest ? (ARROW / longest) * 10 ** Number(length.value) : 0;
  const arrows = vectors && shown.checked ? vectors.values.map((vector) => scale(vector, factor)) : null;
  part("arrows").hidden = !vectors;
  part("arrows").querySelector("span").textContent = vectors
    ? `${vectors.title}s, 1 Å = ${significant(1 / factor)} ${vectors.unit}`
    : "";
  legend(frame, types, numbers, scaled);
  for (const [key, values] of [
    ["atom", summary?.perAtom],
    ["vector", vectors],
  ]) {
    const radio = part("colors").querySelector(`[value=${key}]`);
    radio.disabled = !values;
    radio.nextSibling.textContent = values?.title ?? radio.nextSibling.textContent;
  }
  if (!scene) return say(sceneProblem);
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--edges").trim(),
    accent = style.getPropertyValue("--arrow").trim();
  scene.background = style.getPropertyValue("--stage").trim();
  const { shapes, center, reach } = shapesOf(frame, types, colors, arrows, { ink, accent });
  scene.show(shapes, center, reach);
}

function legend(frame, types, numbers, scaled) {
  if (!numbers) {
    const present = new Map(frame.symbols.map((symbol, k) => [symbol, types[k]]));
    const chips = [...present].map(([symbol, type]) => {
      const chip = element("span", "chip", element("i", ""), symbol);
      chip.firstChild.style.background = elementOf(symbol, type).color;
      return chip;
    });
    return part("legend").replaceChildren(element("p", "types", ...chips));
  }
  const bar = element("div", "bar");
  bar.style.background = `linear-gradient(to right, ${scaled.stops.join(", ")})`;
  const ends = [scaled.low, scaled.high].map((value) => element("span", "", `${significant(value)} ${numbers.unit}`));
  part("legend").replaceChildren(element("p", "", numbers.name), bar, element("div", "ends", ...ends));
}

/** The frames' energies and where the page is among them. */
export function showFrames(state) {
  const count = state.frames.length,
    [slider, chart, output] = part("frames").children;
  part("frames").hidden = count < 2;
  if (count < 2) return;
  slider.max = count - 1;
  slider.value = state.at;
  const energies = state.frames.map(
    (_, k) => (state.results[k]?.outputs.energy ?? state.results[k]?.outputs.tensor)?.[0],
  );
  const known = energies.filter((energy) => energy !== undefined),
    low = Math.min(...known),
    span = Math.max(...known) - low || 1;
  const points = energies.flatMap((energy, k) =>
    energy === undefined ? [] : [`${(100 * k) / (count - 1)},${30 - (28 * (energy - low)) / span}`],
  );
  chart.setAttribute("viewBox", "0 0 100 32");
  chart.innerHTML = `<polyline points="${points.join(" ")}"/><line x1="${(100 * state.at) / (count - 1)}" x2="${(100 * state.at) / (count - 1)}" y1="0" y2="32"/>`;
  output.textContent = `frame ${state.at + 1} of ${count}`;
}

/** The numbers of the atom under the pointer. */
export function tip(state, event) {
  const { frame, summary } = current(state),
    box = part("tip");
  const k = event.buttons || !frame || !scene ? -1 : scene.pick(event.offsetX, event.offsetY);
  box.hidden = k < 0;
  if (k < 0) return;
  const lines = [
    element("b", "", `${frame.symbols[k]} ${k + 1}`),
    frame.positions.slice(3 * k, 3 * k + 3).reduce((text, value) => `${text} ${fixed(value, 3)}`, "at") + " Å",
  ];
  if (summary) lines.push(`${summary.perAtom.name}: ${significant(summary.perAtom.values[k])} ${summary.perAtom.unit}`);
  if (summary?.vectors)
    lines.push(`${summary.vectors.title}: ${significant(norm(summary.vectors.values[k]))} ${summary.vectors.unit}`);
  box.replaceChildren(...lines.map((line) => element("div", "", line)));
  box.style.translate = `${Math.min(event.offsetX + 16, part("stage").clientWidth - 250)}px ${event.offsetY + 16}px`;
}

/** That something is going on; "": nothing is. */
export function busy(text) {
  part("busy").hidden = !text;
  part("busy").lastElementChild.textContent = text;
  if (text) document.body.dataset.state = "busy";
}

/** What went wrong; "": nothing has. */
export function say(text) {
  part("problem").hidden = !text;
  part("problem").textContent = text;
}
