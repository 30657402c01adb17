// The server: its answers as JSON, as an array, or piece by piece.

const KEPT = 60; // answers that need not be asked for again
const answers = new Map(); // request -> promise of the answer

export class NeedsKey extends Error {}

async function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  const key = sessionStorage.getItem("key");
  if (key) {
    headers.Authorization = `Bearer ${key}`;
  }
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!response.ok) {
    const content = await response.json().catch(() => ({}));
    const message = content.error?.message ?? `the server answered ${response.status}`;
    throw response.status === 401 ? new NeedsKey(message) : new Error(message);
  }
  return response;
}

export async function json(path, body, signal) {
  return (await post(path, body, signal)).json();
}

export function inside(body) {
  return remembered(body, (response) => response.json());
}

export function insideArray(body) {
  return remembered(body, async (response) => readArray(await response.arrayBuffer()));
}

function remembered(body, read) {
  const name = JSON.stringify(body);
  if (!answers.has(name)) {
    const answer = post("/inside/views", body).then(read);
    answers.set(name, answer);
    answer.catch(() => answers.delete(name));
    if (answers.size > KEPT) {
      answers.delete(answers.keys().next().value);
    }
  }
  return answers.get(name);
}

// NumPy's own format: a header that says type and shape, and the numbers.
export function readArray(buffer) {
  const length = new DataView(buffer).getUint16(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, 10, length));
  const type = /'descr': '[<|](\w\d)'/.exec(header)[1];
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").filter((part) => part.trim()).map(Number);
  const numbers = buffer.slice(10 + length);
  if (type === "f2") {
    return { shape, data: singles(new Uint16Array(numbers)) };
  }
  return { shape, data: new { f4: Float32Array, u1: Uint8Array }[type](numbers) };
}

// float32 of float16, whose 65536 values are computed once: browsers have no type of their own for them until 2025.
let table = null;
function singles(halves) {
  table ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1024 + fraction) * 2 ** (exponent - 25);
    return bits & 32768 ? -size : size;
  });
  const data = new Float32Array(halves.length);
  for (let i = 0; i < data.length; i++) {
    data[i] = table[halves[i]];
  }
  return data;
}

// The events of a stream, each an object, until [DONE].
export async function* stream(path, body, signal) {
  const response = await post(path, { ...body, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: ?/, "");
      if (data === "[DONE]") {
        return;
      }
      if (data.startsWith("{")) {
        const content = JSON.parse(data);
        if (content.error) {
          throw new Error(content.error.message);
        }
        yield content;
      }
    }
  }
}
