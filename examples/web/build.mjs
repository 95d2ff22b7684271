// npm run build [-- MODEL.onnx]: all of the page into dist/, from a model that `lure export onnx` wrote.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const model = process.argv[2] ?? join(here, "model.onnx");
const prompts = model.replace(/\.onnx$/, ".prompts.json");
const out = join(here, "dist");
const HINT = "hint: lure export onnx -o examples/web/model.onnx (in the project's folder)";

function stop(error) {
  console.error(`error: ${error}\n${HINT}`);
  process.exit(1);
}

for (const file of [model, prompts]) if (!existsSync(file)) stop(`${file}: no such file`);
let record;
try {
  record = JSON.parse(readFileSync(prompts));
} catch (e) {
  stop(`${prompts}: damaged (${e.message})`);
}
if (record.format !== 1) stop(`${prompts}: format ${record.format} is not known to this page`);

/** The fields of a protobuf message: its number, the field's bytes, and its content where that is a message or text. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * shift;
      if (!(byte & 128)) return value;
    }
  };
  while (at < bytes.length) {
    const first = at;
    const key = varint();
    const kind = key & 7;
    const length = kind === 2 ? varint() : { 1: 8, 5: 4 }[kind];
    if (kind === 0) varint();
    else if (length === undefined) throw new Error("not an ONNX file");
    else at += length;
    if (at > bytes.length) throw new Error("cut short");
    const content = kind === 2 ? bytes.subarray(at - length, at) : undefined;
    yield { number: key >> 3, bytes: bytes.subarray(first, at), content };
  }
}

function message(number, content) {
  const head = [];
  for (let value of [number * 8 + 2, content.length]) {
    for (; value > 127; value = Math.floor(value / 128)) head.push((value % 128) | 128);
    head.push(value);
  }
  return Buffer.concat([Buffer.from(head), content]);
}

/** onnxruntime-web knows no input that may be left out, which has a value in the file: without the values of these it
 * takes them as any other. */
function withoutDefaults(file) {
  const optional = ["strength_ir", "strength_vis", "thumb_ir", "thumb_vis"];
  const [GRAPH, INITIALIZER, NAME] = [7, 5, 8]; // of ModelProto, GraphProto, TensorProto
  let left = 0;
  const isDefault = (tensor) => [...fields(tensor)].some((f) => f.number === NAME && optional.includes(`${f.content}`));
  const ofGraph = ({ number, bytes, content }) => {
    const out = number === INITIALIZER && isDefault(content);
    left += out;
    return out ? [] : [bytes];
  };
  const parts = [...fields(file)].map(({ number, bytes, content }) =>
    number === GRAPH ? message(GRAPH, Buffer.concat([...fields(content)].flatMap(ofGraph))) : bytes,
  );
  if (left !== optional.length) throw new Error("its inputs are not those of a model of LURE");
  return Buffer.concat(parts);
}

let graph;
try {
  graph = withoutDefaults(readFileSync(model));
} catch (e) {
  stop(`${model}: damaged or not ours (${e.message})`);
}

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "example"), { recursive: true });
await build({
  entryPoints: ["page.ts", "worker.ts"].map((name) => join(here, "src", name)),
  outdir: out,
  bundle: true,
  splitting: true, // the runtime for the graphics card is its own file, loaded where there is one
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "eof",
  conditions: ["onnxruntime-web-use-extern-wasm"], // its .wasm stays a file of its own, from `wasmPaths`
  logLevel: "warning",
});
for (const name of ["index.html", "style.css", "isolate.js"]) copyFileSync(join(here, "src", name), join(out, name));
for (const kind of ["", ".asyncify"]) {
  for (const end of ["mjs", "wasm"]) {
    const name = `ort-wasm-simd-threaded${kind}.${end}`;
    copyFileSync(join(here, "node_modules", "onnxruntime-web", "dist", name), join(out, name));
  }
}
writeFileSync(join(out, "model.onnx"), graph);
const { multiple, reach, degradations, config, prompts: vectors } = record;
const kept = { model: record.model, multiple, reach, degradations, tone: config.tone, prompts: vectors };
writeFileSync(join(out, "model.json"), JSON.stringify(kept));
const street = join(here, "..", "street");
copyFileSync(join(street, "ir_noisy.png"), join(out, "example", "infrared.png"));
copyFileSync(join(street, "vis_hazy.png"), join(out, "example", "visible.png"));
const licences = ["fast-png", "fflate", "iobuffer"].map(
  (name) => `${name}\n\n${readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8")}`,
);
licences.push("onnxruntime-web\n\nCopyright (c) Microsoft Corporation. Under the MIT License, as above.\n");
writeFileSync(join(out, "licences.txt"), licences.join("\n----\n\n"));
console.log(out);
