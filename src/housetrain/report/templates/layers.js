"use strict";
// Shows the first convolution at work in the elements of layers_widget.html below `root`; returns what stops it.
function showLayers(root, { pixels, kernels, biases, maps, numbers, stride, pad }) {
  const side = kernels[0].length, channels = pixels[0][0].length, rows = maps[0].length, columns = maps[0][0].length;
  const at = { filter: 0, row: Math.floor(rows / 2), column: Math.floor(columns / 2), shown: rows * columns };
  const get = (id) => root.querySelector(`#${id}`);
  const text = (value) => value.toFixed(2).replace("-", "\u2212");
  const relu = (value) => Math.max(0, value);
  const pooled = (map) => Array.from({ length: Math.floor(rows / 2) }, (_, r) => Array.from({ length: Math.floor(columns / 2) }, (_, c) =>
    Math.max(map[2 * r][2 * c], map[2 * r][2 * c + 1], map[2 * r + 1][2 * c], map[2 * r + 1][2 * c + 1])));

  function paint(canvas, height, width, color, box) {
    const size = Math.max(1, Math.floor(300 / Math.max(height, width)));
    canvas.width = width * size;
    canvas.height = height * size;
    const pen = canvas.getContext("2d");
    for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) {
      pen.fillStyle = color(r, c);
      pen.fillRect(c * size, r * size, size, size);
    }
    if (box) {
      pen.strokeStyle = "#e8590c";
      pen.lineWidth = Math.max(2, size / 3);
      pen.strokeRect(box[1] * size, box[0] * size, box[2] * size, box[2] * size);
    }
  }
  function scaled(values) {
    const all = values.flat(Infinity), low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b));
    return (value) => Math.round(255 * (value - low) / (high - low || 1));
  }
  const gray = (level) => `rgb(${level},${level},${level})`;
  const toPixel = scaled(pixels);
  const pixel = (r, c) => channels === 3 ? `rgb(${pixels[r][c].map(toPixel).join()})` : gray(toPixel(pixels[r][c][0]));
  const inside = (r, c) => r >= 0 && c >= 0 && r < pixels.length && c < pixels[0].length;

  function grid(id, value) {
    const table = get(id);
    table.replaceChildren();
    for (let r = 0; r < side; r++) {
      const line = table.insertRow();
      for (let c = 0; c < side; c++) line.insertCell().textContent = text(value(r, c));
    }
  }
  function draw() {
    const map = maps[at.filter], active = map.map((line) => line.map(relu)), small = pooled(active);
    const top = at.row * stride - pad, left = at.column * stride - pad;
    paint(get("input"), pixels.length, pixels[0].length, pixel, [top, left, side]);
    const toMap = scaled(map), toActive = scaled(active), toSmall = scaled(small);
    const hidden = (r, c) => r * columns + c >= at.shown;
    paint(get("map"), rows, columns, (r, c) => hidden(r, c) ? "transparent" : gray(toMap(map[r][c])), [at.row, at.column, 1]);
    paint(get("active"), rows, columns, (r, c) => hidden(r, c) ? "transparent" : gray(toActive(active[r][c])), [at.row, at.column, 1]);
    const block = [Math.floor(at.row / 2), Math.floor(at.column / 2)];
    paint(get("small"), small.length, small[0].length, (r, c) => hidden(2 * r + 1, 2 * c + 1) ? "transparent" : gray(toSmall(small[r][c])), [...block, 1]);
    const channel = Number(get("channel").value);
    const seen = (r, c, k) => inside(top + r, left + c) ? pixels[top + r][left + c][k] : 0;
    grid("window", (r, c) => seen(r, c, channel));
    grid("weights", (r, c) => kernels[at.filter][r][c][channel]);
    grid("products", (r, c) => seen(r, c, channel) * kernels[at.filter][r][c][channel]);
    const sums = Array.from({ length: channels }, (_, k) => {
      let sum = 0;
      for (let r = 0; r < side; r++) for (let c = 0; c < side; c++) sum += seen(r, c, k) * kernels[at.filter][r][c][k];
      return sum;
    });
    const total = sums.reduce((a, b) => a + b) + biases[at.filter];
    get("sum").textContent = `${sums.map(text).join(" + ")} + bias ${text(biases[at.filter])} = ${text(total)}`;
    get("relu").textContent = `ReLU: ${text(relu(total))}`;
    get("pool").textContent = block[0] < small.length && block[1] < small[0].length ? `largest of its 2 × 2 block: ${text(small[block[0]][block[1]])}` : "at the edge: no whole 2 × 2 block";
    get("row").value = at.row;
    get("column").value = at.column;
  }
  get("row").max = rows - 1;
  get("column").max = columns - 1;
  for (const name of ["row", "column"]) get(name).addEventListener("input", () => { at[name] = Number(get(name).value); draw(); });
  numbers.forEach((number, index) => get("filter").append(new Option(`filter ${number + 1}`, index)));
  for (let k = 0; k < channels; k++) get("channel").append(new Option(channels === 3 ? ["red", "green", "blue"][k] : `channel ${k + 1}`, k));
  get("channel").parentElement.hidden = channels === 1;
  get("filter").addEventListener("change", () => { at.filter = Number(get("filter").value); draw(); });
  get("channel").addEventListener("change", draw);
  get("input").addEventListener("click", (event) => {
    const box = get("input").getBoundingClientRect();
    const r = Math.floor((event.clientY - box.top) / box.height * pixels.length), c = Math.floor((event.clientX - box.left) / box.width * pixels[0].length);
    at.row = Math.max(0, Math.min(rows - 1, Math.round((r + pad - (side - 1) / 2) / stride)));
    at.column = Math.max(0, Math.min(columns - 1, Math.round((c + pad - (side - 1) / 2) / stride)));
    draw();
  });
  let timer = 0;
  get("play").addEventListener("click", () => {
    if (timer) { clearInterval(timer); timer = 0; at.shown = rows * columns; get("play").textContent = "Slide the window"; draw(); return; }
    at.shown = 0;
    get("play").textContent = "Stop";
    timer = setInterval(() => {
      at.shown += Math.max(1, Math.round(rows * columns / 600));
      const place = Math.min(at.shown, rows * columns) - 1;
      at.row = Math.floor(place / columns);
      at.column = place % columns;
      draw();
      if (at.shown >= rows * columns) { clearInterval(timer); timer = 0; get("play").textContent = "Slide the window"; }
    }, 30);
  });
  get("layers").hidden = false;
  draw();
  return () => clearInterval(timer);
}
