/** All that takes long, beside the page: decoding, the model, encoding. */

import { encode } from "fast-png";
import type * as ort from "onnxruntime-web/wasm";
import { Fault } from "./fault";
import { fuse, type Fused, hasColour, type Model, rgbaOf, rgbaOfFused, type Run, type Wanted } from "./fuse";
import { type Modality, type Picture, readPicture, reason } from "./images";

/** Where the model runs: chosen by the worker unless the page's address says so. */
export interface Setting {
  device: "auto" | "webgpu" | "wasm";
  /** 0: as many as there are processors, up to 8. */
  threads: number;
}

export type Ask =
  | { kind: "load"; setting: Setting }
  | { kind: "open"; modality: Modality; file: Blob; name: string }
  | { kind: "fuse"; wanted: Wanted }
  | { kind: "save"; fused: Fused };

export interface Answers {
  load: { model: Model; runsOn: string };
  open: { bitmap: ImageBitmap; width: number; height: number; bits: number; colour: boolean; notes: string[] };
  fuse: { bitmap: ImageBitmap; fused: Fused; seconds: number; runsOn: string };
  save: { file: Blob };
}

export type Told =
  | { id: number; answer: Answers[keyof Answers] }
  | { id: number; progress: [number, number] }
  | { id: number; fault: { message: string; hint: string } };

interface Engine {
  model: Model;
  name: string;
  run: Run;
  tensor: (data: Float32Array, dims: number[]) => ort.Tensor;
  isGpu: boolean;
}

const CPU_THREADS = 8;
const RELOAD = "load the page again; if that does not help, build it again";
const pictures: Partial<Record<Modality, Picture>> = {};
let setting: Setting = { device: "auto", threads: 0 };
let engine: Promise<Engine> | undefined;

const address = (name: string) => new URL(name, self.location.href).href;

async function fetched(name: string): Promise<Response> {
  const answer = await fetch(address(name)).catch(() => undefined);
  if (!answer?.ok) throw new Fault(`${name} could not be loaded`, RELOAD);
  return answer;
}

async function load(): Promise<Engine> {
  const model: Model = await (await fetched("model.json")).json();
  const file = new Uint8Array(await (await fetched("model.onnx")).arrayBuffer());
  let why = "";
  if (setting.device !== "wasm" && (await hasGpu())) {
    try {
      return await start(model, file, "webgpu");
    } catch (e) {
      if (setting.device === "webgpu") throw new Fault(`WebGPU cannot run the model (${reason(e)})`, "use ?device=wasm");
      why = `; WebGPU failed: ${reason(e)}`;
    }
  }
  try {
    const started = await start(model, file, "wasm");
    return { ...started, name: started.name + why };
  } catch (e) {
    throw new Fault(`the model cannot be started (${reason(e)})`, "use a browser of the last two years");
  }
}

/** A graphics card, or what passes for one if it was asked for. */
async function hasGpu(): Promise<boolean> {
  type Adapter = { info?: { isFallbackAdapter?: boolean } } | null;
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<Adapter> } }).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  return !!adapter && (setting.device === "webgpu" || !adapter.info?.isFallbackAdapter);
}

async function start(model: Model, file: Uint8Array, device: "webgpu" | "wasm"): Promise<Engine> {
  const isGpu = device === "webgpu";
  const lib: typeof ort = isGpu ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
  const base = `ort-wasm-simd-threaded${isGpu ? ".asyncify" : ""}`;
  const threads = self.crossOriginIsolated
    ? setting.threads || Math.min(navigator.hardwareConcurrency || 1, CPU_THREADS)
    : 1;
  lib.env.wasm.wasmPaths = { mjs: address(`${base}.mjs`), wasm: address(`${base}.wasm`) };
  lib.env.wasm.numThreads = threads;
  const options = { executionProviders: [device], logSeverityLevel: 3 } as const;
  const session = await lib.InferenceSession.create(file, options);
  const plural = threads === 1 ? "one thread" : `${threads} threads`;
  return {
    model,
    isGpu,
    name: isGpu ? "the graphics card (WebGPU)" : `the processor (WASM, ${plural})`,
    run: async (feed) => (await session.run(feed)).fused,
    tensor: (data, dims) => new lib.Tensor("float32", data, dims),
  };
}

async function answer(ask: Ask, progress: (done: number, total: number) => void): Promise<Answers[keyof Answers]> {
  switch (ask.kind) {
    case "load": {
      setting = ask.setting;
      const { model, name } = await (engine ??= load());
      return { model, runsOn: name };
    }
    case "open": {
      delete pictures[ask.modality];
      const picture = await readPicture(ask.file, ask.name, ask.modality);
      const { width, height, data, notes } = picture;
      const bitmap = await createImageBitmap(new ImageData(rgbaOf(picture), width, height));
      pictures[ask.modality] = picture;
      const bits = 8 * data.BYTES_PER_ELEMENT;
      return { bitmap, width, height, bits, colour: hasColour(picture), notes };
    }
    case "fuse": {
      const { ir, vis } = pictures;
      if (!ir || !vis) throw new Fault("a picture is missing", "choose an infrared and a visible image");
      const began = performance.now();
      let now = await (engine ??= load());
      const compute = () => fuse(now.model, { ir, vis }, ask.wanted, now.run, now.tensor, progress);
      let fused: Fused;
      try {
        fused = await compute();
      } catch (e) {
        if (!now.isGpu || setting.device === "webgpu") throw e;
        setting = { ...setting, device: "wasm" }; // a card that has too little memory, or a driver that fails
        engine = load().then((other) => ({ ...other, name: `${other.name}; WebGPU failed: ${reason(e)}` }));
        now = await engine;
        fused = await compute();
      }
      const seconds = (performance.now() - began) / 1000;
      const bitmap = await createImageBitmap(new ImageData(rgbaOfFused(fused), fused.width, fused.height));
      return { bitmap, fused, seconds, runsOn: now.name };
    }
    case "save":
      return { file: new Blob([encodePng(ask.fused)], { type: "image/png" }) };
  }
}

function encodePng({ profile, ...image }: Fused): Uint8Array<ArrayBuffer> {
  const png = encode(image) as Uint8Array<ArrayBuffer>;
  if (!profile) return png;
  const behindHeader = 33;
  const whole = new Uint8Array(png.length + profile.length);
  whole.set(png.subarray(0, behindHeader));
  whole.set(profile, behindHeader);
  whole.set(png.subarray(behindHeader), behindHeader + profile.length);
  return whole;
}

function faultOf(e: unknown): { message: string; hint: string } {
  if (e instanceof Fault) return { message: e.message, hint: e.hint };
  const said = reason(e);
  if (e instanceof RangeError || /memory|alloc/i.test(said)) {
    const hint = "close other pages, make both images smaller, or use lure fuse";
    return { message: `the pair needs more memory than this browser gives (${said})`, hint };
  }
  return { message: `it cannot be computed (${said})`, hint: "load the page again, or add ?device=wasm to its address" };
}

/** One thing after the other, in the order asked for; the model is loaded beside them. */
let last: Promise<void> = Promise.resolve();

self.onmessage = ({ data: { id, ask } }: MessageEvent<{ id: number; ask: Ask }>) => {
  const tell = (told: Told, parts: Transferable[] = []) => self.postMessage(told, { transfer: parts });
  const work = async () => {
    try {
      const told = await answer(ask, (done, total) => tell({ id, progress: [done, total] }));
      const parts: Transferable[] = "bitmap" in told ? [told.bitmap] : [];
      if ("fused" in told) parts.push(told.fused.data.buffer);
      tell({ id, answer: told }, parts);
    } catch (e) {
      if (ask.kind === "load") engine = undefined;
      tell({ id, fault: faultOf(e) });
    }
  };
  if (ask.kind === "load") work();
  else last = last.then(work);
};
