// What the page shows is kept in its address, behind the #, which no server sees: a link shows the same again.

export const DEFAULTS = {
  view: "write",
  prompt: "",
  t: 0.8, // temperature
  k: 40, // top-k; 0 keeps all
  p: 1, // top-p
  seed: 1,
  n: 60, // tokens to write
  stop: "",
  token: 0, // whose merges are shown
  station: "embed",
  layer: 0,
  head: 0,
  draw: "matrix",
  query: -1, // −1 is the last token
  key: -1, // −1 is the one that the query looks at most
  position: -1,
  cells: "prediction",
  first: 0, // of the positions that the lens shows
  off: "", // what is switched off, such as 3.1,4.mlp
  source: "",
  kind: "resid_pre",
  target: "",
  foil: "",
  text: "",
};

export function stateOf(hash) {
  const state = { ...DEFAULTS };
  for (const [name, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (typeof DEFAULTS[name] === "number" && value !== "" && Number.isFinite(Number(value))) {
      state[name] = Number(value);
    } else if (typeof DEFAULTS[name] === "string") {
      state[name] = value;
    }
  }
  return state;
}

export function hashOf(state) {
  const given = Object.entries(state).filter(([name, value]) => name in DEFAULTS && value !== DEFAULTS[name]);
  return `#${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

// A position, counted from the end where it is negative, within a prompt of n tokens.
export function placeIn(n, position) {
  const place = position < 0 ? n + position : position;
  return Math.max(0, Math.min(n - 1, Math.trunc(place)));
}

// What is switched off, as the server reads it: "3.1,4.mlp" is head 1 of layer 3, and layer 4's feed-forward network.
export function ablation(off) {
  const parts = off.split(",").map((part) => /^(\d+)\.(\d+|mlp)$/.exec(part.trim())).filter(Boolean);
  return {
    heads: parts.filter((part) => part[2] !== "mlp").map((part) => [Number(part[1]), Number(part[2])]),
    mlps: parts.filter((part) => part[2] === "mlp").map((part) => Number(part[1])),
  };
}
