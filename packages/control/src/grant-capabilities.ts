import { create } from "@bufbuild/protobuf";
import { MillraceError, PluginCapabilitiesSchema, type PluginCapabilities } from "@millrace/protocol";

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
