// Fuse a pair with an exported model in Node.js (npm install onnxruntime-node sharp; `lure export onnx` made the model).
// node fuse.js MODEL.onnx IR VIS OUT [VIS_PROMPT [IR_PROMPT]]       prompts such as haze+noise, or none
const fs = require("fs");
const ort = require("onnxruntime-node");
const sharp = require("sharp");

async function read(file, channels) { // (1, C, H, W), float32 in [0, 1]
  let image = sharp(file).removeAlpha().toColourspace("srgb");
  if (channels === 1) image = image.extractChannel(0);
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  const planes = new Float32Array(data.length), size = info.width * info.height;
  for (let i = 0; i < data.length; i++) planes[(i % channels) * size + Math.floor(i / channels)] = data[i] / 255;
  return new ort.Tensor("float32", planes, [1, channels, info.height, info.width]);
}

async function main([model, ir, vis, out, ofVis = "none", ofIr = "none"]) {
  const { prompts } = JSON.parse(fs.readFileSync(model.replace(/\.onnx$/, ".prompts.json")));
  const vector = (v) => new ort.Tensor("float32", Float32Array.from(v), [1, v.length]);
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  const feed = { ir: await read(ir, 1), vis: await read(vis, 3) };
  Object.assign(feed, { prompt_ir: vector(prompts.ir[ofIr]), prompt_vis: vector(prompts.vis[ofVis]) });
  const { fused } = await session.run(feed); // (1, 3, H, W) in [0, 1]
  const [, , height, width] = fused.dims, size = width * height, pixels = Buffer.alloc(3 * size);
  for (let i = 0; i < 3 * size; i++) pixels[(i % size) * 3 + Math.floor(i / size)] = Math.round(fused.data[i] * 255);
  await sharp(pixels, { raw: { width, height, channels: 3 } }).toFile(out);
}

main(process.argv.slice(2));
