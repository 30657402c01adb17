// What temperature, top-k and top-p make of logits: the formulas of picogpt/decoding/sampling.py, in its order.

export function softmax(logits) {
  let most = -Infinity;
  for (const logit of logits) {
    most = Math.max(most, logit);
  }
  const shares = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  let sum = 0;
  for (const share of shares) {
    sum += share;
  }
  return shares.map((share) => share / sum);
}

export function sampled(logits, { t, k, p }) {
  if (t === 0) {
    const best = logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
    return Float64Array.from(logits, (_, i) => (i === best ? 1 : 0));
  }
  let kept = Float64Array.from(logits, (logit) => logit / t);
  if (k > 0 && k < kept.length) {
    kept = atLeast(kept, Float64Array.from(kept).sort()[kept.length - k]);
  }
  if (p < 1) {
    const ascending = Float64Array.from(kept).sort();
    const shares = softmax(ascending);
    let [removed, mass] = [0, 0];
    while (removed < ascending.length - 1 && (mass += shares[removed]) <= 1 - p) {
      removed += 1;
    }
    kept = atLeast(kept, ascending[removed]);
  }
  return softmax(kept);
}

function atLeast(logits, threshold) {
  return logits.map((logit) => (logit >= threshold ? logit : -Infinity));
}
