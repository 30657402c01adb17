// Parts of the model switched off, and values of another prompt put in: what becomes of the prediction.

import { shareColours, signedColours, visible } from "./colour.js";
import { element } from "./dom.js";
import { heatMap } from "./heatmap.js";
import { bar, changeTable, field, select, signed } from "./parts.js";
import { ablation } from "./state.js";

const SIDE_BY_SIDE = 5; // of the likeliest tokens after each of two prompts
const KINDS = [
  ["resid_pre", "residual stream before each block"],
  ["attn_out", "what attention adds"],
  ["mlp_out", "what the MLP adds"],
  ["heads", "each head’s z, at all positions"],
];

export const change = {
  id: "change",
  title: "Change it",
  lead: "A part that matters is one whose absence changes the prediction. Switch heads and feed-forward networks (MLPs) off, and see which tokens gain and lose.",
  async show(root, app) {
    const { tokens } = await app.ask({ tokens: {} });
    const result = element("div", { class: "scroll", "aria-live": "polite" });
    const grid = switches(app, result);
    root.append(
      element("div", { class: "two" }, grid, element("div", {}, element("h2", {}, `After “${visible(tokens.at(-1).token)}”, in %`), result)),
      element("h2", {}, "Put in what another prompt computes"),
      element("p", { class: "lead" }, "Patching runs this prompt with one value of the other prompt’s pass in its place. Where that brings the other’s prediction, the difference is carried there: 0 is no effect, 1 all of it."),
    );
    root.append(...patching(app, tokens));
    await showChange(app, result);
  },
};

function switches(app, result) {
  const { n_layer, n_head } = app.model;
  const off = new Set(app.state.off.split(",").filter(Boolean));
  const head = element("tr", {}, element("td"), ...Array.from({ length: n_head }, (_, i) => element("th", { scope: "col" }, `${i}`)), element("th", { scope: "col" }, "MLP"));
  const rows = Array.from({ length: n_layer }, (_, layer) => {
    const cells = [...Array(n_head).keys(), "mlp"].map((part) => {
      const name = `${layer}.${part}`;
      const label = part === "mlp" ? `MLP of layer ${layer}` : `head ${name}`;
      const button = element("button", { type: "button", role: "switch", class: "switch", "data-part": name, "aria-label": label, title: label, "aria-checked": !off.has(name) });
      button.addEventListener("click", async () => {
        off.has(name) ? off.delete(name) : off.add(name);
        button.setAttribute("aria-checked", !off.has(name));
        app.set({ off: [...off].join(",") });
        await showChange(app, result);
      });
      return element("td", {}, button);
    });
    return element("tr", {}, element("th", { scope: "row" }, `layer ${layer}`), ...cells);
  });
  const table = element("table", { class: "switches" }, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("div", { class: "scroll" }, table);
}

async function showChange(app, result) {
  const { heads, mlps } = ablation(app.state.off);
  const { change: rows } = await app.ask({ change: { k: 10 } });
  const words = heads.length + mlps.length ? "The tokens that moved the most stand first." : "Nothing is switched off yet: before and after are the same.";
  result.replaceChildren(element("p", { class: "note" }, words), changeTable(rows));
}

function patching(app, tokens) {
  const { state } = app;
  const said = element("p", { class: "error", role: "alert" });
  const place = element("div");
  const compute = element("button", { type: "button", class: "primary", id: "patch" }, "Patch");
  const names = tokens.map(({ token }) => visible(token));

  async function run() {
    [said.textContent, compute.disabled] = ["", true];
    place.setAttribute("aria-busy", "true");
    try {
      const { source, kind, target, foil } = app.state;
      const options = { source, kind, ...(target && { target }), ...(foil && { foil }) };
      const [{ patching: found }, { next: mine }, { next: others }] = await Promise.all([
        app.ask({ patching: options }, { ablate: {} }),
        app.ask({ next: { k: SIDE_BY_SIDE } }, { ablate: {} }),
        app.ask({ next: { k: SIDE_BY_SIDE } }, { ablate: {}, prompt: source }),
      ]);
      const both = element("div", { class: "both" }, nextTable("After this prompt, in %", mine), nextTable("After the other, in %", others));
      place.replaceChildren(both, ...restored(app, found, kind, names, one));
      place.append(one.table);
    } catch (error) {
      place.replaceChildren();
      said.textContent = error.message;
    }
    place.setAttribute("aria-busy", "false");
    compute.disabled = false;
  }
  const one = {
    table: element("div", { class: "scroll" }),
    async show(layer, column, kind, words) {
      const options = kind === "heads" ? { name: `blocks.${layer}.attn.z`, head: column } : { name: `blocks.${layer}.${kind}`, position: column };
      const { patch } = await app.ask({ patch: { source: app.state.source, ...options } }, { ablate: {} });
      one.table.replaceChildren(element("h3", {}, `The prediction with ${words}, in %`), changeTable(patch));
    },
  };
  compute.addEventListener("click", run);
  const source = element("textarea", { id: "source", rows: 2, spellcheck: "false", onchange: () => app.set({ source: source.value }) }, state.source);
  const fields = [
    select("what is put in", "kind", KINDS, state.kind, (kind) => app.set({ kind })),
    field("its answer", { id: "target", type: "text", size: 10, value: state.target, placeholder: "its own" }, (target) => app.set({ target })),
    field("and not", { id: "foil", type: "text", size: 10, value: state.foil, placeholder: "this one’s" }, (foil) => app.set({ foil })),
  ];
  if (state.source) {
    run();
  }
  return [
    element("label", { class: "prompt" }, element("span", {}, "The other prompt, of as many tokens"), source),
    element("div", { class: "controls" }, ...fields, compute),
    said,
    place,
  ];
}

function nextTable(title, rows) {
  const most = rows[0].probability;
  const body = rows.map(({ token, probability }) =>
    element("tr", {}, element("th", { scope: "row" }, visible(token)), element("td", {}, (100 * probability).toFixed(2)), element("td", {}, bar(probability / most))),
  );
  return element("div", {}, element("h3", {}, title), element("table", { class: "numbers" }, element("tbody", {}, ...body)));
}

function restored(app, { target, foil, clean, corrupted, restored: matrix }, kind, names, one) {
  const columns = kind === "heads" ? Array.from({ length: app.model.n_head }, (_, i) => `head ${i}`) : names;
  const value = (row, column) => matrix[row][column];
  const where = (row, column) => (kind === "heads" ? `head ${row}.${column}` : `layer ${row}, “${columns[column]}” (${column})`);
  const isShare = matrix.flat().every((share) => share > -0.05);
  const words = `The difference of the logits of “${visible(target.token)}” and “${visible(foil.token)}” is ${signed(clean, 2)} after the other prompt and ${signed(corrupted, 2)} after this one. Choose a cell to see its prediction.`;
  return [
    element("p", {}, words),
    heatMap({
      rows: matrix.length,
      columns: columns.length,
      value,
      colours: isShare ? shareColours : () => signedColours(1),
      name: "what each patch restores",
      names: { rows: matrix.map((_, i) => `layer ${i}`), columns },
      cell: { width: 40, height: 26 },
      describe: (row, column) => `${where(row, column)}: ${signed(value(row, column), 3)}`,
      pick: (row, column) => one.show(row, column, kind, where(row, column)),
    }),
  ];
}
