// onnx - what an .onnx of compress-onnx says about itself: its metadata, read from the protobuf, and its digest.

import { Refusal } from "./refusal.js";

const PREFIX = "compress_onnx.";
const FORMAT = "1";
const METADATA = 14,
  KEY = 1,
  VALUE = 2; // fields of ModelProto and StringStringEntryProto
const VARINT = 0,
  FIXED64 = 1,
  BYTES = 2,
  FIXED32 = 5; // wire types
const REMEDY = "Make one with compress-onnx -i MODEL -o MODEL.onnx.";

/** The metadata of a model's bytes: keys without prefix, as docs/format.md lists them. */
export function readMetadata(bytes) {
  const found = {};
  try {
    for (const [field, part] of fields(bytes)) if (field === METADATA) Object.assign(found, entry(part));
  } catch (error) {
    throw new Refusal(`This is not an ONNX model. ${REMEDY}`);
  }
  if (!found.format) throw new Refusal(`This is an ONNX model of another program. ${REMEDY}`);
  if (found.format !== FORMAT) throw new Refusal(`This file has format ${found.format}, this page reads ${FORMAT}.`);
  return found;
}

/** Throw unless the bytes have the SHA-256 that their metadata state, its own digits taken as zeros (docs/format.md). */
export async function verifyDigest(bytes, metadata) {
  const stated = metadata.digest && JSON.parse(metadata.digest);
  if (!stated) throw new Refusal("This file has no digest any more: it is damaged or was changed by another program.");
  if (Object.keys(stated.files).length)
    throw new Refusal("This model's tables are in a second file, which a page cannot open.");
  const blank = bytes.slice();
  const place = lastIndexOf(bytes, new TextEncoder().encode(stated.model));
  blank.fill("0".charCodeAt(0), place, place + stated.model.length);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", blank));
  const digits = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (digits !== stated.model)
    throw new Refusal("This file is damaged: its SHA-256 is not the one in it. Copy it again.");
}

/** [number, contents] of each field of a message; numbers have no contents. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError("a number goes on beyond the end");
  };
  while (at < bytes.length) {
    const key = varint();
    const wire = key & 7;
    if (wire === VARINT) varint();
    const length = { [VARINT]: 0, [FIXED64]: 8, [FIXED32]: 4, [BYTES]: wire === BYTES ? varint() : 0 }[wire];
    if (length === undefined || at + length > bytes.length) throw new RangeError("a field goes on beyond the end");
    yield [Math.floor(key / 8), bytes.subarray(at, (at += length))];
  }
}

function entry(bytes) {
  const text = new TextDecoder();
  const pair = Object.fromEntries([...fields(bytes)].map(([field, part]) => [field, text.decode(part)]));
  return pair[KEY]?.startsWith(PREFIX) ? { [pair[KEY].slice(PREFIX.length)]: pair[VALUE] ?? "" } : {};
}

function lastIndexOf(bytes, pattern) {
  for (let at = bytes.length - pattern.length; at >= 0; at--) {
    if (pattern.every((byte, k) => bytes[at + k] === byte)) return at;
  }
  return -1;
}
