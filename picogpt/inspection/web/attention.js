// Attention by layer and head: all heads in small, the chosen one large, and what a query looks at under the pointer.

import { colour, percent, visible } from "./colour.js";
import { element, svg } from "./dom.js";

const SMALL = 44; // pixels along a side of a head in small
const LABELS = 110; // pixels for the tokens beside and above the large one

// One pattern after another, layer by layer and head by head: the rows up to the diagonal, a byte for each cell.
export function readPatterns({ n_layer, n_head, bytes }, n) {
  const data = Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0));
  const size = (n * (n + 1)) / 2;
  return (layer, head, query, key) =>
    key > query ? 0 : data[(layer * n_head + head) * size + (query * (query + 1)) / 2 + key] / 255;
}

export function attentionView(tokens, attention) {
  const n = tokens.length;
  const share = readPatterns(attention, n);
  const said = element("p", { class: "said" });
  const large = element("div", { class: "large" });
  const small = element("div", { class: "heads" });
  const buttons = [];

  function choose(layer, head) {
    for (const button of buttons) {
      button.setAttribute("aria-pressed", button.dataset.head === `${layer}.${head}`);
    }
    said.textContent = `Head ${layer}.${head}: each row looks at the columns. Point at a cell.`;
    large.replaceChildren(largePattern(tokens, (query, key) => share(layer, head, query, key), said));
  }

  for (let layer = 0; layer < attention.n_layer; layer++) {
    const row = element("div", { class: "layer" });
    for (let head = 0; head < attention.n_head; head++) {
      const name = `${layer}.${head}`;
      const button = element("button", { title: `head ${name}`, "data-head": name, type: "button" });
      button.append(smallPattern(n, (query, key) => share(layer, head, query, key)), name);
      button.addEventListener("click", () => choose(layer, head));
      buttons.push(button);
      row.append(button);
    }
    small.append(row);
  }
  choose(0, 0);
  return element("div", { class: "attention" }, small, element("div", {}, said, large));
}

function smallPattern(n, share) {
  const canvas = element("canvas", { width: n, height: n, style: `width: ${SMALL}px; height: ${SMALL}px` });
  paint(canvas, n, 1, share);
  return canvas;
}

function paint(canvas, n, cell, share) {
  const context = canvas.getContext("2d");
  for (let query = 0; query < n; query++) {
    for (let key = 0; key <= query; key++) {
      context.fillStyle = colour(share(query, key));
      context.fillRect(key * cell, query * cell, cell, cell);
    }
  }
}

function largePattern(tokens, share, said) {
  const n = tokens.length;
  const cell = Math.max(4, Math.min(22, Math.floor(660 / n)));
  const side = n * cell;
  const canvas = element("canvas", { width: side, height: side, style: `left: ${LABELS}px; top: ${LABELS}px` });
  paint(canvas, n, cell, share);
  const picture = svg("svg", { width: side + LABELS, height: side + LABELS });
  const marks = svg("g", {});
  for (let i = 0; cell >= 9 && i < n; i++) {
    const middle = LABELS + (i + 0.7) * cell;
    const text = visible(tokens[i].token);
    picture.append(
      svg("text", { x: LABELS - 6, y: middle, "text-anchor": "end" }, text),
      svg("text", { transform: `translate(${middle},${LABELS - 6}) rotate(-90)` }, text),
    );
  }
  picture.append(marks);
  const box = element("div", { class: "pattern", style: `width: ${side + LABELS}px; height: ${side + LABELS}px` });
  box.append(canvas, picture);
  box.addEventListener("pointermove", (event) => {
    const place = canvas.getBoundingClientRect();
    const query = Math.floor((event.clientY - place.top) / cell);
    const key = Math.floor((event.clientX - place.left) / cell);
    marks.replaceChildren();
    if (query < 0 || query >= n || key < 0 || key > query) {
      return;
    }
    const frame = { fill: "none", stroke: "#d60" };
    marks.append(
      svg("rect", { x: LABELS, y: LABELS + query * cell, width: (query + 1) * cell, height: cell, ...frame }),
      svg("rect", { x: LABELS + key * cell, y: LABELS + query * cell, width: cell, height: cell, ...frame }),
    );
    const [from, to] = [query, key].map((i) => `“${visible(tokens[i].token)}” (${i})`);
    said.textContent = `${from} looks at ${to}: ${percent(share(query, key))}`;
  });
  return box;
}
