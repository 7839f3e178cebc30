import { describe, expect, test } from "vitest";
import { loadPlugin } from "./load-plugin.ts";
import { findState } from "./module-state.ts";
import { sectionIds, WasmWriter, writeSections, type Section } from "./wasm-binary.ts";

const HEADER = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

function section(id: number, ...content: readonly number[]): Section {
  return { id, content: Uint8Array.from(content) };
}

/** Exports `run`, a `() -> i32` with the given body, of a module with the given further sections. */
function moduleOf(body: readonly number[], further: readonly Section[]): Uint8Array {
  const code = new WasmWriter();
  code.u32(1);
  code.u32(body.length + 2);
  code.raw(Uint8Array.from([0, ...body, 0x0b]));
  const sections = [
    section(1, 1, 0x60, 0, 1, 0x7f),
    section(3, 1, 0),
    section(sectionIds.export, 1, 3, 0x72, 0x75, 0x6e, 0, 0),
    { id: 10, content: code.finish() },
    ...further,
  ];
  // Sections stand in the order of their ids, except for DataCount (12), which comes before the code.
  const rank = ({ id }: Section) => (id === 12 ? 9.5 : id);
  return writeSections(
    HEADER,
    sections.sort((a, b) => rank(a) - rank(b)),
  );
}

const nothing = new Uint8Array(0);

/** The handler's code, which a second call repeats only if nothing was left by the first. */
async function codes(module: Uint8Array): Promise<string[]> {
  const plugin = await loadPlugin(module);
  const results = [
    await plugin.call("run", nothing),
    await plugin.call("run", nothing),
    await plugin.call("run", nothing),
  ];
  return results.map((result) => (result.ok ? "ok" : result.message));
}

describe("no state stays", () => {
  test("in a table: a module that empties an entry finds it full again", async () => {
    // Returns ref.is_null(table[0]), then sets table[0] to null.
    const body = [0x41, 0, 0x25, 0, 0xd1, 0x41, 0, 0xd0, 0x70, 0x26, 0];
    const module = moduleOf(body, [
      section(sectionIds.table, 1, 0x70, 0, 1),
      section(sectionIds.element, 1, 0, 0x41, 0, 0x0b, 1, 0),
    ]);
    expect(findState(module)).toMatchObject({ tableCount: 1, notRestorable: undefined });
    expect(await codes(module)).toEqual(["ok", "ok", "ok"]);
  });

  test("in the size of a memory", async () => {
    // Returns memory.size - 1, then grows by a page.
    const body = [0x3f, 0, 0x41, 1, 0x6b, 0x41, 1, 0x40, 0, 0x1a];
    expect(await codes(moduleOf(body, [section(sectionIds.memory, 1, 0, 1)]))).toEqual(["ok", "ok", "ok"]);
  });

  test("in the size of a table", async () => {
    // Returns table.size - 1, then grows by an entry.
    const body = [0xfc, 16, 0, 0x41, 1, 0x6b, 0xd0, 0x70, 0x41, 1, 0xfc, 15, 0, 0x1a];
    expect(await codes(moduleOf(body, [section(sectionIds.table, 1, 0x70, 0, 1)]))).toEqual(["ok", "ok", "ok"]);
  });

  test("in a global that is not exported", async () => {
    // Returns the global, then adds 1 to it.
    const body = [0x23, 0, 0x23, 0, 0x41, 1, 0x6a, 0x24, 0];
    const module = moduleOf(body, [section(sectionIds.global, 1, 0x7f, 1, 0x41, 0, 0x0b)]);
    expect(findState(module)).toMatchObject({ globals: [0], notRestorable: undefined });
    expect(await codes(module)).toEqual(["ok", "ok", "ok"]);
  });

  test("in a passive segment: it is dropped, and a fresh instance has it again", async () => {
    // memory.init 0 of 1 byte, then data.drop 0: a second time on the same instance would trap.
    const body = [0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 8, 0, 0, 0xfc, 9, 0, 0x41, 0];
    const module = moduleOf(body, [
      section(sectionIds.memory, 1, 0, 1),
      section(12, 1),
      section(sectionIds.data, 1, 1, 1, 0x2a),
    ]);
    expect(findState(module).notRestorable).toBe("data segment 0 is of kind 1");
    expect(await codes(module)).toEqual(["ok", "ok", "ok"]);
  });

  test("in a global that is a reference", async () => {
    const body = [0x23, 0, 0xd1, 0x45, 0xd2, 0, 0x24, 0];
    const module = moduleOf(body, [
      section(sectionIds.global, 1, 0x70, 1, 0xd0, 0x70, 0x0b),
      section(sectionIds.element, 1, 3, 0, 1, 0),
    ]);
    expect(findState(module).notRestorable).toBe("global 0 is not a number");
    expect(await codes(module)).toEqual(["ok", "ok", "ok"]);
  });
});
