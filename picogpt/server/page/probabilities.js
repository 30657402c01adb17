// The likeliest next tokens, and what temperature, top-k and top-p make of them while their sliders move.

import { visible } from "./colour.js";
import { element } from "./dom.js";
import { bar, samplingFields, signed, tokenStrip } from "./parts.js";
import { sampled, softmax } from "./sampling.js";
import { placeIn } from "./state.js";

const SHOWN = 20;

export const probabilities = {
  id: "probabilities",
  title: "Probabilities",
  lead: "The last hidden state times wteᵀ gives a logit for every token of the vocabulary; their softmax is how likely each is to come next. Dividing by the temperature and leaving tokens out is all that sampling changes.",
  async show(root, app) {
    const { tokens } = await app.ask({ tokens: {} });
    const table = element("tbody");
    const said = element("output", { class: "summary" });
    let rows, logits, before;

    async function load() {
      const position = placeIn(tokens.length, app.state.position);
      const [answer, array] = await Promise.all([app.ask({ next: { position, k: SHOWN } }), app.array({ name: "logits", position })]);
      [rows, logits, before] = [answer.next, array.data, softmax(array.data)];
      draw();
    }
    function draw() {
      const after = sampled(logits, app.state);
      const most = Math.max(...rows.map(({ id }) => Math.max(before[id], after[id])));
      table.replaceChildren(...rows.map(({ id, token, logit }) => element(
        "tr",
        { "data-id": id, "data-before": before[id], "data-after": after[id], ...(after[id] === 0 && { class: "out" }) },
        element("th", { scope: "row" }, visible(token)),
        element("td", {}, String(id)),
        element("td", {}, signed(logit, 3)),
        element("td", {}, (100 * before[id]).toFixed(2)),
        element("td", {}, bar(before[id] / most)),
        element("td", {}, after[id] === 0 ? "out" : (100 * after[id]).toFixed(2)),
        element("td", {}, bar(after[id] / most)),
      )));
      const left = after.reduce((n, share) => n + (share > 0), 0);
      const bits = (shares) => shares.reduce((sum, share) => sum - (share > 0 ? share * Math.log2(share) : 0), 0).toFixed(2);
      said.textContent = `${left} of ${logits.length} tokens can be drawn. Entropy ${bits(before)} bits before, ${bits(after)} after.`;
    }

    const strip = tokenStrip(tokens, "after which token", app.state.position, (position) => {
      app.set({ position });
      load();
    });
    const fields = samplingFields(app.state, (changes) => {
      app.set(changes);
      draw();
    });
    const head = ["token", "id", "logit", "softmax, %", "", "sampled, %", ""].map((words) => element("th", { scope: "col" }, words));
    const whole = element("table", { class: "numbers" }, element("thead", {}, element("tr", {}, ...head)), table);
    root.append(element("p", { class: "label" }, "What comes after"), strip, element("div", { class: "controls" }, ...fields), said, element("div", { class: "scroll" }, whole));
    await load();
  },
};
