import { readFile } from "node:fs/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { encodePluginRecord, PluginSchema, PluginState, type PluginManifestSchema } from "@millrace/protocol";
import loadWabt from "wabt";
import type { WorkerFixture } from "./testing.ts";

/** Puts plugins into the buckets, as control does. */
export class PluginFixture {
  readonly #world: WorkerFixture;

  constructor(world: WorkerFixture) {
    this.#world = world;
  }

  /** @returns the record, to be changed and put again */
  async install<F extends { readonly manifest: MessageInitShape<typeof PluginManifestSchema> }>(
    module: Uint8Array,
    fields: F,
  ): Promise<F & { readonly sha256: string; readonly state: PluginState }> {
    const sha256 = await this.#world.bus.modules.put(module);
    const plugin = { sha256, state: PluginState.ACTIVE, ...fields };
    await this.put(plugin);
    return plugin;
  }

  async put(plugin: MessageInitShape<typeof PluginSchema>): Promise<void> {
    const record = create(PluginSchema, plugin);
    await this.#world.bus.kv("plugins").put(record.manifest?.name ?? "", encodePluginRecord(record));
  }
}

/** The module whose exports misbehave in every way. */
export async function fixturesModule(): Promise<Uint8Array> {
  return new Uint8Array(await readFile(new URL("../../plugin-host/fixtures/fixtures.wasm", import.meta.url)));
}

/** The module whose exports each call one host function. */
export async function hostCallsModule(): Promise<Uint8Array> {
  const text = await readFile(new URL("../fixtures/host-calls.wat", import.meta.url), "utf8");
  return assemble(text);
}

export async function assemble(text: string): Promise<Uint8Array> {
  const { parseWat } = await loadWabt();
  return new Uint8Array(parseWat("module.wat", text).toBinary({}).buffer);
}
