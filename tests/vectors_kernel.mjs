// Answers test vectors of hopspec from standard input in float32 and float64, all four quantities:
//
//   hopspec vectors generate --lines | node vectors_kernel.mjs | hopspec vectors check --lines -
//
// With the argument no-log-n the energy lacks log(N)/beta.
import { createInterface } from "node:readline";

const view = new DataView(new ArrayBuffer(8));
const DIGITS = { float32: 8, float64: 16 };

const number = (digits) => {
  view.setBigUint64(0, BigInt("0x" + digits.padEnd(16, "0")));
  return digits.length === 8 ? view.getFloat32(0) : view.getFloat64(0);
};
const numbers = (text, digits) => (text.match(new RegExp(`.{${digits}}`, "g")) ?? []).map(number);
const pattern = (x, digits) => {
  if (digits === 8) view.setFloat32(0, x);
  else view.setFloat64(0, x);
  return view.getBigUint64(0).toString(16).padStart(16, "0").slice(0, digits);
};
const rows = (flat, width) => Array.from({ length: flat.length / width }, (_, i) => flat.slice(i * width, (i + 1) * width));
const dot = (x, y) => x.reduce((sum, a, j) => sum + a * y[j], 0);

// Results of one query; kept holds the memories that take part, as {x, v, i}.
function answer(quantity, query, kept, beta, memories, width) {
  const sound = [query, ...kept.map((m) => m.x)].every((x) => x.every(Number.isFinite));
  if (quantity === "association" && !kept.length) return Array(memories).fill(0);
  if (quantity === "update" && !kept.length) return Array(width).fill(0);
  if (!kept.length) return [quantity === "energy" ? Infinity : -Infinity];
  if (!sound) return Array(quantity === "update" ? width : 1).fill(NaN);
  const scores = kept.map((m) => dot(query, m.x));
  const best = beta < 0 ? Math.min(...scores) : Math.max(...scores);
  const weights = scores.map((s) => Math.exp(beta * (s - best)));
  const total = weights.reduce((a, b) => a + b, 0);
  const log = beta * best + Math.log(total);
  if (quantity === "log_normalizer") return [log];
  if (quantity === "energy") {
    const largest = Math.max(...kept.map((m) => dot(m.x, m.x)));
    const count = process.argv[2] === "no-log-n" ? 0 : Math.log(kept.length) / beta;
    return [dot(query, query) / 2 + largest / 2 + count - log / beta];
  }
  if (quantity === "update")
    return Array.from({ length: width }, (_, j) => kept.reduce((sum, m, k) => sum + weights[k] * m.v[j], 0) / total);
  const all = Array(memories).fill(0);
  kept.forEach((m, k) => (all[m.i] = weights[k] / total));
  return all;
}

for await (const line of createInterface({ input: process.stdin })) {
  const v = JSON.parse(line);
  if ("hopspec_vectors" in v) {
    console.log(line);
    continue;
  }
  const digits = DIGITS[v.format];
  if (!digits) continue;
  const memory = rows(numbers(v.memory, digits), v.width);
  const values = v.values === undefined ? memory : rows(numbers(v.values, digits), v.value_width);
  const result = rows(numbers(v.query, digits), v.width).flatMap((query, l) => {
    const kept = memory
      .map((x, i) => ({ x, v: values[i], i }))
      .filter((m) => v.keep === undefined || v.keep[l * v.memories + m.i] === "1");
    return answer(v.quantity, query, kept, number(v.beta), v.memories, v.value_width);
  });
  console.log(JSON.stringify({ id: v.id, result: result.map((x) => pattern(x, digits)).join("") }));
}
