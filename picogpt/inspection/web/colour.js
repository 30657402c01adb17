// Colours of shares from 0 to 1: from the page's background to a dark blue, the same for every part of the page.

const LIGHT = [247, 249, 252];
const DARK = [16, 52, 120];

export function colour(share) {
  const parts = LIGHT.map((light, i) => Math.round(light + (DARK[i] - light) * share));
  return `rgb(${parts.join(",")})`;
}

export function textColour(share) {
  return share > 0.5 ? "white" : "black";
}

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

// The token as it is written here: with signs for white space at its ends and for what has no picture.
export function visible(token) {
  return token
    .replace(/\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "�")
    .replace(/^ | $/g, "·");
}
