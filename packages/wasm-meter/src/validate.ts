import { ModuleRefused } from "./module-refused.ts";

/**
 * Refuses what the engine refuses. This must come first: a module that is only invalid for a global it lacks would become
 * valid, and reach its own fuel, once globals are added.
 */
export function validate(bytes: Uint8Array<ArrayBuffer>): void {
  if (WebAssembly.validate(bytes)) return;
  const message = whyInvalid(bytes);
  // V8 names the place as @+12.
  const offset = Number(/@\+(\d+)/.exec(message)?.[1] ?? 0);
  throw new ModuleRefused("INVALID", "module", offset, message);
}

function whyInvalid(bytes: Uint8Array<ArrayBuffer>): string {
  try {
    void new WebAssembly.Module(bytes);
    return "the engine refuses it";
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return message.replace(/^WebAssembly\.Module\(\): /, "");
  }
}
