// What was written after a prompt, and what could have been said instead: a tree of branches.

// A branch continues its parent after the first `at` tokens of the parent's whole path. A token has its name, its
// probability and the alternatives to it, the likeliest first.
export class Branch {
  constructor(parent = null, at = 0) {
    Object.assign(this, { parent, at, tokens: [], children: [], ended: null });
    parent?.children.push(this);
  }

  // Every token from the prompt to the end of this branch.
  path() {
    return this.parent ? [...this.parent.path().slice(0, this.at), ...this.tokens] : this.tokens;
  }

  // The branch in which the token at a place of the path stands, and its place there.
  owner(place) {
    const before = this.parent ? this.at : 0;
    return place < before ? this.parent.owner(place) : [this, place - before];
  }

  // A new branch with an alternative in place of the token there; or the one that has it already.
  instead(place, token) {
    const [owner] = this.owner(place);
    const same = owner.children.find((branch) => branch.at === place && branch.tokens[0]?.name === token.name);
    if (same) {
      return same;
    }
    const branch = new Branch(owner, place);
    branch.tokens.push(token);
    return branch;
  }
}

// The tokens of a piece of the answer. `bytes:\xe2\x80` is what the API calls a part of a character.
export function tokensOf({ tokens, token_logprobs, top_logprobs }) {
  return tokens.map((name, i) => {
    const alternatives = Object.entries(top_logprobs[i] ?? {}).map(([other, logprob]) => ({ name: other, probability: Math.exp(logprob) }));
    alternatives.sort((a, b) => b.probability - a.probability);
    return { name, probability: Math.exp(token_logprobs[i]), alternatives };
  });
}

export function bytesOf(name) {
  if (/^bytes:(\\x[0-9a-f]{2})+$/.test(name)) {
    return Uint8Array.from(name.slice(6).match(/[0-9a-f]{2}/g), (digits) => Number.parseInt(digits, 16));
  }
  return new TextEncoder().encode(name);
}

export function textOf(tokens) {
  const decoder = new TextDecoder();
  return tokens.map(({ name }) => decoder.decode(bytesOf(name), { stream: true })).join("") + decoder.decode();
}
