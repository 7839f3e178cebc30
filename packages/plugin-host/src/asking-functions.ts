import type { CallContext, ExtismPluginOptions } from "@extism/extism";
import type { CallState } from "./call-state.ts";
import type { Capabilities, HostCalls } from "./host-calls.ts";
import { HostMemory } from "./host-memory.ts";
import { capabilityOf, hasCapability, type Capability } from "./known-imports.ts";
import { parseHttpRequest, parseJobRequest } from "./parse-request.ts";
import { reservedNames } from "./reserved-names.ts";

type HostFunctions = NonNullable<ExtismPluginOptions["functions"]>[string];

export interface PluginName {
  readonly name: string;
  readonly version: string;
}

const encoder = new TextEncoder();
const MAX_NAME_BYTES = 1024;
const MAX_REQUEST_BYTES = 64 * 1024;
const FAILED = 1;

/**
 * The functions that leave the sandbox, by module: the worker does the I/O while the call is suspended. Their being async
 * functions is what makes Extism wrap them for that. Addresses are 0 and codes 1 after a failure, of which `error.last` tells.
 */
function askingFunctions(state: CallState): Record<string, HostFunctions> {
  const memory = new HostMemory(state);
  const name = (context: CallContext, address: bigint) => memory.readText(context, address, MAX_NAME_BYTES);
  const text = (value: string) => encoder.encode(value);
  const request = async (context: CallContext, request: bigint, body: bigint) => {
    const meta = parseHttpRequest(memory.readText(context, request, MAX_REQUEST_BYTES));
    if (typeof meta === "string") return state.fail("HANDLER_FAILED", `http.request: ${meta}`);
    const answer = await state.ask({ function: "http.request", meta, ...memory.takeBody(context, body, "http") });
    state.http = answer && { ...answer.meta, body: answer.body };
    return answer;
  };

  return {
    "millrace:host/http": {
      request: async (context: CallContext, address: bigint, body: bigint) => {
        const answer = await request(context, address, body);
        return answer ? memory.store(context, text(JSON.stringify(answer.meta))) : 0n;
      },
    },
    [reservedNames.extism]: {
      // Extism's own way: whatever keeps a request from being answered ends the call.
      http_request: async (context: CallContext, address: bigint, body: bigint) => {
        const answer = await request(context, address, body);
        if (!answer) return state.fail("HANDLER_FAILED", `http_request: ${state.lastError}`);
        return memory.store(context, answer.body);
      },
    },
    "millrace:host/kv": {
      get: async (context: CallContext, key: bigint) => {
        const answer = await state.ask({ function: "kv.get", meta: { key: name(context, key) } });
        return answer?.meta.found ? memory.store(context, answer.body) : 0n;
      },
      set: async (context: CallContext, key: bigint, value: bigint, ttl: bigint) => {
        const ttlMs = Number(ttl);
        const meta: HostCalls["kv.set"]["ask"] = { key: name(context, key), ...(ttlMs > 0 ? { ttlMs } : {}) };
        return (await state.ask({ function: "kv.set", meta, ...memory.takeBody(context, value, "kv") })) ? 0 : FAILED;
      },
      delete: async (context: CallContext, key: bigint) =>
        (await state.ask({ function: "kv.delete", meta: { key: name(context, key) } })) ? 0 : FAILED,
      list: async (context: CallContext, prefix: bigint, limit: number) => {
        const meta = { prefix: prefix === 0n ? "" : name(context, prefix), limit: limit >>> 0 };
        const answer = await state.ask({ function: "kv.list", meta });
        return answer ? memory.store(context, text(JSON.stringify(answer.meta.keys))) : 0n;
      },
    },
    "millrace:host/secrets": {
      get: async (context: CallContext, address: bigint) => {
        const answer = await state.ask({ function: "secrets.get", meta: { name: name(context, address) } });
        return answer ? memory.store(context, text(answer.meta.value)) : 0n;
      },
    },
    "millrace:host/events": {
      publish: async (context: CallContext, address: bigint, json: bigint) => {
        const meta = { name: name(context, address) };
        const answer = await state.ask({
          function: "events.publish",
          meta,
          ...memory.takeBody(context, json, "events"),
        });
        return answer ? memory.store(context, text(answer.meta.id)) : 0n;
      },
    },
    "millrace:host/jobs": {
      submit: async (context: CallContext, request: bigint, payload: bigint) => {
        const meta = parseJobRequest(memory.readText(context, request, MAX_REQUEST_BYTES));
        if (typeof meta === "string") return state.fail("HANDLER_FAILED", `jobs.submit: ${meta}`);
        const answer = await state.ask({ function: "jobs.submit", meta, ...memory.takeBody(context, payload, "jobs") });
        return answer ? memory.store(context, text(answer.meta.id)) : 0n;
      },
    },
  };
}

/** Those of a plugin with these grants: what is not granted ends the call, and tells how it would be granted. */
export function grantedFunctions(
  state: CallState,
  granted: Capabilities,
  plugin: PluginName,
): Record<string, HostFunctions> {
  const functions = askingFunctions(state);
  for (const [module, members] of Object.entries(functions)) {
    const capability = capabilityOf(module);
    if (capability === undefined || hasCapability(granted, capability)) continue;
    for (const name of Object.keys(members)) {
      members[name] = () => state.fail("HOST_DENIED", denial(capability, plugin));
    }
  }
  return functions;
}

function denial(capability: Capability, plugin: PluginName): string {
  const key = capability === "kv" ? "kvBytes" : capability;
  const { name, version } = plugin;
  const how = `declare capabilities.${key} in plugin.yaml, then: millrace plugin grant ${name} ${capability}`;
  return `${capability}: not granted to plugin "${name}" ${version}`.trimEnd() + ` (${how})`;
}
