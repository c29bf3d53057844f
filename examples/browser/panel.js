// panel - the column of numbers beside the picture: the result, its tiles, the model and its tables.

import { elementOf } from "./elements.js";
import { significant } from "./summary.js";

/** An element of the page with a class and contents, texts or elements. */
export function element(name, className, ...contents) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...contents.filter((part) => part !== null && part !== undefined));
  return made;
}

/** The panel's parts: what there is of a result, a model and the time it takes. */
export function panelOf({ result, model, frame, milliseconds, outside }) {
  return [
    result &&
      element(
        "section",
        "result",
        element("h2", "", result.title),
        element("p", "value", result.value, " ", element("small", "", result.unit)),
        element("div", "tiles", ...[...result.tiles, ...costs(frame, milliseconds)].map(tile)),
        outside ? element("p", "warning", outside) : null,
      ),
    model && element("section", "model", element("h2", "", "Model"), types(model), facts(factsOf(model))),
    model && tables(model),
  ].filter(Boolean);
}

function costs(frame, milliseconds) {
  const count = frame.symbols.length;
  return [
    { title: "Atoms", value: String(count), unit: "" },
    {
      title: "Evaluation",
      value: significant(milliseconds),
      unit: "ms",
      note: `${significant(milliseconds / count)} ms an atom`,
    },
  ];
}

const tile = ({ title, value, unit, note }) =>
  element(
    "div",
    "tile",
    element("span", "", title),
    element("strong", "", value, " ", element("small", "", unit)),
    element("em", "", note ?? ""),
  );

function types({ typeMap }) {
  return element(
    "p",
    "types",
    ...typeMap.map((name, type) => {
      const chip = element("span", "chip", element("i", ""), name);
      chip.firstChild.style.background = elementOf(name, type).color;
      return chip;
    }),
  );
}

const list = (text) => JSON.parse(text || "null");

function factsOf({ metadata }) {
  const accuracy = list(metadata.accuracy),
    fold = list(metadata.fold),
    [source] = [list(metadata.source)].flat();
  const unit = metadata.fitting === "ener" ? "eV/Å" : "of the largest value";
  return {
    ...(metadata.models && { models: `${metadata.models}, whose mean is shown` }),
    descriptor: metadata.descriptor,
    fitting: metadata.fitting,
    precision: metadata.precision,
    cutoff: `${Number(metadata.cutoff)} Å`,
    "closest pair": metadata.min_distance ? `${significant(Number(metadata.min_distance))} Å` : "not known",
    ...(accuracy && { "tables add": `${significant(accuracy.force_error)} ${unit}, measured on ${accuracy.how}` }),
    ...(accuracy?.force_bound && {
      "at most": `${significant(accuracy.force_bound)} ${unit}, if all erred by their bounds`,
    }),
    ...(fold && { folding: `adds ${significant(fold.force_error)} ${unit} where libdpc runs, nothing here` }),
    "trained with": [source.format, source.version].filter(Boolean).join(" "),
    "written by": `compress-onnx ${metadata.version}, ${metadata.kind}`,
    "SHA-256": "is the one that the file states",
  };
}

function facts(values) {
  const rows = Object.entries(values).map(([name, value]) =>
    element("tr", "", element("th", "", name), element("td", "", value)),
  );
  return element("table", "facts", ...rows);
}

function tables({ metadata }) {
  const described = list(metadata.tables);
  if (!described?.length) return null;
  const worst = ({ value, derivative }, part) =>
    significant({ value, derivative }[part].reduce((a, b) => Math.max(a, b)));
  const rows = described.map(({ name, lower, max, rows, error, bound }) =>
    element(
      "tr",
      "",
      element("th", "", name),
      element("td", "", `${Number(lower.toPrecision(4))} to ${Number(max.toPrecision(4))}`),
      element("td", "", String(rows[0] + rows[1])),
      element("td", "", error ? worst(error, "derivative") : "not known"),
      element("td", "", bound ? worst(bound, "derivative") : "none"),
    ),
  );
  const head = ["table", "inputs", "rows", "error", "bound"].map((title) => element("th", "", title));
  return element(
    "section",
    "tables",
    element("h2", "", "Tables, and how far their slopes are off"),
    element("div", "scroll", element("table", "", element("tr", "", ...head), ...rows)),
  );
}

/** A sentence about inputs outside the tables, "" where there are none; counts [tables, 4], worst [tables, 3]. */
export function outsideOf({ range, range_worst: worst }, symbols) {
  let outside = 0,
    furthest = -1;
  for (let k = 0; 4 * k < range.length; k++) {
    const here = range[4 * k] + range[4 * k + 3];
    if (here && (furthest < 0 || worst[3 * k + 2] < worst[3 * furthest + 2])) furthest = k;
    outside += here;
  }
  if (!outside) return "";
  const [, atom, distance] = worst.slice(3 * furthest);
  return `${outside} inputs lie outside the model's tables, such as those of ${symbols[atom]} ${atom + 1} with a neighbour at ${significant(distance)} Å: the model was not trained for this.`;
}
