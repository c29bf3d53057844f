// page - what happens on the page: files come in, the worker evaluates, the picture and the panel show it.

import { ask } from "./client.js";
import { element } from "./panel.js";
import { Refusal } from "./refusal.js";
import { busy, part, say, scene, show, showFrames, tip } from "./view.js";
import { parseXyz } from "./xyz.js";

const REPEATS = 3,
  LONG = 400; // an evaluation is timed so often, unless it takes so many milliseconds

const state = { model: null, frames: [], at: 0, results: [], coloring: "element", round: 0 };

// files

async function take(files) {
  for (const file of files) {
    try {
      if (/\.onnx$/i.test(file.name)) await takeModel(file);
      else if (/\.(ext)?xyz$/i.test(file.name)) await takeAtoms(file);
      else throw new Refusal("This page takes an .onnx of compress-onnx and an .xyz of atoms.");
    } catch (error) {
      return complain(error, file.name);
    }
  }
  await evaluateAll();
}

async function takeModel(file) {
  busy("loading the model");
  const bytes = new Uint8Array(await file.arrayBuffer());
  const { metadata } = await ask({ load: bytes });
  state.model = { name: file.name, metadata, typeMap: JSON.parse(metadata.type_map) };
  name("model-name", file.name);
}

async function takeAtoms(file) {
  state.frames = parseXyz(await file.text());
  state.at = 0;
  name("atoms-name", file.name);
  scene?.reset();
}

function name(id, text) {
  part(id).lastElementChild.textContent = text;
  part(id).classList.add("there");
}

// evaluation

async function evaluateAll() {
  const round = ++state.round;
  state.results = [];
  say("");
  show(state);
  if (!state.model || !state.frames.length) return busy("");
  const order = [state.at, ...state.frames.keys()].filter((k, place, all) => all.indexOf(k) === place);
  try {
    for (const [done, k] of order.entries()) {
      busy(order.length > 1 ? `frame ${done + 1} of ${order.length}` : "evaluating");
      const result = await evaluateOften(state.frames[k], done === 0 ? REPEATS : 1);
      if (round !== state.round) return;
      state.results[k] = result;
      if (k === state.at) show(state);
      else showFrames(state);
    }
    busy("");
    document.body.dataset.state = "done";
  } catch (error) {
    if (round === state.round) complain(error, part("atoms-name").lastElementChild.textContent);
  }
}

async function evaluateOften(frame, repeats) {
  let best = await ask({ evaluate: frame });
  for (let k = 1; k < repeats && best.milliseconds < LONG; k++) {
    const { milliseconds } = await ask({ evaluate: frame });
    best = { ...best, milliseconds: Math.min(milliseconds, best.milliseconds) };
  }
  return best;
}

function complain(error, file) {
  busy("");
  if (!(error instanceof Refusal)) console.error(error);
  say(`${file}: ${error.message}`);
  document.body.dataset.state = "refused";
}

// what people do

for (const [key, title] of [
  ["element", "Element"],
  ["atom", "Energy"],
  ["vector", "Force"],
]) {
  const radio = Object.assign(document.createElement("input"), {
    type: "radio",
    name: "coloring",
    value: key,
    checked: key === state.coloring,
  });
  part("colors").append(element("label", "", radio, element("span", "", title)));
}
part("colors").addEventListener("change", (event) => {
  state.coloring = event.target.value;
  show(state);
});
part("arrows").addEventListener("input", () => show(state));
part("frames").addEventListener("input", (event) => {
  state.at = Number(event.target.value);
  show(state);
});
part("save").addEventListener("click", async () => {
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(await scene.picture()),
    download: "atoms.png",
  });
  link.click();
  URL.revokeObjectURL(link.href);
});
for (const id of ["choose", "model-name", "atoms-name"])
  part(id).addEventListener("click", () => part("chooser").click());
part("chooser").addEventListener("change", (event) => take([...event.target.files]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take([...event.dataTransfer.files]);
  });
}
part("picture").addEventListener("pointermove", (event) => tip(state, event));
part("picture").addEventListener("pointerleave", () => (part("tip").hidden = true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(state));

// index.html?model=water.onnx&atoms=water.xyz shows files that lie beside the page

async function takeAddresses(query) {
  const addresses = ["model", "atoms"].map((key) => query.get(key)).filter(Boolean);
  const files = await Promise.all(
    addresses.map(async (address) => {
      const answer = await fetch(address);
      if (!answer.ok) throw new Refusal(`there is no such file (${answer.status}).`);
      return new File([await answer.blob()], address.split("/").at(-1));
    }),
  ).catch((error) => complain(error, addresses.join(", ")));
  if (files?.length) await take(files);
}
const query = new URLSearchParams(location.search);
if (query.get("color"))
  part("colors")
    .querySelector(`[value="${CSS.escape(query.get("color"))}"]`)
    ?.click();
takeAddresses(query);
