// A pattern as lines from each query, at the left, to the keys that it looks at.

import { percent, visible } from "./colour.js";
import { element, svg } from "./dom.js";

const ROW = 22; // pixels from one token to the next
const [LEFT, RIGHT, WIDTH] = [130, 290, 420];
const FAINT = 0.01; // shares below are not drawn

export function arcs(tokens, share, chosen, pick) {
  const height = tokens.length * ROW;
  const lines = svg("g", { fill: "none", class: "lines" });
  const said = element("output", { class: "said" });
  const middle = (i) => (i + 0.5) * ROW;

  function lineOf(query, key) {
    const [from, to] = [middle(query), middle(key)];
    const bend = (LEFT + RIGHT) / 2;
    const d = `M${LEFT} ${from} C${bend} ${from} ${bend} ${to} ${RIGHT} ${to}`;
    const weight = share(query, key);
    return svg("path", { d, "stroke-width": 0.5 + 4 * weight, "stroke-opacity": Math.min(1, 0.08 + weight) });
  }
  function draw(queries, strong) {
    lines.classList.toggle("strong", strong);
    const drawn = [];
    for (const query of queries) {
      for (let key = 0; key <= query; key++) {
        if (share(query, key) >= FAINT) {
          drawn.push(lineOf(query, key));
        }
      }
    }
    lines.replaceChildren(...drawn);
  }
  function look(query) {
    draw([query], true);
    const keys = Array.from({ length: query + 1 }, (_, key) => key).sort((a, b) => share(query, b) - share(query, a));
    const most = keys.slice(0, 4).map((key) => `“${visible(tokens[key].token)}” (${key}) ${percent(share(query, key))}`);
    said.textContent = `“${visible(tokens[query].token)}” (${query}) looks at ${most.join(", ")}`;
    picture.dataset.query = query;
  }
  const all = () => draw(tokens.keys(), false);

  const words = tokens.flatMap(({ token }, i) => {
    const left = svg("text", { x: LEFT - 8, y: middle(i), "text-anchor": "end", class: "query" }, visible(token));
    const right = svg("text", { x: RIGHT + 8, y: middle(i) }, visible(token));
    const attributes = { role: "button", tabindex: i === chosen ? 0 : -1, "aria-label": `query ${visible(token)} at ${i}`, "data-query": i };
    const target = svg("rect", { x: 0, y: i * ROW, width: LEFT, height: ROW, class: "target", ...attributes });
    target.addEventListener("pointerenter", () => look(i));
    target.addEventListener("focus", () => look(i));
    target.addEventListener("click", () => pick(i, -1));
    return [left, right, target];
  });
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "arcs", role: "group", "aria-label": "who looks at whom" }, lines, ...words);
  picture.style.width = `${WIDTH}px`;
  picture.addEventListener("pointerleave", all);
  picture.addEventListener("keydown", (event) => {
    const here = Number(document.activeElement.dataset.query);
    const next = picture.querySelector(`[data-query="${here + ({ ArrowUp: -1, ArrowDown: 1 }[event.key] ?? NaN)}"]`);
    if (next) {
      event.preventDefault();
      next.focus();
    } else if (event.key === "Enter") {
      pick(here, -1);
    }
  });
  all();
  said.textContent = "Queries are at the left, keys at the right. Point at a query.";
  return element("div", { class: "scroll" }, said, picture);
}
