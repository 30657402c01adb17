// The tokens with what comes next, the logit lens, and the way of the data: as tables.

import { colour, percent, textColour, visible } from "./colour.js";
import { element } from "./dom.js";

export function nextView(tokens, next) {
  const rows = tokens.map(({ id, token }, i) => [
    cell(i), cell(visible(token)), cell(id), ...next[i].map((row) => likely(row, [row])),
  ]);
  return table(["", "token", "id", "next", ...next[0].slice(1).map(() => "")], rows);
}

export function lensView(tokens, lens) {
  const rows = tokens.map(({ token }, i) => [cell(i), cell(visible(token)), ...lens.map((layer) => likely(layer[i][0], layer[i]))]);
  return table(["", "token", ...lens.map((_, layer) => `layer ${layer}`)], rows);
}

export function shapesView(shapes) {
  const rows = shapes.map(({ name, shape, norm, line, source }) => [
    cell(name), cell(shape.join(" × ")), cell(norm.toPrecision(4)), cell(line), element("td", {}, element("code", {}, source)),
  ]);
  return table(["value", "shape", "norm", "line", "of model.py"], rows);
}

// A likely token on the colour of its probability; the pointer shows those beside it.
function likely({ token, probability }, all) {
  const title = all.map((row) => `${visible(row.token)}  ${percent(row.probability)}`).join("\n");
  const style = `background: ${colour(probability)}; color: ${textColour(probability)}`;
  return element("td", { style, title }, visible(token));
}

function cell(text) {
  return element("td", {}, String(text));
}

export function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((heading) => element("th", { scope: "col" }, heading)));
  const body = element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells)));
  return element("table", {}, element("thead", {}, head), body);
}
