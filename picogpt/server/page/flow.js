// The way of the data, from tokens to probabilities: every station with its numbers and its line of model.py.

import { signedColours, shareColours, visible } from "./colour.js";
import { element, svg } from "./dom.js";
import { heatMap } from "./heatmap.js";
import { select } from "./parts.js";

const AROUND = 6; // lines of model.py shown before and after a station's own

// A station: its value's name, its formula, where it stands (column, row of the drawing; width in columns), its shape,
// and what it is. `n` is the number of tokens.
const STATIONS = [
  ["embed", "wte[ids]", 1, 1, 2, ["n", "n_embd"], "The embedding: for each token its row of wte, what the token is."],
  ["pos_embed", "wpe[positions]", 3, 1, 2, ["n", "n_embd"], "The position embedding: for each place its row of wpe, where the token is."],
  ["resid_pre", "x", 0, 3, 1, ["n", "n_embd"], "The residual stream as it enters the block: all that was added so far. Each block reads it and adds to it."],
  ["ln1.normalized", "ln_1(x)", 1, 4, 4, ["n", "n_embd"], "The first norm: mean 0 and variance 1 at each position, then scaled and shifted."],
  ["attn.q", "q", 1, 5, 1, ["n", "d_head"], "The queries, a third of what c_attn makes of the normed stream: what each token looks for."],
  ["attn.k", "k", 2, 5, 1, ["n", "d_head"], "The keys, another third of c_attn: what each token offers to be found by."],
  ["attn.v", "v", 3, 5, 2, ["n", "d_head"], "The values, the last third of c_attn: what each token gives to those that look at it."],
  ["attn.scores", "q kᵀ / √d + mask", 1, 6, 2, ["n", "n"], "The scores: every query times every key, divided by √d. Later keys are masked with −10¹⁰."],
  ["attn.pattern", "softmax", 1, 7, 2, ["n", "n"], "The pattern: the softmax of the scores. Each row says how a token’s attention is shared out, and sums to one."],
  ["attn.z", "pattern · v", 1, 8, 4, ["n", "d_head"], "The mixture of values that each query gets, for each head."],
  ["attn_out", "c_proj", 1, 9, 4, ["n", "n_embd"], "c_proj puts the heads together: what attention adds to the residual stream."],
  ["resid_mid", "x", 0, 10, 1, ["n", "n_embd"], "The residual stream between the two halves of the block."],
  ["ln2.normalized", "ln_2(x)", 1, 11, 4, ["n", "n_embd"], "The second norm, before the feed-forward network."],
  ["mlp.pre", "c_fc", 1, 12, 2, ["n", "n_inner"], "The hidden layer of the feed-forward network before its activation, four times as wide."],
  ["mlp.post", "gelu", 3, 12, 2, ["n", "n_inner"], "The same after gelu: what is clearly negative becomes almost zero."],
  ["mlp_out", "c_proj", 1, 13, 4, ["n", "n_embd"], "Its c_proj, back to the width of the stream: what the feed-forward network adds."],
  ["resid_post", "x", 0, 14, 1, ["n", "n_embd"], "The residual stream after the block; it is what the next block reads."],
  ["ln_final.normalized", "ln_f(x)", 1, 16, 4, ["n", "n_embd"], "The last norm gives the last hidden states."],
  ["logits", "ln_f(x) · wteᵀ", 1, 17, 4, ["n", "n_vocab"], "The logits: the last hidden state times every token’s embedding. The larger, the likelier that token is next."],
].map(([name, formula, column, row, width, shape, words]) => ({ name, formula, column, row, width, shape, words }));
const IN_BLOCK = new Set(STATIONS.slice(2, 17).map(({ name }) => name));
const [LEFT, COLUMN, ROW, HEIGHT] = [18, 84, 52, 40]; // pixels; HEIGHT is a box's
const STREAM = LEFT + 38; // where the residual stream runs

export const flow = {
  id: "flow",
  title: "The way of the data",
  lead: "From the prompt’s tokens to the next one’s probabilities. The line at the left is the residual stream: each block reads it, and adds what attention and the feed-forward network say. Choose a station.",
  async show(root, app) {
    const [{ tokens }, { source }] = await Promise.all([app.ask({ tokens: {} }), app.ask({ source: {} })]);
    const sizes = { ...app.model, n: tokens.length, d_head: app.model.n_embd / app.model.n_head, n_inner: "n_inner" };
    const layers = Array.from({ length: app.model.n_layer }, (_, i) => [i, `${i}`]);
    const panel = element("div", { class: "panel", "aria-live": "polite" });
    const layer = select("block", "block", layers, Math.min(app.state.layer, app.model.n_layer - 1), (value) => {
      app.set({ layer: Number(value) });
      choose(app.state.station);
    });

    async function choose(name) {
      app.set({ station: name });
      for (const node of picture.querySelectorAll("[data-station]")) {
        node.setAttribute("aria-pressed", node.dataset.station === name);
      }
      const station = STATIONS.find((one) => one.name === name) ?? STATIONS[0];
      panel.replaceChildren(...(await stationPanel(station, app, tokens, source, () => choose(name))));
    }
    const picture = drawing(sizes, async (name) => {
      await choose(name);
      if (matchMedia("(max-width: 60em)").matches) {
        panel.scrollIntoView({ behavior: "smooth", block: "start" });
      }
    });
    root.append(element("div", { class: "way" }, element("div", {}, layer, picture), panel));
    await choose(app.state.station);
  },
};

function drawing(sizes, choose) {
  const y = (row) => row * ROW;
  const height = y(19);
  const picture = svg("svg", { viewBox: `0 0 ${LEFT + 5 * COLUMN} ${height}`, role: "group", "aria-label": "the way of the data" });
  const middle = (row) => y(row) + HEIGHT / 2;
  const wire = (...points) => svg("polyline", { points: points.map((point) => point.join(",")).join(" "), class: "wire" });
  const right = LEFT + COLUMN;
  const centre = LEFT + 3 * COLUMN;
  const note = (x, at, text, attributes = {}) => svg("text", { x, y: at, class: "note", ...attributes }, text);
  const plus = (row) => svg("g", { class: "plus" }, svg("circle", { cx: STREAM, cy: middle(row), r: 10 }), svg("text", { x: STREAM, y: middle(row) + 1 }, "+"));

  picture.append(
    svg("rect", { x: 4, y: y(2.62), width: LEFT + 5 * COLUMN - 8, height: y(12.5), rx: 10, class: "frame" }),
    note(LEFT + 5 * COLUMN - 14, y(3.05), `block, ${sizes.n_layer} in a row`, { "text-anchor": "end" }),
    wire([STREAM, middle(2)], [STREAM, middle(16)], [right, middle(16)]),
    wire([right + COLUMN, middle(1)], [right + COLUMN, middle(2)], [STREAM, middle(2)]),
    wire([right + 3 * COLUMN, middle(1)], [right + 3 * COLUMN, middle(2)], [STREAM, middle(2)]),
    wire([STREAM, middle(4)], [right, middle(4)]),
    wire([centre, middle(4)], [centre, middle(9)]),
    wire([right + 0.5 * COLUMN, middle(4)], [right + 0.5 * COLUMN, middle(6)]),
    wire([right + 1.5 * COLUMN, middle(4)], [right + 1.5 * COLUMN, middle(6)]),
    wire([right + COLUMN, middle(6)], [right + COLUMN, middle(8)]),
    wire([right + 3 * COLUMN, middle(4)], [right + 3 * COLUMN, middle(8)]),
    wire([right + 0.5 * COLUMN, middle(9)], [right + 0.5 * COLUMN, middle(10)], [STREAM, middle(10)]),
    wire([STREAM, middle(11)], [right, middle(11)]),
    wire([right + COLUMN, middle(11)], [right + COLUMN, middle(12)], [right + 3 * COLUMN, middle(12)], [right + 3 * COLUMN, middle(13)]),
    wire([right + 0.5 * COLUMN, middle(13)], [right + 0.5 * COLUMN, middle(14)], [STREAM, middle(14)]),
    wire([centre, middle(16)], [centre, middle(18)]),
    svg("text", { x: centre, y: middle(0), class: "end" }, `${sizes.n} tokens`),
    wire([right + COLUMN, middle(0) + 14], [right + COLUMN, y(1)]),
    wire([right + 3 * COLUMN, middle(0) + 14], [right + 3 * COLUMN, y(1)]),
    svg("text", { x: centre, y: middle(18), class: "end" }, "softmax: probabilities"),
    plus(2), plus(10), plus(14),
    ...STATIONS.map((station) => box(station, sizes, choose)),
  );
  return picture;
}

function box({ name, formula, column, row, width, shape }, sizes, choose) {
  const onStream = column === 0;
  const [x, y] = onStream ? [STREAM, row * ROW + HEIGHT / 2] : [LEFT + column * COLUMN + 4, row * ROW];
  const size = width * COLUMN - 8;
  const label = `${name}: ${formula}`;
  const node = svg("g", { class: "station", role: "button", tabindex: 0, "aria-label": label, "data-station": name, "aria-pressed": false });
  if (onStream) {
    const offset = { resid_pre: 0, resid_mid: ROW / 2 + 2, resid_post: ROW / 2 + 2 }[name];
    node.append(svg("circle", { cx: x, cy: y + offset, r: 9 }), svg("text", { x, y: y + offset + 1 }, "x"));
  } else {
    const numbers = shape.map((part) => (part === "n_inner" ? 4 * sizes.n_embd : sizes[part])).join(" × ");
    const heads = ["attn.q", "attn.k", "attn.v", "attn.scores", "attn.pattern", "attn.z"].includes(name) ? `${sizes.n_head} × ` : "";
    const small = width === 1 && `${heads}${numbers}`.length > 11;
    node.append(
      svg("rect", { x, y, width: size, height: HEIGHT, rx: 6 }),
      svg("text", { x: x + size / 2, y: y + 14 }, formula),
      svg("text", { x: x + size / 2, y: y + 29, class: small ? "shape small" : "shape" }, `${heads}${numbers}`),
    );
  }
  node.append(svg("title", {}, name));
  node.addEventListener("click", () => choose(name));
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(name);
    }
  });
  return node;
}

async function stationPanel({ name, formula, words }, app, tokens, source, again) {
  const layer = Math.min(app.state.layer, app.model.n_layer - 1);
  const whole = IN_BLOCK.has(name) ? `blocks.${layer}.${name}` : name;
  const title = element("h2", {}, formula, " ", element("code", {}, whole));
  const parts = [title, element("p", {}, words)];
  const ofHeads = name.startsWith("attn.");
  const ofPairs = name === "attn.scores" || name === "attn.pattern";
  let head = Math.min(app.state.head, app.model.n_head - 1);
  if (ofHeads) {
    const choices = Array.from({ length: app.model.n_head }, (_, i) => [i, `${i}`]);
    parts.push(select("head", "head", choices, head, (value) => {
      app.set({ head: Number(value) });
      again();
    }));
  }
  if (name === "logits") {
    parts.push(...(await logitsPart(app, tokens)));
  } else {
    const array = await app.array(ofHeads ? { name: whole, head } : { name: whole });
    parts.push(...matrixPart(array, tokens, ofPairs, name));
  }
  parts.push(element("h3", {}, `Line ${source.lines[name]} of model.py makes it`), excerpt(source.text, source.lines[name]));
  return parts;
}

function matrixPart({ data, shape: [rows, columns] }, tokens, ofPairs, name) {
  const masked = (value) => value < -6e4; // what the mask makes of scores, in float16 too
  const limit = typicalLimit(data);
  const norm = Math.sqrt(data.reduce((sum, value) => sum + (masked(value) ? 0 : value * value), 0));
  const names = tokens.map(({ token }) => visible(token));
  const isShare = name === "attn.pattern";
  const map = heatMap({
    rows,
    columns,
    value: (row, column) => (masked(data[row * columns + column]) ? 0 : data[row * columns + column]),
    colours: isShare ? shareColours : () => signedColours(limit),
    name,
    names: ofPairs ? { rows: names, columns: names } : { rows: names },
    cell: ofPairs ? {} : { width: 26 },
    describe: (row, column) => {
      const value = data[row * columns + column];
      const at = ofPairs ? `“${names[column]}” (${column})` : `${column}`;
      return `“${names[row]}” (${row}), ${at}: ${masked(value) ? "masked" : value.toPrecision(5).replace("-", "−")}`;
    },
  });
  const scale = isShare ? "white is 0, full colour is 1" : `full colour is ±${limit.toPrecision(3)} and beyond`;
  return [element("p", { class: "facts" }, `shape ${rows} × ${columns} · norm ${norm.toPrecision(4)} · ${scale}`), map];
}

async function logitsPart(app, tokens) {
  const { next } = await app.ask({ next: { k: 10 } });
  const rows = next.map(({ token, id, logit }) =>
    element("tr", {}, element("th", { scope: "row" }, visible(token)), element("td", {}, String(id)), element("td", {}, logit.toFixed(3))),
  );
  const all = element("button", { type: "button", onclick: () => app.go({ view: "probabilities" }) }, "All of them, with their softmax");
  const head = ["token", "id", "logit"].map((words) => element("th", { scope: "col" }, words));
  return [
    element("p", { class: "facts" }, `shape ${tokens.length} × ${app.model.n_vocab}; the largest after the last token:`),
    element("table", { class: "numbers" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
    all,
  ];
}

// A few features of the residual stream are far larger than all others: colours are for what is typical.
function typicalLimit(data) {
  const step = Math.max(1, Math.floor(data.length / 20000));
  const sizes = [];
  for (let i = 0; i < data.length; i += step) {
    if (data[i] > -6e4) {
      sizes.push(Math.abs(data[i]));
    }
  }
  sizes.sort((a, b) => a - b);
  return sizes[Math.floor(0.995 * (sizes.length - 1))] || 1;
}

function excerpt(text, line) {
  const lines = text.split("\n");
  const first = Math.max(0, line - 1 - AROUND);
  const shown = lines.slice(first, line + AROUND).map((words, i) => {
    const number = element("span", { class: "number" }, String(first + i + 1).padStart(4));
    return element("span", { class: first + i + 1 === line ? "line made" : "line" }, number, ` ${words}\n`);
  });
  return element("pre", { class: "source", tabindex: 0, "aria-label": "model.py" }, ...shown);
}
