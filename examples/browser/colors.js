// colors - from numbers to colours: a diverging scale for what is above and below, a sequential one for sizes.

import { mix } from "./algebra.js";

const DIVERGING = ["#2b5fc4", "#7ea6e8", "#e4e4e6", "#ef9a6e", "#c2401c"];
const SEQUENTIAL = ["#3b2a7e", "#3d63ae", "#2f9a9c", "#74c86a", "#f3e04e"];

/** Red, green and blue of #rrggbb, each within 0 and 1. */
export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);

const at = (stops, share) => {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1),
    k = Math.min(Math.floor(place), stops.length - 2);
  return mix(rgb(stops[k]), rgb(stops[k + 1]), place - k);
};

/** A scale for numbers on both sides of 0, or all from 0 on: its ends, a colour for each number, its stops for a legend. */
export function scaleOf(values, signed) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const stops = signed ? DIVERGING : SEQUENTIAL,
    low = signed ? -largest : 0;
  return { low, high: largest, stops, color: (value) => at(stops, (value - low) / (largest - low)) };
}
