import { BusError, natsCodes } from "./bus-error.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import type { JsonObject } from "./json.ts";
import { isAtLeast } from "./require-replicas.ts";
import type { StreamConfig } from "./stream-config.ts";

/** What cannot be changed on a live stream, or should not be without a person. */
const fixedFields = ["retention", "storage", "discard", "max_msgs_per_subject"] as const;
/** What is brought in line with what is asked for. */
const adjustableFields = [
  "subjects",
  "max_bytes",
  "max_age",
  "duplicate_window",
  "allow_rollup_hdrs",
  "allow_direct",
  "num_replicas",
] as const;

/**
 * Brings a stream that is there in line. What `wanted` leaves out stays as it is.
 * @param current its configuration
 * @returns how it is configured then
 * @throws BusError failed_precondition when it differs in a way that cannot be changed, with the differences
 */
export async function alignStream(
  api: JetStreamApi,
  wanted: Readonly<Record<string, unknown>> & { readonly name: string },
  current: JsonObject,
): Promise<JsonObject> {
  const { name } = wanted;
  refuseFixed(wanted, current);
  if (differences(current, wanted, adjustableFields).length === 0) return current;
  // What we do not know of (a newer broker's fields) stays as it is; so does what some brokers refuse to change.
  const update = { ...current.raw(), ...wanted, max_consumers: current.number("max_consumers") };
  await api.requestPatiently(`STREAM.UPDATE.${name}`, update);
  const changed = await configOf(api, name);
  const left = differences(changed, wanted, adjustableFields);
  if (left.length > 0) throw refuse(name, left);
  return changed;
}

/** @throws BusError failed_precondition when a stream that is there differs in a way that cannot be changed, with the differences */
export function refuseFixed(
  wanted: Readonly<Record<string, unknown>> & { readonly name: string },
  current: JsonObject,
): void {
  const fixed = differences(current, wanted, fixedFields);
  if (fixed.length > 0) throw refuse(wanted.name, fixed);
}

/** As `alignStream`, for what the broker may refuse to a stream that is there: then it stays as it is. */
export async function raiseIfAllowed(
  api: JetStreamApi,
  wanted: StreamConfig,
  current: JsonObject,
  field: "max_bytes" | "max_consumers",
): Promise<JsonObject> {
  const [is, should] = [current.number(field), Number(wanted[field])];
  // No bound: of consumers newer brokers then allow a thousand.
  const boundless = is <= 0 && (field === "max_bytes" || !isAtLeast(api.link.client.info?.version ?? "", [2, 11]));
  const enough = is >= should || boundless;
  if (should <= 0 || enough) return current;
  try {
    await api.requestPatiently(`STREAM.UPDATE.${wanted.name}`, { ...current.raw(), [field]: should });
    return await configOf(api, wanted.name);
  } catch (error) {
    const passing: readonly number[] = [natsCodes.cannotChange, natsCodes.storageExceeded];
    if (!(error instanceof BusError) || !passing.includes(error.natsCode)) throw error;
    api.link.logger.debug({ stream: wanted.name, field, is, should, err: error }, "stream stays as it is");
    return current;
  }
}

/** @returns false when another has made it meanwhile @throws BusError resource_exhausted when the store has no room for it */
export async function createStream(api: JetStreamApi, wanted: StreamConfig): Promise<boolean> {
  try {
    await api.requestPatiently(`STREAM.CREATE.${wanted.name}`, wanted);
    return true;
  } catch (error) {
    if (error instanceof BusError && error.natsCode === natsCodes.streamNameInUse) return false;
    throw error;
  }
}

async function configOf(api: JetStreamApi, name: string): Promise<JsonObject> {
  return (await api.requestPatiently(`STREAM.INFO.${name}`, undefined)).object("config");
}

function refuse(name: string, differing: readonly string[]): BusError {
  return new BusError("failed_precondition", `stream ${name} is not as Millrace needs it: ${differing.join("; ")}`);
}

function differences(
  current: JsonObject,
  wanted: Readonly<Record<string, unknown>>,
  fields: readonly string[],
): string[] {
  return fields.flatMap((field) => {
    if (!(field in wanted)) return [];
    const is = comparable(current.raw()[field]);
    const should = comparable(wanted[field]);
    return is === should ? [] : [`${field} is ${is}, should be ${should}`];
  });
}

/** Old brokers leave out what is off, zero or empty. */
function comparable(value: unknown): string {
  if (value === undefined || value === null || value === false || value === 0) return "off";
  return Array.isArray(value) ? JSON.stringify([...value].toSorted()) : String(value);
}
