// A matrix as colours: on a canvas, so that millions of cells are no burden; with zoom, with the names of rows and
// columns where there is room for them, and with the value under the pointer or under the arrow keys.

import { element } from "./dom.js";

const LABELS = 100; // the most pixels for the names at the left, and above
const LABELLED = 10; // pixels of a cell from which on it has its name beside it
const LARGEST = 40; // pixels of a cell at the strongest zoom

// `value(row, column)` is a number, `colours()` the scale for it, `describe(row, column)` what is said of a cell; a
// cell for which that is empty cannot be pointed at. `pick` is called with the cell that is clicked, or Enter.
export function heatMap({ rows, columns, value, colours, describe, name, names = {}, cell = {}, pick, point }) {
  const canvas = element("canvas", { tabindex: 0, role: "application", "aria-roledescription": "heat map" });
  canvas.setAttribute("aria-label", `${name}, ${rows} rows and ${columns} columns: arrow keys move, + and − zoom`);
  const said = element("output", { class: "said" });
  const small = document.createElement("canvas");
  const left = room(names.rows);
  const top = room(names.columns);
  let at = null; // the cell under the pointer
  let zoom = 1;
  let x = 0; // the part of the picture, in pixels of its own, that is at the corner
  let y = 0;
  let size = null; // what `measure` finds

  function paint() {
    Object.assign(small, { width: columns, height: rows });
    const { table, index } = colours();
    const context = small.getContext("2d");
    const image = context.createImageData(columns, rows);
    let place = 0;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, place += 4) {
        const parts = table[index(value(row, column))];
        image.data[place] = parts[0];
        image.data[place + 1] = parts[1];
        image.data[place + 2] = parts[2];
        image.data[place + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  // Cells that fill the width, within limits; and where a zoomed picture is larger than its window, the window.
  function measure() {
    const space = Math.max(120, box.clientWidth) - left;
    const fit = Math.min(space / columns, cell.width ?? 32);
    const width = zoom > 1 ? Math.min(Math.max(LARGEST, fit), fit * zoom) : fit;
    const flat = cell.height ?? Math.max(fit, Math.min(16, 420 / rows));
    const height = zoom > 1 ? Math.min(Math.max(LARGEST, flat), Math.max(flat, flat * (width / fit))) : flat;
    const window_ = { width: Math.min(space, columns * width), height: Math.min(Math.max(rows * flat, 60), rows * height) };
    size = { width, height, window: window_ };
    x = Math.max(0, Math.min(x, columns * width - window_.width));
    y = Math.max(0, Math.min(y, rows * height - window_.height));
  }

  function draw() {
    measure();
    const { width, height, window: shown } = size;
    const ratio = window.devicePixelRatio || 1;
    const [all, high] = [left + shown.width, top + shown.height];
    Object.assign(canvas, { width: Math.round(all * ratio), height: Math.round(high * ratio) });
    Object.assign(canvas.style, { width: `${all}px`, height: `${high}px` });
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = width < 1 || height < 1;
    const part = [x / width, y / height, shown.width / width, shown.height / height];
    context.drawImage(small, ...part, left, top, shown.width, shown.height);
    const ink = getComputedStyle(box).color;
    context.fillStyle = ink;
    context.font = "11px ui-monospace, monospace";
    context.textBaseline = "middle";
    if (names.rows && height >= LABELLED) {
      context.textAlign = "right";
      for (let row = Math.ceil(y / height - 0.5); row < rows && (row + 0.5) * height - y < shown.height; row++) {
        context.fillText(short(names.rows[row]), left - 6, top + (row + 0.5) * height - y);
      }
    }
    if (names.columns && width >= LABELLED) {
      context.textAlign = "left";
      for (let column = Math.ceil(x / width - 0.5); column < columns && (column + 0.5) * width - x < shown.width; column++) {
        context.save();
        context.translate(left + (column + 0.5) * width - x, top - 6);
        context.rotate(-Math.PI / 2);
        context.fillText(short(names.columns[column]), 0, 0);
        context.restore();
      }
    }
    if (at !== null) {
      context.strokeStyle = ink;
      context.beginPath();
      context.rect(left, top, shown.width, shown.height);
      context.clip();
      const [place, line] = [left + at[1] * width - x, top + at[0] * height - y];
      context.globalAlpha = 0.35;
      context.strokeRect(left - 1, line, shown.width + 2, height);
      context.globalAlpha = 1;
      context.lineWidth = 2;
      context.strokeRect(place, line, Math.max(width, 2), Math.max(height, 2));
    }
  }

  function cellAt(event) {
    const place = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - place.left - left + x) / size.width);
    const row = Math.floor((event.clientY - place.top - top + y) / size.height);
    const inside = event.clientX - place.left >= left && event.clientY - place.top >= top;
    return inside && row < rows && column < columns ? [row, column] : null;
  }

  function look(cellNow) {
    const words = cellNow && describe(...cellNow);
    at = words ? cellNow : null;
    said.textContent = words || "\u00a0";
    canvas.dataset.cell = at ? at.join(",") : "";
    point?.(at);
    draw();
  }

  function enlarge(factor, event) {
    measure();
    const place = canvas.getBoundingClientRect();
    const from = event ? [event.clientX - place.left - left, event.clientY - place.top - top] : [size.window.width / 2, size.window.height / 2];
    const [column, row] = [(x + from[0]) / size.width, (y + from[1]) / size.height];
    zoom = Math.max(1, Math.min(LARGEST / Math.min(size.width, size.height) * zoom, zoom * factor));
    measure();
    [x, y] = [column * size.width - from[0], row * size.height - from[1]];
    draw();
  }

  function onKey(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      const next = at ? [at[0] + step[0], at[1] + step[1]] : [0, 0];
      if (next[0] >= 0 && next[0] < rows && next[1] >= 0 && next[1] < columns && describe(...next)) {
        x = Math.min(Math.max(x, (next[1] + 1) * size.width - size.window.width), next[1] * size.width);
        y = Math.min(Math.max(y, (next[0] + 1) * size.height - size.window.height), next[0] * size.height);
        look(next);
      }
    } else if (event.key === "Enter" && at) {
      pick?.(...at);
    } else if ("+=-0".includes(event.key)) {
      enlarge({ "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 1e-9 }[event.key]);
    } else {
      return;
    }
    event.preventDefault();
  }

  let held = null; // where the pointer went down, and where it is now
  canvas.addEventListener("keydown", onKey);
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held && zoom > 1 && (held.moved || Math.hypot(event.clientX - held.x, event.clientY - held.y) > 4)) {
      [x, y] = [x + held.x - event.clientX, y + held.y - event.clientY];
      held = { x: event.clientX, y: event.clientY, moved: true };
      draw();
    } else {
      look(cellAt(event));
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const where = cellAt(event);
    if (held && !held.moved && where && describe(...where)) {
      look(where);
      pick?.(...where);
    }
    held = null;
  });
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey) {
      event.preventDefault();
      enlarge(event.deltaY < 0 ? 1.25 : 0.8, event);
    }
  }, { passive: false });

  const button = (label, title, factor) =>
    element("button", { type: "button", class: "zoom", title, "aria-label": title, onclick: () => enlarge(factor) }, label);
  const tools = element("div", { class: "tools" }, said, button("−", "zoom out", 1 / 1.5), button("+", "zoom in", 1.5));
  const box = element("div", { class: "heatmap" }, tools, canvas);
  paint();
  new ResizeObserver(() => draw()).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    paint();
    draw();
  });
  said.textContent = "\u00a0";
  box.look = (row, column) => look([row, column]);
  return box;
}

function room(labels) {
  return labels ? Math.min(LABELS, 12 + 7 * Math.max(...labels.map((label) => short(label).length))) : 0;
}

function short(label) {
  return label.length > 13 ? `${label.slice(0, 12)}…` : label;
}
