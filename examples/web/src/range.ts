/** Which numbers of a file are black and white: `--ir-range auto` and `--vis-range auto` of `lure fuse`, as
 * `lure_cli/core/images/value_range.py` and `invalid.py` have them, for integers of 8 and 16 bits. */

import type { Modality } from "./images";

/** What the numbers of an image stand for. */
export interface Numbers {
  /** Number -> [0, 1]. */
  unit: Float32Array;
  /** Numbers outside of these are no measurements; of colours, pixels with all three outside. */
  least: number;
  most: number;
  /** How they are mapped, if not over their full range. */
  mapping?: string;
}

type Pixels = Uint8Array | Uint16Array;

export function numbersOf(data: Pixels, channels: number, width: number, modality: Modality): Numbers {
  const all = { least: -Infinity, most: Infinity };
  if (data instanceof Uint8Array) return { unit: linear(256, 0, 255), ...all };
  const valid = validNumbers(data, channels, width, modality);
  const counts = new Uint32Array(65536);
  let invalid = 0;
  for (let i = 0; i < data.length; i += channels) {
    if (isInvalid(data, i, channels, valid)) invalid++;
    else for (let c = 0; c < channels; c++) counts[data[i + c]]++;
  }
  let [low, high, how] = [0, 65535, ""];
  const least = counts.findIndex((n) => n > 0);
  const most = counts.findLastIndex((n) => n > 0);
  if (modality === "vis") {
    const top = [255, 1023, 4095, 16383, 65535].find((v) => most <= v) ?? 65535;
    if (most > 0 && top < 65535) {
      high = top;
      how = `white of ${Math.log2(top + 1)} bits, as the largest is ${most}`;
    }
  } else {
    const at = percentiles(counts, [0.5, 99.5]);
    if (at[1] - at[0] < 65535 / 4) {
      const [a, b] = at[0] === at[1] ? [least, most] : at;
      if (a < b) [low, high, how] = [a, b, at[0] === at[1] ? "minimum and maximum" : "percentiles 0.5 and 99.5"];
    }
  }
  const parts = how ? [`${round7(low)} to ${round7(high)} of 16 bits became black to white (${how})`] : [];
  if (invalid && (how || !areBlack(data, channels, valid))) {
    parts.push(`${invalid} of ${data.length / channels} pixels are no measurement, and black`);
  }
  return { unit: linear(65536, low, high), ...valid, mapping: parts.join("; ") || undefined };
}

function linear(count: number, low: number, high: number): Float32Array {
  return Float32Array.from({ length: count }, (_, v) => Math.min(1, Math.max(0, (v - low) / (high - low))));
}

const round7 = (v: number) => Number(v.toPrecision(7)).toString();

export function isInvalid(data: Pixels, i: number, channels: number, of: { least: number; most: number }): boolean {
  let below = true;
  let above = true;
  for (let c = 0; c < channels; c++) {
    below &&= data[i + c] < of.least;
    above &&= data[i + c] > of.most;
  }
  return below || above;
}

function areBlack(data: Pixels, channels: number, valid: { least: number; most: number }): boolean {
  for (let i = 0; i < data.length; i += channels) {
    if (isInvalid(data, i, channels, valid)) for (let c = 0; c < channels; c++) if (data[i + c]) return false;
  }
  return true;
}

/** With linear interpolation, of numbers that were counted. */
function percentiles(counts: Uint32Array, wanted: number[]): number[] {
  const total = counts.reduce((a, b) => a + b, 0);
  const nth = (rank: number) => {
    let seen = 0;
    for (let v = 0; v < counts.length; v++) if ((seen += counts[v]) > rank) return v;
    return counts.length - 1;
  };
  return wanted.map((p) => {
    const rank = (p / 100) * (total - 1);
    const below = nth(Math.floor(rank));
    return below + (nth(Math.ceil(rank)) - below) * (rank - Math.floor(rank));
  });
}

const SAMPLE = 1 << 19;
const CODES_HIGH = { ir: [65535, 9999, 32767], vis: [65535] };

/** `find_valid`: leaves out what no scene holds, extremes far from all the rest. */
function validNumbers(data: Pixels, channels: number, width: number, modality: Modality) {
  const step = Math.max(1, Math.floor(data.length / SAMPLE)) | 1;
  let values = new Float64Array(Math.ceil(data.length / step)).map((_, i) => data[i * step]).sort();
  let [least, most] = [-Infinity, Infinity];
  for (let round = 0; round < 4; round++) {
    let changed = false;
    const few = Math.max(2, Math.floor(values.length / 50));
    if (modality === "ir" && values[0] === 0) {
      const count = below(values, 1);
      const rest = values.subarray(count);
      const { bottom, spread } = spreadOf(rest);
      if (spread > 0 && bottom > spread) {
        const between = below(rest, bottom - spread);
        const cut = between <= count ? between : 0;
        least = rest[cut];
        values = rest.subarray(cut);
        changed = true;
      }
    } else if (modality === "ir") {
      const gap = widest(values, 0, Math.min(few, values.length - 1));
      const rest = values.subarray(gap.at);
      const { spread } = spreadOf(rest);
      if (gap.at && spread > 0 && gap.width > 2 * spread) {
        least = rest[0];
        values = rest;
        changed = true;
      }
    }
    const high = values[values.length - 1];
    const rest = values.subarray(0, below(values, high));
    const { bottom, spread } = spreadOf(rest);
    const top = bottom + spread;
    if (CODES_HIGH[modality].includes(high) && spread > 0 && high - top > 3 * spread) {
      const between = rest.length - below(rest, (top + high) / 2);
      if (between <= Math.floor((values.length - rest.length) / 10)) {
        most = rest[rest.length - 1];
        values = rest;
        continue;
      }
    }
    if (modality === "ir") {
      const last = Math.max(2, Math.floor(values.length / 50));
      const gap = widest(values, Math.max(0, values.length - last - 1), values.length - 1);
      const kept = values.subarray(0, gap.at || values.length);
      const { spread: ofKept } = spreadOf(kept);
      if (ofKept > 0 && gap.width > 2 * ofKept && areSingle(data, channels, width, kept[kept.length - 1])) {
        most = kept[kept.length - 1];
        values = kept;
        changed = true;
      }
    }
    if (!changed) break;
  }
  return { least, most };
}

/** How many of the sorted values are less than v. */
function below(values: Float64Array, v: number): number {
  let [a, b] = [0, values.length];
  while (a < b) {
    const m = (a + b) >> 1;
    if (values[m] < v) a = m + 1;
    else b = m;
  }
  return a;
}

/** The widest gap between neighbours of values[first..last], and the index of the value behind it. */
function widest(values: Float64Array, first: number, last: number): { at: number; width: number } {
  let found = { at: 0, width: -1 };
  for (let i = first; i < last; i++) {
    const width = values[i + 1] - values[i];
    if (width > found.width) found = { at: i + 1, width };
  }
  return found;
}

function spreadOf(values: Float64Array): { bottom: number; spread: number } {
  if (values.length < 16) return { bottom: 0, spread: 0 };
  const tenth = Math.floor(values.length / 10);
  const bottom = values[tenth];
  return { bottom, spread: 1.3 * (values[values.length - 1 - tenth] - bottom) };
}

function areSingle(data: Pixels, channels: number, width: number, above: number): boolean {
  const total = data.length / channels;
  const is = (i: number) => i >= 0 && i < total && data[i * channels] > above;
  let [count, beside] = [0, 0];
  for (let i = 0; i < total; i++) {
    if (!is(i)) continue;
    count++;
    const x = i % width;
    if (is(i - width) || is(i + width) || (x > 0 && is(i - 1)) || (x < width - 1 && is(i + 1))) beside++;
  }
  return count >= 0.001 * total && beside <= 0.1 * count;
}
