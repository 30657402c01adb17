// The prompt continued: every token on the colour of its probability, with what could stand in its place.

import { stream } from "./api.js";
import { colour, percent, textColour, visible } from "./colour.js";
import { element } from "./dom.js";
import { bar, field, samplingFields } from "./parts.js";
import { Branch, bytesOf, textOf, tokensOf } from "./tree.js";

const ALTERNATIVES = 5;
let kept = { prompt: null, branch: null }; // what was written stays when another view is shown

export const write = {
  id: "write",
  title: "Write",
  lead: "GPT-2 reads the prompt, draws the next token, and reads again with that token at its end. The darker a token, the likelier it was. Choose a token to see what could have stood there, and to go on from that.",
  async show(root, app) {
    const paper = element("div", { class: "paper", tabindex: -1 });
    const others = element("div", { class: "alternatives", role: "group", "aria-label": "what could stand there", hidden: "" });
    const tree = element("div", { class: "tree" });
    const said = element("p", { class: "note", role: "status" });
    if (kept.prompt !== app.state.prompt || !kept.branch) {
      kept = { prompt: app.state.prompt, branch: new Branch() };
    }
    let writing = null; // what aborts the stream
    let chosen = null; // the place whose alternatives stay
    let seen = null; // the place whose alternatives are seen: the chosen one, or where the pointer is
    app.leave.addEventListener("abort", () => writing?.abort());

    async function run() {
      writing?.abort();
      const here = (writing = new AbortController());
      const { branch } = kept;
      [go.hidden, stop.hidden] = [true, false];
      said.textContent = "";
      chosen = null;
      try {
        const prompt = await idsSoFar(app, branch);
        const { t, k, p, seed, n, stop: until } = app.state;
        const options = { temperature: t, ...(k > 0 && { top_k: k }), top_p: p, seed, max_tokens: n, ...(until && { stop: unescaped(until) }) };
        for await (const { choices } of stream("/v1/completions", { prompt, logprobs: ALTERNATIVES, ...options }, here.signal)) {
          for (const { logprobs, finish_reason } of choices) {
            branch.tokens.push(...tokensOf(logprobs));
            branch.ended = finish_reason ?? branch.ended;
          }
          draw();
        }
        said.textContent = { length: "", stop: "The text has come to its end." }[branch.ended] ?? "";
      } catch (error) {
        if (error.name !== "AbortError") {
          said.textContent = error.message;
        }
      }
      if (writing === here) {
        writing = null;
        [go.hidden, stop.hidden] = [false, true];
        draw();
      }
    }

    function draw() {
      const path = kept.branch.path();
      const pieces = pieceTexts(path);
      paper.replaceChildren(element("span", { class: "given" }, app.state.prompt), ...path.map((token, place) => {
        const { probability } = token;
        const words = `${visible(token.name)}, ${percent(probability)}`;
        const style = `background: ${colour(probability)}; color: ${textColour(probability)}`;
        const attributes = { role: "button", class: /^\n+$/.test(pieces[place]) ? "written newline" : "written", style, title: words, "aria-label": words, "data-probability": probability, "aria-expanded": place === chosen };
        return element("span", { ...attributes, "data-place": place, tabindex: place === (chosen ?? 0) ? 0 : -1, onclick: () => open(place), onpointerenter: () => look(place), onfocus: () => look(place) }, pieces[place]);
      }));
      seen = chosen;
      drawOthers();
      drawTree();
      go.textContent = path.length ? "Write on" : "Write";
      again.hidden = back.hidden = inward.hidden = path.length === 0;
      back.disabled = kept.branch.parent === null;
    }

    function open(place) {
      chosen = chosen === place ? null : place;
      draw();
      paper.querySelector(`[data-place="${place}"]`)?.focus();
    }

    function look(place) {
      if (chosen === null) {
        seen = place;
        drawOthers();
      }
    }

    function drawOthers() {
      const place = seen;
      const here = place === null ? null : kept.branch.path()[place];
      others.hidden = !here;
      if (!here) {
        return;
      }
      const rows = here.alternatives.map((token) => element(
        "button",
        { type: "button", "data-probability": token.probability, "aria-pressed": token.name === here.name, onclick: () => branchOff(place, token, here) },
        element("span", { class: "token" }, visible(token.name)),
        bar(token.probability),
        element("span", {}, percent(token.probability)),
      ));
      others.replaceChildren(element("p", {}, "The likeliest tokens here, by the model’s own probabilities (temperature 1):"), ...rows);
    }

    function branchOff(place, token, old) {
      if (token.name !== old.name) {
        kept.branch = kept.branch.instead(place, { ...token, alternatives: old.alternatives });
        chosen = null;
        if (kept.branch.tokens.length === 1) {
          run();
        } else {
          draw();
        }
      }
    }

    function drawTree() {
      let first = kept.branch;
      while (first.parent) {
        first = first.parent;
      }
      tree.hidden = first.children.length === 0;
      tree.replaceChildren(element("h2", {}, "What could have been said"), element("ul", {}, drawBranch(first)));
    }

    function drawBranch(branch) {
      const words = textOf(branch.tokens);
      const label = `${words.length > 60 ? `${words.slice(0, 60)}…` : words}`.replace(/\n/g, " ⏎ ") || "…";
      const where = branch.parent ? element("small", {}, `instead of “${visible(branch.parent.path()[branch.at]?.name ?? "")}” `) : "";
      const show = () => {
        writing?.abort();
        [kept.branch, chosen] = [branch, null];
        draw();
      };
      const button = element("button", { type: "button", "aria-pressed": branch === kept.branch, onclick: show }, where, label);
      const children = branch.children.map(drawBranch);
      return element("li", {}, button, ...(children.length ? [element("ul", {}, ...children)] : []));
    }

    paper.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const here = document.activeElement.dataset.place;
      if ((event.key === "Enter" || event.key === " ") && here !== undefined) {
        event.preventDefault();
        open(Number(here));
      }
      const next = step && here !== undefined && paper.querySelector(`[data-place="${Number(here) + step}"]`);
      if (next) {
        event.preventDefault();
        [document.activeElement.tabIndex, next.tabIndex] = [-1, 0];
        next.focus();
      }
    });

    const button = (words, attributes, act) => element("button", { type: "button", ...attributes, onclick: act }, words);
    const go = button("Write", { class: "primary", id: "write" }, run);
    const stop = button("Stop", { class: "primary", id: "stop", hidden: "" }, () => writing?.abort());
    const back = button("Back to the branch before", {}, () => {
      writing?.abort();
      [kept.branch, chosen] = [kept.branch.parent, null];
      draw();
    });
    const again = button("Start again", {}, () => {
      writing?.abort();
      kept = { prompt: app.state.prompt, branch: new Branch() };
      chosen = null;
      draw();
    });
    const inward = button("Look inside all of it", {}, () => app.go({ view: "attention", prompt: app.state.prompt + textOf(kept.branch.path()), query: -1, key: -1 }));
    const change = (changes) => app.set(changes);
    root.append(
      element(
        "div",
        { class: "controls" },
        ...samplingFields(app.state, change),
        field("seed", { id: "seed", type: "number", min: 0, step: 1, value: app.state.seed }, (seed) => change({ seed: Math.max(0, Math.trunc(seed) || 0) })),
        field("tokens", { id: "n", type: "number", min: 1, max: 1000, step: 1, value: app.state.n }, (n) => change({ n: Math.max(1, Math.trunc(n) || 1) })),
        field("stop", { id: "until", type: "text", value: app.state.stop, placeholder: "\\n\\n", size: 6 }, (text) => change({ stop: text })),
      ),
      element("div", { class: "buttons" }, go, stop, again, back, inward),
      said,
      paper,
      others,
      tree,
    );
    draw();
  },
};

// The ids of the prompt and of what was written after it: texts could be cut into other tokens.
async function idsSoFar(app, branch) {
  const names = branch.path().map(({ name }) => name);
  const { ids } = await app.ask({ ids: { tokens: names } }, { ablate: {} });
  return ids;
}

// What each token shows: a character whose bytes are several tokens stands at the last of them.
function pieceTexts(path) {
  const decoder = new TextDecoder();
  return path.map(({ name }) => decoder.decode(bytesOf(name), { stream: true }));
}

function unescaped(text) {
  return text.replace(/\\n/g, "\n").replace(/\\t/g, "\t");
}
