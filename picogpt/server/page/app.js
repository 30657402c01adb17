// The page: a prompt, and one view of it at a time.

import { inside, insideArray, NeedsKey } from "./api.js";
import { change } from "./change.js";
import { element } from "./dom.js";
import { flow } from "./flow.js";
import { heads } from "./heads.js";
import { lens } from "./lens.js";
import { probabilities } from "./probabilities.js";
import { score } from "./score.js";
import { ablation, hashOf, stateOf } from "./state.js";
import { tokens } from "./tokens.js";
import { write } from "./write.js";

const VIEWS = [write, tokens, flow, heads, lens, probabilities, change, score];
const WHOLE = [write.id, score.id]; // the views of what the server does with the model as it is
const PAUSE = 400; // milliseconds without a key until a new prompt is looked at
const LINES = 6; // of the prompt that are seen at once
const PROMPTS = { gpt2: "Alan Turing theorized that computers would one day become", other: "Thy father loves my father, and thy mother loves my" };

const find = (id) => document.getElementById(id);
const [tabs, view, prompt, off, keyForm] = ["tabs", "view", "prompt", "off", "key"].map(find);
let shown = 0; // counts what was shown, so that an older answer does not come after a newer one
let leave = new AbortController(); // of the view that is shown

const app = {
  state: stateOf(location.hash),
  model: null, // its sizes
  set, // changes the state: with `go` as a step that the browser's "back" undoes, with `show` the view is drawn anew
  go: (changes) => set(changes, { go: true, show: true }),
  ask: (show, more = {}) => inside({ prompt: app.state.prompt, ablate: ablation(app.state.off), show, ...more }),
  array: (array, more = {}) => insideArray({ prompt: app.state.prompt, ablate: ablation(app.state.off), array, ...more }),
};

function set(changes, { go = false, show = false } = {}) {
  Object.assign(app.state, changes);
  history[go ? "pushState" : "replaceState"](null, "", hashOf(app.state));
  drawOff();
  if (show) {
    draw();
  }
}

async function draw() {
  const turn = ++shown;
  const chosen = VIEWS.find(({ id }) => id === app.state.view) ?? write;
  if (document.activeElement !== prompt) {
    prompt.value = app.state.prompt;
  }
  prompt.rows = Math.min(LINES, Math.max(2, prompt.value.split("\n").length));
  prompt.parentElement.hidden = chosen === score;
  drawTabs(chosen);
  drawOff();
  const leaving = new AbortController();
  const section = element("section", { class: `view-${chosen.id}` }, element("h1", {}, chosen.title), element("p", { class: "lead" }, chosen.lead));
  const waits = setTimeout(() => view.setAttribute("aria-busy", "true"), 150);
  try {
    await chosen.show(section, { ...app, state: app.state, leave: leaving.signal });
  } catch (error) {
    if (turn === shown) {
      failed(section, error);
    }
  }
  clearTimeout(waits);
  if (turn !== shown) {
    leaving.abort();
    return;
  }
  leave.abort();
  leave = leaving;
  const focus = view.contains(document.activeElement) && document.activeElement.id;
  view.replaceChildren(section);
  view.setAttribute("aria-busy", "false");
  view.dataset.shown = turn;
  if (focus) {
    find(focus)?.focus({ preventScroll: true });
  }
}

function failed(section, error) {
  if (error instanceof NeedsKey) {
    keyForm.hidden = false;
  }
  section.querySelector(".failed")?.remove();
  section.append(element("p", { class: "error failed", role: "alert" }, error.message));
}

// What fails after a click, when the view is already there.
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  failed(view.querySelector("section") ?? view, event.reason);
});

function drawTabs(chosen) {
  if (!tabs.childElementCount) {
    tabs.append(...VIEWS.map(({ id, title }) => {
      const attributes = { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "view", "data-view": id };
      return element("button", { ...attributes, onclick: () => app.go({ view: id }) }, title);
    }));
  }
  for (const tab of tabs.children) {
    const selected = tab.dataset.view === chosen.id;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    if (selected) {
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }
  view.setAttribute("aria-labelledby", `tab-${chosen.id}`);
  document.title = `${chosen.title} · picogpt`;
}

function drawOff() {
  const all = element("button", { type: "button", onclick: () => app.go({ off: "" }) }, "Switch all on");
  off.hidden = !app.state.off;
  const words = WHOLE.includes(app.state.view) ? "Text is written and scored by the whole model." : "What is read here is the pass without that.";
  off.replaceChildren(`Switched off: ${app.state.off.replaceAll(",", ", ")}. ${words} `, all);
}

tabs.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const next = step && [...tabs.children].indexOf(document.activeElement) + step;
  if (step && tabs.children[next]) {
    tabs.children[next].focus();
    app.go({ view: tabs.children[next].dataset.view });
  }
});

let typed = 0;
prompt.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => set({ prompt: prompt.value, query: -1, key: -1, position: -1, token: 0, first: 0 }, { show: true }), PAUSE);
});

for (const moved of ["popstate", "hashchange"]) {
  addEventListener(moved, () => {
    if (hashOf(stateOf(location.hash)) !== hashOf(app.state) || moved === "popstate") {
      app.state = stateOf(location.hash);
      draw();
    }
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", find("secret").value);
  keyForm.hidden = true;
  start();
});

async function start() {
  try {
    const { model } = await inside({ prompt: [0], show: { model: {} } });
    app.model = model;
    const millions = (model.n_params / 1e6).toFixed(model.n_params < 1e7 ? 1 : 0);
    find("model").textContent = `${model.n_layer} layers × ${model.n_head} heads · ${model.n_embd} wide · ${millions} M parameters`;
    if (!location.hash.includes("prompt=")) {
      app.state.prompt = PROMPTS[model.n_vocab === 50257 ? "gpt2" : "other"];
    }
    await draw();
  } catch (error) {
    view.replaceChildren();
    failed(view, error);
  }
}

start();
