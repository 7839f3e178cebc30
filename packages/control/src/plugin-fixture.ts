import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Bus } from "@millrace/bus";
import {
  decodePluginRecord,
  InvokePluginRequestSchema,
  InvokePluginResponseSchema,
  invokeSubject,
  type Plugin,
} from "@millrace/protocol";

const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00] as const;

/** A module whose exports answer 0, or trap; `mark` makes it another one. */
export function testModule(
  exports: readonly string[],
  mark = "",
  traps: readonly string[] = [],
): Uint8Array<ArrayBuffer> {
  const text = (word: string): number[] => [...leb(word.length), ...new TextEncoder().encode(word)];
  const section = (id: number, content: readonly number[]): number[] => [id, ...leb(content.length), ...content];
  const vector = (items: readonly (readonly number[])[]): number[] => [...leb(items.length), ...items.flat()];
  return new Uint8Array([
    ...magic,
    ...section(0, [...text("mark"), ...text(mark)]),
    ...section(1, vector([[0x60, 0x00, 0x01, 0x7f]])),
    ...section(3, vector(exports.map(() => [0x00]))),
    ...section(7, vector(exports.map((name, index) => [...text(name), 0x00, ...leb(index)]))),
    ...section(
      10,
      vector(exports.map((name) => [0x04, 0x00, ...(traps.includes(name) ? [0x00, 0x01] : [0x41, 0x00]), 0x0b])),
    ),
  ]);
}

function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >> 7)];
}

/** An ed25519 key, with its raw public half. */
export async function makeKeyPair(): Promise<{ pair: CryptoKeyPair; publicKey: Uint8Array<ArrayBuffer> }> {
  const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  return { pair, publicKey: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)) };
}

export interface HookWorker extends Disposable {
  /** `<version>.<export>`, in the order of the calls. */
  readonly calls: string[];
}

/** Stands for the workers: answers each hook, with a failure where `fails` names one. */
export function startHookWorker(bus: Bus, fails: readonly string[] = []): HookWorker {
  const calls: string[] = [];
  const subscription = bus.subscribe(invokeSubject, { queue: "plugin-workers" }, (message) => {
    const { export: hook, version } = fromBinary(InvokePluginRequestSchema, message.data);
    calls.push(`${version?.manifest?.version}.${hook}`);
    const error = fails.includes(hook) ? { error: { code: "TRAPPED", message: "unreachable" } } : {};
    const answer = create(InvokePluginResponseSchema, error);
    bus.publish(message.reply, toBinary(InvokePluginResponseSchema, answer));
  });
  return { calls, [Symbol.dispose]: () => subscription[Symbol.dispose]() };
}

/** Waits until the plugin's record is as it should be. */
export async function untilRecord(bus: Bus, name: string, wanted: (plugin: Plugin) => boolean): Promise<Plugin> {
  const { promise, resolve } = Promise.withResolvers<Plugin>();
  await using watch = bus.kv("plugins").watch({
    keys: name,
    onEntry: (_, entry) => {
      const plugin = entry === undefined ? undefined : decodePluginRecord(entry.value);
      if (plugin !== undefined && wanted(plugin)) resolve(plugin);
    },
  });
  await watch.ready;
  return await promise;
}

export async function refusalOfCall(call: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw new Error("was not refused", { cause: error });
  return { code: Code[error.code], message: error.rawMessage };
}
