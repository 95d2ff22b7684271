// The comparison: two of several pictures of one size on top of each other, with a wipe, zoom and pan.
// `element`, `props` and `watch` are given by the page around it.
const $ = (name) => element.querySelector(`[data-part="${name}"]`);
const stage = $("stage"), under = $("under"), over = $("over"), wipe = $("wipe"), line = $("line"), zoomText = $("zoom");
let layers = [], size = [1, 1], scale = 1, fit = 1, x = 0, y = 0, shown = "";

function place() {
  const box = stage.getBoundingClientRect();
  const width = size[0] * scale, height = size[1] * scale;
  x = width <= box.width ? (box.width - width) / 2 : Math.min(0, Math.max(box.width - width, x));
  y = height <= box.height ? (box.height - height) / 2 : Math.min(0, Math.max(box.height - height, y));
  for (const image of [under, over]) {
    image.style.width = `${width}px`;
    image.style.height = `${height}px`;
    image.style.transform = `translate(${x}px, ${y}px)`;
    image.style.imageRendering = scale >= 2 ? "pixelated" : "auto";
  }
  const cut = (wipe.value / 100) * box.width;
  over.style.clipPath = `inset(0 ${Math.max(0, width - (cut - x))}px 0 0)`;
  line.style.left = `${cut}px`;
  zoomText.textContent = `${Math.round(scale * 100)} %`;
}

function zoomTo(next, at) {
  const box = stage.getBoundingClientRect();
  const [ax, ay] = at || [box.width / 2, box.height / 2];
  next = Math.min(32, Math.max(Math.min(fit, 1), next));
  x = ax - ((ax - x) * next) / scale;
  y = ay - ((ay - y) * next) / scale;
  scale = next;
  place();
}

function fitAll() {
  stage.style.height = `min(70vh, ${Math.round((stage.clientWidth * size[1]) / size[0])}px)`;
  const box = stage.getBoundingClientRect();
  fit = scale = Math.min(box.width / size[0], box.height / size[1]);
  x = y = 0;
  place();
}

function choose(select, image, side) {
  const layer = layers.find((each) => each.name === select.value) || layers[0];
  if (!layer) return;
  image.src = layer.url;
  image.alt = `${side}: ${layer.name}`;
}

function fill(select, wanted, keep) {
  const name = keep && select.value ? select.value : wanted;
  select.replaceChildren(...layers.map((layer) => new Option(layer.name, layer.name)));
  select.value = layers.some((layer) => layer.name === name) ? name : layers[0].name;
}

function show() {
  const value = props.value || {};
  const key = JSON.stringify(value);
  if (key === shown) return;
  shown = key;
  const before = layers.map((layer) => layer.name).join();
  layers = value.layers || [];
  const clip = $("clip");
  element.firstElementChild.classList.toggle("film", Boolean(value.clip));
  value.clip ? (clip.src = value.clip) : clip.removeAttribute("src");
  const same = before === layers.map((layer) => layer.name).join();
  element.firstElementChild.classList.toggle("empty", layers.length === 0);
  if (!layers.length) return;
  const resized = String(size) !== String(value.size);
  size = value.size;
  fill($("left"), value.left, same);
  fill($("right"), value.right, same);
  choose($("left"), over, "left");
  choose($("right"), under, "right");
  resized ? fitAll() : place();
  if (value.right === "result" && innerWidth < 700) element.scrollIntoView({ block: "start" });  // it is far below
}

$("left").addEventListener("change", (event) => choose(event.target, over, "left"));
$("right").addEventListener("change", (event) => choose(event.target, under, "right"));
wipe.addEventListener("input", place);
$("in").addEventListener("click", () => zoomTo(scale * 1.5));
$("out").addEventListener("click", () => zoomTo(scale / 1.5));
$("one").addEventListener("click", () => zoomTo(1));
$("fit").addEventListener("click", fitAll);
stage.addEventListener("wheel", (event) => {
  if (!layers.length) return;
  event.preventDefault();
  const box = stage.getBoundingClientRect();
  zoomTo(scale * Math.exp(-event.deltaY / 400), [event.clientX - box.left, event.clientY - box.top]);
}, { passive: false });

let held = null;
stage.addEventListener("pointerdown", (event) => {
  const box = stage.getBoundingClientRect();
  const onLine = Math.abs(event.clientX - box.left - (wipe.value / 100) * box.width) < 24;
  held = { wipe: onLine, x: event.clientX - x, y: event.clientY - y };
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  if (!held) return;
  const box = stage.getBoundingClientRect();
  if (held.wipe) wipe.value = Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100));
  else [x, y] = [event.clientX - held.x, event.clientY - held.y];
  place();
});
stage.addEventListener("pointerup", () => (held = null));
stage.addEventListener("pointercancel", () => (held = null));
stage.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
  if (steps[event.key]) [x, y] = [x + steps[event.key][0], y + steps[event.key][1]];
  else if (event.key === "+" || event.key === "=") return zoomTo(scale * 1.5);
  else if (event.key === "-") return zoomTo(scale / 1.5);
  else if (event.key === "0") return fitAll();
  else if (event.key === "1") return zoomTo(1);
  else return;
  event.preventDefault();
  place();
});
new ResizeObserver(() => layers.length && (scale === fit ? fitAll() : place())).observe(stage);
watch("value", show);
show();
