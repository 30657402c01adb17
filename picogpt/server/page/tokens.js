// What the tokenizer makes of the prompt, and how the pieces of a word were merged.

import { visible } from "./colour.js";
import { element } from "./dom.js";
import { tokenStrip } from "./parts.js";
import { placeIn } from "./state.js";

export const tokens = {
  id: "tokens",
  title: "Tokens",
  lead: "The model reads numbers: the tokenizer cuts the text into pieces of its vocabulary, and each has an id. A dot · stands for a space.",
  async show(root, app) {
    const { tokens: found } = await app.ask({ tokens: {} });
    const said = element("output", { class: "said" });
    const steps = element("div", { class: "steps" });
    const describe = (i) => {
      const { id, token, bytes } = found[i];
      said.textContent = `position ${i}: “${visible(token)}”, id ${id}, bytes ${bytes}`;
    };
    const strip = tokenStrip(found, "the prompt’s tokens", app.state.token, async (token) => {
      describe(token);
      app.set({ token });
      await showMerges();
    });
    for (const [i, chip] of [...strip.children].entries()) {
      chip.append(element("small", {}, String(found[i].id)));
      chip.addEventListener("pointerenter", () => describe(i));
      chip.addEventListener("focus", () => describe(i));
    }
    async function showMerges() {
      const position = placeIn(found.length, app.state.token);
      const { merges } = await app.ask({ merges: { position } });
      steps.replaceChildren(...mergeSteps(merges));
    }
    const characters = [...found.map(({ token }) => token).join("")].length;
    const counts = element("p", {}, `${found.length} tokens for ${characters} characters.`);
    root.append(strip, said, counts, element("h2", {}, "The merges of a word"));
    describe(placeIn(found.length, app.state.token));
    if (app.model.has_merges) {
      root.append(element("p", { class: "lead" }, "Byte-pair encoding begins with the bytes of a word. Of all neighbours it merges the pair that was learned first, until no two can be merged. Choose a token above."), steps);
      await showMerges();
    } else {
      root.append(element("p", {}, `This model’s tokenizer, ${app.model.tokenizer}, makes its tokens without merges.`));
    }
  },
};

function mergeSteps({ word, steps }) {
  if (word === null) {
    return [element("p", {}, "A special token has an id of its own; no merges make it.")];
  }
  const rows = steps.map(({ pieces, merged, rank }, i) => {
    const words = i === 0 ? "its bytes" : `merge no. ${rank + 1} of the vocabulary`;
    const chips = pieces.map((piece) => element("span", { class: piece === merged ? "chip made" : "chip" }, visible(piece)));
    return element("li", {}, element("span", { class: "pieces" }, ...chips), element("small", {}, words));
  });
  return [element("ol", { start: 0 }, ...rows)];
}
