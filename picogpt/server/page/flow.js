// The way of the data, from tokens to probabilities: every station with its numbers and its line of model.py.

import { signedColours, shareColours, visible } from "./colour.js";
import { element, svg } from "./dom.js";
import { heatMap } from "./heatmap.js";
import { select, signed } from "./parts.js";

const AROUND = 6; // lines of model.py shown before and after a station's own

// A station: its value's name, its formula, where it stands (column, row of the drawing; width in columns), its shape,
// and what it is. `n` is the number of tokens.
const STATIONS = [
  ["embed", "wte[ids]", 1, 1, 3, ["n", "n_embd"], "The embedding: for each token its row of wte, what the token is."],
  ["pos_embed", "wpe[positions]", 4, 1, 3, ["n", "n_embd"], "The position embedding: for each place its row of wpe, where the token is."],
  ["resid_pre", "x", 0, 3, 1, ["n", "n_embd"], "The residual stream as it enters the block: all that was added so far. Each block reads it and adds to it."],
  ["ln1.normalized", "ln_1(x)", 1, 4, 6, ["n", "n_embd"], "The first norm: mean 0 and variance 1 at each position, then scaled and shifted."],
  ["attn.q", "q", 1, 5, 2, ["n", "d_head"], "The queries, a third of what c_attn makes of the normed stream: what each token looks for."],
  ["attn.k", "k", 3, 5, 2, ["n", "d_head"], "The keys, another third of c_attn: what each token offers to be found by."],
  ["attn.v", "v", 5, 5, 2, ["n", "d_head"], "The values, the last third of c_attn: what each token gives to those that look at it."],
  ["attn.scores", "q kᵀ / √d + mask", 1, 6, 4, ["n", "n"], "The scores: every query times every key, divided by √d. Later keys are masked with −10¹⁰."],
  ["attn.pattern", "softmax", 1, 7, 4, ["n", "n"], "The pattern: the softmax of the scores. Each row says how a token’s attention is shared out, and sums to one."],
  ["attn.z", "pattern · v", 1, 8, 6, ["n", "d_head"], "The mixture of values that each query gets, for each head."],
  ["attn_out", "c_proj", 1, 9, 6, ["n", "n_embd"], "c_proj puts the heads together: what attention adds to the residual stream."],
  ["resid_mid", "x", 0, 10, 1, ["n", "n_embd"], "The residual stream between the two halves of the block."],
  ["ln2.normalized", "ln_2(x)", 1, 11, 6, ["n", "n_embd"], "The second norm, before the feed-forward network."],
  ["mlp.pre", "c_fc", 1, 12, 3, ["n", "n_inner"], "The hidden layer of the feed-forward network before its activation, four times as wide."],
  ["mlp.post", "gelu", 4, 12, 3, ["n", "n_inner"], "The same after gelu: what is clearly negative becomes almost zero."],
  ["mlp_out", "c_proj", 1, 13, 6, ["n", "n_embd"], "Its c_proj, back to the width of the stream: what the feed-forward network adds."],
  ["resid_post", "x", 0, 14, 1, ["n", "n_embd"], "The residual stream after the block; it is what the next block reads."],
  ["ln_final.normalized", "ln_f(x)", 1, 16, 6, ["n", "n_embd"], "The last norm gives the last hidden states."],
  ["logits", "ln_f(x) · wteᵀ", 1, 17, 6, ["n", "n_vocab"], "The logits: the last hidden state times every token’s embedding. The larger, the likelier that token is next."],
].map(([name, formula, column, row, width, shape, words]) => ({ name, formula, column, row, width, shape, words }));
const PER_HEAD = new Set(STATIONS.map(({ name }) => name).filter((name) => name.startsWith("attn.")));
const IN_BLOCK = new Set(STATIONS.slice(2, 17).map(({ name }) => name));
const [COLUMN, ROW, HEIGHT, WIDTH] = [56, 52, 40, 440]; // pixels; HEIGHT is a box's, WIDTH that of all
const STREAM = 46; // where the residual stream runs
const FIRST = 92; // where the boxes begin
const BELOW = ROW / 2 + 2; // from a sum to the station of its result

export const flow = {
  id: "flow",
  title: "The way of the data",
  lead: "From the prompt’s tokens to the next one’s probabilities. The line at the left is the residual stream: each block reads it, and adds what attention and the feed-forward network say. Choose a station.",
  async show(root, app) {
    const [{ tokens }, { source }] = await Promise.all([app.ask({ tokens: {} }), app.ask({ source: {} })]);
    const sizes = { ...app.model, n: tokens.length, d_head: app.model.n_embd / app.model.n_head };
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
      panel.setAttribute("aria-busy", "true");
      const parts = await stationPanel(station, app, tokens, source, () => choose(name));
      if (app.state.station === name) {
        panel.replaceChildren(...parts);
        panel.setAttribute("aria-busy", "false");
      }
    }
    const picture = drawing(sizes, async (name) => {
      await choose(name);
      if (matchMedia("(max-width: 60em)").matches) {
        panel.scrollIntoView({ behavior: "smooth", block: "start" });
      }
    }, () => app.go({ view: "probabilities", position: -1 }));
    root.append(element("div", { class: "way" }, element("div", {}, layer, picture), panel));
    await choose(app.state.station);
  },
};

function drawing(sizes, choose, finish) {
  const middle = (row) => row * ROW + HEIGHT / 2;
  const x = (column) => FIRST + (column - 1) * COLUMN; // the left edge of a column
  const [left, centre, right] = [x(2.5), x(4), x(5.5)];
  const wire = (...points) => svg("polyline", { points: points.map((point) => point.join(",")).join(" "), class: "wire" });
  const words = (at, y, text, kind) => svg("text", { x: at, y, class: kind }, text);
  const plus = (row) => svg("g", { class: "plus" }, svg("circle", { cx: STREAM, cy: middle(row), r: 10 }), words(STREAM, middle(row) + 1, "+", ""));
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${19 * ROW}`, role: "group", "aria-label": "the way of the data" },
    svg("rect", { x: 4, y: 2.62 * ROW, width: WIDTH - 8, height: 12.55 * ROW, rx: 10, class: "frame" }),
    words(WIDTH - 18, 3.2 * ROW, `one of ${sizes.n_layer} blocks`, "note"),
    wire([STREAM, middle(2)], [STREAM, middle(16)], [FIRST, middle(16)]),
    ...[left, right].flatMap((at) => [wire([at, middle(0) + 12], [at, ROW]), wire([at, middle(1)], [at, middle(2)], [STREAM, middle(2)])]),
    wire([STREAM, middle(4)], [FIRST, middle(4)]),
    ...[x(2), x(4)].map((at) => wire([at, middle(4)], [at, middle(6)])),
    wire([x(3), middle(6)], [x(3), middle(8)]),
    wire([x(6), middle(4)], [x(6), middle(8)]),
    wire([centre, middle(8)], [centre, middle(9)]),
    wire([x(2), middle(9)], [x(2), middle(10)], [STREAM, middle(10)]),
    wire([STREAM, middle(11)], [FIRST, middle(11)]),
    wire([left, middle(11)], [left, middle(12)], [right, middle(12)], [right, middle(13)]),
    wire([x(2), middle(13)], [x(2), middle(14)], [STREAM, middle(14)]),
    wire([centre, middle(16)], [centre, middle(18) - 12]),
    words(centre, middle(0), `${sizes.n} tokens`, "end"),
    pressable(svg("g", { class: "station", role: "button", tabindex: 0 }, words(centre, middle(18), "softmax: the probabilities", "end link")), finish),
    plus(2),
    plus(10),
    plus(14),
    ...STATIONS.map((station) => box(station, sizes, x, choose)),
  );
}

function box({ name, formula, column, row, width, shape }, sizes, x, choose) {
  const attributes = { role: "button", tabindex: 0, "aria-label": `${name}: ${formula}`, "data-station": name, "aria-pressed": false };
  const node = svg("g", { class: "station", ...attributes }, svg("title", {}, name));
  if (column === 0) {
    const y = row * ROW + HEIGHT / 2 + (name === "resid_pre" ? 0 : BELOW);
    node.append(svg("circle", { cx: STREAM, cy: y, r: 10 }), svg("text", { x: STREAM, y: y + 1 }, formula));
  } else {
    const [from, y, size] = [x(column) + 4, row * ROW, width * COLUMN - 8];
    const numbers = shape.map((part) => (part === "n_inner" ? 4 * sizes.n_embd : sizes[part]));
    const all = PER_HEAD.has(name) ? [sizes.n_head, ...numbers] : numbers;
    node.append(
      svg("rect", { x: from, y, width: size, height: HEIGHT, rx: 6 }),
      svg("text", { x: from + size / 2, y: y + 14 }, formula),
      svg("text", { x: from + size / 2, y: y + 29, class: "shape" }, all.join(" × ")),
    );
  }
  return pressable(node, () => choose(name));
}

function pressable(node, act) {
  node.addEventListener("click", act);
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      act();
    }
  });
  return node;
}

async function stationPanel({ name, formula, words }, app, tokens, source, again) {
  const layer = Math.min(app.state.layer, app.model.n_layer - 1);
  const whole = IN_BLOCK.has(name) ? `blocks.${layer}.${name}` : name;
  const title = element("h2", {}, formula, " ", element("code", {}, whole));
  const parts = [title, element("p", {}, words)];
  const ofHeads = PER_HEAD.has(name);
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
    element("tr", {}, element("th", { scope: "row" }, visible(token)), element("td", {}, String(id)), element("td", {}, signed(logit, 3))),
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
    return element("span", { class: first + i + 1 === line ? "line made" : "line" }, number, ` ${words}`);
  });
  return element("pre", { class: "source", tabindex: 0, "aria-label": "model.py" }, ...shown);
}
