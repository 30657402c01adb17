// A text measured: the surprisal of its tokens and words, its sums, and all of it as CSV.

import { json } from "./api.js";
import { colour, textColour, visible } from "./colour.js";
import { element } from "./dom.js";
import { signed, toggle } from "./parts.js";

const STRONG = 16; // bits that have the full colour
const IN_ADDRESS = 2000; // characters of a text that a link may carry
const FIGURES = [["n_tokens", "tokens"], ["surprisal", "surprisal, bits"], ["mean_surprisal", "bits a token"], ["perplexity", "perplexity"], ["bits_per_character", "bits a character"], ["logprob", "log-probability, nats"]];
let kept = ""; // a text too long for the address

export const score = {
  id: "score",
  title: "Score",
  lead: "Surprisal is −log₂ of the probability that the model gave to what really stands there. The darker, the more surprised it was. Perplexity says between how many equally likely tokens it was torn, on average.",
  async show(root, app) {
    const text = element("textarea", { id: "text", rows: 6, spellcheck: "false", placeholder: "Paste a text" }, app.state.text || kept || app.state.prompt);
    const result = element("div", { "aria-live": "polite" });
    const said = element("p", { class: "error", role: "alert" });
    async function run() {
      said.textContent = "";
      kept = text.value;
      app.set({ text: text.value.length <= IN_ADDRESS ? text.value : "" });
      try {
        const ask = (by) => json("/v1/score", { text: text.value, by, special: "token" }, app.leave);
        const [tokens, words] = await Promise.all([ask("token"), ask("word")]);
        result.replaceChildren(...shown({ ...tokens.data[0], words: words.data[0].words }));
      } catch (error) {
        said.textContent = error.message;
      }
    }
    const go = element("button", { type: "button", class: "primary", id: "score", onclick: run }, "Score");
    root.append(element("label", { class: "prompt" }, element("span", {}, "Text"), text), element("div", { class: "buttons" }, go), said, result);
    if (app.state.text) {
      await run();
    }
  },
};

function shown(found) {
  const figures = FIGURES.filter(([name]) => name in found).map(([name, words]) =>
    element("div", {}, element("dt", {}, words), element("dd", { "data-figure": name, "data-value": found[name] }, name === "n_tokens" ? String(found[name]) : signed(found[name], 3))),
  );
  const paper = element("div", { class: "paper" });
  const said = element("output", { class: "said" });
  const draw = (what) => {
    const rows = what === "words" ? found.words.map((row) => ({ ...row, shown: row.word })) : found.tokens.map((row) => ({ ...row, shown: row.token }));
    let end = 0; // of what has been shown of the text
    paper.replaceChildren(...rows.flatMap((row) => {
      const share = Math.min(1, (row.surprisal ?? 0) / STRONG);
      const words = `“${visible(row.shown)}”: ${row.surprisal === null ? "no score" : `${row.surprisal.toFixed(3)} bits`}${row.rank ? `, rank ${row.rank}, entropy ${row.entropy.toFixed(2)} bits` : ""}`;
      const say = () => (said.textContent = words);
      const style = `background: ${colour(share)}; color: ${textColour(share)}`;
      const mark = element("span", { class: /^\n+$/.test(row.shown) ? "scored newline" : "scored", style, title: words, tabindex: 0, role: "img", "aria-label": words, "data-surprisal": row.surprisal, onpointerenter: say, onfocus: say }, row.shown);
      const start = what === "words" ? found.text.indexOf(row.shown, end) : -1;
      const space = start > end ? found.text.slice(end, start) : "";
      end = start + row.shown.length;
      return [space, mark];
    }));
  };
  draw("words");
  said.textContent = "Point at a word.";
  return [
    element("dl", { class: "figures" }, ...figures),
    element("div", { class: "head" }, toggle("what is shaded", [["words", "words"], ["tokens", "tokens"]], "words", draw), download(found)),
    said,
    paper,
  ];
}

function download({ tokens }) {
  const columns = ["id", "token", "logprob", "surprisal", "rank", "entropy"];
  const quoted = (value) => (typeof value === "string" ? `"${value.replaceAll('"', '""')}"` : String(value ?? ""));
  const lines = [columns.join(","), ...tokens.map((row) => columns.map((name) => quoted(row[name])).join(","))];
  const address = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
  return element("a", { class: "button", href: address, download: "surprisal.csv", id: "csv" }, "Download as CSV");
}
