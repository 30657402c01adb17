// Attention by layer and head: all heads in small, the chosen one large, and what a query looks at under the pointer.

import { percent, shareColours, visible } from "./colour.js";
import { element } from "./dom.js";
import { heatMap } from "./heatmap.js";

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
  const large = element("div", { class: "large" });
  const grid = headGrid(attention, n, share, (layer, head) => {
    const title = element("p", {}, `Head ${layer}.${head}: each row looks at the columns. Point at a cell.`);
    large.replaceChildren(title, patternView(tokens, (query, key) => share(layer, head, query, key)));
  });
  grid.choose(0, 0);
  return element("div", { class: "attention" }, grid, large);
}

// A button for every head, with its pattern of n × n cells in small; `chosen(layer, head)` is called for the one that
// is pressed, and by `choose`.
export function headGrid({ n_layer, n_head }, n, share, chosen) {
  const grid = element("div", { class: "heads", role: "group", "aria-label": "all heads, layer by layer" });
  const buttons = [];
  for (let layer = 0; layer < n_layer; layer++) {
    const row = element("div", { class: "layer" });
    for (let head = 0; head < n_head; head++) {
      const name = `${layer}.${head}`;
      const picture = smallPattern(n, (query, key) => share(layer, head, query, key));
      const attributes = { type: "button", title: `head ${name}`, "aria-label": `head ${name}`, "data-head": name };
      buttons.push(element("button", { ...attributes, onclick: () => grid.choose(layer, head) }, picture, name));
      row.append(buttons.at(-1));
    }
    grid.append(row);
  }
  grid.choose = (layer, head) => {
    for (const button of buttons) {
      button.setAttribute("aria-pressed", button.dataset.head === `${layer}.${head}`);
    }
    return chosen(layer, head);
  };
  return grid;
}

function smallPattern(n, share) {
  const canvas = element("canvas", { width: n, height: n, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(n, n);
  const { table, index } = shareColours();
  for (let query = 0; query < n; query++) {
    for (let key = 0; key <= query; key++) {
      image.data.set([...table[index(share(query, key))], 255], 4 * (query * n + key));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// One head's pattern: a row for each query, a column for each key.
export function patternView(tokens, share, more = {}) {
  const names = tokens.map(({ token }) => visible(token));
  return heatMap({
    rows: tokens.length,
    columns: tokens.length,
    value: share,
    colours: shareColours,
    name: "attention pattern",
    names: { rows: names, columns: names },
    describe: (query, key) =>
      key > query ? "" : `“${names[query]}” (${query}) looks at “${names[key]}” (${key}): ${percent(share(query, key))}`,
    ...more,
  });
}
