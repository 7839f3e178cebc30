/** For tests of this package. */
import { readFile } from "node:fs/promises";
import wabt from "wabt";
import type { HostPort } from "./call-answers.ts";
import type { CallResult } from "./call-result.ts";
import type { Capabilities, HostAnswer, HostAsk } from "./host-calls.ts";

const tools = await wabt();

/** A module from its text form. */
export function wat(text: string): Uint8Array<ArrayBuffer> {
  const parsed = tools.parseWat("test.wat", text, {
    bulk_memory: true,
    reference_types: true,
    sign_extension: true,
    exceptions: true,
  });
  try {
    return new Uint8Array(parsed.toBinary({}).buffer);
  } finally {
    parsed.destroy();
  }
}

const readModule = async (path: string): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await readFile(new URL(`../fixtures/${path}`, import.meta.url)));

export const readFixtures = () => readModule("fixtures.wasm");
export const readAsking = () => readModule("asking/asking.wasm");
export const readAskingC = () => readModule("asking/asking-c.wasm");

export const everything: Capabilities = {
  http: ["example.com"],
  kvBytes: 1000,
  secrets: ["token"],
  events: [">"],
  jobs: ["*"],
};

/** Answers in this process, from maps; keeps what it was asked. */
export class InProcessHost implements HostPort {
  readonly asked: HostAsk[] = [];
  readonly values = new Map<string, Uint8Array>();

  tell(ask: HostAsk): void {
    this.asked.push(ask);
  }

  async ask(ask: HostAsk): Promise<HostAnswer> {
    this.asked.push(ask);
    switch (ask.function) {
      case "kv.get": {
        const body = this.values.get(ask.meta.key);
        return body ? { meta: { found: true }, body } : { meta: { found: false } };
      }
      case "kv.set":
        this.values.set(ask.meta.key, ask.body ?? new Uint8Array(0));
        return { meta: {} };
      case "kv.delete":
        this.values.delete(ask.meta.key);
        return { meta: {} };
      case "kv.list":
        return { meta: { keys: [...this.values.keys()].toSorted() } };
      case "http.request":
        return { meta: { status: 201, headers: { "content-type": "text/x" } }, body: ask.body ?? bytesOf("no body") };
      case "secrets.get":
        if (ask.meta.name === "token") return { meta: { value: "s3cret" } };
        return { failure: { code: "HOST_DENIED", message: `no secret "${ask.meta.name}"`, fatal: false } };
      default:
        return { meta: { id: `${ask.function} 1` } };
    }
  }
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The output as text, or the failure. */
export const textOf = (result: CallResult): unknown => (result.ok ? new TextDecoder().decode(result.output) : result);
