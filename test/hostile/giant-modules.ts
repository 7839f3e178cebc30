import {
  body,
  exportRun,
  leb,
  moduleOf,
  noParameters,
  oneFunction,
  repeated,
  section,
  vector,
  type Bytes,
} from "./binary-module.ts";

const i32 = 0x7f;
const nop = 0x01;
const block: Bytes = [0x02, 0x40];
const end = 0x0b;
const empty = body([], []);

function pad(count: number, item: Bytes): Uint8Array {
  return repeated(count, item).subarray(leb(count).length);
}

/** Valid modules that cost far more to read, rewrite or compile than they cost to send; each by its name in the table. */
export const giantModules: Readonly<Record<string, () => Uint8Array>> = {
  "giant-data": () => {
    const bytes = new Uint8Array(17 << 20).fill(0x41);
    const data = [1, 0, 0x41, 0, end, ...leb(bytes.length)];
    const content = new Uint8Array(data.length + bytes.length);
    content.set(data);
    content.set(bytes, data.length);
    return oneFunction(empty, [section.memory, [1, 0, ...leb(300)]], [section.data, content]);
  },
  "giant-data-count": () =>
    oneFunction(empty, [section.memory, [1, 0, 1]], [section.data, repeated(60_000, [0, 0x41, 0, end, 0])]),
  "giant-body": () => oneFunction(body([], pad(200_000, [nop]))),
  "giant-locals": () => oneFunction(body([[...leb(50_000), i32]], [])),
  "giant-nesting": () => oneFunction(body([], [...pad(10_000, block), ...pad(10_000, [end])])),
  "giant-branch-table": () => {
    const targets = pad(20_000, [0]);
    return oneFunction(body([], [0x41, 0, 0x0e, ...leb(targets.length), ...targets, 0]));
  },
  "giant-functions": () =>
    moduleOf([section.type, vector([noParameters])], [section.function, repeated(60_000, [0])], exportRun(), [
      section.code,
      repeated(60_000, [...empty]),
    ]),
  "giant-types": () => oneFunction(empty, [section.type, repeated(20_000, noParameters)]),
  "giant-globals": () => oneFunction(empty, [section.global, repeated(20_000, [i32, 1, 0x41, 0, end])]),
  "giant-parameters": () =>
    oneFunction(empty, [section.type, vector([noParameters, [0x60, ...repeated(500, [i32]), 0]])]),
  "giant-exports": () => {
    const name = (index: number): Bytes => [5, ...new TextEncoder().encode(String(index).padStart(5, "0")), 0, 0];
    return moduleOf(
      [section.type, vector([noParameters])],
      [section.function, vector([[0]])],
      [section.export, vector(Array.from({ length: 20_000 }, (_, index) => name(index)))],
      [section.code, Uint8Array.from([1, ...empty])],
    );
  },
};

/** Just below the bounds, and of the sort that optimising compilers are slowest at: it has to run, without holding others up. */
export function slowToCompile(): Uint8Array {
  const locals = 200;
  const step = (index: number): Bytes => {
    const local = leb(index % locals);
    const get: Bytes = [0x20, ...local];
    const set: Bytes = [0x21, ...local];
    // loop { if (l & 1) l += 3 else l *= 5; br_if 0 (l == 77) }
    const odd: Bytes = [...get, 0x41, 1, 0x71, 0x04, 0x40, ...get, 0x41, 3, 0x6a, ...set];
    const even: Bytes = [0x05, ...get, 0x41, 5, 0x6c, ...set, end];
    return [0x03, 0x40, ...odd, ...even, ...get, 0x41, 0xcd, 0, 0x46, 0x0d, 0, end];
  };
  const steps = Array.from({ length: 3300 }, (_, index) => step(index)).flat();
  return oneFunction(body([[...leb(locals), i32]], steps));
}
