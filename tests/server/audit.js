// What axe would check first, as a function that a test evaluates: of everything that can be used, has it a name; is no
// id there twice; and of every text, can it be read (WCAG 2.2, 1.4.3)?

() => {
  const INTERACTIVE = "button, a, input, select, textarea, canvas[tabindex], [role]";
  const WITHOUT_NAME = ["row", "presentation", "status", "alert"]; // roles that need none

  function nameOf(node) {
    const ids = node.getAttribute("aria-labelledby")?.split(" ") ?? [];
    const labels = [...ids.map((id) => document.getElementById(id)), ...(node.labels ?? [])];
    const own = node.matches("input, select, textarea") ? "" : node.textContent;
    return [node.getAttribute("aria-label"), node.title, own, ...labels.map((label) => label?.textContent)].join("").trim();
  }

  function nameless() {
    return [...document.querySelectorAll(INTERACTIVE)]
      .filter((node) => node.checkVisibility() && !WITHOUT_NAME.includes(node.getAttribute("role")))
      .filter((node) => !nameOf(node))
      .map((node) => node.outerHTML.slice(0, 200));
  }

  function repeatedIds() {
    const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
    return ids.filter((id, i) => ids.indexOf(id) !== i);
  }

  const scratch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  function channels(colour) {
    scratch.clearRect(0, 0, 1, 1);
    scratch.fillStyle = colour;
    scratch.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = scratch.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  }
  const over = ([red, green, blue, alpha], under) =>
    [red, green, blue].map((channel, i) => channel * alpha + under[i] * (1 - alpha));
  function luminance(colour) {
    const linear = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  }
  function background(node) {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.unshift(channels(getComputedStyle(at).backgroundColor));
    }
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  }

  function faint() {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode.parentElement;
      const text = walker.currentNode.data.trim();
      if (!text || !node.checkVisibility() || node.closest(":disabled, svg, noscript")) {
        continue;
      }
      const style = getComputedStyle(node);
      const under = background(node);
      const [a, b] = [luminance(over(channels(style.color), under)), luminance(under)];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < (Number.parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) {
        found.push(`${contrast.toFixed(2)}: ${text.slice(0, 40)}`);
      }
    }
    return found;
  }

  return { nameless: nameless(), repeatedIds: repeatedIds(), faint: faint() };
}
