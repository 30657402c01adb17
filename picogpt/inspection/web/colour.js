// Colours of numbers, the same for every part of the page, in a light and in a dark one.

const SCALES = {
  light: { zero: [250, 248, 243], most: [16, 52, 120], least: [150, 58, 24] },
  dark: { zero: [27, 30, 36], most: [176, 208, 255], least: [255, 184, 140] },
};

export function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Shares from 0 to 1: 256 colours from the background's to the strongest, and which of them a share has.
export function shareColours() {
  const { zero, most } = SCALES[isDark() ? "dark" : "light"];
  return { table: mixtures((i) => [zero, most, i / 255]), index: (share) => within(255 * share) };
}

// Numbers from −limit to limit: one hue below zero, another above it.
export function signedColours(limit) {
  const { zero, most, least } = SCALES[isDark() ? "dark" : "light"];
  const table = mixtures((i) => (i < 128 ? [zero, least, (128 - i) / 128] : [zero, most, (i - 128) / 127]));
  return { table, index: (number) => within(128 + (127 * number) / (limit || 1)) };
}

function within(place) {
  return Math.max(0, Math.min(255, Math.round(place)));
}

function mixtures(parts) {
  return Array.from({ length: 256 }, (_, i) => {
    const [from, to, share] = parts(i);
    return from.map((channel, c) => Math.round(channel + (to[c] - channel) * share));
  });
}

export function colour(share) {
  const { table, index } = shareColours();
  return `rgb(${table[index(share)].join(",")})`;
}

// Black or white, whichever can be read better on the colour of a share.
export function textColour(share) {
  const { table, index } = shareColours();
  return luminance(table[index(share)]) > 0.18 ? "black" : "white";
}

function luminance(channels) {
  const [red, green, blue] = channels.map((channel) => ((channel / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
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
