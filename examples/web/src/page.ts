/** What is seen: the form, and the wipe. All that takes long is done by the worker. */

import { Fault } from "./fault";
import type { Fused, Model, Wanted } from "./fuse";
import type { Modality } from "./images";
import type { Answers, Ask, Setting, Told } from "./worker";

const WORDS: Record<string, string> = {
  lowlight: "low light",
  overexposure: "over-exposure",
  lowres: "low resolution",
  lowcontrast: "low contrast",
  stripe: "stripes",
};
const NAMES: Record<Modality, string> = { ir: "infrared", vis: "visible" };
const MODALITIES = ["ir", "vis"] as const;
const NOTHING: Wanted = { prompts: { ir: [], vis: [] }, strength: { ir: 1, vis: 1 } };

const $ = <T extends HTMLElement>(selector: string) => document.querySelector(selector) as T;
const wordOf = (name: string) => WORDS[name] ?? name;

type Source = Answers["open"] & { file: File };

/** What is on show: the sources' pictures and the fused ones, all of one pair. */
interface Shown {
  bitmaps: Partial<Record<"ir" | "vis" | "plain" | "fused", ImageBitmap>>;
  other: "ir" | "vis" | "plain";
  fused: Fused;
  name: string;
}

class Cancelled extends Error {}

// The worker

let worker: Worker | undefined;
let asked = 0;
const waiting = new Map<number, { done: (a: never) => void; failed: (e: unknown) => void }>();

function ask<K extends Ask["kind"]>(question: Ask & { kind: K }): Promise<Answers[K]> {
  worker ??= start();
  const id = ++asked;
  worker.postMessage({ id, ask: question });
  return new Promise<Answers[K]>((done, failed) => waiting.set(id, { done: done as (a: never) => void, failed }));
}

function start(): Worker {
  const started = new Worker(new URL("worker.js", document.baseURI), { type: "module" });
  started.onmessage = ({ data }: MessageEvent<Told>) => {
    if ("progress" in data) return showProgress(...data.progress);
    const { done, failed } = waiting.get(data.id) ?? {};
    waiting.delete(data.id);
    if ("fault" in data) failed?.(new Fault(data.fault.message, data.fault.hint));
    else done?.(data.answer as never);
  };
  started.onerror = (event) => {
    event.preventDefault();
    stop(new Fault(`the computation broke off (${event.message || "no reason given"})`, "close other pages, try again"));
    refill();
  };
  return started;
}

/** End the worker at once; what it was asked fails with `why`. A new one has to be given the pictures again. */
function stop(why: unknown): void {
  worker?.terminate();
  worker = undefined;
  for (const { failed } of waiting.values()) failed(why);
  waiting.clear();
}

function refill(): void {
  load();
  for (const m of MODALITIES) {
    const source = sources[m];
    if (source) ask({ kind: "open", modality: m, file: source.file, name: source.file.name }).catch(tell);
  }
}

// The form

const sources: Partial<Record<Modality, Source>> = {};
/** What is being read, or was. */
const reading: Partial<Record<Modality, Promise<void>>> = {};
let shown: Shown | undefined;
let busy = false;

function tell(e: unknown): void {
  if (e instanceof Cancelled) return;
  const { message, hint } = e instanceof Fault ? e : { message: String(e), hint: "load the page again" };
  $("#message").textContent = message;
  $("#hint").textContent = hint;
  $("#fault").hidden = false;
}

function status(text: string): void {
  $("#status").textContent = text;
}

function showProgress(done: number, total: number): void {
  if (!busy) return;
  const bar = $<HTMLProgressElement>("#progress");
  if (total > 1) {
    bar.max = total;
    bar.value = done;
    status(`Fusing: part ${Math.min(done + 1, total)} of ${total}`);
  } else {
    bar.removeAttribute("value");
    status("Fusing …");
  }
}

/** While something is computed only Cancel can be pressed. */
async function during(what: string, work: () => Promise<void>): Promise<void> {
  if (busy) return;
  const focused = document.activeElement as HTMLElement | null;
  const bar = $<HTMLProgressElement>("#progress");
  $("#fault").hidden = true;
  status(what);
  bar.removeAttribute("value");
  lock(true);
  try {
    await work();
    status("");
  } catch (e) {
    status(e instanceof Cancelled ? "Cancelled." : "");
    tell(e);
  } finally {
    const left = document.activeElement === $("#cancel") || document.activeElement === document.body;
    lock(false);
    if (left) focused?.focus();
  }
}

function lock(on: boolean): void {
  busy = on;
  $("#progress").hidden = $("#cancel").hidden = !on;
  $("#fuse").toggleAttribute("aria-disabled", on);
  const others = ".source input, #example, #save, #compare input";
  for (const control of document.querySelectorAll<HTMLInputElement | HTMLButtonElement>(others)) control.disabled = on;
}

async function choose(m: Modality, file: File): Promise<void> {
  const box = $(`#${m}`);
  const chosen = box.querySelector<HTMLElement>(".chosen")!;
  $("#fault").hidden = true;
  hideResult();
  chosen.hidden = true;
  delete sources[m];
  try {
    const read = await ask({ kind: "open", modality: m, file, name: file.name });
    sources[m] = { ...read, file };
    draw(box.querySelector("canvas")!, read.bitmap, 240);
    const parts = [`${file.name}: ${read.width}×${read.height}, ${read.bits} bits.`, ...read.notes];
    box.querySelector(".about")!.textContent = parts.join(" ");
    chosen.hidden = false;
  } catch (e) {
    tell(e);
  }
}

/** The same size, and something to say where the two look swapped. */
function checkPair(): { ir: Source; vis: Source } {
  const { ir, vis } = sources;
  if (!ir || !vis) {
    const missing = ir ? "visible" : "infrared";
    throw new Fault(`no ${missing} image is chosen`, `choose the ${missing} image, or take the example pair`);
  }
  if (ir.width !== vis.width || ir.height !== vis.height) {
    throw new Fault(
      `${ir.file.name} is ${ir.width}x${ir.height} but ${vis.file.name} is ${vis.width}x${vis.height}`,
      "resize or crop one of them so that both show the same view",
    );
  }
  return { ir, vis };
}

function wanted(): Wanted {
  const of = (m: Modality) => [...document.querySelectorAll<HTMLInputElement>(`#${m} .wrong input:checked`)];
  const strength = (m: Modality) => $<HTMLInputElement>(`#${m} .strength input`).valueAsNumber;
  return {
    prompts: { ir: of("ir").map((i) => i.value), vis: of("vis").map((i) => i.value) },
    strength: { ir: strength("ir"), vis: strength("vis") },
  };
}

async function fuse(): Promise<void> {
  await during("Loading the model …", async () => {
    await Promise.all(Object.values(reading));
    const { ir, vis } = checkPair();
    const settings = wanted();
    const { bitmap, fused, seconds, runsOn } = await ask({ kind: "fuse", wanted: settings });
    $("#runs-on").textContent = runsOn;
    const name = `${vis.file.name.replace(/\.[^.]*$/, "")}_fused.png`;
    shown = { bitmaps: { ir: ir.bitmap, vis: vis.bitmap, fused: bitmap }, other: "vis", fused, name };
    const asks = MODALITIES.filter((m) => settings.prompts[m].length).map(
      (m) => `${settings.prompts[m].map(wordOf).join(", ")} in the ${NAMES[m]} image (strength ${settings.strength[m]})`,
    );
    if (!asks.length) shown.bitmaps.plain = bitmap;
    const swapped = ir.colour && !vis.colour ? " Infrared is in colour and visible is grey: were they swapped?" : "";
    const took = `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
    $("#caption").textContent = `Fused${asks.length ? `; removed: ${asks.join("; ")}` : " as they are"}. ${took}.${swapped}`;
    $("#result").hidden = false;
    $("#before").hidden = true;
    await showPair();
    $("#result").scrollIntoView({ block: "nearest" });
  });
}

async function save(): Promise<void> {
  const { fused, name } = shown!;
  await during(`Writing ${name} …`, async () => {
    const { file } = await ask({ kind: "save", fused });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
}

function cancel(): void {
  stop(new Cancelled());
  refill();
}

// The wipe

const view = $("#view");
const sheet = $("#sheet");
const over = $<HTMLCanvasElement>("#over");
const wipe = $<HTMLInputElement>("#wipe");
const zoom = $<HTMLSelectElement>("#zoom");

function draw(canvas: HTMLCanvasElement, bitmap: ImageBitmap, largest = Infinity): void {
  const scale = Math.min(1, largest / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

function hideResult(): void {
  shown = undefined;
  $("#result").hidden = true;
  $("#before").hidden = false;
}

/** Draw both; plain fusion is computed when it is first asked for. */
async function showPair(): Promise<void> {
  const { bitmaps } = shown!;
  const other = $<HTMLInputElement>("#compare input:checked").value as Shown["other"];
  try {
    bitmaps[other] ??= (await ask({ kind: "fuse", wanted: NOTHING })).bitmap;
  } catch (e) {
    $<HTMLInputElement>(`#compare [value=${shown!.other}]`).checked = true;
    throw e;
  }
  shown!.other = other;
  draw($("#under"), bitmaps[other]);
  draw(over, bitmaps.fused!);
  $("#left").textContent = other === "plain" ? "plain fusion" : NAMES[other];
  layOut();
}

/** Sizes for the chosen zoom; what is in the middle stays there. */
function layOut(): void {
  if (!shown || $("#result").hidden) return;
  const { width, height } = shown.fused;
  const { paddingLeft, paddingRight } = getComputedStyle($("#result"));
  const room = $("#result").clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  const fit = Math.min(room / width, Math.max(240, 0.68 * innerHeight) / height, 4);
  const scale = Number(zoom.value) || fit;
  const middle = [
    (view.scrollLeft + view.clientWidth / 2) / sheet.offsetWidth,
    (view.scrollTop + view.clientHeight / 2) / sheet.offsetHeight,
  ];
  sheet.style.width = `${width * scale}px`;
  sheet.style.height = `${height * scale}px`;
  sheet.classList.toggle("pixels", scale >= 2 || scale === 1);
  $("#bench").style.width = `${Math.min(room, width * scale)}px`;
  if (middle.every(Number.isFinite)) {
    view.scrollLeft = middle[0] * sheet.offsetWidth - view.clientWidth / 2;
    view.scrollTop = middle[1] * sheet.offsetHeight - view.clientHeight / 2;
  }
  view.classList.toggle("pans", pans());
  clip();
}

const pans = () => sheet.offsetWidth > view.clientWidth + 1 || sheet.offsetHeight > view.clientHeight + 1;

/** The fused picture is shown from the divider on, which stays in its place while the picture is moved. */
function clip(): void {
  const share = wipe.valueAsNumber / 100;
  const at = view.scrollLeft + share * view.clientWidth;
  over.style.clipPath = `inset(0 0 0 ${at}px)`;
  $("#divider").style.left = `${share * view.clientWidth}px`;
  wipe.setAttribute("aria-valuetext", `${wipe.value} % ${$("#left").textContent}, the rest fused`);
}

function dragged(element: HTMLElement, move: (event: PointerEvent) => void, may = (_: PointerEvent) => true): void {
  element.addEventListener("pointerdown", (event) => {
    if (event.button || !may(event)) return;
    element.setPointerCapture(event.pointerId);
    element.addEventListener("pointermove", move);
    const end = () => element.removeEventListener("pointermove", move);
    element.addEventListener("lostpointercapture", end, { once: true });
  });
}

function wipeTo(event: PointerEvent): void {
  const { left } = view.getBoundingClientRect();
  wipe.value = String(((event.clientX - left) / view.clientWidth) * 100);
  clip();
}

// The start

/** Threads need headers that static hosts do not send: `isolate.js` adds them, from the next load of the page on. */
async function isolate(): Promise<void> {
  if (crossOriginIsolated || !isSecureContext || !("serviceWorker" in navigator)) return;
  if (navigator.serviceWorker.controller) return; // it did not help
  const controlled = new Promise<boolean>((done) => {
    navigator.serviceWorker.addEventListener("controllerchange", () => done(true), { once: true });
    setTimeout(() => done(false), 3000);
  });
  try {
    await navigator.serviceWorker.register("isolate.js");
  } catch {
    return; // one thread does it too
  }
  if ((await controlled) && !reading.ir && !reading.vis) {
    location.reload();
    await new Promise(() => {}); // nothing is begun before that
  }
}

function load(): Promise<Answers["load"]> {
  const query = new URLSearchParams(location.search);
  const device = query.get("device") ?? "auto";
  if (device !== "auto" && device !== "webgpu" && device !== "wasm") {
    throw new Fault(`?device=${device} is not known`, "use auto, webgpu or wasm");
  }
  const setting: Setting = { device, threads: Math.max(0, Math.floor(Number(query.get("threads"))) || 0) };
  return ask({ kind: "load", setting });
}

function addDegradations({ degradations }: Model): void {
  for (const m of MODALITIES) {
    const box = $(`#${m} .wrong`);
    box.replaceChildren(
      ...degradations[m].map((name) => {
        const label = document.createElement("label");
        const input = document.createElement("input");
        input.type = "checkbox";
        input.value = name;
        label.append(input, wordOf(name));
        return label;
      }),
    );
  }
}

async function begin(): Promise<void> {
  const known: Model = await (await fetch("model.json")).json();
  addDegradations(known);
  await isolate();
  document.body.dataset.ready = "";
  const { model, runsOn } = await load();
  $("#model").textContent = model.model;
  $("#runs-on").textContent = runsOn;
}

for (const m of MODALITIES) {
  const input = $<HTMLInputElement>(`#${m} input[type=file]`);
  input.addEventListener("change", () => {
    if (input.files?.[0]) reading[m] = choose(m, input.files[0]);
  });
  $(`#${m}`).addEventListener("drop", (event) => {
    const file = event.dataTransfer?.files[0];
    if (!file || busy) return;
    input.value = "";
    reading[m] = choose(m, file);
  });
  const range = $<HTMLInputElement>(`#${m} .strength input`);
  range.addEventListener("input", () => {
    $(`#${m} output`).textContent = range.valueAsNumber.toFixed(2);
  });
}
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault()); // nor opened instead
$("#form").addEventListener("submit", (event) => {
  event.preventDefault();
  fuse();
});
$("#cancel").addEventListener("click", cancel);
$("#example").addEventListener("click", async () => {
  for (const [m, name] of [["ir", "infrared.png"], ["vis", "visible.png"]] as const) {
    const answer = await fetch(`example/${name}`);
    reading[m] = choose(m, new File([await answer.blob()], name));
    $<HTMLInputElement>(`#${m} input[type=file]`).value = "";
  }
  for (const input of document.querySelectorAll<HTMLInputElement>(".wrong input")) {
    input.checked = input.matches("#ir [value=noise], #vis [value=haze]");
  }
  await fuse();
});
$("#save").addEventListener("click", save);
$("#compare").addEventListener("change", () => during("Fusing …", showPair));
zoom.addEventListener("change", layOut);
wipe.addEventListener("input", clip);
view.addEventListener("scroll", clip);
addEventListener("resize", layOut);
addEventListener("keydown", (event) => event.key === "Escape" && busy && cancel());
dragged($("#divider"), wipeTo);
dragged(
  view,
  (event) => {
    if (pans()) view.scrollBy(-event.movementX, -event.movementY);
    else wipeTo(event);
  },
  (event) => event.pointerType === "mouse",
);
begin().catch(tell);
