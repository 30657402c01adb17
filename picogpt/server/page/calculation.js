// One query of one head, from its product with every key to what the head adds to the residual stream.

import { signedColours, visible } from "./colour.js";
import { element } from "./dom.js";
import { heatMap } from "./heatmap.js";
import { bar, signed } from "./parts.js";

const KEYS = 60; // rows of the table; of more keys those that get most
const LATER = 2; // keys after the query that show what the mask does
const MASK = -1e10;

// q, k, v: [n_seq, d] of one head. The same formulas as attention() in model.py, with each step kept.
export function attend(q, k, v, n, d, query) {
  const row = (of, i) => of.subarray(i * d, (i + 1) * d);
  const dot = (a, b) => a.reduce((sum, number, i) => sum + number * b[i], 0);
  const keys = Array.from({ length: n }, (_, key) => key);
  const products = keys.map((key) => dot(row(q, query), row(k, key)));
  const scaled = products.map((product) => product / Math.sqrt(d));
  const scores = scaled.map((number, key) => number + (key > query ? MASK : 0));
  const most = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - most));
  const sum = powers.reduce((a, b) => a + b);
  const pattern = powers.map((power) => power / sum);
  const z = Float64Array.from({ length: d }, (_, i) => keys.reduce((total, key) => total + pattern[key] * v[key * d + i], 0));
  return { products, scaled, scores, pattern, z };
}

// z [d] times the rows of c_proj that are this head's, [d, n_embd].
export function project(z, w, n_embd) {
  return Float64Array.from({ length: n_embd }, (_, column) => z.reduce((sum, number, i) => sum + number * w[i * n_embd + column], 0));
}

export async function calculation(root, app, tokens, { layer, head, query, key }, chooseKey) {
  const name = (value) => ({ name: `blocks.${layer}.attn.${value}`, head });
  const [q, k, v, w] = await Promise.all(["q", "k", "v", "c_proj"].map((value) => app.array(name(value))));
  if (app.state.layer !== layer || app.state.head !== head) {
    return; // another head was chosen meanwhile
  }
  const [n, d] = q.shape;
  const n_embd = w.shape[1];
  const steps = attend(q.data, k.data, v.data, n, d, query);
  key = key < 0 ? steps.pattern.indexOf(Math.max(...steps.pattern)) : Math.min(key, query);
  const out = project(steps.z, w.data, n_embd);
  const rowOf = (of, i) => of.data.subarray(i * d, (i + 1) * d);
  const [queryRow, keyRow, valueRow] = [rowOf(q, query), rowOf(k, key), rowOf(v, key)];
  const limit = largest([queryRow, keyRow]);
  const word = (i) => `“${visible(tokens[i].token)}”`;

  const isOff = app.state.off.split(",").includes(`${layer}.${head}`);
  root.replaceChildren(
    element("p", { class: "note" }, isOff ? "This head is switched off: what it computes here is replaced by zeros." : ""),
    step("1", "Query meets key", `q · k: the query of ${word(query)} and the key of ${word(key)}, number by number, and the sum of their products.`,
      strip("q", queryRow, limit),
      strip("k", keyRow, limit),
      strip("q × k", queryRow.map((number, i) => number * keyRow[i])),
      sum(`q · k = ${number(steps.products[key])}`, `${number(steps.products[key])} / √${d} = ${number(steps.scaled[key])}`),
    ),
    step("2", "Scores and shares", `Each product is divided by √d = √${d} = ${Math.sqrt(d).toFixed(3)}. The mask adds −10¹⁰ to later keys, whose share is then zero; softmax makes shares of the rest. Choose a key.`,
      scoreTable(tokens, steps, query, key, chooseKey),
    ),
    step("3", "Mixture of the values", `Each value is taken by its share, and z is the sum. Shown is the value of ${word(key)}, then its part, then z.`,
      strip("v", valueRow),
      strip(`× ${steps.pattern[key].toFixed(4)}`, valueRow.map((number) => number * steps.pattern[key]), largest([valueRow])),
      strip("z", steps.z),
    ),
    step("4", "c_proj", `z times this head’s ${d} rows of c_proj, ${d} × ${n_embd}, is what the head adds to the residual stream at ${word(query)}.`,
      strip("z · c_proj", out),
      sum(`its norm is ${number(Math.hypot(...out))}`),
    ),
  );
}

function step(count, title, words, ...parts) {
  return element("div", { class: "step", "data-step": count }, element("h3", {}, `${count}. ${title}`), element("p", {}, words), ...parts);
}

function sum(...lines) {
  return element("p", { class: "sum" }, lines.join("\n"));
}

function number(value) {
  return value < MASK / 2 ? "−10¹⁰" : signed(value, 3);
}

function largest(rows) {
  return rows.reduce((most, row) => row.reduce((a, b) => Math.max(a, Math.abs(b)), most), 0);
}

// Numbers in one row, as colours.
function strip(label, numbers, limit = largest([numbers])) {
  const picture = heatMap({
    rows: 1,
    columns: numbers.length,
    value: (_, column) => numbers[column],
    colours: () => signedColours(limit),
    name: label,
    cell: { width: 40, height: 22 },
    describe: (_, column) => `${column}: ${number(numbers[column])}`,
  });
  picture.classList.add("one");
  return element("div", { class: "strip-row" }, element("span", { class: "symbol" }, label), picture);
}

function scoreTable(tokens, { products, scaled, scores, pattern }, query, chosen, chooseKey) {
  const keys = Array.from({ length: query + 1 }, (_, key) => key);
  const shown = keys.length <= KEYS ? keys : keys.sort((a, b) => pattern[b] - pattern[a]).slice(0, KEYS).sort((a, b) => a - b);
  const later = Array.from({ length: Math.min(LATER, tokens.length - query - 1) }, (_, i) => query + 1 + i);
  const head = ["key", "q · k", "/ √d", "+ mask", "softmax", ""].map((words) => element("th", { scope: "col" }, words));
  const rows = [...shown, ...later].map((key) => {
    const label = element("button", { type: "button", "aria-pressed": key === chosen, ...(key > query && { disabled: "" }) }, `${visible(tokens[key].token)}`);
    label.addEventListener("click", () => chooseKey(key));
    const cells = [products, scaled, scores].map((of) => element("td", {}, number(of[key])));
    const numbers = { "data-key": key, "data-product": products[key], "data-score": scores[key], "data-share": pattern[key] };
    return element("tr", { ...numbers, ...(key > query && { class: "out" }) }, element("th", { scope: "row" }, label), ...cells, element("td", {}, pattern[key].toFixed(4)), element("td", {}, bar(pattern[key])));
  });
  const left = tokens.length - query - 1 - later.length;
  const notes = [
    ...(shown.length <= query ? [`${query + 1 - shown.length} keys with smaller shares are not shown.`] : []),
    ...(left > 0 ? [`${left} more later keys are masked.`] : []),
  ];
  const table = element("table", { class: "numbers" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return element("div", { class: "scroll" }, table, element("p", { class: "note" }, notes.join(" ")));
}
