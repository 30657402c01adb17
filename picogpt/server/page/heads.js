// Attention: all heads in small, one large, and the whole calculation for one of its queries.

import { headGrid, patternView } from "./attention.js";
import { arcs } from "./arcs.js";
import { calculation } from "./calculation.js";
import { element } from "./dom.js";
import { toggle, tokenStrip } from "./parts.js";
import { placeIn } from "./state.js";

const ARCS = 160; // tokens for which arcs can still be told apart

export const heads = {
  id: "attention",
  title: "Attention",
  lead: "Each head lets a token look back at those before it. Its query meets every key; what fits well gets much of the attention, and what the token takes with it is the mixture of their values.",
  async show(root, app) {
    const [{ tokens }, small] = await Promise.all([app.ask({ tokens: {} }), app.array({ name: "heads" })]);
    const [n_layer, n_head, side] = small.shape;
    const title = element("h2", { "aria-live": "polite" });
    const picture = element("div");
    const steps = element("div");
    let pattern = null;

    async function choose(layer, head) {
      app.set({ layer, head });
      pattern = await app.array({ name: `blocks.${layer}.attn.pattern`, head });
      if (app.state.layer === layer && app.state.head === head) {
        draw();
        title.textContent = `Head ${layer}.${head}`;
        await calculate();
      }
    }
    function draw() {
      const share = (query, key) => pattern.data[query * tokens.length + key];
      const pick = (query, key) => {
        app.set({ query, key });
        strip.mark(query);
        calculate();
      };
      const query = placeIn(tokens.length, app.state.query);
      const asArcs = app.state.draw === "arcs" && tokens.length <= ARCS;
      picture.replaceChildren(asArcs ? arcs(tokens, share, query, pick) : patternView(tokens, share, { pick }));
    }
    async function calculate() {
      const { layer, head } = app.state;
      const query = placeIn(tokens.length, app.state.query);
      await calculation(steps, app, tokens, { layer, head, query, key: app.state.key }, (other) => {
        app.set({ key: other });
        calculate();
      });
    }

    const share = (layer, head, query, key) => small.data[((layer * n_head + head) * side + query) * side + key] / 255;
    const grid = headGrid({ n_layer, n_head }, side, share, choose);
    const how = tokens.length > ARCS ? "" : toggle("how it is drawn", [["matrix", "matrix"], ["arcs", "arcs"]], app.state.draw, (way) => {
      app.set({ draw: way });
      draw();
    });
    const strip = tokenStrip(tokens, "the query", app.state.query, (query) => {
      app.set({ query, key: -1 });
      draw();
      calculate();
    });
    const large = element("div", { class: "large" }, element("div", { class: "head" }, title, how), picture);
    root.append(
      element("div", { class: "attention" }, grid, large),
      element("h2", {}, "The calculation for one query"),
      element("p", { class: "label" }, "The query of"),
      strip,
      steps,
    );
    const [layer, head] = [Math.min(app.state.layer, n_layer - 1), Math.min(app.state.head, n_head - 1)];
    await grid.choose(Math.max(0, layer), Math.max(0, head));
  },
};
