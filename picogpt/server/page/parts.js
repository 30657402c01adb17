// What several views are made of.

import { visible } from "./colour.js";
import { element } from "./dom.js";
import { placeIn } from "./state.js";

// The prompt's tokens in a row, of which one is chosen: a click or the arrow keys call `pick(position)`.
export function tokenStrip(tokens, label, chosen, pick) {
  const buttons = tokens.map(({ token, id }, i) => {
    const attributes = { type: "button", role: "radio", class: "chip", title: `position ${i}, id ${id}`, "data-position": i };
    return element("button", { ...attributes, onclick: () => choose(i) }, visible(token) || "∅");
  });
  const strip = element("div", { class: "strip", role: "radiogroup", "aria-label": label }, ...buttons);
  function mark(position) {
    for (const [i, button] of buttons.entries()) {
      button.setAttribute("aria-checked", i === position);
      button.tabIndex = i === position ? 0 : -1;
    }
  }
  function choose(position) {
    mark(position);
    pick(position);
  }
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const here = buttons.indexOf(document.activeElement);
    if (step && buttons[here + step]) {
      event.preventDefault();
      buttons[here + step].focus();
      choose(here + step);
    }
  });
  strip.mark = mark;
  mark(placeIn(tokens.length, chosen));
  return strip;
}

// A slider with its number beside it; `change(value)` is called while it moves.
export function slider(label, { name, min, max, step, value, words = String }, change) {
  const shown = element("output", { for: name }, words(value));
  const input = element("input", { type: "range", id: name, min, max, step, value, "aria-valuetext": words(value) });
  input.addEventListener("input", () => {
    shown.textContent = words(input.valueAsNumber);
    input.setAttribute("aria-valuetext", shown.textContent);
    change(input.valueAsNumber);
  });
  return element("div", { class: "field" }, element("label", { for: name }, label), input, shown);
}

export function field(label, attributes, change) {
  const input = element("input", { ...attributes, onchange: () => change(input.type === "number" ? input.valueAsNumber : input.value) });
  return element("div", { class: "field" }, element("label", { for: attributes.id }, label), input);
}

export function select(label, name, options, value, change) {
  const choices = options.map(([choice, words]) => element("option", { value: choice, ...(choice === value && { selected: "" }) }, words));
  const box = element("select", { id: name, onchange: () => change(box.value) }, ...choices);
  return element("div", { class: "field" }, element("label", { for: name }, label), box);
}

// Buttons of which one is pressed.
export function toggle(label, options, value, change) {
  const buttons = options.map(([choice, words]) =>
    element("button", { type: "button", "aria-pressed": choice === value, onclick: () => press(choice) }, words),
  );
  function press(choice) {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", options[i][0] === choice));
    change(choice);
  }
  return element("div", { class: "toggle", role: "group", "aria-label": label }, ...buttons);
}

export function samplingFields(state, change) {
  return [
    slider("temperature", { name: "t", min: 0, max: 2, step: 0.05, value: state.t, words: (t) => t.toFixed(2) }, (t) => change({ t })),
    slider("top-k", { name: "k", min: 0, max: 100, step: 1, value: state.k, words: (k) => (k ? String(k) : "all") }, (k) => change({ k })),
    slider("top-p", { name: "p", min: 0.05, max: 1, step: 0.05, value: state.p, words: (p) => p.toFixed(2) }, (p) => change({ p })),
  ];
}

export function bar(share, attributes = {}) {
  return element("span", { class: "bar", "aria-hidden": "true", ...attributes }, element("i", { style: `width: ${(100 * share).toFixed(2)}%` }));
}

// A number with a true minus sign.
export function signed(number, digits) {
  return number.toFixed(digits).replace("-", "−");
}

// Tokens before and after a change, those first whose probability moved the most.
export function changeTable(rows) {
  const most = Math.max(...rows.flatMap(({ before, after }) => [before, after]));
  const sorted = [...rows].sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before));
  const head = ["token", "before", "", "after", "", "moved"].map((words) => element("th", { scope: "col" }, words));
  return element(
    "table",
    { class: "numbers" },
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...sorted.map(({ id, token, before, after }) => {
      const moved = after === before ? "0" : `${after > before ? "+" : "−"}${(100 * Math.abs(after - before)).toFixed(2)}`;
      return element(
        "tr",
        { "data-id": id, "data-before": before, "data-after": after },
        element("th", { scope: "row" }, visible(token)),
        element("td", {}, (100 * before).toFixed(2)),
        element("td", {}, bar(before / most)),
        element("td", {}, (100 * after).toFixed(2)),
        element("td", {}, bar(after / most)),
        element("td", { class: after >= before ? "up" : "down" }, moved),
      );
    })),
  );
}
