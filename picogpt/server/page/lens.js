// What each layer would predict, at every position, and how long the residual stream is there.

import { colour, percent, textColour, visible } from "./colour.js";
import { element } from "./dom.js";
import { toggle } from "./parts.js";
import { table } from "./tables.js";

const SHOWN = 32; // positions at a time

const CELLS = [["prediction", "prediction"], ["kl", "distance to the last layer"], ["norm", "norm of the residual stream"]];

export const lens = {
  id: "lens",
  title: "Lens",
  lead: "The logit lens reads the residual stream after each block as if it were the last: ln_f, then wteᵀ. So one sees how a prediction forms from layer to layer.",
  async show(root, app) {
    const { tokens } = await app.ask({ tokens: {} });
    const first = Math.max(0, Math.min(app.state.first, tokens.length - 1));
    const { lens: found } = await app.ask({ lens: { first, n: SHOWN, k: 5 } });
    const said = element("output", { class: "said" });
    const place = element("div", { class: "scroll" });
    const here = tokens.slice(first, first + SHOWN);
    const draw = () => {
      place.replaceChildren(lensTable(here, first, found, app.state.cells, (words) => (said.textContent = words)));
    };
    root.append(toggle("what the cells show", CELLS, app.state.cells, (cells) => {
      app.set({ cells });
      draw();
    }), said, place);
    if (tokens.length > SHOWN) {
      const turn = (words, to) => element("button", { type: "button", onclick: () => app.go({ first: to }) }, words);
      const last = Math.min(tokens.length, first + SHOWN) - 1;
      root.append(element(
        "p",
        { class: "pages" },
        ...(first > 0 ? [turn("earlier", Math.max(0, first - SHOWN))] : []),
        ` positions ${first} to ${last} of ${tokens.length} `,
        ...(last + 1 < tokens.length ? [turn("later", first + SHOWN)] : []),
      ));
    }
    said.textContent = "Each row is a position, each column what is read after that block. Point at a cell.";
    draw();
  },
};

function lensTable(tokens, first, { rows, kl, norms }, cells, say) {
  const layers = cells === "norm" ? norms : rows;
  const headings = layers.map((_, i) => (cells === "norm" ? (i === 0 ? "embed" : `block ${i - 1}`) : `block ${i}`));
  const most = Math.max(...(cells === "norm" ? norms : kl).flat(), 1e-9);
  const body = tokens.map(({ token }, i) => [
    element("td", { class: "place" }, String(first + i)),
    element("th", { scope: "row" }, visible(token)),
    ...layers.map((layer, l) => {
      const share = cells === "prediction" ? layer[i][0].probability : cells === "kl" ? kl[l][i] / most : layer[i] / most;
      const text = cells === "prediction" ? visible(layer[i][0].token) : (cells === "kl" ? kl[l][i] : layer[i]).toFixed(2);
      const words = `“${visible(token)}” (${first + i}), ${headings[l]}: ` + {
        prediction: () => layer[i].map((row) => `${visible(row.token)} ${percent(row.probability)}`).join("   "),
        kl: () => `KL ${kl[l][i].toFixed(4)} nats from what the model says in the end`,
        norm: () => `norm ${layer[i].toFixed(3)}`,
      }[cells]();
      const style = `background: ${colour(share)}; color: ${textColour(share)}`;
      const say_ = () => say(words);
      return element("td", { style, class: "cell", tabindex: i + l === 0 ? 0 : -1, "data-value": share, onpointerenter: say_, onfocus: say_ }, text);
    }),
  ]);
  const whole = table(["", "token", ...headings], body);
  whole.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const here = document.activeElement.closest?.("td.cell");
    const row = step && here && whole.rows[here.parentElement.rowIndex + step[0]];
    const next = row?.cells[here.cellIndex + step[1]];
    if (next?.classList.contains("cell")) {
      event.preventDefault();
      [here.tabIndex, next.tabIndex] = [-1, 0];
      next.focus();
    }
  });
  return whole;
}
