import { create } from "@bufbuild/protobuf";
import {
  MillraceError,
  PluginCapabilitiesSchema,
  type PluginCapabilities,
  type PluginManifest,
} from "@millrace/protocol";

/** What an operator can grant, each as a whole: of the manifest's list the plugin gets everything or nothing. */
const grantNames = ["http", "kv", "secrets", "events", "jobs"] as const;

/**
 * Names as they are kept; `all` stands for each.
 * @throws MillraceError invalid_argument for another name
 */
export function parseGrants(grants: readonly string[]): readonly string[] {
  const unknown = grants.find((name) => name !== "all" && !grantNames.some((known) => known === name));
  if (unknown !== undefined) {
    const reason = `${JSON.stringify(unknown)} is not a capability: ${grantNames.join(", ")} or all`;
    throw new MillraceError("invalid_argument", `grants: ${reason}`, { details: [{ field: "grants", reason }] });
  }
  return grants.includes("all") ? grantNames : grantNames.filter((name) => grants.includes(name));
}

/**
 * For grants by name: `all` stands for whatever is declared.
 * @throws MillraceError failed_precondition for what none of the manifests declares
 */
export function refuseUndeclared(grants: readonly string[], manifests: readonly (PluginManifest | undefined)[]): void {
  if (grants.includes("all")) return;
  const declared = grantNames.filter((name) => manifests.some((manifest) => declares(manifest?.capabilities, name)));
  const undeclared = grants.find((name) => !declared.some((known) => known === name));
  if (undeclared === undefined) return;
  const what = declared.length === 0 ? "no capabilities" : `${declared.join(", ")} only`;
  const reason = `${undeclared} cannot be granted: the manifest declares ${what}`;
  throw new MillraceError("failed_precondition", `grants: ${reason}`, { details: [{ field: "grants", reason }] });
}

function declares(declared: PluginCapabilities | undefined, name: (typeof grantNames)[number]): boolean {
  if (declared === undefined) return false;
  return name === "kv" ? declared.kvBytes > 0n : declared[name].length > 0;
}

/** What is both declared and granted. */
export function grantCapabilities(
  declared: PluginCapabilities | undefined,
  grants: readonly string[],
): PluginCapabilities {
  const granted = create(PluginCapabilitiesSchema);
  if (declared === undefined) return granted;
  if (grants.includes("http")) granted.http = declared.http;
  if (grants.includes("kv")) granted.kvBytes = declared.kvBytes;
  if (grants.includes("secrets")) granted.secrets = declared.secrets;
  if (grants.includes("events")) granted.events = declared.events;
  if (grants.includes("jobs")) granted.jobs = declared.jobs;
  return granted;
}
