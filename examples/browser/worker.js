// worker - evaluates beside the page, which stays alive meanwhile: {load: bytes} or {evaluate: frame} in, results out.

import { Model } from "./evaluate.js";

let model;

self.onmessage = async ({ data: { number, load, evaluate } }) => {
  try {
    if (load) {
      const loaded = await Model.load(load);
      await model?.release();
      model = loaded;
      self.postMessage({ number, result: { metadata: model.metadata, widths: model.widths } });
    } else {
      self.postMessage({ number, result: await model.evaluate(evaluate) });
    }
  } catch (error) {
    self.postMessage({ number, error: { name: error.name, message: error.message } });
  }
};
