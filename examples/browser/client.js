// client - asks the worker, which evaluates beside the page: one promise for each question.

import { Refusal } from "./refusal.js";

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const questions = new Map();
worker.onmessage = ({ data: { number, result, error } }) => {
  const { resolve, reject } = questions.get(number);
  questions.delete(number);
  error ? reject(error.name === "Refusal" ? new Refusal(error.message) : new Error(error.message)) : resolve(result);
};
let asked = 0;

/** What the worker answers to {load: bytes} or {evaluate: frame}; fails with its error. */
export function ask(question) {
  return new Promise((resolve, reject) => {
    questions.set(++asked, { resolve, reject });
    worker.postMessage({ number: asked, ...question });
  });
}
