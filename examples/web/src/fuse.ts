/** A pair of pictures -> the fused one, in one piece or in tiles, as `lure_cli/core/engine/tiling.py` does it. */

import type * as ort from "onnxruntime-web/wasm";
import { isColour, type Modality, type Picture } from "./images";
import { isInvalid } from "./range";

/** What the build keeps of the model's record. */
export interface Model {
  model: string;
  multiple: number;
  /** How many pixels away a pixel of the result can still see. */
  reach: number;
  /** Whether the view of the whole image has its extremes too. */
  tone: boolean;
  degradations: Record<Modality, string[]>;
  prompts: Record<Modality, Record<string, number[]>>;
}

export interface Wanted {
  /** Names of degradations; none: plain fusion. */
  prompts: Record<Modality, string[]>;
  strength: Record<Modality, number>;
}

/** A picture to be shown and saved: 3 or (with transparency) 4 bytes a pixel. */
export interface Fused {
  width: number;
  height: number;
  channels: 3 | 4;
  data: Uint8Array<ArrayBuffer>;
  profile?: Uint8Array;
}

export type Run = (feed: Record<string, ort.Tensor>) => Promise<ort.Tensor>;
type Rect = { left: number; top: number; right: number; bottom: number };
type MakeTensor = (data: Float32Array, dims: number[]) => ort.Tensor;

const CHANNELS = { ir: 1, vis: 3 } as const;
const ONE_PIECE = 1_600_000;
const TILE = 1024;
const THUMBNAIL = 32;

export async function fuse(
  model: Model,
  pictures: Record<Modality, Picture>,
  wanted: Wanted,
  run: Run,
  tensor: MakeTensor,
  progress: (done: number, total: number) => void,
): Promise<Fused> {
  const { width, height, alpha, profile } = pictures.vis;
  const channels = alpha ? 4 : 3;
  const data = new Uint8Array(width * height * channels);
  const common: Record<string, ort.Tensor> = {};
  const tiled = width * height > ONE_PIECE;
  for (const m of ["ir", "vis"] as const) {
    const names = model.degradations[m].filter((name) => wanted.prompts[m].includes(name));
    const vector = model.prompts[m][names.join("+") || "none"];
    common[`prompt_${m}`] = tensor(Float32Array.from(vector), [1, vector.length]);
    common[`strength_${m}`] = tensor(Float32Array.of(wanted.strength[m]), [1]);
    const view = contextView(pictures[m], CHANNELS[m], model);
    common[`thumb_${m}`] = tensor(view, [1, view.length / THUMBNAIL ** 2, THUMBNAIL, THUMBNAIL]);
  }
  const rows = tiled ? spans(height, model) : [[0, height, 0, height]];
  const columns = tiled ? spans(width, model) : [[0, width, 0, width]];
  const total = rows.length * columns.length;
  let done = 0;
  progress(0, total);
  for (const [top, bottom, y0, y1] of rows) {
    for (const [left, right, x0, x1] of columns) {
      const part = { left, top, right, bottom };
      const size = [bottom - top, right - left];
      const feed = { ...common };
      for (const m of ["ir", "vis"] as const) {
        feed[m] = tensor(planes(pictures[m], CHANNELS[m], part), [1, CHANNELS[m], ...size]);
      }
      const fused = await run(feed);
      const values = fused.data as Float32Array;
      const plane = size[0] * size[1];
      for (let y = y0; y < y1; y++) {
        let from = (y - top) * size[1] + x0 - left;
        let to = (y * width + x0) * channels;
        for (let x = x0; x < x1; x++, from++, to += channels) {
          for (let c = 0; c < 3; c++) data[to + c] = Math.floor(values[from + c * plane] * 255 + 0.5);
          if (alpha) data[to + 3] = alpha[y * width + x];
        }
      }
      fused.dispose();
      progress(++done, total);
    }
  }
  return { width, height, channels, data, profile };
}

/** `spans` of tiling.py: first, last, and the first and last that are kept. */
function spans(length: number, { multiple, reach }: Model): number[][] {
  const count = Math.ceil(length / TILE);
  const cuts = Array.from({ length: count }, (_, i) =>
    Math.min(length, Math.round((length * i) / count / multiple) * multiple),
  );
  cuts.push(length);
  const halo = Math.ceil(reach / multiple) * multiple;
  const parts = cuts.slice(0, -1).map((a, i) => [a, cuts[i + 1]]);
  return parts
    .filter(([a, b]) => a < b)
    .map(([a, b]) => [Math.max(0, a - halo), Math.min(length, b + halo), a, b]);
}

/** A part of a picture as the model takes it, (C, h, w) in [0, 1]: colour becomes luma, grey is replicated. */
export function planes(p: Picture, channels: 1 | 3, { left, top, right, bottom }: Rect): Float32Array {
  const { data, width, numbers } = p;
  const { unit, least, most } = numbers;
  const checked = least > -Infinity || most < Infinity;
  const plane = (right - left) * (bottom - top);
  const out = new Float32Array(channels * plane);
  let j = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++, j++) {
      const i = (y * width + x) * p.channels;
      if (checked && isInvalid(data, i, p.channels, numbers)) continue; // black
      const first = unit[data[i]];
      if (p.channels === 1) {
        for (let c = 0; c < channels; c++) out[j + c * plane] = first;
      } else if (channels === 3) {
        out[j] = first;
        out[j + plane] = unit[data[i + 1]];
        out[j + 2 * plane] = unit[data[i + 2]];
      } else {
        const green = unit[data[i + 1]];
        out[j] = green + 0.299 * (first - green) + 0.114 * (unit[data[i + 2]] - green);
      }
    }
  }
  return out;
}

/** `context_view` of the padded picture: its thumbnail, and the least and greatest mean of 2x2 pixels of each plane. */
function contextView(p: Picture, channels: 1 | 3, { multiple, tone }: Model): Float32Array {
  const [w, h] = [p.width, p.height].map((n) => Math.ceil(n / multiple) * multiple);
  const area = THUMBNAIL ** 2;
  const sums = new Float64Array(channels * area);
  const least = new Float32Array(channels).fill(Infinity);
  const most = new Float32Array(channels).fill(-Infinity);
  const columns = Int32Array.from({ length: w }, (_, x) => mirrored(x, p.width));
  const prefix = new Float64Array(w + 1);
  let above = new Float32Array();
  for (let y = 0; y < h; y++) {
    const at = mirrored(y, p.height);
    const row = planes(p, channels, { left: 0, right: p.width, top: at, bottom: at + 1 });
    const padded = new Float32Array(channels * w);
    for (let c = 0; c < channels; c++) {
      for (let x = 0; x < w; x++) {
        const value = row[c * p.width + columns[x]];
        padded[c * w + x] = value;
        prefix[x + 1] = prefix[x] + value;
        if (y % 2 && x % 2) {
          const k = c * w + x;
          const mean = (above[k - 1] + above[k] + padded[k - 1] + value) / 4;
          least[c] = Math.min(least[c], mean);
          most[c] = Math.max(most[c], mean);
        }
      }
      for (let i = 0; i < THUMBNAIL; i++) {
        const [y0, y1] = bin(i, h);
        if (y < y0 || y >= y1) continue;
        for (let k = 0; k < THUMBNAIL; k++) {
          const [x0, x1] = bin(k, w);
          sums[c * area + i * THUMBNAIL + k] += (prefix[x1] - prefix[x0]) / ((x1 - x0) * (y1 - y0));
        }
      }
    }
    above = padded;
  }
  if (!tone) return Float32Array.from(sums);
  const view = new Float32Array(3 * channels * area);
  view.set(sums);
  for (let c = 0; c < channels; c++) {
    view.fill(least[c], (channels + c) * area, (channels + c + 1) * area);
    view.fill(most[c], (2 * channels + c) * area, (2 * channels + c + 1) * area);
  }
  return view;
}

/** The i-th of 32 bins of adaptive average pooling. */
const bin = (i: number, n: number) => [Math.floor((i * n) / THUMBNAIL), Math.ceil(((i + 1) * n) / THUMBNAIL)];

/** Where a padded row or column comes from: reflection, as far as there is something, then the edge again. */
function mirrored(i: number, n: number): number {
  return i < n ? i : Math.max(0, 2 * n - 2 - i);
}

/** For the screen: 4 bytes a pixel. */
export function rgbaOf(p: Picture): Uint8ClampedArray<ArrayBuffer> {
  const { width, height, data, numbers, alpha } = p;
  const out = new Uint8ClampedArray(4 * width * height);
  const levels = Uint8Array.from(numbers.unit, (v) => Math.floor(v * 255 + 0.5));
  for (let i = 0, j = 0; j < out.length; i += p.channels, j += 4) {
    const black = isInvalid(data, i, p.channels, numbers);
    for (let c = 0; c < 3; c++) out[j + c] = black ? 0 : levels[data[i + (p.channels === 1 ? 0 : c)]];
    out[j + 3] = alpha ? alpha[j / 4] : 255;
  }
  return out;
}

export function rgbaOfFused({ width, height, channels, data }: Fused): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let i = 0, j = 0; j < out.length; i += channels, j += 4) {
    for (let c = 0; c < channels; c++) out[j + c] = data[i + c];
  }
  return out;
}

export const hasColour = (p: Picture) => isColour(p.data, p.channels);
