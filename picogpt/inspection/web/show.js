// All of a report, each part that it has under its heading.

import { attentionView } from "./attention.js";
import { element } from "./dom.js";
import { lensView, nextView, shapesView } from "./tables.js";

export function show(root, { tokens, next, lens, attention, shapes }) {
  const parts = [
    ["Next tokens", next && (() => nextView(tokens, next))],
    ["Logit lens: what each layer would predict", lens && (() => lensView(tokens, lens))],
    ["Attention", attention && (() => attentionView(tokens, attention))],
    ["The way of the data", shapes && (() => shapesView(shapes))],
  ];
  for (const [heading, view] of parts) {
    if (view) {
      root.append(element("section", {}, element("h2", {}, heading), view()));
    }
  }
}
