/** Files in, pixels out, as `lure_cli/core/images` does it: PNG is decoded here, in full depth; JPEG, WebP and BMP are
 * decoded by the browser, without its colour management. */

import { convertIndexedToRgb, decode } from "fast-png";
import { Fault } from "./fault";
import { type Numbers, numbersOf } from "./range";

export type Modality = "ir" | "vis";

/** An image as it is fused. */
export interface Picture {
  width: number;
  height: number;
  /** 1 or 3 a pixel, interleaved. */
  channels: number;
  data: Uint8Array | Uint16Array;
  /** What the numbers of `data` stand for. */
  numbers: Numbers;
  /** Opacity, 8 bits a pixel; absent where all is opaque. */
  alpha?: Uint8Array;
  /** The chunk iCCP of a PNG, to go into the result. */
  profile?: Uint8Array;
  /** What was done to it, to be told. */
  notes: string[];
}

const MAX_PIXELS = 40_000_000;
const MAX_SIDE = 16384; // of a canvas
const EXPORT = "save it as PNG, JPEG, WebP or BMP; lure fuse reads more types";
const AGAIN = "export or copy the file again";

export async function readPicture(file: Blob, name: string, modality: Modality): Promise<Picture> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const kind = kindOf(bytes);
  if (kind === undefined) throw new Fault(`${name}: no image of a type that this page reads`, EXPORT);
  const stored = kind === "png" ? await readPng(bytes, name) : await decodeByBrowser(file, bytes, kind, name);
  const { width, data } = stored;
  const alpha = stored.alpha?.some((v) => v !== 255) ? stored.alpha : undefined;
  const numbers = numbersOf(data, stored.channels, width, modality);
  const notes = [...stored.notes];
  if (modality === "ir" && isColour(data, stored.channels)) {
    notes.push("It is in colour: its luma is taken for the infrared image.");
  }
  if (numbers.mapping) notes.push(`${numbers.mapping}.`);
  if (modality === "ir" && alpha) notes.push("Its transparency is left out.");
  return { ...stored, numbers, alpha, notes };
}

type Kind = "png" | "jpeg" | "webp" | "bmp";
type Stored = Omit<Picture, "numbers">;

function kindOf(bytes: Uint8Array): Kind | undefined {
  const text = String.fromCharCode(...bytes.subarray(0, 16));
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (text.startsWith("\xff\xd8\xff")) return "jpeg";
  if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return "webp";
  return text.startsWith("BM") ? "bmp" : undefined;
}

function checkSize(width: number, height: number, name: string): void {
  if (width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE) {
    throw new Fault(
      `${name}: ${width}x${height} is more than this page takes (${MAX_PIXELS / 1e6} million pixels)`,
      "fuse it with lure fuse, or make it smaller",
    );
  }
}

async function readPng(bytes: Uint8Array<ArrayBuffer>, name: string): Promise<Stored> {
  const view = new DataView(bytes.buffer);
  const needed: BlobPart[] = [bytes.subarray(0, 8)];
  let profile: Uint8Array<ArrayBuffer> | undefined;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    const chunk = bytes.subarray(at, at + 12 + length);
    if (kind === "IHDR" && length === 13) checkSize(view.getUint32(16), view.getUint32(20), name);
    if (kind === "acTL") {
      throw new Fault(`${name}: holds several frames`, "save the one frame that is meant as its own file");
    }
    if (kind === "eXIf" && orientation(content) > 1) {
      throw new Fault(`${name}: a PNG that its EXIF turns or mirrors`, "save it upright");
    }
    if (kind === "iCCP" && (await isOfRgb(content))) profile = chunk.slice();
    if (/^[A-Z]/.test(kind) || kind === "tRNS") needed.push(chunk); // damaged notes do not spoil the pixels
    if (kind === "IEND") break;
    at += 12 + length;
  }
  try {
    return { ...decodePng(await new Blob(needed).arrayBuffer()), profile, notes: [] };
  } catch (e) {
    throw new Fault(`${name}: damaged or cut short, it cannot be decoded (${reason(e)})`, AGAIN);
  }
}

/** Whether the chunk iCCP holds a profile for three channels, as the result has. */
async function isOfRgb(content: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const packed = content.subarray(content.indexOf(0) + 2);
  try {
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const profile = new Uint8Array(await new Response(unpacked).arrayBuffer());
    return String.fromCharCode(...profile.subarray(16, 20)) === "RGB ";
  } catch {
    return false;
  }
}

function decodePng(bytes: ArrayBuffer): Omit<Stored, "notes"> {
  const png = decode(bytes, { checkCrc: true });
  const { width, height, depth } = png;
  const size = width * height;
  let samples = png.data as Uint8Array | Uint16Array;
  let channels = png.channels;
  let alpha: Uint8Array | undefined;
  if (png.palette) {
    samples = convertIndexedToRgb(png);
    channels = samples.length / size;
  } else if (depth < 8) {
    samples = unpack(samples, width, height, depth);
  }
  if (samples.length !== size * channels) throw new Error("wrong number of pixels");
  const white = (1 << depth) - 1;
  if (!png.palette && png.transparency?.length === channels) {
    const key = png.transparency;
    alpha = new Uint8Array(size);
    for (let i = 0; i < size; i++) {
      let same = true;
      for (let c = 0; c < channels; c++) same &&= samples[i * channels + c] === key[c];
      alpha[i] = same ? 0 : 255;
    }
  }
  if (!png.palette && depth < 8) samples = samples.map((v) => (v * 255) / white);
  if (channels === 2 || channels === 4) {
    const colours = channels - 1;
    const data = depth === 16 ? new Uint16Array(size * colours) : new Uint8Array(size * colours);
    alpha = new Uint8Array(size);
    for (let i = 0; i < size; i++) {
      for (let c = 0; c < colours; c++) data[i * colours + c] = samples[i * channels + c];
      const opacity = samples[i * channels + colours];
      alpha[i] = depth === 16 ? Math.floor(opacity / 257 + 0.5) : opacity;
    }
    samples = data;
    channels = colours;
  }
  return { width, height, channels, data: samples, alpha };
}

/** Grey of 1, 2 or 4 bits: one number a pixel; rows begin at whole bytes. */
function unpack(packed: Uint8Array | Uint16Array, width: number, height: number, depth: number): Uint8Array {
  const out = new Uint8Array(width * height);
  const row = Math.ceil((width * depth) / 8);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      out[y * width + x] = (packed[y * row + (bit >> 3)] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
    }
  }
  return out;
}

async function decodeByBrowser(file: Blob, bytes: Uint8Array, kind: Kind, name: string): Promise<Stored> {
  if (kind === "webp" && String.fromCharCode(...bytes.subarray(12, 16)) === "VP8X" && bytes[20] & 2) {
    throw new Fault(`${name}: holds several frames`, "save the one frame that is meant as its own file");
  }
  if (kind === "jpeg" && !endsWhole(bytes)) throw new Fault(`${name}: damaged or cut short`, AGAIN);
  let bitmap: ImageBitmap;
  try {
    const options: ImageBitmapOptions = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    bitmap = await createImageBitmap(file, options);
  } catch {
    throw new Fault(`${name}: damaged, or of a kind that this browser does not decode`, EXPORT);
  }
  const { width, height } = bitmap;
  checkSize(width, height, name);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Fault(`${name}: this browser gives no memory for ${width}x${height}`, "close other pages");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; j < data.length; i += 4) {
    if (rgba[i + 3] !== 255) throw new Fault(`${name}: has transparent pixels`, "save it as PNG, or without them");
    data[j++] = rgba[i];
    data[j++] = rgba[i + 1];
    data[j++] = rgba[i + 2];
  }
  if (!readsTruly()) {
    const hint = "save it as PNG, which this page decodes itself, or allow the page to read canvases";
    throw new Fault(`${name}: this browser, to hide who it is, changes the pixels that pages read`, hint);
  }
  const profile = find(bytes, kind === "jpeg" ? "ICC_PROFILE\0" : "ICCP");
  const notes = profile ? ["Its colour profile is not kept in the result: save it as PNG to keep it."] : [];
  return { width, height, channels: 3, data, notes };
}

/** Whether a JPEG has its end mark; a few bytes may follow, or another picture. */
function endsWhole(bytes: Uint8Array): boolean {
  for (let i = bytes.length - 2; i > 1; i--) if (bytes[i] === 0xff && bytes[i + 1] === 0xd9) return true;
  return false;
}

/** Some browsers add noise to what is read of a canvas. */
function readsTruly(): boolean {
  const context = new OffscreenCanvas(64, 64).getContext("2d");
  if (!context) return false;
  const pattern = new ImageData(64, 64);
  for (let i = 0; i < pattern.data.length; i++) pattern.data[i] = i % 4 === 3 ? 255 : (i * 7919) % 256;
  context.putImageData(pattern, 0, 0);
  const seen = context.getImageData(0, 0, 64, 64).data;
  return seen.every((v, i) => v === pattern.data[i]);
}

function find(bytes: Uint8Array, text: string): boolean {
  const head = bytes.subarray(0, 1 << 16);
  return head.some((_, i) => [...text].every((c, k) => head[i + k] === c.charCodeAt(0)));
}

/** The tag Orientation in the EXIF of a PNG; 1 if there is none. */
function orientation(exif: Uint8Array): number {
  if (exif.length < 14) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.length);
  const little = exif[0] === 0x49;
  try {
    const ifd = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(ifd, little); i++) {
      const entry = ifd + 2 + 12 * i;
      if (view.getUint16(entry, little) === 274) return view.getUint16(entry + 8, little);
    }
  } catch {
    // a damaged note does not spoil the pixels
  }
  return 1;
}

export function isColour(data: Uint8Array | Uint16Array, channels: number): boolean {
  if (channels === 1) return false;
  for (let i = 0; i < data.length; i += 3) if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) return true;
  return false;
}

export function reason(e: unknown): string {
  return (e instanceof Error ? e.message : String(e)).split("\n")[0];
}
