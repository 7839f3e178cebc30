import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { PluginManifestSchema, PluginSignatureSchema } from "@millrace/protocol";
import fc from "fast-check";
import { pluginModule } from "./fuzz-target.ts";
import type { MessageOptions } from "./message-arbitrary.ts";

/** Mostly short: a call that waits tells nothing while it does. */
const waitMs = fc.oneof(
  { weight: 20, arbitrary: fc.constant(0) },
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 50 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 60_000 }) },
);

/** A manifest that the module keeps. */
const goodManifest = fc
  .record({
    name: fc.constantFrom("fuzz", "fuzz-2"),
    version: fc.constantFrom("1.0.0", "1.0.1", "2.0.0"),
    handler: fc.constantFrom("noop", "trap"),
    stateful: fc.boolean(),
  })
  .map(({ handler, ...init }) =>
    create(PluginManifestSchema, { ...init, handlers: [{ type: handler, export: handler }] }),
  );

const signature = create(PluginSignatureSchema, { keyId: "0123456789abcdef", signature: new Uint8Array(64) });

/** Values that random ones would hardly ever be, for calls that would otherwise end at their first check. */
export function specialValues(): MessageOptions["special"] {
  const module = pluginModule();
  const changed = fc.tuple(fc.nat(module.byteLength - 1), fc.nat(255)).map(([at, byte]) => {
    const copy = Uint8Array.from(module);
    copy[at] = byte;
    return copy;
  });
  const settings: JsonValue[] = ["debug", "info", "open", "off", 1, 100, 5000, true, ["loopback"], null, ""];
  return {
    "millrace.jobs.v1.SubmitJobRequest.wait_ms": waitMs,
    "millrace.plugins.v1.UploadPluginRequest.module": fc.oneof(
      { weight: 4, arbitrary: fc.constant(Uint8Array.from(module)) },
      { weight: 2, arbitrary: changed },
      { weight: 1, arbitrary: fc.nat(module.byteLength).map((end) => Uint8Array.from(module.subarray(0, end))) },
      { weight: 1, arbitrary: fc.uint8Array({ minLength: 8, maxLength: 100 }) },
    ),
    "millrace.plugins.v1.UploadPluginRequest.manifest": (any) => fc.oneof(any, goodManifest),
    "millrace.plugins.v1.UploadPluginRequest.signature": fc.constantFrom(undefined, undefined, undefined, signature),
    "millrace.plugins.v1.TrustPluginKeyRequest.public_key": (any) =>
      fc.oneof(any, fc.uint8Array({ minLength: 32, maxLength: 32 })),
    // An interceptor of everything would answer for everything.
    "millrace.plugins.v1.PluginInterceptor.path_prefixes": fc.constant(["/ext/fuzz/"]),
    "millrace.system.v1.UpdateSettingRequest.value": (any) =>
      fc.oneof(any, fc.constantFrom(...settings.map((value) => fromJson(ValueSchema, value)))),
    "google.protobuf.FieldMask.paths": fc.array(
      fc.constantFrom("email", "display_name", "roles", "disabled", "id", "", "roles.0", "__proto__"),
      { maxLength: 4 },
    ),
  };
}
